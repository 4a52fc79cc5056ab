// Mutexes of all kinds, conditions, barriers, reader-writer locks, spin locks, semaphores and once.
// cpus: 4
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

enum { THREADS = 4, ROUNDS = 2000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_spinlock_t spin;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static long under_mutex, under_spin, pair[2];
static int torn;

static void *count(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        under_mutex++;
        pthread_mutex_unlock(&mutex);
        pthread_spin_lock(&spin);
        under_spin++;
        pthread_spin_unlock(&spin);
        if (i % 8 == 0) {
            pthread_rwlock_wrlock(&rwlock);
            pair[0]++;
            pair[1]++;
            pthread_rwlock_unlock(&rwlock);
        } else {
            pthread_rwlock_rdlock(&rwlock);
            if (pair[0] != pair[1])
                __atomic_add_fetch(&torn, 1, __ATOMIC_RELAXED);
            pthread_rwlock_unlock(&rwlock);
        }
    }
    return unused;
}

// A bounded buffer.
static int buffer[4];
static unsigned head, tail;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER, not_full = PTHREAD_COND_INITIALIZER;

static void *produce(void *unused)
{
    for (int i = 1; i <= ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        while (head - tail == 4)
            pthread_cond_wait(&not_full, &mutex);
        buffer[head++ % 4] = i;
        pthread_cond_signal(&not_empty);
        pthread_mutex_unlock(&mutex);
    }
    return unused;
}

static void *consume(void *sum)
{
    for (int i = 1; i <= ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        while (head == tail)
            pthread_cond_wait(&not_empty, &mutex);
        *(long *)sum += buffer[tail++ % 4];
        pthread_cond_signal(&not_full);
        pthread_mutex_unlock(&mutex);
    }
    return 0;
}

static int released;
static pthread_cond_t gate = PTHREAD_COND_INITIALIZER;
static int at_gate;
static void *wait_at_gate(void *unused)
{
    pthread_mutex_lock(&mutex);
    at_gate++;
    while (!released)
        pthread_cond_wait(&gate, &mutex);
    released++;
    pthread_mutex_unlock(&mutex);
    return unused;
}

static pthread_barrier_t barrier;
static int serial, phase_sum[10];
static void *march(void *number)
{
    for (int phase = 0; phase < 10; phase++) {
        __atomic_add_fetch(&phase_sum[phase], (int)(long)number, __ATOMIC_RELAXED);
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED);
        CHECK(phase_sum[phase] == 10);
    }
    return 0;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_count;
static int callers;
static void make_once(void)
{
    while (__atomic_load_n(&callers, __ATOMIC_SEQ_CST) < THREADS)
        sched_yield();
    once_count++;
}
static void *call_once_(void *unused)
{
    __atomic_add_fetch(&callers, 1, __ATOMIC_SEQ_CST);
    pthread_once(&once, make_once);
    CHECK(once_count == 1);
    return unused;
}

static sem_t ping, pong;
static void *answer(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        sem_wait(&ping);
        sem_post(&pong);
    }
    return unused;
}

static void *lock_and_die(void *robust) { pthread_mutex_lock(robust); return 0; }

static void *try_other(void *other) { return (void *)(long)pthread_mutex_trylock(other); }

static void together(void *(*function)(void *))
{
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], 0, function, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], 0) == 0);
}

int main(void)
{
    pthread_t a, b;
    void *result;
    struct timespec soon;
    pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE);
    together(count);
    printf("%ld %ld %ld %ld torn %d\n", under_mutex, under_spin, pair[0], pair[1], torn);

    long sum = 0;
    pthread_create(&a, 0, produce, 0);
    pthread_create(&b, 0, consume, &sum);
    pthread_join(a, 0);
    pthread_join(b, 0);
    printf("consumed %ld\n", sum);

    pthread_t waiting[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&waiting[i], 0, wait_at_gate, 0);
    // Who is at the gate has let go of the mutex by waiting.
    pthread_mutex_lock(&mutex);
    while (at_gate < THREADS) {
        pthread_mutex_unlock(&mutex);
        sched_yield();
        pthread_mutex_lock(&mutex);
    }
    released = 1;
    pthread_cond_broadcast(&gate);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < THREADS; i++)
        pthread_join(waiting[i], 0);
    printf("through the gate %d\n", released - 1);

    pthread_barrier_init(&barrier, 0, THREADS);
    together(march);
    printf("serial %d\n", serial);
    together(call_once_);

    sem_init(&ping, 0, 0);
    sem_init(&pong, 0, 0);
    pthread_create(&a, 0, answer, 0);
    for (int i = 0; i < ROUNDS; i++) {
        sem_post(&ping);
        sem_wait(&pong);
    }
    pthread_join(a, 0);
    CHECK(sem_trywait(&ping) == -1 && errno == EAGAIN);
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 5000000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    CHECK(sem_timedwait(&ping, &soon) == -1 && errno == ETIMEDOUT);
    pthread_mutex_lock(&mutex);
    CHECK(pthread_cond_timedwait(&gate, &mutex, &soon) == ETIMEDOUT);
    clock_gettime(CLOCK_MONOTONIC, &soon);
    CHECK(pthread_cond_clockwait(&gate, &mutex, CLOCK_MONOTONIC, &soon) == ETIMEDOUT);
    pthread_create(&a, 0, try_other, &mutex);
    pthread_join(a, &result);
    CHECK((long)result == EBUSY);
    pthread_mutex_unlock(&mutex);

    pthread_mutexattr_t kind;
    pthread_mutex_t special;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&special, &kind);
    CHECK(pthread_mutex_lock(&special) == 0 && pthread_mutex_lock(&special) == 0);
    CHECK(pthread_mutex_unlock(&special) == 0 && pthread_mutex_unlock(&special) == 0);
    CHECK(pthread_mutex_unlock(&special) == EPERM);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&special, &kind);
    CHECK(pthread_mutex_lock(&special) == 0 && pthread_mutex_lock(&special) == EDEADLK);
    pthread_mutex_unlock(&special);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_NORMAL);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&special, &kind);
    pthread_create(&a, 0, lock_and_die, &special);
    pthread_join(a, 0);
    CHECK(pthread_mutex_lock(&special) == EOWNERDEAD);
    CHECK(pthread_mutex_consistent(&special) == 0 && pthread_mutex_unlock(&special) == 0);
    return FINISH();
}
