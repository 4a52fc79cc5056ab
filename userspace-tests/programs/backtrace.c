// A crash report names the functions that were active: through a shared object, a signal's frame, a call of nothing.
// shared: backtrace-library.so -DLIBRARY
// link: backtrace-library.so
// flags: -rdynamic
// exit: 134
// backtrace: abort die nowhere through_library call_back inner outer main
#include <signal.h>
#include <stdlib.h>
int call_back(int (*function)(int), int value);
#ifdef LIBRARY
__attribute__((noinline)) int through_library(int (*function)(int), int value) { return function(value) + 1; }
int call_back(int (*function)(int), int value) { return through_library(function, value) + 1; }
#else
int (*volatile nothing)(int);
void die(int number)
{
    (void)number;
    abort();
}
__attribute__((noinline)) int nowhere(int value) { return nothing(value) + 1; }
// Without a dynamic symbol.
__attribute__((noinline)) static int inner(int value) { return call_back(nowhere, value) + 1; }
__attribute__((noinline)) int outer(int value)
{
    // A frame of a size that only the frame pointer or the tables tell.
    volatile char room[value * 100];
    room[0] = 1;
    return inner(value) + room[0];
}
int main(int count, char **arguments)
{
    (void)arguments;
    signal(SIGSEGV, die);
    return outer(count);
}
#endif
