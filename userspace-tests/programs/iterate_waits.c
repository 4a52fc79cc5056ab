// Callbacks of dl_iterate_phdr that wait for what other threads do, which ld.so's lock would keep from doing it:
// threads that have a lock (the GIL of Python) and iterate for themselves, say to unwind; that open and close
// objects, whose INIT functions iterate; functions that call each other in either order. Under ld.so it hangs, so
// that this is run under Elfin only.
// hosted: too
// cpus: 1 4
// shared: iterate_waits-leaf.so -DLEAF
// flags: -rdynamic
// soak: 1000
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#pragma GCC diagnostic ignored "-Wunused-parameter"
#ifdef LEAF
int visit_in_init(struct dl_phdr_info *info, size_t size, void *unused);
static void *iterate(void *unused)
{
    dl_iterate_phdr(visit_in_init, 0);
    return unused;
}
__attribute__((constructor)) static void begin(void)
{
    pthread_t thread;
    iterate(0);
    pthread_create(&thread, 0, iterate, 0);
    pthread_join(thread, 0);
}
#else
#include "check.h"
static pthread_mutex_t gil = PTHREAD_MUTEX_INITIALIZER;
static sem_t has_gil, may_go_on;
static int rounds = 20;

static int one(struct dl_phdr_info *info, size_t size, void *unused) { return 1; }

// The thread that has the lock iterates, unwinds, loads and unloads when the other is in its callback.
static void *with_the_gil(void *unused)
{
    void *frames[8];
    pthread_mutex_lock(&gil);
    sem_post(&has_gil);
    sem_wait(&may_go_on);
    CHECK(dl_iterate_phdr(one, 0) == 1);
    CHECK(backtrace(frames, 8) > 1);
    void *handle = dlopen("./iterate_waits-leaf.so", RTLD_NOW);
    CHECK(handle && dlclose(handle) == 0);
    pthread_mutex_unlock(&gil);
    return unused;
}

static int wants_the_gil(struct dl_phdr_info *info, size_t size, void *unused)
{
    sem_post(&may_go_on);
    pthread_mutex_lock(&gil);
    pthread_mutex_unlock(&gil);
    return 2;
}

static void gil_is_wanted(void)
{
    pthread_t thread;
    pthread_create(&thread, 0, with_the_gil, 0);
    sem_wait(&has_gil);
    CHECK(dl_iterate_phdr(wants_the_gil, 0) == 2);
    pthread_join(thread, 0);
}

// Two functions that each iterate with the other one.
static pthread_barrier_t both;
static int second(struct dl_phdr_info *info, size_t size, void *outer);
static int first(struct dl_phdr_info *info, size_t size, void *outer)
{
    if (!outer)
        return 3;
    pthread_barrier_wait(&both);
    return dl_iterate_phdr(second, 0);
}
static int second(struct dl_phdr_info *info, size_t size, void *outer)
{
    if (!outer)
        return 4;
    pthread_barrier_wait(&both);
    return dl_iterate_phdr(first, 0);
}
static void *begin_with_second(void *outer)
{
    CHECK(dl_iterate_phdr(second, outer) == 3);
    return 0;
}
static void either_order(void)
{
    pthread_t thread;
    pthread_create(&thread, 0, begin_with_second, &both);
    CHECK(dl_iterate_phdr(first, &both) == 4);
    pthread_join(thread, 0);
}

// A function that opens what, initialised, has the same function called back, in another thread too.
static int opens;
int visit_in_init(struct dl_phdr_info *info, size_t size, void *outer)
{
    if (!outer)
        return 5;
    void *handle = dlopen("./iterate_waits-leaf.so", RTLD_NOW);
    CHECK(handle && dlclose(handle) == 0);
    __atomic_add_fetch(&opens, 1, __ATOMIC_RELAXED);
    return 6;
}
static void *open_in_callback(void *outer)
{
    CHECK(dl_iterate_phdr(visit_in_init, outer) == 6);
    return 0;
}
static void open_within(void)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(threads + i, 0, open_in_callback, &opens);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], 0);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atoi(argv[1]);
    sem_init(&has_gil, 0, 0);
    sem_init(&may_go_on, 0, 0);
    pthread_barrier_init(&both, 0, 2);
    for (int round = 0; round < rounds; round++) {
        gil_is_wanted();
        either_order();
        open_within();
    }
    CHECK(opens == 3 * rounds);
    return FINISH();
}
#endif
