// A signal handler opens libraries, calls functions for the first time, makes TLS blocks, looks up symbols and addresses
// and unwinds, whatever it has interrupted: malloc, lazy binding, dlopen, dlsym, dlclose, INIT functions, the first use of
// TLS, the start of threads, another handler; while other threads hold the load lock; and it may leave by siglongjmp.
// The libraries a handler opens have no INIT and FINI functions, which are refused where pthread_create has been interrupted
// (signal_heap.cpp and signal_opens.cpp have libraries with some). Not run on Linux: there, dlopen is not for handlers.
// hosted: too
// args: 60
// seconds: 240
// soak: 1000
// shared: signal_loader-m.so -DLIBRARY -Wl,-z,lazy
// shared: signal_loader-h.so -DLIBRARY -nostartfiles -Wl,-z,lazy
// shared: signal_loader-n.so -DLIBRARY -nostartfiles -Wl,-z,lazy
// shared: signal_loader-slow.so -DSLOW
#include "signal_loader.h"
