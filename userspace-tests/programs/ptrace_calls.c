// ptrace(2): what a debugger does with a child that asks to be traced: running it, system call stops and what can be
// changed there, single steps, a breakpoint in text that is shared with other processes, signals, events, registers.
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <elf.h>
#include <stddef.h>
#include <unistd.h>
#include <linux/ptrace.h>
#include "check.h"
#include "tracee_status.h"

// Waits for any stop or end of the tracee, and says what it is.
static pid_t await(pid_t pid)
{
    return waitpid(pid, &status, __WALL);
}

static pid_t traced(void (*run)(void), int options)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        run();
        _exit(0);
    }
    CHECK(await(pid) == pid);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    CHECK(ptrace(PTRACE_SETOPTIONS, pid, 0, options | PTRACE_O_EXITKILL) == 0);
    return pid;
}

static void next(pid_t pid, int request, int signal, const char *what)
{
    CHECK(ptrace(request, pid, 0, signal) == 0);
    CHECK(await(pid) == pid);
    say(what);
}

static struct user_regs_struct registers(pid_t pid)
{
    struct user_regs_struct regs;
    memset(&regs, 0, sizeof regs);
    CHECK(ptrace(PTRACE_GETREGS, pid, 0, &regs) == 0);
    return regs;
}

static void some_calls(void)
{
    syscall(SYS_getppid);
    syscall(SYS_close, -1);
    syscall(-1);
    if (syscall(SYS_getuid) == 4711 && syscall(SYS_dup, -1) == -EPERM - 100)
        _exit(7);
}

// Each system call stops twice; a call can be kept from being made, or have another result or number.
static void system_calls(void)
{
    pid_t pid = traced(some_calls, PTRACE_O_TRACESYSGOOD);
    for (int stop = 0; stop < 30; stop++) {
        struct __ptrace_syscall_info info;
        CHECK(ptrace(PTRACE_SYSCALL, pid, 0, 0) == 0);
        CHECK(await(pid) == pid);
        if (!WIFSTOPPED(status)) {
            say("calls");
            return;
        }
        struct user_regs_struct regs = registers(pid);
        CHECK(ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) > 0);
        CHECK(info.instruction_pointer == regs.rip && info.stack_pointer == regs.rsp);
        CHECK(WSTOPSIG(status) == (SIGTRAP | 0x80));
        siginfo_t siginfo;
        CHECK(ptrace(PTRACE_GETSIGINFO, pid, 0, &siginfo) == 0);
        unsigned long message;
        CHECK(ptrace(PTRACE_GETEVENTMSG, pid, 0, &message) == 0);
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            CHECK(info.entry.nr == regs.orig_rax && info.entry.args[0] == regs.rdi);
            printf("entry of %lld, rax %lld, code %#x, message %lu\n", (long long)regs.orig_rax,
                   (long long)regs.rax, siginfo.si_code, message);
            if (regs.orig_rax == SYS_getuid) {
                regs.orig_rax = -1;
                regs.rax = 4711;
                CHECK(ptrace(PTRACE_SETREGS, pid, 0, &regs) == 0);
            }
        } else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
            printf("exit of %lld, error %d, message %lu\n", (long long)regs.orig_rax,
                   info.exit.is_error, message);
            if (regs.orig_rax == SYS_getppid)
                CHECK((pid_t)regs.rax == getpid());
            else
                printf("result %lld\n", (long long)regs.rax);
            if (regs.orig_rax == SYS_dup) {
                CHECK(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.rax), -EPERM - 100L) == 0);
                CHECK(ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rax), 0) == -EPERM - 100L);
            }
        }
    }
}

static volatile long counter;

__attribute__((noinline, noclone)) static long counted(long n)
{
    __asm__ volatile("" : "+r"(n));
    counter += n;
    return counter;
}

static void call_counted(void)
{
    for (int i = 1; i <= 3; i++)
        counted(i);
    _exit(counter);
}

