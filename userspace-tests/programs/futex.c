// Futexes as the kernel offers them: values that differ, time limits, wake counts, requeueing, bit sets, words that are
// not there; thread exit clears and wakes.
// cpus: 4
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static uint32_t word, other, waiting;

static long futex(uint32_t *at, int operation, uint32_t value, const void *timeout, uint32_t *at2, uint32_t value3)
{
    return syscall(SYS_futex, at, operation, value, timeout, at2, value3);
}
static void *wait_once(void *unused)
{
    __atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
    CHECK(futex(&word, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0) == 0);
    return unused;
}
static void *wait_bits(void *bits)
{
    __atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
    CHECK(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, 0, 0, (uint32_t)(long)bits) == 0);
    return 0;
}
static void until_asleep(uint32_t count)
{
    while (__atomic_load_n(&waiting, __ATOMIC_SEQ_CST) < count)
        usleep(1000);
    usleep(30000);
    waiting = 0;
}
// A shared futex is known by its page, so there must be one; a private one by its address, which must be the program's.
static void words_not_there(void)
{
    uint32_t *hidden = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t *kernel = (uint32_t *)0xffff800000000000;
    CHECK(futex(hidden, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0) == -1 && errno == EFAULT);
    CHECK(futex(hidden, FUTEX_WAKE, 1, 0, 0, 0) == -1 && errno == EFAULT);
    CHECK(futex(hidden, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0) == 0);
    CHECK(futex(kernel, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0) == -1 && errno == EFAULT);
    CHECK(futex(hidden, FUTEX_WAKE_BITSET, 1, 0, 0, 1) == -1 && errno == EFAULT);
    CHECK(futex(hidden, FUTEX_REQUEUE, 1, (void *)1L, &word, 0) == -1 && errno == EFAULT);
    CHECK(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1L, hidden, 1) == -1 && errno == EFAULT);
    CHECK(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1L, hidden, 0) == 0);
    CHECK(futex(hidden, FUTEX_WAKE_OP, 1, (void *)1L, &word, 0) == -1 && errno == EFAULT);
    CHECK(futex(hidden, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1L, &word, 0) == 0);
    CHECK(syscall(SYS_futex_waitv, 0, 1, 0, 0, 0) == -1 && errno == EINVAL);
    CHECK(munmap(hidden, 4096) == 0);
    CHECK(futex(hidden, FUTEX_WAKE, 1, 0, 0, 0) == -1 && errno == EFAULT);
}

int main(void)
{
    pthread_t threads[4];
    struct timespec limit = {0, 10000000}, past = {1, 0};
    CHECK(futex(&word, FUTEX_WAIT_PRIVATE, 1, 0, 0, 0) == -1 && errno == EAGAIN);
    CHECK(futex(&word, FUTEX_WAIT_PRIVATE, 0, &limit, 0, 0) == -1 && errno == ETIMEDOUT);
    CHECK(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, &past, 0, FUTEX_BITSET_MATCH_ANY) == -1 && errno == ETIMEDOUT);
    CHECK(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, 0, 0, 0) == -1 && errno == EINVAL);
    CHECK(futex(&word, FUTEX_WAKE_PRIVATE, 10, 0, 0, 0) == 0);
    CHECK(futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT_PRIVATE, 0, 0, 0, 0) == -1 && errno == EINVAL);
    words_not_there();

    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, wait_once, 0);
    until_asleep(4);
    CHECK(futex(&word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0) == 1);
    CHECK(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10L, &other, 1) == -1 && errno == EAGAIN);
    CHECK(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10L, &other, 0) == 3);
    CHECK(futex(&word, FUTEX_WAKE_PRIVATE, 10, 0, 0, 0) == 0);
    CHECK(futex(&other, FUTEX_WAKE_PRIVATE, 10, 0, 0, 0) == 2);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], 0);
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, wait_bits, (void *)(1L << i));
    until_asleep(4);
    CHECK(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, 0, 0, 5) == 2);
    CHECK(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, 0, 0, 16) == 0);
    CHECK(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, 0, 0, FUTEX_BITSET_MATCH_ANY) == 2);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], 0);
    return FINISH();
}
