// The end of a program while its threads are busy in the program and in the kernel: by exit, by the last thread, by
// signals, by crashes of several at once.
// args: exit
// args: thread
// args: all
// args: last
// args: later
// args: robust
// args: term
// args: kill
// args: tkill
// args: crash
// args: abort
// args: quick
// exit: 7 7 7 0 7 0 143 137 143 139 134 7
// stderr: any
// cpus: 4
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static const char *how;
static pthread_t main_thread;
static int ends[2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, robust;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;

static int is(const char *what) { return strcmp(how, what) == 0; }

// What the others do, for ever.
static void *busy(void *kind)
{
    char byte, *page;
    volatile uint64_t count = 0;
    pthread_barrier_wait(&barrier);
    for (;;)
        switch ((long)kind) {
        case 0:
            count++;
            break;
        case 1:
            CHECK(read(ends[0], &byte, 1) == 1);
            break;
        case 2:
            pthread_mutex_lock(&lock);
            pthread_cond_wait(&never, &lock);
            pthread_mutex_unlock(&lock);
            break;
        case 3:
            page = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            memset(page, 1, 65536);
            munmap(page, 65536);
            break;
        case 4:
            nanosleep(&(struct timespec){0, 50000}, 0);
            break;
        case 5:
            CHECK(write(2, "another line\n", 13) == 13);
            break;
        case 6:
            free(malloc(count++ % 5000));
            poll(0, 0, 1);
            break;
        case 7:
            pthread_mutex_lock(&lock);
            sched_yield();
            pthread_mutex_unlock(&lock);
            break;
        }
    return 0;
}
static void *end_it(void *unused)
{
    pthread_barrier_wait(&barrier);
    if (is("thread"))
        exit(7);
    else if (is("all"))
        _exit(7);
    else if (is("kill"))
        kill(getpid(), SIGKILL);
    else if (is("tkill"))
        pthread_kill(main_thread, SIGTERM);
    else if (is("crash"))
        *(volatile int *)unused = 1;
    else if (is("abort"))
        abort();
    for (;;)
        pause();
}
// One after the other, a little later each, the main thread being gone.
static void *live_on(void *number)
{
    static pthread_mutex_t turns = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t next = PTHREAD_COND_INITIALIZER;
    static long turn = 1;
    pthread_mutex_lock(&turns);
    while (turn != (long)number)
        pthread_cond_wait(&next, &turns);
    pthread_mutex_unlock(&turns);
    usleep(2000);
    if (is("last"))
        printf("%ld\n", (long)number);
    else if ((long)number == 9)
        exit(7);
    pthread_mutex_lock(&turns);
    turn += 2;
    pthread_cond_broadcast(&next);
    pthread_mutex_unlock(&turns);
    return 0;
}
static void *die_with_lock(void *index)
{
    int result = pthread_mutex_lock(&robust);
    CHECK(result == 0 || result == EOWNERDEAD);
    if (result == EOWNERDEAD)
        CHECK(pthread_mutex_consistent(&robust) == 0);
    return index;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    pthread_attr_t small;
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    how = argc > 1 ? argv[1] : "";
    main_thread = pthread_self();
    CHECK(pipe(ends) == 0);
    puts(how);
    fflush(stdout);
    if (is("last") || is("later")) {
        for (long i = 1; i < 10; i += 2)
            pthread_create(&thread, 0, live_on, (void *)i);
        pthread_exit(0);
    }
    if (is("robust")) {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&robust, &attributes);
        for (int round = 0; round < 10; round++) {
            pthread_t threads[8];
            for (long i = 0; i < 8; i++)
                pthread_create(&threads[i], 0, die_with_lock, (void *)i);
            for (int i = 0; i < 8; i++)
                pthread_join(threads[i], 0);
        }
        CHECK(pthread_mutex_lock(&robust) == EOWNERDEAD);
        return FINISH();
    }
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    int enders = is("exit") || is("quick") || is("term") ? 0 : is("thread") || is("tkill") ? 1 : 4;
    pthread_barrier_init(&barrier, 0, 9 + (unsigned)enders);
    for (int i = 0; i < enders; i++)
        pthread_create(&thread, &small, end_it, 0);
    for (long i = 0; i < 8; i++)
        pthread_create(&thread, &small, busy, (void *)i);
    pthread_barrier_wait(&barrier);
    if (!is("quick") && !enders)
        usleep(20000);
    if (is("exit") || is("quick"))
        exit(7);
    if (is("term"))
        raise(SIGTERM);
    for (;;)
        pause();
}