// A breakpoint in a function: the tracee's text is its own from then on.
static void breakpoint(void)
{
    pid_t pid = traced(call_counted, 0);
    errno = 0;
    long old = ptrace(PTRACE_PEEKTEXT, pid, counted, 0);
    CHECK(errno == 0 && memcmp(&old, (void *)counted, sizeof old) == 0);
    CHECK(ptrace(PTRACE_POKETEXT, pid, counted, (old & ~0xffL) | 0xcc) == 0);
    CHECK(memcmp(&old, (void *)counted, sizeof old) == 0);
    for (int hit = 1; hit <= 3; hit++) {
        next(pid, PTRACE_CONT, 0, "breakpoint");
        struct user_regs_struct regs = registers(pid);
        CHECK(regs.rip == (uintptr_t)counted + 1);
        CHECK(regs.rdi == (unsigned)hit);
        siginfo_t info;
        CHECK(ptrace(PTRACE_GETSIGINFO, pid, 0, &info) == 0);
        CHECK(info.si_signo == SIGTRAP && info.si_code == SI_KERNEL);
        CHECK(ptrace(PTRACE_PEEKDATA, pid, &counter, 0) == (hit == 1 ? 0 : hit == 2 ? 10 : 15));
        // As debuggers step over one: the old text, a step, and the breakpoint again.
        regs.rip--;
        if (hit == 1)
            regs.rdi = 10;
        if (hit == 2)
            regs.rdi = 5;
        CHECK(ptrace(PTRACE_SETREGS, pid, 0, &regs) == 0);
        CHECK(ptrace(PTRACE_POKETEXT, pid, counted, old) == 0);
        next(pid, PTRACE_SINGLESTEP, 0, "step over it");
        regs = registers(pid);
        CHECK(regs.rip > (uintptr_t)counted && regs.rip < (uintptr_t)counted + 16);
        CHECK(ptrace(PTRACE_POKETEXT, pid, counted, (old & ~0xffL) | 0xcc) == 0);
    }
    next(pid, PTRACE_CONT, 0, "after breakpoints");
    CHECK(counted(0) == 0);
    // Where nothing is, and where nobody may write.
    pid = traced(call_counted, 0);
    errno = 0;
    CHECK(ptrace(PTRACE_PEEKDATA, pid, 8, 0) == -1 && errno == EIO);
    CHECK(ptrace(PTRACE_POKEDATA, pid, 8, 0) == -1 && errno == EIO);
    CHECK(ptrace(PTRACE_PEEKUSER, pid, 4, 0) == -1 && errno == EIO);
    static const char constant[64] = "constant";
    CHECK(ptrace(PTRACE_POKEDATA, pid, constant, 0x4141414141414141) == 0);
    CHECK(ptrace(PTRACE_PEEKDATA, pid, constant, 0) == 0x4141414141414141);
    CHECK(strcmp(constant, "constant") == 0);
    CHECK(ptrace(PTRACE_KILL, pid, 0, 0) == 0);
    await(pid);
    say("killed");
}

extern char loop_begin[], loop_end[];

static void loop(void)
{
    __asm__ volatile(
        "mov $10, %%ecx\n"
        ".globl loop_begin\nloop_begin:\n"
        "xor %%eax, %%eax\n"
        "1: add %%ecx, %%eax\n"
        "dec %%ecx\n"
        "jnz 1b\n"
        "mov %%eax, %%edi\n"
        "mov $39, %%eax\n" // getpid
        "syscall\n"
        "nop\n"
        ".globl loop_end\nloop_end:\n"
        "nop\n" ::: "rax", "rcx", "rdi", "r11", "memory");
    raise(SIGUSR1);
}

// Steps through a loop and a system call, one instruction each.
static void steps(void)
{
    pid_t pid = traced(loop, 0);
    long old = ptrace(PTRACE_PEEKTEXT, pid, loop_begin, 0);
    CHECK(ptrace(PTRACE_POKETEXT, pid, loop_begin, (old & ~0xffL) | 0xcc) == 0);
    next(pid, PTRACE_CONT, 0, "to the loop");
    struct user_regs_struct regs = registers(pid);
    CHECK(ptrace(PTRACE_POKETEXT, pid, loop_begin, old) == 0);
    CHECK(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.rip), regs.rip - 1) == 0);
    int count = 0, code = 0;
    while (regs.rip != (uintptr_t)loop_end && count < 100) {
        CHECK(ptrace(PTRACE_SINGLESTEP, pid, 0, 0) == 0);
        CHECK(await(pid) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
        regs = registers(pid);
        CHECK((regs.eflags & 0x100) == 0);
        siginfo_t info;
        CHECK(ptrace(PTRACE_GETSIGINFO, pid, 0, &info) == 0);
        code = code * 3 + info.si_code;
        count++;
    }
    printf("%d steps, codes %d, sum %lld\n", count, code, (long long)regs.rdi);
    // The rest runs freely; a signal comes, and another one is put in its place.
    next(pid, PTRACE_CONT, 0, "after steps");
    siginfo_t info;
    CHECK(ptrace(PTRACE_GETSIGINFO, pid, 0, &info) == 0);
    CHECK(info.si_signo == SIGUSR1 && info.si_pid == pid);
    next(pid, PTRACE_CONT, SIGTERM, "another signal");
}

