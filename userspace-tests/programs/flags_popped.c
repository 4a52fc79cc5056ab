// What a program pops into its flags, or into its stack pointer, does it no good, but the kernel no harm: with IF popped
// as 0 pages still come in, system calls and timers work; a stack pointer that is nowhere is a
// signal (of which kind, emulators do not agree).
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile sig_atomic_t ticks, number, code;

static void tick(int signal) {
    (void)signal;
    ticks++;
}

static void fault(int signal, siginfo_t *info, void *context) {
    (void)context;
    number = signal;
    code = info->si_code;
    siglongjmp(back, 1);
}

static void clear_all(void) { asm volatile("pushq $0; popfq" ::: "cc", "memory"); }

#define WITH_STACK(text, pointer)                                                                          \
    do {                                                                                                   \
        if (!sigsetjmp(back, 1)) {                                                                         \
            asm volatile("mov %0, %%rsp; push $1" ::"r"((uint64_t)(pointer)) : "memory");                  \
            puts(text ": went on");                                                                        \
        } else {                                                                                           \
            printf(text ": fault %d\n", number == SIGSEGV || number == SIGBUS);                            \
        }                                                                                                  \
    } while (0)

int main(void) {
    size_t length = 8 << 20;
    char *pages = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    clear_all();
    for (size_t i = 0; i < length; i += 4096) pages[i] = 1;
    puts("pages came in");

    signal(SIGALRM, tick);
    struct itimerval interval = {{0, 2000}, {0, 2000}};
    setitimer(ITIMER_REAL, &interval, NULL);
    while (ticks < 5) {
        clear_all();
        struct timespec now;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    }
    interval = (struct itimerval){0};
    setitimer(ITIMER_REAL, &interval, NULL);
    puts("ticks came");

    stack_t stack = {.ss_sp = pages, .ss_size = length};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    for (int i = 1; i < 32; i++)
        if (i == SIGSEGV || i == SIGBUS || i == SIGILL || i == SIGTRAP) sigaction(i, &action, NULL);
    WITH_STACK("null", 0x1000);
    WITH_STACK("upper half", 0xffff900000001000);
    WITH_STACK("last page", 0xfffffffffffffff0);
    WITH_STACK("in between", 0x123456789abcdef0);
    WITH_STACK("in between, negative", 0x8765432187654320);

    if (!sigsetjmp(back, 1)) asm volatile("int $0x81");
    else printf("int: signal %d code %d\n", number, code);
    if (!sigsetjmp(back, 1)) asm volatile("int3");
    else printf("int3: signal %d code %d\n", number, code);
}
