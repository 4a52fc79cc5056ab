// When one thread takes a page's rights or the page itself away, the other CPUs notice before the call returns: what
// they write afterwards faults, what they read from a new mapping is zero.
// cpus: 4
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include "check.h"

enum { PAGE = 4096, WRITERS = 3, ROUNDS = 200 };

static char *page;
static volatile int stop;
static int faults;
static unsigned long counters[WRITERS][64];
static __thread sigjmp_buf back;

static void caught(int number)
{
    (void)number;
    __atomic_add_fetch(&faults, 1, __ATOMIC_RELAXED);
    siglongjmp(back, 1);
}

// Each writes its own word of the page all the time, and goes on after faults.
static void *write_always(void *number)
{
    long id = (long)number;
    volatile unsigned long *word = (volatile unsigned long *)page + id * 8;
    sigsetjmp(back, 1);
    while (!stop) {
        *word = *word + 1;
        __atomic_add_fetch(&counters[id][0], 1, __ATOMIC_RELAXED);
    }
    return 0;
}

static void wait_for_progress(void)
{
    for (int i = 0; i < WRITERS; i++) {
        unsigned long before = __atomic_load_n(&counters[i][0], __ATOMIC_RELAXED);
        while (__atomic_load_n(&counters[i][0], __ATOMIC_RELAXED) == before)
            __asm__ volatile("pause");
    }
}

static char *lonely;
static volatile int phase;
static void *read_replaced(void *unused)
{
    for (int round = 1; round <= ROUNDS; round++) {
        CHECK(lonely[5] == 'x');
        phase = 2 * round - 1;
        while (phase != 2 * round)
            __asm__ volatile("pause");
        CHECK(lonely[5] == 0);
        lonely[5] = 'x';
    }
    phase = 2 * ROUNDS + 1;
    return unused;
}

int main(void)
{
    pthread_t threads[WRITERS];
    static char copy[PAGE];
    signal(SIGSEGV, caught);
    page = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], 0, write_always, (void *)i);
    int changed = 0;
    for (int round = 0; round < ROUNDS; round++) {
        wait_for_progress();
        CHECK(mprotect(page, PAGE, PROT_READ) == 0);
        // From here on nobody can have written.
        memcpy(copy, page, PAGE);
        for (int i = 0; i < 1000; i++)
            changed += *(volatile char *)page != copy[0];
        changed += memcmp(copy, page, PAGE) != 0;
        // With one CPU nobody may have tried so far.
        while (round == ROUNDS - 1 && !__atomic_load_n(&faults, __ATOMIC_RELAXED))
            sched_yield();
        CHECK(mprotect(page, PAGE, PROT_READ | PROT_WRITE) == 0);
    }
    wait_for_progress();
    stop = 1;
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], 0);
    printf("changed while read-only: %d\n", changed);

    lonely = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    lonely[5] = 'x';
    pthread_create(threads, 0, read_replaced, 0);
    for (int round = 1; round <= ROUNDS; round++) {
        while (phase != 2 * round - 1)
            __asm__ volatile("pause");
        CHECK(munmap(lonely, PAGE) == 0);
        // Somebody else may get the frame now.
        char *other = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(other, 'o', PAGE);
        CHECK(mmap(lonely, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == lonely);
        if (other != lonely)
            munmap(other, PAGE);
        phase = 2 * round;
    }
    pthread_join(threads[0], 0);
    return FINISH();
}
