// Futexes in memory that is mapped twice: shared ones are the same word by either address, private ones are not.
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "check.h"

struct shared {
    uint32_t word, other, private_word, asleep;
    pthread_mutex_t mutex, robust, inheriting;
    pthread_cond_t condition;
    pthread_barrier_t barrier;
    sem_t semaphore;
    int turn, count;
};

static struct shared *one, *two;

static long futex(uint32_t *at, int operation, uint32_t value, const void *timeout, uint32_t *at2, uint32_t value3)
{
    return syscall(SYS_futex, at, operation, value, timeout, at2, value3);
}

// Wakes as soon as somebody sleeps.
static void wake(uint32_t *at, int operation)
{
    while (futex(at, operation, 1, 0, 0, 0) == 0)
        usleep(1000);
}

static void *sleeper(void *at)
{
    CHECK(futex(at, FUTEX_WAIT, 0, 0, 0, 0) == 0);
    return 0;
}

static void *private_sleeper(void *at)
{
    CHECK(futex(at, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0) == 0);
    return 0;
}

static void *vector_sleeper(void *at)
{
    struct futex_waitv words[2] = {
        {.uaddr = (uintptr_t)&one->other, .flags = FUTEX_32},
        {.uaddr = (uintptr_t)at, .flags = FUTEX_32},
    };
    CHECK(syscall(SYS_futex_waitv, words, 2, 0, 0, 0) == 1);
    return 0;
}

static void words(int fd)
{
    pthread_t thread;
    pthread_create(&thread, 0, sleeper, &one->word);
    // The next word, the same one of this process alone, and a private copy of the page are others.
    CHECK(futex(&two->other, FUTEX_WAKE, 1, 0, 0, 0) == 0 && futex(&two->word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0) == 0);
    struct shared *copy = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    copy->turn = 1;
    CHECK(futex(&copy->word, FUTEX_WAKE, 1, 0, 0, 0) == 0 && munmap(copy, 4096) == 0);
    wake(&two->word, FUTEX_WAKE);
    pthread_join(thread, 0);
    // Another place of the same file.
    CHECK(ftruncate(fd, 8192) == 0);
    uint32_t *later = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
    uint32_t *both = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pthread_create(&thread, 0, sleeper, later);
    CHECK(futex(both, FUTEX_WAKE, 1, 0, 0, 0) == 0);
    wake(both + 1024, FUTEX_WAKE);
    pthread_join(thread, 0);
    // From one word to another, by other addresses than theirs.
    pthread_create(&thread, 0, sleeper, later);
    while (futex(both + 1024, FUTEX_REQUEUE, 0, (void *)1L, &two->other, 0) == 0)
        usleep(1000);
    CHECK(futex(later, FUTEX_WAKE, 1, 0, 0, 0) == 0 && futex(&one->other, FUTEX_WAKE, 1, 0, 0, 0) == 1);
    pthread_join(thread, 0);
    pthread_create(&thread, 0, vector_sleeper, &one->word);
    wake(&two->word, FUTEX_WAKE);
    pthread_join(thread, 0);
    CHECK(munmap(both, 8192) == 0 && munmap(later, 4096) == 0);
    // Private and shared are two, in anonymous memory, too.
    static uint32_t own;
    pthread_create(&thread, 0, sleeper, &own);
    CHECK(futex(&own, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0) == 0);
    wake(&own, FUTEX_WAKE);
    pthread_join(thread, 0);
    pthread_create(&thread, 0, private_sleeper, &one->private_word);
    CHECK(futex(&one->private_word, FUTEX_WAKE, 1, 0, 0, 0) == 0);
    CHECK(futex(&two->private_word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0) == 0);
    wake(&one->private_word, FUTEX_WAKE_PRIVATE);
    pthread_join(thread, 0);
    CHECK(futex((uint32_t *)8, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0) == 0);
    CHECK(futex((uint32_t *)8, FUTEX_WAKE, 1, 0, 0, 0) == -1 && errno == EFAULT);
    CHECK(futex((uint32_t *)6, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0) == -1 && errno == EINVAL);
}

static void *dies(void *unused)
{
    CHECK(pthread_mutex_lock(&two->robust) == 0);
    return unused;
}

static void *works(void *view)
{
    struct shared *mine = view;
    int me = mine == two;
    for (int round = 0; round < 200; round++) {
        CHECK(pthread_mutex_lock(&mine->mutex) == 0);
        while (mine->turn != me)
            CHECK(pthread_cond_wait(&mine->condition, &mine->mutex) == 0);
        mine->turn = !me;
        CHECK(pthread_cond_signal(&mine->condition) == 0 && pthread_mutex_unlock(&mine->mutex) == 0);
        CHECK(pthread_mutex_lock(&mine->inheriting) == 0);
        mine->count++;
        CHECK(pthread_mutex_unlock(&mine->inheriting) == 0);
        if (me)
            sem_wait(&mine->semaphore);
        else
            sem_post(&mine->semaphore);
    }
    pthread_barrier_wait(&mine->barrier);
    return 0;
}

static void of_the_library(void)
{
    pthread_mutexattr_t mutex;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&one->mutex, &mutex);
    pthread_mutexattr_setprotocol(&mutex, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&one->inheriting, &mutex);
    pthread_mutexattr_setprotocol(&mutex, PTHREAD_PRIO_NONE);
    pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&one->robust, &mutex);
    pthread_condattr_t condition;
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&one->condition, &condition);
    pthread_barrierattr_t barrier;
    pthread_barrierattr_init(&barrier);
    pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&one->barrier, &barrier, 2);
    sem_init(&one->semaphore, 1, 0);
    one->turn = one->count = 0;
    pthread_t threads[2];
    pthread_create(&threads[0], 0, works, one);
    pthread_create(&threads[1], 0, works, two);
    pthread_join(threads[0], 0);
    pthread_join(threads[1], 0);
    CHECK(two->count == 400);
    pthread_create(&threads[0], 0, dies, 0);
    pthread_join(threads[0], 0);
    CHECK(pthread_mutex_lock(&one->robust) == EOWNERDEAD && pthread_mutex_consistent(&one->robust) == 0);
    CHECK(pthread_mutex_unlock(&one->robust) == 0);
}

int main(void)
{
    int files[] = {
        memfd_create("words", 0),
        open("/tmp/futex_shared", O_RDWR | O_CREAT | O_TRUNC, 0600),
        shm_open("/futex_shared", O_RDWR | O_CREAT | O_TRUNC, 0600),
    };
    for (int index = 0; index < 3; index++) {
        int fd = files[index];
        CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
        one = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        two = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        words(fd);
        of_the_library();
        CHECK(munmap(one, 4096) == 0 && munmap(two, 4096) == 0 && close(fd) == 0);
    }
    unlink("/tmp/futex_shared");
    shm_unlink("/futex_shared");
    return FINISH();
}