static volatile sig_atomic_t handled;

static void handler(int signal)
{
    handled = signal;
}

static void take_signals(void)
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGUSR2, SIG_IGN);
    raise(SIGUSR1); // let through
    int first = handled;
    handled = 0;
    raise(SIGUSR1); // kept back
    int second = handled;
    raise(SIGUSR2); // ignored, and told of
    sigset_t set;
    sigprocmask(SIG_SETMASK, NULL, &set);
    if (sigismember(&set, SIGALRM) == 1)
        raise(SIGALRM); // blocked by the tracer
    _exit(first == SIGUSR1 && second == 0 ? 9 : 8);
}

// Signals are the tracer's to let through or not, ignored ones, too.
static void signals(void)
{
    pid_t pid = traced(take_signals, 0);
    next(pid, PTRACE_CONT, 0, "first");
    next(pid, PTRACE_SINGLESTEP, SIGUSR1, "into the handler");
    CHECK(registers(pid).rip == (uintptr_t)handler);
    next(pid, PTRACE_CONT, 0, "second");
    next(pid, PTRACE_CONT, 0, "ignored");
    uint64_t mask = 0;
    CHECK(ptrace(PTRACE_GETSIGMASK, pid, sizeof mask, &mask) == 0);
    mask |= 1ul << (SIGALRM - 1);
    CHECK(ptrace(PTRACE_SETSIGMASK, pid, sizeof mask, &mask) == 0);
    next(pid, PTRACE_CONT, SIGUSR2, "end");
}

static void crash(void)
{
    *(volatile int *)16 = 1;
}

// A fault is told before it kills.
static void fault(void)
{
    pid_t pid = traced(crash, 0);
    next(pid, PTRACE_CONT, 0, "fault");
    siginfo_t info;
    CHECK(ptrace(PTRACE_GETSIGINFO, pid, 0, &info) == 0);
    CHECK(info.si_code == SEGV_MAPERR && info.si_addr == (void *)16);
    next(pid, PTRACE_CONT, SIGKILL, "killed for it");
}

static void run_again(void)
{
    execl("/proc/self/exe", "ptrace_calls", "again", NULL);
    _exit(99);
}

static void execution(void)
{
    unsigned long message;
    pid_t pid = traced(run_again, PTRACE_O_TRACEEXEC);
    next(pid, PTRACE_CONT, 0, "exec");
    CHECK(ptrace(PTRACE_GETEVENTMSG, pid, 0, &message) == 0 && message == (unsigned long)pid);
    printf("orig_rax %lld rax %lld\n", (long long)registers(pid).orig_rax, (long long)registers(pid).rax);
    next(pid, PTRACE_CONT, 0, "what it runs");
    // Without the option there is a signal.
    pid = traced(run_again, 0);
    next(pid, PTRACE_CONT, 0, "exec's signal");
    siginfo_t info;
    CHECK(ptrace(PTRACE_GETSIGINFO, pid, 0, &info) == 0 && info.si_code == SI_USER);
    next(pid, PTRACE_CONT, 0, "what it runs");
}

static void *thread(void *unused)
{
    return unused;
}

