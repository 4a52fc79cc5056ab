// Threads that open and close objects in callbacks of dl_iterate_phdr, all at once. Under ld.so they deadlock sooner or
// later (its two locks are taken in either order), so that this is run under Elfin only. The argument is the number of rounds.
// hosted: too
// shared: dl_iterate_open-leaf.so -DLEAF
// cpus: 1 4
// soak: 250
#ifdef LEAF
int leaf(void) { return 4; }
#else
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include "check.h"

enum { THREADS = 4 };
static int rounds = 20;

static int use(void)
{
    void *handle = dlopen("./dl_iterate_open-leaf.so", RTLD_NOW);
    int (*function)(void) = (int (*)(void))dlsym(handle, "leaf");
    int result = function ? function() : -1;
    return dlclose(handle) ? -2 : result;
}

static int visit(struct dl_phdr_info *info, size_t size, void *visited)
{
    (void)size;
    CHECK(use() == 4);
    // What others close meanwhile stays readable.
    volatile ElfW(Word) type = info->dlpi_phdr[0].p_type;
    *(int *)visited += type == PT_LOAD || type == PT_PHDR || type == PT_NOTE;
    return 0;
}

static void *work(void *unused)
{
    for (int round = 0; round < rounds; round++) {
        int visited = 0;
        CHECK(dl_iterate_phdr(visit, &visited) == 0);
        CHECK(visited >= 2);
    }
    return unused;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atoi(argv[1]);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], 0, work, 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], 0);
    return FINISH();
}
#endif
