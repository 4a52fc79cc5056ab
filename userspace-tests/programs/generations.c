// 200 generations of 50 threads each, every generation started by a thread of the one before: 10,000 threads in all.
// cpus: 4
#include <pthread.h>
#include "check.h"

enum { GENERATIONS = 200, SIZE = 50 };

static long total;

static void *live(void *unused)
{
    __atomic_add_fetch(&total, 1, __ATOMIC_RELAXED);
    return unused;
}

static void *generation(void *left)
{
    pthread_t threads[SIZE];
    for (int i = 0; i < SIZE - 1; i++)
        CHECK(pthread_create(&threads[i], 0, live, 0) == 0);
    for (int i = 0; i < SIZE - 1; i++)
        CHECK(pthread_join(threads[i], 0) == 0);
    __atomic_add_fetch(&total, 1, __ATOMIC_RELAXED);
    if ((long)left > 1) {
        // Its parent is gone when it runs.
        pthread_t next;
        CHECK(pthread_create(&next, 0, generation, (void *)((long)left - 1)) == 0);
        pthread_detach(pthread_self());
        return 0;
    }
    printf("%ld threads\n", total);
    fflush(stdout);
    return 0;
}

int main(void)
{
    pthread_t first;
    CHECK(pthread_create(&first, 0, generation, (void *)(long)GENERATIONS) == 0);
    // The last thread's end is the program's.
    pthread_exit(0);
}
