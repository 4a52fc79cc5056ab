// A thread that a library's INIT function has started binds functions all the time while its parent loads another library,
// which defines them, too, and is searched first: until that one's INIT functions are over the thread gets its own library's
// definitions, from then on the other's, initialised, and never a half-relocated one's. The argument is the number of
// rounds. ld.so shows objects to everybody at once, so that this is run under Elfin only.
// hosted: too
// cpus: 1 4
// soak: 3000
// shared: init_meanwhile-first.so -DFIRST -Wl,-z,lazy
// shared: init_meanwhile-second.so -DSECOND
// flags: -rdynamic
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) \
    X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
enum { FUNCTIONS = 32, MEANWHILE = 16, AFTER = 24, OWN = 1000, TOO_EARLY = 2000, INITIALISED = 3000 };
#include <pthread.h>
#include <sched.h>
// How many functions are bound, and whether the other library is loaded.
extern _Atomic int bound, loaded;
#if defined FIRST
static int target;
// Relative relocations, so that a half-relocated object would lead astray.
static int *pointer = &target;
#define DEFINE(n) int function_##n(void) { return *pointer + OWN; }
EACH(DEFINE)
#define CALL(n) static int call_##n(void) { return function_##n(); }
EACH(CALL)
#define NAME(n) call_##n,
static int (*const calls[])(void) = {EACH(NAME)};
static pthread_t thread;
// What came of each first call.
int results[FUNCTIONS];
static void *bind(void *unused)
{
    for (int i = 0; i < FUNCTIONS; i++) {
        while (i == AFTER && !loaded)
            sched_yield();
        results[i] = calls[i]();
        bound = i + 1;
        for (volatile int pause = 0; pause < 3000; pause++)
            ;
    }
    return unused;
}
__attribute__((constructor)) static void begin(void) { pthread_create(&thread, 0, bind, 0); }
void finish(void) { pthread_join(thread, 0); }
#elif defined SECOND
static int target = TOO_EARLY;
static int *pointer = &target;
#define DEFINE(n) int function_##n(void) { return *pointer; }
EACH(DEFINE)
__attribute__((constructor)) static void begin(void)
{
    while (bound < MEANWHILE)
        sched_yield();
    target = INITIALISED;
}
#else
#include <dlfcn.h>
#include <stdlib.h>
#include "check.h"

_Atomic int bound, loaded;

int main(int argc, char **argv)
{
    for (int round = argc > 1 ? atoi(argv[1]) : 60; round; round--) {
        bound = loaded = 0;
        void *first = dlopen("./init_meanwhile-first.so", RTLD_LAZY);
        int *results = dlsym(first, "results");
        // Sooner in some rounds than in others.
        while (bound < round % MEANWHILE)
            sched_yield();
        void *second = dlopen("./init_meanwhile-second.so", RTLD_NOW | RTLD_GLOBAL);
        loaded = 1;
        CHECK(first && second);
        ((void (*)(void))dlsym(first, "finish"))();
        for (int i = 0, over = 0; i < FUNCTIONS; i++) {
            over |= results[i] == INITIALISED;
            CHECK(results[i] == (over ? INITIALISED : OWN));
            CHECK(over ? i >= MEANWHILE : i < AFTER);
        }
        CHECK(dlclose(first) == 0 && dlclose(second) == 0);
        CHECK(!dlopen("./init_meanwhile-second.so", RTLD_LAZY | RTLD_NOLOAD));
    }
    return FINISH();
}
#endif
