// What bind_now.c and lazy_unused.c are: a call of a function that nobody defines, which is not made.
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
