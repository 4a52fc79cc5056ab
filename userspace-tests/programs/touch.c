// Four CPUs touch the same fresh pages for the first time at the same moment; each page must be there once only.
// cpus: 4
#include <pthread.h>
#include <sys/mman.h>
#include "check.h"

enum { THREADS = 4, SIZE = 16 << 20, COUNT = SIZE / sizeof(int), ROUNDS = 10 };

static int *memory;
static pthread_barrier_t barrier;

static void *work(void *number)
{
    long id = (long)number, wrong = 0;
    for (int round = 0; round < ROUNDS; round++) {
        if (id == 0)
            memory = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        pthread_barrier_wait(&barrier);
        for (unsigned i = (unsigned)id; i < COUNT; i += THREADS)
            memory[i] = (int)(i ^ (unsigned)round);
        pthread_barrier_wait(&barrier);
        // What the others wrote is seen, too.
        for (unsigned i = (unsigned)(id + 1) % THREADS; i < COUNT; i += THREADS)
            wrong += memory[i] != (int)(i ^ (unsigned)round);
        for (unsigned i = (unsigned)id; i < COUNT; i += THREADS)
            wrong += memory[i] != (int)(i ^ (unsigned)round);
        pthread_barrier_wait(&barrier);
        if (id == 0)
            munmap(memory, SIZE);
    }
    return (void *)wrong;
}

int main(void)
{
    pthread_t threads[THREADS];
    void *wrong;
    pthread_barrier_init(&barrier, 0, THREADS);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], 0, work, (void *)i);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &wrong);
        printf("thread %d: %ld wrong\n", i, (long)wrong);
    }
    return FINISH();
}
