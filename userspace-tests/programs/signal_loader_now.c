// The program of signal_loader.c, and its libraries, with LD_BIND_NOW=1: it gives the same results.
// args: 40
// env: LD_BIND_NOW=1
// soak: 1000
// hosted: too
#include "signal_loader.h"
