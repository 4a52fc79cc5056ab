// Bound lazily, an undefined function that is never called does no harm.
// shared: lazy_unused-caller.so -DCALLER -Wl,-z,lazy
// link: lazy_unused-caller.so -Wl,-z,lazy -Wl,--allow-shlib-undefined
#include "undefined_function.h"
