// What handlers change in the context they are given: registers, the place to go on, the stack, vector registers, the mask;
// and what they find there. Faults of every kind, in handlers, too.
// link: -lm
#include <errno.h>
#include <fenv.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include "check.h"

typedef void handler_function(int, siginfo_t *, void *);
static void install(int number, handler_function *function, int flags)
{
    struct sigaction action = {.sa_sigaction = function, .sa_flags = SA_SIGINFO | flags};
    CHECK(sigaction(number, &action, 0) == 0);
}

// Registers.
static void change_all(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    CHECK(registers[REG_TRAPNO] == 6 && registers[REG_RBX] == 2 && registers[REG_R12] == 12 && registers[REG_R15] == 15);
    registers[REG_RBX] += 100;
    registers[REG_RCX] += 100;
    registers[REG_RDX] += 100;
    registers[REG_R8] += 100;
    registers[REG_R11] += 100;
    registers[REG_R12] += 100;
    registers[REG_R15] += 100;
    registers[REG_EFL] |= 0x41;
    registers[REG_RIP] += 2;
}
static void test_registers(void)
{
    install(SIGILL, change_all, 0);
    uint64_t b = 2, c = 3, d = 4, sum, flags;
    __asm__ volatile("mov $8, %%r8\n\tmov $11, %%r11\n\tmov $12, %%r12\n\tmov $15, %%r15\n\ttest %%rbx, %%rbx\n\tud2\n\t"
                     "pushfq\n\tpop %4\n\tlea (%%r8, %%r11), %3\n\tadd %%r12, %3\n\tadd %%r15, %3"
                     : "+b"(b), "+c"(c), "+d"(d), "=&r"(sum), "=&r"(flags)
                     :
                     : "r8", "r11", "r12", "r15", "cc", "memory");
    printf("registers: %d %d %d %d, flags %#x\n", (int)b, (int)c, (int)d, (int)sum, (int)(flags & 0x8d5));
}

// Vector registers and their control.
static void change_vectors(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    ucontext_t *state = context;
    struct _libc_fpstate *fp = state->uc_mcontext.fpregs;
    double three[2];
    memcpy(three, &fp->_xmm[3], sizeof three);
    CHECK(three[0] == 1.5 && three[1] == -2.5);
    CHECK((fp->mxcsr & 0x6000) == 0x2000 && (fp->cwd & 0xc00) == 0xc00);
    double own[2] = {three[0] * 2, three[1] * 2};
    memcpy(&fp->_xmm[3], own, sizeof own);
    memcpy(&fp->_xmm[12], own, sizeof own);
    fp->mxcsr = (fp->mxcsr & ~0x6000u) | 0x4000;
    fp->cwd = (unsigned short)((fp->cwd & ~0xc00) | 0x800);
    // The handler has the default state, whatever was before.
    uint32_t control;
    uint16_t word;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(control), "=m"(word));
    CHECK(control == 0x1f80 && word == 0x37f);
    state->uc_mcontext.gregs[REG_RIP] += 2;
}
static void test_vectors(void)
{
    install(SIGILL, change_vectors, 0);
    double in[2] = {1.5, -2.5}, out[2], twelve[2];
    uint32_t down = 0x3f80, control, normal = 0x1f80;
    uint16_t truncate = 0xf7f, word, normal_word = 0x37f;
    __asm__ volatile("ldmxcsr %[down]\n\tfldcw %[trunc]\n\tmovupd %[in], %%xmm3\n\txorpd %%xmm12, %%xmm12\n\tud2\n\t"
                     "movupd %%xmm3, %[out]\n\tmovupd %%xmm12, %[twelve]\n\tstmxcsr %[control]\n\tfnstcw %[word]\n\t"
                     "ldmxcsr %[normal]\n\tfldcw %[normal_word]"
                     : [out] "=m"(out), [twelve] "=m"(twelve), [control] "=m"(control), [word] "=m"(word)
                     : [down] "m"(down), [trunc] "m"(truncate), [in] "m"(in), [normal] "m"(normal), [normal_word] "m"(normal_word)
                     : "xmm3", "xmm12");
    printf("vectors: %g %g, %g %g, control %#x %#x\n", out[0], out[1], twelve[0], twelve[1], control & 0x6000, word & 0xc00);
}

