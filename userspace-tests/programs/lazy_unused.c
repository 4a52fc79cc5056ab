// Bound lazily, an undefined function that is never called does no harm.
// shared: lazy_unused-caller.so -DCALLER -Wl,-z,lazy
// link: lazy_unused-caller.so -Wl,-z,lazy -Wl,--allow-shlib-undefined
#ifdef CALLER
int nobody_defines_this(void);
int call(void) { return nobody_defines_this() + 1; }
#else
#include <stdio.h>
int call(void);
int main(int argc, char **argv)
{
    puts("started");
    return argc > 100 && argv ? call() : 0;
}
#endif
