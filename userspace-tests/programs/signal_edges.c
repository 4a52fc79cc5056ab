// Signals at the edges: no room for a handler's frame, what the context says of faults, full queues, stop signals against SIGCONT,
// flags nobody knows, forged information, calls that go on after a signal without a handler.
// cpus: 1
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include "check.h"

static sigjmp_buf back;
static siginfo_t last;
static greg_t last_error, last_trap, last_cr2;
static volatile int handled;

static void note(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    last = *info;
    last_error = registers[REG_ERR];
    last_trap = registers[REG_TRAPNO];
    last_cr2 = registers[REG_CR2];
    handled = number;
}
static void note_and_leave(int number, siginfo_t *info, void *context)
{
    note(number, info, context);
    siglongjmp(back, 1);
}
static void install(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    CHECK(sigaction(number, &action, 0) == 0);
}
static sigset_t block(int a, int b)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, a);
    sigaddset(&set, b);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, &old) == 0);
    return old;
}
static int is_pending(int number)
{
    sigset_t set;
    CHECK(sigpending(&set) == 0);
    return sigismember(&set, number);
}

// A handler's frame that does not fit makes a SIGSEGV, whose handler has a stack of its own.
static void no_room(void)
{
    static char alternate[1 << 16];
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate}, none = {.ss_flags = SS_DISABLE};
    char *guard = mmap(0, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(sigaltstack(&stack, 0) == 0);
    install(SIGUSR1, note, 0);
    install(SIGSEGV, note_and_leave, SA_ONSTACK);
    for (int round = 0; round < 3; round++) {
        handled = 0;
        if (sigsetjmp(back, 1) == 0) {
            long tid = gettid(), pid = getpid(), call = SYS_tgkill;
            __asm__ volatile("mov %%rsp, %%r12; mov %[bad], %%rsp; syscall; mov %%r12, %%rsp"
                             : "+a"(call)
                             : "D"(pid), "S"(tid), "d"((long)SIGUSR1), [bad] "r"(guard + 8192)
                             : "rcx", "r11", "r12", "memory");
        }
        CHECK(handled == SIGSEGV && last.si_code == SI_KERNEL && last.si_addr == 0);
    }
    CHECK(sigaltstack(&none, 0) == 0 && munmap(guard, 8192) == 0);
}

static void fault(const char *what, char *at, char access)
{
    handled = 0;
    if (sigsetjmp(back, 1) == 0) {
        if (access == 'r')
            *(volatile char *)at;
        else if (access == 'w')
            *(volatile char *)at = 1;
        else
            ((void (*)(void))at)();
    }
    CHECK(handled == SIGSEGV && last.si_addr == at && last_cr2 == (greg_t)at);
    printf("%s: code %d, error %#llx, trap %lld\n", what, last.si_code, last_error, last_trap);
}
static void contexts(void)
{
    char *page = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    install(SIGSEGV, note_and_leave, 0);
    install(SIGUSR1, note, 0);
    CHECK(page != MAP_FAILED && *page == 0);
    fault("read", (char *)8, 'r');
    fault("write", (char *)8, 'w');
    fault("write to what may be read", page, 'w');
    fault("execute what may be read", page, 'x');
    fault("execute nothing", (char *)8, 'x');
    // What was handled last stays in the context, also when pages were brought in meanwhile.
    char *fresh = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fresh[0] = 1;
    CHECK(raise(SIGUSR1) == 0 && last_cr2 == 8);
    printf("later: error %#llx, trap %lld\n", last_error, last_trap);
    munmap(page, 4096);
    munmap(fresh, 4096);
}

static void queues(void)
{
    struct rlimit limit, few;
    sigset_t old = block(SIGRTMIN, SIGRTMIN + 1), set = old;
    timer_t timer;
    union sigval value = {.sival_int = 1};
    CHECK(getrlimit(RLIMIT_SIGPENDING, &limit) == 0);
    few = limit;
    few.rlim_cur = 20;
    CHECK(setrlimit(RLIMIT_SIGPENDING, &few) == 0);
    int sent = 0;
    while (sent < 100 && sigqueue(getpid(), SIGRTMIN, value) == 0)
        sent++;
    CHECK(sent <= 20 && errno == EAGAIN);
    CHECK(timer_create(CLOCK_MONOTONIC, 0, &timer) == -1 && errno == EAGAIN);
    CHECK(pthread_kill(pthread_self(), SIGRTMIN) == EAGAIN);
    // kill never fails for want of room: the signal is there once, without information.
    CHECK(kill(getpid(), SIGRTMIN + 1) == 0 && kill(getpid(), SIGRTMIN + 1) == 0);
    CHECK(raise(SIGCHLD) == 0 && is_pending(SIGRTMIN) && is_pending(SIGRTMIN + 1));
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGRTMIN + 1);
    struct timespec now = {0, 0};
    while (sent-- > 0)
        CHECK(sigtimedwait(&set, &last, &now) == SIGRTMIN && last.si_code == SI_QUEUE && last.si_value.sival_int == 1);
    CHECK(sigtimedwait(&set, &last, &now) == SIGRTMIN + 1 && last.si_code == SI_USER);
    CHECK(sigtimedwait(&set, &last, &now) == -1 && errno == EAGAIN);
    CHECK(setrlimit(RLIMIT_SIGPENDING, &limit) == 0);
    CHECK(timer_create(CLOCK_MONOTONIC, 0, &timer) == 0 && timer_delete(timer) == 0);
    pthread_sigmask(SIG_SETMASK, &old, 0);
}

