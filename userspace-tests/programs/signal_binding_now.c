// The program of signal_binding.c, and its libraries, with LD_BIND_NOW=1: it gives the same results.
// args: 2000
// env: LD_BIND_NOW=1
// soak: 20000
// hosted: too
#include "signal_binding.h"
