// Futexes that the kernel hands over: mutexes with priority inheritance, robust ones, owners that end, requeueing;
// and waiting for several futexes.
// cpus: 4
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static long futex(uint32_t *at, int operation, uint32_t value, const void *timeout, uint32_t *at2, uint32_t value3)
{
    return syscall(SYS_futex, at, operation, value, timeout, at2, value3);
}
static uint32_t load(uint32_t *at) { return __atomic_load_n(at, __ATOMIC_SEQ_CST); }
static struct timespec after(clockid_t clock, long ns)
{
    struct timespec time;
    clock_gettime(clock, &time);
    time.tv_nsec += ns;
    if (time.tv_nsec >= 1000000000)
        time.tv_sec++, time.tv_nsec -= 1000000000;
    return time;
}

static void make(pthread_mutex_t *mutex, int type, int robust)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    CHECK(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT) == 0);
    CHECK(pthread_mutexattr_settype(&attributes, type) == 0);
    CHECK(pthread_mutexattr_setrobust(&attributes, robust) == 0);
    CHECK(pthread_mutex_init(mutex, &attributes) == 0);
}

static pthread_mutex_t mutex, recursive, robust, plain;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static long counter, turn;
static void *count(void *unused)
{
    for (int i = 0; i < 5000; i++) {
        pthread_mutex_lock(&mutex);
        long old = counter;
        if (i % 100 == 0)
            sched_yield();
        counter = old + 1;
        pthread_mutex_unlock(&mutex);
    }
    return unused;
}
static void *take_turns(void *mine)
{
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % 4 != (long)mine)
            pthread_cond_wait(&condition, &mutex);
        turn++;
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&mutex);
    }
    return 0;
}
static void *try_it(void *unused)
{
    struct timespec limit = after(CLOCK_REALTIME, 20000000);
    CHECK(pthread_mutex_trylock(&mutex) == EBUSY);
    CHECK(pthread_mutex_timedlock(&mutex, &limit) == ETIMEDOUT);
    limit = after(CLOCK_MONOTONIC, 20000000);
    CHECK(pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &limit) == ETIMEDOUT);
    CHECK(pthread_mutex_unlock(&mutex) == EPERM);
    return unused;
}

static volatile int holding;
static void *die_with_robust(void *unused)
{
    CHECK(pthread_mutex_lock(&robust) == 0);
    holding = 1;
    usleep(30000);
    return unused;
}
static void *wait_for_robust(void *unused)
{
    int result = pthread_mutex_lock(&robust);
    if (result == EOWNERDEAD)
        CHECK(pthread_mutex_consistent(&robust) == 0);
    else
        CHECK(result == 0);
    CHECK(pthread_mutex_unlock(&robust) == 0);
    (void)unused;
    return (void *)(long)(result == EOWNERDEAD);
}

static uint32_t word, other, words[4], asleep;
static void *hold_and_die(void *unused)
{
    word = (uint32_t)gettid();
    holding = 1;
    usleep(50000);
    return unused;
}
static void *lock_word(void *unused)
{
    __atomic_add_fetch(&asleep, 1, __ATOMIC_SEQ_CST);
    CHECK(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0) == 0);
    CHECK((load(&word) & FUTEX_TID_MASK) == (uint32_t)gettid());
    counter++;
    if (load(&word) != (uint32_t)gettid() || !__atomic_compare_exchange_n(&word, &(uint32_t){(uint32_t)gettid()}, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        CHECK(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0) == 0);
    return unused;
}
static void *wait_requeue(void *unused)
{
    __atomic_add_fetch(&asleep, 1, __ATOMIC_SEQ_CST);
    CHECK(futex(&other, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 7, 0, &word, 0) == 0);
    CHECK((load(&word) & FUTEX_TID_MASK) == (uint32_t)gettid());
    counter++;
    CHECK(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0) == 0);
    return unused;
}
static void until_asleep(uint32_t wanted)
{
    while (load(&asleep) < wanted)
        usleep(1000);
    usleep(30000);
    asleep = 0;
}

static struct futex_waitv vector[4];
static void *wait_vector(void *unused)
{
    __atomic_add_fetch(&asleep, 1, __ATOMIC_SEQ_CST);
    (void)unused;
    return (void *)syscall(SYS_futex_waitv, vector, 4, 0, 0, CLOCK_MONOTONIC);
}
static void nothing(int number) { (void)number; }

