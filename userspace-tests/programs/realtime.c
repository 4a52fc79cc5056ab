// Real-time scheduling: policies and priorities as set and as inherited, and in which order threads run on one CPU because of them.
// On Linux it needs root, where it prints the same. (Letters are in the order in which threads came by.)
// cpus: 1 3
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

enum { MS = 1000000 };

static char log_text[256];
static atomic_int log_length;

static void note(char c)
{
    log_text[log_length++] = c;
}

static void show(const char *what)
{
    printf("%s: %.*s\n", what, log_length, log_text);
    log_length = 0;
}

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000 + time.tv_nsec;
}

static void spin(long ns)
{
    for (long end = now() + ns; now() < end;)
        ;
}

static void become(int policy, int priority)
{
    CHECK(pthread_setschedparam(pthread_self(), policy, &(struct sched_param){priority}) == 0);
}

static pthread_t start(int policy, int priority, void *(*function)(void *), const char *argument)
{
    pthread_t thread;
    pthread_attr_t attributes;
    struct sched_param param = {priority};
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setschedpolicy(&attributes, policy) == 0);
    CHECK(pthread_attr_setschedparam(&attributes, &param) == 0);
    CHECK(pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED) == 0);
    CHECK(pthread_create(&thread, &attributes, function, (void *)argument) == 0);
    CHECK(pthread_attr_destroy(&attributes) == 0);
    return thread;
}

static void join(int count, pthread_t *threads)
{
    for (int i = 0; i < count; i++)
        CHECK(pthread_join(threads[i], 0) == 0);
}

static void interface(void)
{
    struct sched_param param = {0};
    struct timespec slice;
    for (int policy = 0; policy < 7; policy++)
        printf("%d: %d..%d\n", policy, sched_get_priority_min(policy), sched_get_priority_max(policy));
    CHECK(sched_setscheduler(0, SCHED_FIFO, &param) == -1 && errno == EINVAL);
    param.sched_priority = 100;
    CHECK(sched_setscheduler(0, SCHED_RR, &param) == -1 && errno == EINVAL);
    param.sched_priority = 1;
    CHECK(sched_setscheduler(0, SCHED_OTHER, &param) == -1 && errno == EINVAL);
    CHECK(sched_setscheduler(0, 77, &param) == -1 && errno == EINVAL);
    CHECK(sched_setscheduler(-1, SCHED_RR, &param) == -1 && errno == EINVAL);
    CHECK(sched_setscheduler(0, SCHED_RR, 0) == -1 && errno == EINVAL);
    CHECK(sched_setscheduler(99999999, SCHED_RR, &param) == -1 && errno == ESRCH);
    CHECK(sched_setparam(0, &param) == -1 && errno == EINVAL && sched_getscheduler(0) == SCHED_OTHER);
    CHECK(sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param) == 0);
    CHECK(sched_getscheduler(0) == (SCHED_RR | SCHED_RESET_ON_FORK));
    param.sched_priority = 99;
    CHECK(sched_setparam(0, &param) == 0 && sched_getparam(0, &param) == 0 && param.sched_priority == 99);
    CHECK(sched_rr_get_interval(0, &slice) == 0 && slice.tv_sec == 0 && slice.tv_nsec == 100 * MS);
    CHECK(sched_setscheduler(0, SCHED_FIFO, &param) == 0);
    CHECK(sched_rr_get_interval(0, &slice) == 0 && slice.tv_sec == 0 && slice.tv_nsec == 0);
    param.sched_priority = 0;
    for (int policy = SCHED_BATCH; policy != -1; policy = policy == SCHED_BATCH ? SCHED_IDLE : policy == SCHED_IDLE ? SCHED_OTHER : -1)
        CHECK(sched_setscheduler(0, policy, &param) == 0 && sched_getscheduler(getpid()) == policy);
}

// Who is not root has the priorities of the limit, and cannot undo a reset.
static void *limited(void *unused)
{
    struct sched_param none = {0}, one = {1}, two = {2}, three = {3};
    CHECK(setrlimit(RLIMIT_RTPRIO, &(struct rlimit){0, 2}) == 0);
    CHECK(sched_setscheduler(0, SCHED_OTHER, &none) == 0 && syscall(SYS_setresuid, 1000, 1000, 1000) == 0);
    CHECK(sched_setscheduler(0, SCHED_FIFO, &one) == -1 && errno == EPERM);
    CHECK(setrlimit(RLIMIT_RTPRIO, &(struct rlimit){2, 2}) == 0);
    CHECK(sched_setscheduler(0, SCHED_FIFO, &three) == -1 && errno == EPERM);
    CHECK(sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &two) == 0);
    CHECK(sched_setparam(0, &three) == -1 && errno == EPERM);
    CHECK(sched_setscheduler(0, SCHED_RR, &one) == -1 && errno == EPERM && sched_setparam(0, &one) == 0);
    return unused;
}