// Another place, another stack.
static char other_stack[65536] __attribute__((aligned(16)));
static ucontext_t before;
static volatile int landed;
static void elsewhere(long a, long b)
{
    char local;
    CHECK(&local > other_stack && &local < other_stack + sizeof other_stack);
    landed = (int)(a + b);
    raise(SIGUSR2);
}
static void divert(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    before = *(ucontext_t *)context;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    registers[REG_RIP] = (greg_t)elsewhere;
    registers[REG_RSP] = (greg_t)(other_stack + sizeof other_stack - 8);
    registers[REG_RDI] = 40;
    registers[REG_RSI] = 2;
}
static void come_back(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    ucontext_t *state = context;
    memcpy(state->uc_mcontext.gregs, before.uc_mcontext.gregs, sizeof before.uc_mcontext.gregs);
    state->uc_mcontext.gregs[REG_RIP] += 2;
    sigaddset(&state->uc_sigmask, SIGWINCH);
}
static void test_place(void)
{
    install(SIGILL, divert, 0);
    install(SIGUSR2, come_back, 0);
    __asm__ volatile("ud2" ::: "memory");
    sigset_t mask;
    sigprocmask(SIG_BLOCK, 0, &mask);
    printf("elsewhere: %d, mask %d\n", landed, sigismember(&mask, SIGWINCH));
    sigemptyset(&mask);
    sigprocmask(SIG_SETMASK, &mask, 0);
}
// The result of a system call.
static void change_result(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    CHECK(registers[REG_RAX] == -EINTR);
    registers[REG_RAX] = 77;
}
static void test_result(void)
{
    install(SIGALRM, change_result, 0);
    // The signal must not come before the call.
    sigset_t alarm, old;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm, &old);
    ualarm(10000, 0);
    printf("sigsuspend returns %d\n", sigsuspend(&old));
    sigprocmask(SIG_SETMASK, &old, 0);
}

// Faults.
static sigjmp_buf back;
static siginfo_t last;
static void jump(int number, siginfo_t *info, void *context)
{
    (void)context;
    last = *info;
    siglongjmp(back, number);
}
static char *mapped, *past_end;
static volatile int zero, sink;
static void bus(void) { sink = *past_end; }
static void bus_in_call(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    CHECK(write(ends[1], past_end, 10) == -1 && errno == EFAULT);
    close(ends[0]);
    close(ends[1]);
}
static void divide(void) { sink = 1000 / zero; }
static void overflow_divide(void)
{
    int low = -2147483647 - 1, high = -1;
    __asm__ volatile("idivl %2" : "+a"(low), "+d"(high) : "r"(-1));
}
// Not with SSE: emulated CPUs (TCG) do not raise its exceptions.
static void x87_divide(void)
{
    feenableexcept(FE_DIVBYZERO);
    __asm__ volatile("fld1\n\tfldz\n\tfdivrp\n\tfwait\n\tfstp %st(0)");
}
static void undefined(void) { __asm__ volatile("ud2"); }
static void breakpoint(void) { __asm__ volatile("int3"); }
static void misaligned(void)
{
    __asm__ volatile("movaps 1(%%rsp), %%xmm0" ::: "xmm0");
}
static void jump_wild(void) { ((void (*)(void))(uintptr_t)0x123456789000)(); }
static void jump_non_canonical(void)
{
    __asm__ volatile("mov $0x1234567890123456, %%rax\n\tjmp *%%rax" ::: "rax");
}
static void null_call(void)
{
    void (*volatile function)(void) = 0;
    function();
}
static void attempt(const char *what, void (*function)(void))
{
    int number = sigsetjmp(back, 1);
    if (number == 0) {
        function();
        printf("%s: nothing\n", what);
    } else {
        printf("%s: %s, code %d\n", what, sigabbrev_np(number), last.si_code);
    }
    fedisableexcept(FE_ALL_EXCEPT);
    feclearexcept(FE_ALL_EXCEPT);
    __asm__ volatile("fninit");
}

