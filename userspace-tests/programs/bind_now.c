// LD_BIND_NOW=1: an undefined function stops the program at its start, though it is linked to be bound lazily.
// shared: bind_now-caller.so -DCALLER -Wl,-z,lazy
// link: bind_now-caller.so -Wl,-z,lazy -Wl,--allow-shlib-undefined
// env: LD_BIND_NOW=1
// exit: 127
#include "undefined_function.h"
