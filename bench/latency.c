// How long what waits is kept waiting while a thread of lower need spins on every processor. Usage: latency
// A line each: the median in nanoseconds, the worst of all, and what.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { TIMES = 100, BARRIER = 4, BARRIERS = 20 };

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

static int compare(const void *one, const void *other)
{
    long difference = *(const long *)one - *(const long *)other;
    return (difference > 0) - (difference < 0);
}

static void measure(const char *what, void (*operation)(void), int times)
{
    long taken[TIMES];
    operation();
    for (int i = 0; i < times; i++) {
        long start = now();
        operation();
        taken[i] = now() - start;
    }
    qsort(taken, times, sizeof taken[0], compare);
    printf("%ld %ld %s\n", taken[times / 2], taken[times - 1], what);
    fflush(stdout);
}

static void *spin(void *unused)
{
    for (volatile unsigned long count = 0;; count++)
        ;
    return unused;
}

static void *nothing(void *unused) { return unused; }

static void create_and_join(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, nothing, NULL);
    pthread_join(thread, NULL);
}

static int to[2], from[2];

static void *answer(void *unused)
{
    char byte;
    while (read(to[0], &byte, 1) == 1 && write(from[1], &byte, 1) == 1)
        ;
    return unused;
}

static void round_trip(void)
{
    char byte = 0;
    if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
        abort();
}

static void sleep_a_millisecond(void) { usleep(1000); }

// As an OpenMP runtime waits: spinning, and yielding.
static atomic_int arrived, generation;

static void wait_for_all(void)
{
    int mine = generation;
    if (++arrived == BARRIER) {
        arrived = 0;
        generation++;
        return;
    }
    while (generation == mine)
        sched_yield();
}

static void *barriers(void *unused)
{
    for (int i = 0; i < BARRIERS; i++)
        wait_for_all();
    return unused;
}

static void meet(void)
{
    pthread_t threads[BARRIER - 1];
    for (int i = 0; i < BARRIER - 1; i++)
        pthread_create(&threads[i], NULL, barriers, NULL);
    barriers(NULL);
    for (int i = 0; i < BARRIER - 1; i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    pthread_t thread;
    if (pipe(to) || pipe(from) || pthread_create(&thread, NULL, answer, NULL))
        return 1;
    measure("4 threads, 20 barriers with sched_yield", meet, 5);
    for (long cpus = sysconf(_SC_NPROCESSORS_ONLN); cpus > 0; cpus--)
        pthread_create(&thread, NULL, spin, NULL);
    usleep(100000);
    measure("pthread_create and join, all spinning", create_and_join, TIMES);
    measure("round trip through two pipes, all spinning", round_trip, TIMES);
    measure("sleep of 1 ms, all spinning", sleep_a_millisecond, TIMES);
    _exit(0);
}