static void stops(void)
{
    install(SIGCONT, note, 0);
    sigset_t old = block(SIGCONT, SIGTSTP);
    CHECK(raise(SIGTSTP) == 0 && is_pending(SIGTSTP));
    CHECK(kill(getpid(), SIGCONT) == 0 && is_pending(SIGCONT) && !is_pending(SIGTSTP));
    CHECK(kill(getpid(), SIGTSTP) == 0 && !is_pending(SIGCONT) && is_pending(SIGTSTP));
    CHECK(raise(SIGCONT) == 0 && is_pending(SIGCONT) && !is_pending(SIGTSTP));
    handled = 0;
    pthread_sigmask(SIG_SETMASK, &old, 0);
    CHECK(handled == SIGCONT);
}

static void flags(void)
{
    struct sigaction action = {.sa_handler = SIG_IGN, .sa_flags = SA_RESTART | 0x400 | 0x100000}, now;
    CHECK(sigaction(SIGUSR2, &action, 0) == 0 && sigaction(SIGUSR2, 0, &now) == 0);
    CHECK((now.sa_flags & ~0x04000000) == SA_RESTART);
    action.sa_flags = SA_NOCLDSTOP | SA_NOCLDWAIT | SA_ONSTACK | SA_NODEFER | SA_RESETHAND;
    CHECK(sigaction(SIGUSR2, &action, 0) == 0 && sigaction(SIGUSR2, 0, &now) == 0);
    CHECK((now.sa_flags & ~0x04000000) == action.sa_flags);
}

static void *forge(void *unused)
{
    siginfo_t info = {.si_signo = SIGUSR2, .si_code = SI_USER};
    pid_t pid = getpid(), tid = gettid();
    // Only for itself may a thread say that somebody else sent a signal.
    CHECK(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR2, &info) == -1 && errno == EPERM);
    CHECK(syscall(SYS_rt_tgsigqueueinfo, pid, pid, SIGUSR2, &info) == -1 && errno == EPERM);
    CHECK(syscall(SYS_rt_tgsigqueueinfo, pid, tid, SIGUSR2, &info) == 0);
    info.si_code = SI_QUEUE;
    CHECK(syscall(SYS_rt_tgsigqueueinfo, pid, pid, SIGUSR2, &info) == 0);
    // Any thread's id names the process.
    CHECK(kill(tid, 0) == 0 && syscall(SYS_rt_sigqueueinfo, tid, SIGUSR2, &info) == 0);
    CHECK(syscall(SYS_tgkill, 0, tid, 0) == -1 && errno == EINVAL);
    CHECK(syscall(SYS_rt_tgsigqueueinfo, 0, tid, SIGUSR2, &info) == -1 && errno == EINVAL);
    return unused;
}

// Wakes the main thread with signals that are gone when it looks: it goes on waiting, for the time that is left.
static pthread_t main_thread;
static void *disturb(void *unused)
{
    for (int i = 0; i < 8; i++) {
        usleep(50000);
        install(SIGUSR1, note, 0);
        pthread_kill(main_thread, SIGUSR1);
        signal(SIGUSR1, SIG_IGN);
    }
    return unused;
}
static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
static void wait_disturbed(const char *what, int (*wait)(long ms))
{
    pthread_t thread;
    long start = now_ms(), left;
    main_thread = pthread_self();
    pthread_create(&thread, 0, disturb, 0);
    // The handler may have been called all the same.
    while ((left = start + 500 - now_ms()) > 0 && wait(left) == -1)
        CHECK(errno == EINTR);
    long took = now_ms() - start;
    pthread_join(thread, 0);
    CHECK(took >= 498);
    printf("%s: %s\n", what, took < 800 ? "in time" : "late");
}
static int by_nanosleep(long ms) { return nanosleep(&(struct timespec){0, ms * 1000000}, 0); }
static int by_poll(long ms) { return poll(0, 0, ms); }
static int by_ppoll(long ms) { return ppoll(0, 0, &(struct timespec){0, ms * 1000000}, 0); }
static int by_select(long ms) { return select(0, 0, 0, 0, &(struct timeval){0, ms * 1000}); }
static int by_futex(long ms)
{
    int word = 0;
    int result = syscall(SYS_futex, &word, 0, 0, &(struct timespec){0, ms * 1000000}, 0, 0);
    return result == -1 && errno == ETIMEDOUT ? 0 : result;
}

int main(void)
{
    pthread_t thread;
    no_room();
    contexts();
    queues();
    stops();
    flags();
    pthread_create(&thread, 0, forge, 0);
    pthread_join(thread, 0);
    CHECK(syscall(SYS_restart_syscall) == -1 && errno == EINTR);
    wait_disturbed("nanosleep", by_nanosleep);
    wait_disturbed("poll", by_poll);
    wait_disturbed("ppoll", by_ppoll);
    wait_disturbed("select", by_select);
    wait_disturbed("futex", by_futex);
    return FINISH();
}
