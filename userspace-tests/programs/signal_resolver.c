// A signal that comes while a load runs an IFUNC resolver is handled when the load is whole again: the handler opens what it
// likes, the library that is being loaded included. Under ld.so it comes in the middle, so that this is run under Elfin only.
// hosted: too
// shared: signal_resolver-chosen.so -DCHOSEN
// flags: -rdynamic
#if defined CHOSEN
#include <signal.h>
extern volatile int resolving;
static int target(void) { return 8; }
static int (*resolve(void))(void)
{
    resolving = 1;
    raise(SIGUSR1);
    resolving = 0;
    return target;
}
int chosen(void) __attribute__((ifunc("resolve")));
// A resolver runs for this one while the library is being relocated.
int (*pointer)(void) = chosen;
#else
#include <dlfcn.h>
#include <signal.h>
#include "check.h"

volatile int resolving;
static volatile int handled;

static void handler(int signal)
{
    (void)signal;
    handled++;
    CHECK(!resolving);
    void *library = dlopen("./signal_resolver-chosen.so", RTLD_LAZY | RTLD_NOLOAD);
    int (**pointer)(void) = library ? (int (**)(void))dlsym(library, "pointer") : 0;
    CHECK(pointer && (*pointer)() == 8);
    CHECK(library && dlclose(library) == 0);
}

int main(void)
{
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handler}, 0);
    for (int round = 0; round < 10; round++) {
        void *library = dlopen("./signal_resolver-chosen.so", RTLD_LAZY);
        CHECK(library && handled == round + 1);
        CHECK(library && dlclose(library) == 0);
    }
    return FINISH();
}
#endif
