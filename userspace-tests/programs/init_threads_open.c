// An INIT function starts a thread that opens another object and waits for it. The argument is the number of rounds. ld.so
// deadlocks here, so that this is run under Elfin only.
// hosted: too
// soak: 3000
// shared: init_threads_open-leaf.so -DLEAF
// shared: init_threads_open-plug.so -DPLUG
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#if defined LEAF
static int begun;
int leaf(void) { return begun; }
__attribute__((constructor)) static void begin(void) { begun = 12; }
#elif defined PLUG
#include "check.h"
int initialised;
static void *open_leaf(void *unused)
{
    void *leaf = dlopen("./init_threads_open-leaf.so", RTLD_NOW);
    int (*function)(void) = leaf ? (int (*)(void))dlsym(leaf, "leaf") : 0;
    CHECK(function && function() == 12);
    CHECK(leaf && dlclose(leaf) == 0);
    return unused;
}
__attribute__((constructor)) static void begin(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, 0, open_leaf, 0) == 0);
    CHECK(pthread_join(thread, 0) == 0);
    initialised = check_failures == 0;
}
#else
#include "check.h"
int main(int argc, char **argv)
{
    for (int round = argc > 1 ? atoi(argv[1]) : 3; round; round--) {
        void *plug = dlopen("./init_threads_open-plug.so", RTLD_LAZY);
        int *initialised = plug ? dlsym(plug, "initialised") : 0;
        CHECK(initialised && *initialised);
        CHECK(plug && dlclose(plug) == 0);
    }
    return FINISH();
}
#endif
