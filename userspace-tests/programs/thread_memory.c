// What a thread had goes when it ends, although libc keeps its stack: here, large thread-local variables of a library. The argument is
// the number of rounds.
// forked: too
// soak: 250
// shared: thread_memory-library.so -DLIBRARY
#ifdef LIBRARY
#include <string.h>
enum { SIZE = 8 << 20 };
static __thread char large[SIZE];
int use(void)
{
    memset(large, 1, SIZE);
    return large[SIZE - 1];
}
#else
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include "check.h"

enum { THREADS = 4, MIB = 1 << 20 };

static int (*use)(void);
static volatile pid_t ids[THREADS];
static pthread_barrier_t barrier;

static void *thread(void *how)
{
    CHECK(use() == 1);
    ids[(long)how] = gettid();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    switch ((long)how) {
    case 0:
        pthread_exit(NULL);
    case 1:
        pthread_cancel(pthread_self());
        pthread_testcancel();
        break;
    case 2:
        pthread_detach(pthread_self());
    }
    return NULL;
}

static long taken(void)
{
    struct sysinfo system;
    sysinfo(&system);
    return (system.totalram - system.freeram) * system.mem_unit;
}

int main(int argc, char **argv)
{
    void *library = dlopen("./thread_memory-library.so", RTLD_NOW);
    use = (int (*)(void))dlsym(library, "use");
    for (int round = argc > 1 ? atoi(argv[1]) : 2; round; round--) {
        pthread_t threads[THREADS];
        pthread_barrier_init(&barrier, NULL, THREADS + 1);
        long before = taken();
        for (long i = 0; i < THREADS; i++)
            CHECK(pthread_create(&threads[i], NULL, thread, (void *)i) == 0);
        pthread_barrier_wait(&barrier);
        // All but the pages that are kept of what ended threads had.
        CHECK(taken() - before >= THREADS * 7 * MIB);
        pthread_barrier_wait(&barrier);
        for (int i = 0; i < THREADS; i++)
            if (i != 2)
                pthread_join(threads[i], NULL);
        // Nobody can join a detached thread.
        while (!tgkill(getpid(), ids[2], 0))
            sched_yield();
        CHECK(labs(taken() - before) < MIB);
    }
    return FINISH();
}
#endif