static void start_others(void)
{
    pthread_t other;
    pthread_create(&other, NULL, thread, NULL);
    pthread_join(other, NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(5);
    waitpid(child, NULL, 0);
    child = vfork();
    if (child == 0)
        _exit(6);
    waitpid(child, NULL, 0);
    _exit(4);
}

// What a tracee starts is traced, too, and stops first.
static void children(void)
{
    int options = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                  PTRACE_O_TRACEVFORKDONE | PTRACE_O_TRACEEXIT;
    pid_t pid = traced(start_others, options);
    int events[8] = {0}, stops = 0, ends = 0, sum = 0, signals = 0;
    CHECK(ptrace(PTRACE_CONT, pid, 0, 0) == 0);
    for (;;) {
        pid_t who = waitpid(-1, &status, __WALL);
        if (who < 0)
            break;
        if (!WIFSTOPPED(status)) {
            CHECK(WIFEXITED(status));
            ends++;
            sum += WEXITSTATUS(status);
            continue;
        }
        int event = status >> 16, signal = WSTOPSIG(status);
        if (event) {
            unsigned long message = 0;
            CHECK(signal == SIGTRAP && event < 8);
            CHECK(ptrace(PTRACE_GETEVENTMSG, who, 0, &message) == 0);
            CHECK(event == PTRACE_EVENT_EXIT ? message % 256 == 0 : message > (unsigned long)pid);
            events[event]++;
            signal = 0;
        } else if (signal == SIGSTOP) {
            stops++;
            signal = 0;
        } else {
            CHECK(signal == SIGCHLD);
            signals++;
        }
        CHECK(ptrace(PTRACE_CONT, who, 0, signal) == 0);
    }
    CHECK(errno == ECHILD);
    printf("fork %d vfork %d clone %d done %d exit %d; %d stops, %d signals, %d ends, sum %d\n",
           events[PTRACE_EVENT_FORK], events[PTRACE_EVENT_VFORK], events[PTRACE_EVENT_CLONE],
           events[PTRACE_EVENT_VFORK_DONE], events[PTRACE_EVENT_EXIT], stops, signals, ends, sum);
}

static double factor = 1.5;

static void floats(void)
{
    double value = factor;
    __asm__ volatile("movsd %0, %%xmm5\nint3\nmovsd %%xmm5, %0" : "+m"(value)::"xmm5");
    _exit(value == 42.0 ? 3 : 2);
}

// The floating-point registers, in three forms.
static void floating_point(void)
{
    pid_t pid = traced(floats, 0);
    next(pid, PTRACE_CONT, 0, "floats");
    struct user_fpregs_struct legacy, again;
    CHECK(ptrace(PTRACE_GETFPREGS, pid, 0, &legacy) == 0);
    double value;
    memcpy(&value, &legacy.xmm_space[5 * 4], sizeof value);
    CHECK(value == 1.5 && legacy.cwd == 0x37f && legacy.mxcsr == 0x1f80);
    struct iovec vector = {&again, sizeof again};
    CHECK(ptrace(PTRACE_GETREGSET, pid, NT_PRFPREG, &vector) == 0);
    CHECK(vector.iov_len == sizeof again && memcmp(&legacy, &again, 400) == 0);
    static char area[16384];
    vector = (struct iovec){area, sizeof area};
    CHECK(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &vector) == 0);
    CHECK(vector.iov_len >= 576 && memcmp(&legacy, area, 400) == 0);
    value = 41.0;
    memcpy(area + 160 + 5 * 16, &value, sizeof value);
    CHECK(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &vector) == 0);
    CHECK(ptrace(PTRACE_GETFPREGS, pid, 0, &legacy) == 0);
    memcpy(&value, &legacy.xmm_space[5 * 4], sizeof value);
    CHECK(value == 41.0);
    value = 42.0;
    memcpy(&legacy.xmm_space[5 * 4], &value, sizeof value);
    CHECK(ptrace(PTRACE_SETFPREGS, pid, 0, &legacy) == 0);
    struct user_regs_struct regs;
    vector = (struct iovec){&regs, 24};
    CHECK(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &vector) == 0 && vector.iov_len == 24);
    vector.iov_len = sizeof regs;
    CHECK(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &vector) == 0);
    CHECK(vector.iov_len == sizeof regs && regs.cs == 0x33 && regs.ss == 0x2b);
    CHECK(regs.fs_base != 0 && regs.orig_rax == -1ul);
    regs.cs = 0;
    CHECK(ptrace(PTRACE_SETREGS, pid, 0, &regs) == -1 && errno == EIO);
    CHECK(ptrace(PTRACE_GETREGSET, pid, 12345, &vector) == -1 && errno == EINVAL);
    next(pid, PTRACE_CONT, 0, "changed floats");
}

// Whether /proc tells debuggers where the program is: 11 if so.
static int again(void)
{
    unsigned long entries[128] = {0};
    FILE *file = fopen("/proc/self/auxv", "r");
    size_t count = file ? fread(entries, sizeof *entries, 126, file) : 0;
    int known = 0;
    for (size_t at = 0; at + 1 < count; at += 2)
        switch (entries[at]) {
        case AT_PHDR:
        case AT_PHNUM:
        case AT_ENTRY:
        case AT_BASE:
            known += entries[at + 1] != 0 && entries[at + 1] == getauxval(entries[at]);
        }
    return known == 4 ? 11 : 12;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return strcmp(argv[1], "again") ? 1 : again();
    system_calls();
    breakpoint();
    steps();
    signals();
    fault();
    execution();
    children();
    floating_point();
    return FINISH();
}
