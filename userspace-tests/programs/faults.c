// Faults become signals with the right code and address, from which programs go on: by siglongjmp, by mending what was
// wrong, by stepping over the instruction; on an alternate stack if the own one overflowed.
// cpus: 4
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include "check.h"

static __thread sigjmp_buf back;
static __thread siginfo_t last;
static __thread char *alternate;

static void jump(int number, siginfo_t *info, void *context)
{
    (void)context;
    last = *info;
    siglongjmp(back, number);
}
static char *page;
static volatile int mended;
static void mend(int number, siginfo_t *info, void *context)
{
    (void)context;
    CHECK(number == SIGSEGV && info->si_addr == page + 100);
    mended++;
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}
static void skip(int number, siginfo_t *info, void *context)
{
    ucontext_t *state = context;
    CHECK(number == SIGILL && info->si_addr == (void *)state->uc_mcontext.gregs[REG_RIP]);
    state->uc_mcontext.gregs[REG_RIP] += 2;
    state->uc_mcontext.gregs[REG_RAX] = 4711;
}
static void install(int number, void (*function)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = function, .sa_flags = SA_SIGINFO | flags};
    sigaction(number, &action, 0);
}

static volatile int sink, zero;
static char *volatile wild;
static void divide(void) { sink = 1000 / zero; }
static void read_null(void) { sink = *(volatile char *)wild; }
static void write_code(void) { *(volatile char *)(void *)divide = 0; }
static void non_canonical(void) { sink = *(volatile char *)0x8000000000000000; }
static void run_data(void) { ((void (*)(void))page)(); }
static void breakpoint(void) { __asm__ volatile("int3"); }
static void privileged(void) { __asm__ volatile("ud2"); }

static void attempt(const char *what, void (*function)(void))
{
    int number = sigsetjmp(back, 1);
    if (number == 0) {
        function();
        printf("%s: nothing happened\n", what);
    } else {
        printf("%s: %s, code %d\n", what, sigabbrev_np(number), last.si_code);
    }
}

static volatile int endless = -1;
static int __attribute__((noinline)) overflow(int n)
{
    volatile char room[1000];
    room[0] = (char)n;
    return n == endless ? 0 : overflow(n + 1) + room[0];
}
static void overflowed(int number, siginfo_t *info, void *context)
{
    (void)context;
    char local;
    CHECK(&local > alternate && &local < alternate + 65536);
    last = *info;
    siglongjmp(back, number);
}
static void *overflow_in_thread(void *result)
{
    alternate = malloc(65536);
    stack_t stack = {.ss_sp = alternate, .ss_size = 65536}, old;
    CHECK(sigaltstack(&stack, &old) == 0 && old.ss_flags == SS_DISABLE);
    for (volatile int i = 0; i < 3; i++)
        if (sigsetjmp(back, 1) == 0)
            overflow(0);
        else
            ++*(int *)result;
    stack.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&stack, 0) == 0);
    free(alternate);
    return 0;
}
static void *fault_often(void *result)
{
    for (volatile int i = 0; i < 300; i++)
        if (sigsetjmp(back, 1) == 0)
            i % 2 ? divide() : read_null();
        else
            ++*(int *)result;
    return 0;
}
static long preserved(void)
{
    // The handler changes rax only; all the rest is as before.
    long result, other = 12345;
    double number = 2.5;
    __asm__ volatile("movq %2, %%xmm7\n\tmov $7, %%r12\n\tstc\n\tud2\n\tadc $0, %%r12\n\tadd %%r12, %0\n\tmovq %%xmm7, %2"
                     : "=&a"(result), "+r"(other), "+r"(number)
                     :
                     : "r12", "xmm7", "cc");
    CHECK(other == 12345 && number == 2.5);
    return result;
}

int main(void)
{
    pthread_t threads[4];
    int results[4] = {0};
    page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    install(SIGSEGV, mend, 0);
    page[100] = 'x';
    printf("mended %d, %c\n", mended, page[100]);
    install(SIGILL, skip, 0);
    printf("stepped over: %ld\n", preserved());

    install(SIGSEGV, jump, 0);
    install(SIGBUS, jump, 0);
    install(SIGILL, jump, 0);
    install(SIGFPE, jump, 0);
    install(SIGTRAP, jump, 0);
    attempt("null", read_null);
    CHECK(last.si_addr == 0);
    attempt("divide", divide);
    CHECK(last.si_addr != 0);
    attempt("write to code", write_code);
    CHECK(last.si_addr == (void *)divide);
    attempt("non-canonical", non_canonical);
    attempt("execute data", run_data);
    CHECK(last.si_addr == page);
    attempt("undefined", privileged);
    attempt("breakpoint", breakpoint);

    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, fault_often, &results[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], 0);
    printf("%d %d %d %d\n", results[0], results[1], results[2], results[3]);

    install(SIGSEGV, overflowed, SA_ONSTACK);
    memset(results, 0, sizeof results);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], 0, overflow_in_thread, &results[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], 0);
    overflow_in_thread(&results[2]);
    printf("overflows %d %d %d\n", results[0], results[1], results[2]);
    return FINISH();
}
