// Bound lazily, an undefined function ends the program when it is called: the message and status 127.
// shared: lazy_undefined-caller.so -DCALLER -Wl,-z,lazy
// link: lazy_undefined-caller.so -Wl,-z,lazy -Wl,--allow-shlib-undefined
// exit: 127
#ifdef CALLER
int nobody_defines_this(void);
int call(void) { return nobody_defines_this() + 1; }
#else
#include <stdio.h>
int call(void);
int main(int argc, char **argv)
{
    printf("started %d %d\n", argc, argv[argc] == 0);
    fflush(stdout);
    puts("not flushed");
    return call();
}
#endif
