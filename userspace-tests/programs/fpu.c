// Vector registers are a thread's own: six threads keep distinct values in ymm0 to ymm15 while they touch fresh pages,
// yield, call the system and are interrupted.
// cpus: 4
// flags: -mavx
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "check.h"

enum { THREADS = 6, ROUNDS = 300, PAGE = 4096 };

struct registers { unsigned char bytes[16][32]; } __attribute__((aligned(32)));

#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define LOAD(n) "vmovdqa " #n "*32(%0), %%ymm" #n "\n\t"
#define STORE(n) "vmovdqa %%ymm" #n ", " #n "*32(%1)\n\t"
#define CLOBBERS "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory"

// Between loading and storing: a page fault at `page`, a system call (sched_yield or getppid) and some time.
static void hold(const struct registers *in, struct registers *out, char *page, long call, long spin)
{
    __asm__ volatile(EACH(LOAD)
                     "movb $1, (%2)\n\t"
                     "mov %3, %%rax\n\t"
                     "syscall\n\t"
                     "mov %4, %%rcx\n"
                     "1:\tpause\n\t"
                     "dec %%rcx\n\t"
                     "jnz 1b\n\t"
                     "movb $2, 2048(%2)\n\t" EACH(STORE) "vzeroupper"
                     :
                     : "r"(in), "r"(out), "r"(page), "r"(call), "r"(spin)
                     : "rax", "rcx", "r11", CLOBBERS);
}

static pthread_barrier_t barrier;
static void *keep(void *number)
{
    struct registers in, out;
    long id = (long)number, wrong = 0;
    char *pages = mmap(0, ROUNDS * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned control = 0x1f80 | (unsigned)(id % 4) << 13, read_back;
    unsigned short word = (unsigned short)(0x37f & ~0xc00) | (unsigned short)((id % 4) << 10), word_back;
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(control), "m"(word));
    pthread_barrier_wait(&barrier);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 16; i++)
            memset(in.bytes[i], (int)(id * 40 + i + round), 32);
        memset(&out, 0, sizeof out);
        hold(&in, &out, pages + round * PAGE, round % 2 ? 24 : 110, 2000);
        wrong += memcmp(&in, &out, sizeof in) != 0;
        if (round % 50 == 0)
            usleep(100);
    }
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(read_back), "=m"(word_back));
    // The low six bits say what happened so far.
    CHECK((read_back & ~0x3fu) == control && word_back == word);
    munmap(pages, ROUNDS * PAGE);
    return (void *)wrong;
}

int main(void)
{
    if (!__builtin_cpu_supports("avx")) {
        puts("this processor has no AVX");
        return 1;
    }
    pthread_t threads[THREADS];
    void *wrong;
    pthread_barrier_init(&barrier, 0, THREADS);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], 0, keep, (void *)i);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &wrong);
        printf("thread %d: %ld wrong\n", i, (long)wrong);
    }
    return FINISH();
}
