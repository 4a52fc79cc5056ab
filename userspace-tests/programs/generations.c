// Generations of threads, each started by a thread of the one before that ends meanwhile. However many there are, they take
// no more memory: a thread waits for the end of its parent before it starts the next one, so that few live at once.
// Its arguments are how many generations, and of how many threads each.
// hosted: too
// cpus: 4
// args: 400 25
// args: 5000 1
// soak: 1000000 1
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include "check.h"
#include "memory_taken.h"

static long generations, size, total, before;
static pthread_t parent;
static pthread_barrier_t all;

static void *meet(void *unused)
{
    pthread_barrier_wait(&all);
    return unused;
}

// As many threads at once as there may ever be: what is kept of ended threads for others is kept of all from then on,
// and does not depend on how many happen to live at once later.
static void live_at_once(void)
{
    long count = size + 2 + sysconf(_SC_NPROCESSORS_ONLN);
    pthread_t *threads = malloc((size_t)count * sizeof *threads);
    CHECK(pthread_barrier_init(&all, 0, (unsigned)count) == 0);
    for (long i = 0; i < count; i++)
        CHECK(pthread_create(&threads[i], 0, meet, 0) == 0);
    for (long i = 0; i < count; i++)
        CHECK(pthread_join(threads[i], 0) == 0);
    free(threads);
}

static void *live(void *unused)
{
    __atomic_add_fetch(&total, 1, __ATOMIC_RELAXED);
    return unused;
}

static void *generation(void *left)
{
    pthread_t *threads = malloc((size_t)size * sizeof *threads);
    if ((long)left < generations)
        CHECK(pthread_join(parent, 0) == 0);
    for (int i = 0; i < size - 1; i++)
        CHECK(pthread_create(&threads[i], 0, live, 0) == 0);
    for (int i = 0; i < size - 1; i++)
        CHECK(pthread_join(threads[i], 0) == 0);
    free(threads);
    __atomic_add_fetch(&total, 1, __ATOMIC_RELAXED);
    if ((long)left == generations * 9 / 10)
        before = taken();
    if ((long)left > 1) {
        pthread_t next;
        parent = pthread_self();
        CHECK(pthread_create(&next, 0, generation, (void *)((long)left - 1)) == 0);
        return 0;
    }
    long more = taken() - before;
    CHECK(more < 24 || (printf("%ld pages more\n", more), 0));
    printf("%ld threads\n", total);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    generations = argc > 1 ? atol(argv[1]) : 0;
    size = argc > 2 ? atol(argv[2]) : 1;
    live_at_once();
    pthread_t first;
    CHECK(pthread_create(&first, 0, generation, (void *)generations) == 0);
    // The last thread's end is the program's.
    pthread_exit(0);
}
