// Threads come and go: results, detached ones, keys with destructors, cancellation and its clean-up, attributes, names.
// cpus: 4
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>
#include <sched.h>
#include "check.h"

static sem_t done;
static pthread_key_t key;
static int destroyed, cleaned;

static void *twice(void *number) { return (void *)((long)number * 2); }
static void *leave_early(void *text) { pthread_exit(text); }
static void *detached(void *unused) { sem_post(&done); return unused; }
static void destroy(void *value) { destroyed += (int)(long)value; }
static void *with_key(void *value)
{
    CHECK(pthread_getspecific(key) == 0);
    pthread_setspecific(key, value);
    return 0;
}
static void clean(void *value) { cleaned += (int)(long)value; }
static void *sleep_long(void *unused)
{
    pthread_cleanup_push(clean, (void *)1L);
    pthread_cleanup_push(clean, (void *)10L);
    sem_post(&done);
    for (;;)
        sleep(1000);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return unused;
}
static void *spin_until_cancelled(void *unused)
{
    int old;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    sem_post(&done);
    for (;;)
        __asm__ volatile("pause");
    return unused;
}
static void *measure_stack(void *expected)
{
    pthread_attr_t attributes;
    void *low;
    size_t size;
    char local;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &low, &size);
    CHECK(size == (size_t)expected);
    CHECK((char *)low < &local && &local < (char *)low + size);
    pthread_attr_destroy(&attributes);
    char name[16] = "";
    CHECK(pthread_setname_np(pthread_self(), "a good name") == 0);
    CHECK(pthread_getname_np(pthread_self(), name, sizeof name) == 0);
    puts(name);
    return 0;
}
static void *own_stack(void *stack)
{
    char local;
    CHECK(&local > (char *)stack && &local < (char *)stack + 65536);
    return 0;
}
static void *check_self(void *slot)
{
    CHECK(gettid() != getpid());
    *(pthread_t *)slot = pthread_self();
    return 0;
}

int main(void)
{
    pthread_t threads[64], self;
    void *result;
    sem_init(&done, 0, 0);
    for (long i = 0; i < 64; i++)
        CHECK(pthread_create(&threads[i], 0, twice, (void *)i) == 0);
    long sum = 0;
    for (int i = 63; i >= 0; i--) {
        CHECK(pthread_join(threads[i], &result) == 0);
        sum += (long)result;
    }
    printf("sum %ld\n", sum);
    pthread_create(threads, 0, leave_early, "left early");
    pthread_join(*threads, &result);
    puts(result);

    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < 100; i++)
        CHECK(pthread_create(threads, &attributes, detached, 0) == 0);
    for (int i = 0; i < 100; i++) {
        CHECK(pthread_create(threads, 0, detached, 0) == 0);
        pthread_detach(*threads);
    }
    for (int i = 0; i < 200; i++)
        sem_wait(&done);
    puts("200 detached");

    pthread_key_create(&key, destroy);
    for (long i = 1; i <= 4; i++) {
        pthread_create(threads, 0, with_key, (void *)i);
        pthread_join(*threads, 0);
    }
    printf("destroyed %d\n", destroyed);

    pthread_create(threads, 0, sleep_long, 0);
    sem_wait(&done);
    CHECK(pthread_tryjoin_np(*threads, 0) == EBUSY);
    CHECK(pthread_cancel(*threads) == 0);
    pthread_join(*threads, &result);
    printf("cancelled %d, cleaned %d\n", result == PTHREAD_CANCELED, cleaned);
    pthread_create(threads, 0, spin_until_cancelled, 0);
    sem_wait(&done);
    pthread_cancel(*threads);
    pthread_join(*threads, &result);
    printf("cancelled %d\n", result == PTHREAD_CANCELED);

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 1 << 20);
    pthread_create(threads, &attributes, measure_stack, (void *)(1L << 20));
    pthread_join(*threads, 0);
    static char stack[65536] __attribute__((aligned(4096)));
    pthread_attr_setstack(&attributes, stack, sizeof stack);
    pthread_create(threads, &attributes, own_stack, stack);
    pthread_join(*threads, 0);
    pthread_create(threads, 0, check_self, &self);
    pthread_join(*threads, 0);
    CHECK(pthread_equal(*threads, self));
    CHECK(pthread_join(pthread_self(), 0) == EDEADLK);

    cpu_set_t set;
    CPU_ZERO(&set);
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0);
    int cpu = sched_getcpu();
    CHECK(cpu >= 0 && CPU_ISSET(cpu, &set));
    return FINISH();
}