int main(void)
{
    pthread_t threads[4];
    void *results[4];
    struct timespec limit;
    make(&mutex, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED);
    make(&recursive, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED);
    make(&robust, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST);
    make(&plain, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED);

    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, count, 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], 0);
    printf("counted %ld\n", counter);
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, take_turns, (void *)i);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], 0);
    printf("turns %ld\n", turn);
    CHECK(pthread_mutex_lock(&mutex) == 0 && pthread_mutex_lock(&mutex) == EDEADLK);
    pthread_create(&threads[0], 0, try_it, 0);
    pthread_join(threads[0], 0);
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    CHECK(pthread_mutex_lock(&recursive) == 0 && pthread_mutex_lock(&recursive) == 0);
    CHECK(pthread_mutex_unlock(&recursive) == 0 && pthread_mutex_unlock(&recursive) == 0);
    CHECK(pthread_mutex_unlock(&recursive) == EPERM);

    // The owner ends, before and while others wait.
    for (int waiters = 0; waiters < 4; waiters++) {
        holding = 0;
        pthread_create(&threads[3], 0, die_with_robust, 0);
        while (!holding)
            usleep(1000);
        for (int i = 0; i < waiters; i++)
            pthread_create(&threads[i], 0, wait_for_robust, 0);
        pthread_join(threads[3], 0);
        long dead = 0;
        for (int i = 0; i < waiters; i++) {
            pthread_join(threads[i], &results[i]);
            dead += (long)results[i];
        }
        if (!waiters)
            dead = (long)wait_for_robust(0);
        printf("%d waited, %ld found the owner dead\n", waiters, dead);
    }
    // Not made consistent, it cannot be had any more.
    pthread_create(&threads[0], 0, die_with_robust, 0);
    pthread_join(threads[0], 0);
    CHECK(pthread_mutex_lock(&robust) == EOWNERDEAD && pthread_mutex_unlock(&robust) == 0);
    CHECK(pthread_mutex_lock(&robust) == ENOTRECOVERABLE);

    // The calls themselves.
    uint32_t tid = (uint32_t)gettid();
    CHECK(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0) == 0 && word == tid);
    CHECK(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0) == -1 && errno == EDEADLK);
    CHECK(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0) == 0 && word == 0);
    CHECK(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0) == -1 && errno == EPERM);
    CHECK(futex(&word, FUTEX_TRYLOCK_PI_PRIVATE, 0, 0, 0, 0) == 0 && word == tid);
    word = 0x3ffffff0;
    CHECK(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0) == -1 && errno == ESRCH);
    word = FUTEX_OWNER_DIED;
    CHECK(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0) == 0 && word == (tid | FUTEX_OWNER_DIED));
    CHECK(futex((uint32_t *)((char *)&word + 2), FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0) == -1 && errno == EINVAL);
    CHECK(futex((uint32_t *)64, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0) == -1 && errno == EFAULT);

    // Three wait for a futex of a thread that ends with it, robust or not.
    word = 0;
    holding = counter = 0;
    pthread_create(&threads[3], 0, hold_and_die, 0);
    while (!holding)
        usleep(1000);
    limit = after(CLOCK_MONOTONIC, 5000000);
    CHECK(futex(&word, FUTEX_LOCK_PI2_PRIVATE, 0, &limit, 0, 0) == -1 && errno == ETIMEDOUT);
    CHECK(futex(&word, FUTEX_TRYLOCK_PI_PRIVATE, 0, 0, 0, 0) == -1 && errno == EAGAIN);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], 0, lock_word, 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], 0);
    printf("%ld had it\n", counter);

    // Waiting on one futex, then on another; while that one is free, and while it is taken.
    for (int taken = 0; taken < 2; taken++) {
        word = taken ? tid : 0;
        other = 7;
        counter = 0;
        limit = after(CLOCK_MONOTONIC, 5000000);
        CHECK(futex(&other, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 6, 0, &word, 0) == -1 && errno == EAGAIN);
        CHECK(futex(&other, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 7, &limit, &word, 0) == -1 && errno == ETIMEDOUT);
        CHECK(futex(&other, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 7, 0, &other, 0) == -1 && errno == EINVAL);
        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], 0, wait_requeue, 0);
        until_asleep(4);
        CHECK(futex(&other, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1L, &word, 8) == -1 && errno == EAGAIN);
        CHECK(futex(&other, FUTEX_CMP_REQUEUE_PI_PRIVATE, 2, (void *)1L, &word, 7) == -1 && errno == EINVAL);
        CHECK(futex(&other, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1L, &word, 7) == 2);
        CHECK(futex(&other, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)9L, &word, 7) == 2);
        CHECK(futex(&other, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)9L, &word, 7) == 0);
        if (taken) {
            CHECK(counter == 0);
            CHECK(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, 0, 0) == 0);
        }
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], 0);
        printf("%ld had it\n", counter);
    }

    // Several futexes.
    for (int i = 0; i < 4; i++)
        vector[i] = (struct futex_waitv){.uaddr = (uintptr_t)&words[i], .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
    limit = after(CLOCK_MONOTONIC, 5000000);
    CHECK(syscall(SYS_futex_waitv, vector, 4, 0, &limit, CLOCK_MONOTONIC) == -1 && errno == ETIMEDOUT);
    limit = after(CLOCK_REALTIME, 5000000);
    CHECK(syscall(SYS_futex_waitv, vector, 4, 0, &limit, CLOCK_REALTIME) == -1 && errno == ETIMEDOUT);
    CHECK(syscall(SYS_futex_waitv, vector, 0, 0, 0, CLOCK_REALTIME) == -1 && errno == EINVAL);
    CHECK(syscall(SYS_futex_waitv, vector, 4, 1, 0, CLOCK_REALTIME) == -1 && errno == EINVAL);
    words[2] = 1;
    CHECK(syscall(SYS_futex_waitv, vector, 4, 0, 0, CLOCK_MONOTONIC) == -1 && errno == EAGAIN);
    words[2] = 0;
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[0], 0, wait_vector, 0);
        until_asleep(1);
        CHECK(futex(&words[i], FUTEX_WAKE_PRIVATE, 10, 0, 0, 0) == 1);
        pthread_join(threads[0], &results[0]);
        CHECK((long)results[0] == i);
        CHECK(futex(&words[(i + 1) % 4], FUTEX_WAKE_PRIVATE, 10, 0, 0, 0) == 0);
    }
    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGALRM, &action, 0);
    // Again and again: the first may come before the call.
    ualarm(10000, 10000);
    CHECK(syscall(SYS_futex_waitv, vector, 4, 0, 0, CLOCK_MONOTONIC) == -1 && errno == EINTR);
    ualarm(0, 0);
    return FINISH();
}