// Faults in handlers.
static volatile int depth;
static void fault_again(int number, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    if (number == SIGUSR1) {
        sink = *(volatile char *)(uintptr_t)16;
        depth += 100;
    } else if (++depth < 5) {
        sink = *(volatile char *)(uintptr_t)(16 + depth);
        depth += 100;
    } else {
        siglongjmp(back, 1);
    }
}
static void skip_load(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    depth++;
    // movzbl (%rax),%eax in nested(): 3 bytes
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 3;
}
static void nested(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    __asm__ volatile("movzbl (%%rax), %%eax" : : "a"(16L));
    depth += 10;
}

// An overflow of the stack, mended on the alternate one: the handler makes the stack grow.
static char *region;
static volatile int grown;
static void grow(int number, siginfo_t *info, void *context)
{
    (void)number;
    stack_t stack;
    CHECK(sigaltstack(0, &stack) == 0 && stack.ss_flags == SS_ONSTACK);
    CHECK(((ucontext_t *)context)->uc_stack.ss_size == stack.ss_size);
    CHECK((char *)info->si_addr >= region && (char *)info->si_addr < region + (4 << 20));
    CHECK(sigaltstack(&stack, 0) == -1 && errno == EPERM);
    char *page = (char *)((uintptr_t)info->si_addr & ~65535ul);
    CHECK(mprotect(page, 65536, PROT_READ | PROT_WRITE) == 0);
    grown++;
}
static int __attribute__((noinline)) deep(int n)
{
    volatile char room[2000];
    room[0] = (char)n;
    return n == 0 ? 0 : deep(n - 1) + 1 + room[0] - (char)n;
}
static void *use_stack(void *unused)
{
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    CHECK(sigaltstack(&stack, 0) == 0);
    CHECK(deep(1000) == 1000);
    return unused;
}

int main(void)
{
    test_registers();
    test_vectors();
    test_place();
    test_result();

    int file = memfd_create("file", 0);
    CHECK(file >= 0 && ftruncate(file, 100) == 0);
    mapped = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    past_end = mapped + 4096 + 5;
    int caught[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (int i = 0; i < 5; i++)
        install(caught[i], jump, 0);
    attempt("past the file", bus);
    CHECK(last.si_addr == past_end);
    attempt("past the file in a call", bus_in_call);
    attempt("division by zero", divide);
    attempt("quotient too large", overflow_divide);
    attempt("x87 1 / 0", x87_divide);
    attempt("undefined", undefined);
    attempt("breakpoint", breakpoint);
    attempt("misaligned", misaligned);
    attempt("jump to nowhere", jump_wild);
    CHECK(last.si_addr == (void *)0x123456789000);
    attempt("jump to no address", jump_non_canonical);
    attempt("call of null", null_call);
    CHECK(last.si_addr == 0);

    install(SIGSEGV, fault_again, SA_NODEFER);
    install(SIGUSR1, fault_again, 0);
    if (sigsetjmp(back, 1) == 0)
        raise(SIGUSR1);
    printf("faults in handlers: %d deep\n", depth);
    depth = 0;
    install(SIGSEGV, skip_load, 0);
    install(SIGUSR1, nested, 0);
    raise(SIGUSR1);
    printf("mended in a handler: %d\n", depth);

    install(SIGSEGV, grow, SA_ONSTACK);
    region = mmap(0, 4 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(mprotect(region + (4 << 20) - 65536, 65536, PROT_READ | PROT_WRITE) == 0);
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstack(&attributes, region, 4 << 20) == 0);
    CHECK(pthread_create(&thread, &attributes, use_stack, 0) == 0 && pthread_join(thread, 0) == 0);
    CHECK(grown > 20);
    return FINISH();
}
