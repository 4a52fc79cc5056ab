// `signal_binding COUNT [now|lazy [figures]]`, Julia's case: a signal handler makes the first call of a function while malloc
// or free is interrupted. No block may be handed out twice: each is full of a pattern of its own until it is freed. The
// handler runs on an alternate stack; 1024 functions wait to be called for the first time, and when all have been, their
// callers are loaded anew.
// hosted: too
// args: 3000
// args: 2000 now
// soak: 1000000
// soak: 20000 now
// shared: signal_binding-targets.so -DTARGETS
// shared: signal_binding-callers.so -DCALLERS signal_binding-targets.so -Wl,-z,lazy
#include "signal_binding.h"