static void *tells_policy(void *unused)
{
    int policy;
    struct sched_param param;
    CHECK(pthread_getschedparam(pthread_self(), &policy, &param) == 0);
    printf("policy %d, priority %d\n", policy, param.sched_priority);
    return unused;
}

static void inherited(void)
{
    pthread_t thread;
    become(SCHED_RR, 7);
    CHECK(pthread_create(&thread, 0, tells_policy, 0) == 0 && pthread_join(thread, 0) == 0);
    CHECK(sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &(struct sched_param){7}) == 0);
    CHECK(pthread_create(&thread, 0, tells_policy, 0) == 0 && pthread_join(thread, 0) == 0);
    thread = start(SCHED_FIFO, 3, tells_policy, 0);
    join(1, &thread);
    become(SCHED_FIFO, 50);
}

static void *runs(void *name)
{
    note(*(char *)name);
    spin(20 * MS);
    note(*(char *)name);
    return 0;
}

static void *yields(void *name)
{
    for (int i = 0; i < 3; i++) {
        note(*(char *)name);
        sched_yield();
    }
    return 0;
}

static atomic_int meeting;

// With SCHED_FIFO the first to run would wait for ever.
static void *meets(void *unused)
{
    meeting++;
    while (meeting < 2)
        ;
    return unused;
}

static sem_t semaphore;

static void *wakes(void *name)
{
    note(*(char *)name);
    sem_post(&semaphore);
    note(*(char *)name);
    sem_post(&semaphore);
    note(*(char *)name);
    return 0;
}

static void *woken(void *name)
{
    sem_wait(&semaphore);
    note(*(char *)name);
    return 0;
}

static void *lowers_itself(void *name)
{
    note(*(char *)name);
    pthread_setschedprio(pthread_self(), 5);
    note(*(char *)name);
    return 0;
}

static atomic_long rounds;
static atomic_int over;

static void *counts(void *unused)
{
    while (!over)
        rounds++;
    return unused;
}

static pthread_mutex_t mutex;
static sem_t low_has_it, go_on;

static void *low(void *unused)
{
    pthread_mutex_lock(&mutex);
    sem_post(&low_has_it);
    sem_wait(&go_on);
    note('l');
    spin(10 * MS);
    pthread_mutex_unlock(&mutex);
    note('L');
    return unused;
}

static void *high(void *unused)
{
    note('h');
    pthread_mutex_lock(&mutex);
    note('H');
    pthread_mutex_unlock(&mutex);
    return unused;
}

// The thread in the middle would run before the one at the bottom, and with it before the one at the top.
static void inheritance(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    CHECK(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT) == 0 && pthread_mutex_init(&mutex, &attributes) == 0);
    sem_init(&low_has_it, 0, 0);
    sem_init(&go_on, 0, 0);
    pthread_t threads[3] = {start(SCHED_FIFO, 10, low, 0)};
    sem_wait(&low_has_it);
    threads[1] = start(SCHED_FIFO, 30, high, 0);
    // It waits for the mutex now.
    usleep(20000);
    threads[2] = start(SCHED_FIFO, 20, runs, "m");
    sem_post(&go_on);
    join(3, threads);
    show("inheritance");
}

int main(void)
{
    // One CPU, on which all threads are.
    cpu_set_t all, one;
    CPU_ZERO(&one);
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);

    interface();
    become(SCHED_FIFO, 50);
    inherited();
    pthread_t user = start(SCHED_OTHER, 0, limited, 0);
    join(1, &user);

    pthread_t threads[4];
    threads[0] = start(SCHED_FIFO, 10, runs, "a");
    threads[1] = start(SCHED_FIFO, 30, runs, "b");
    threads[2] = start(SCHED_RR, 20, runs, "c");
    threads[3] = start(SCHED_FIFO, 30, runs, "d");
    join(4, threads);
    show("priorities");

    threads[0] = start(SCHED_FIFO, 10, yields, "a");
    threads[1] = start(SCHED_FIFO, 10, yields, "b");
    threads[2] = start(SCHED_FIFO, 9, yields, "c");
    join(3, threads);
    show("yield");

    threads[0] = start(SCHED_RR, 10, meets, 0);
    threads[1] = start(SCHED_RR, 10, meets, 0);
    join(2, threads);

    sem_init(&semaphore, 0, 0);
    threads[0] = start(SCHED_FIFO, 20, woken, "w");
    threads[1] = start(SCHED_FIFO, 30, woken, "v");
    usleep(20000);
    threads[2] = start(SCHED_FIFO, 10, wakes, "a");
    join(3, threads);
    show("wake-ups");

    threads[0] = start(SCHED_FIFO, 20, lowers_itself, "a");
    threads[1] = start(SCHED_FIFO, 10, runs, "b");
    join(2, threads);
    show("lowered");

    threads[0] = start(SCHED_OTHER, 0, counts, 0);
    usleep(20000);
    long before = rounds;
    spin(50 * MS);
    CHECK(rounds == before);
    over = 1;
    join(1, threads);

    inheritance();
    return FINISH();
}
