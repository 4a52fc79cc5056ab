// Signals over execve: what is blocked and pending, of the process and of the thread, what is ignored, and what comes while the
// new program is being loaded.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

enum { ROUNDS = 30 };

static void handler(int signal)
{
    (void)signal;
}

static int is_pending(int signal)
{
    sigset_t set;
    return sigpending(&set) == 0 && sigismember(&set, signal);
}

static int is_blocked(int signal)
{
    sigset_t set;
    return sigprocmask(0, 0, &set) == 0 && sigismember(&set, signal);
}

static int has_action(int signal, void (*handler)(int))
{
    struct sigaction found;
    return sigaction(signal, 0, &found) == 0 && found.sa_handler == handler;
}

static int report(void)
{
    int death;
    struct itimerval timer;
    prctl(PR_GET_PDEATHSIG, &death);
    getitimer(ITIMER_REAL, &timer);
    printf("pending: process %d thread %d; blocked %d %d; ignored %d default %d; death %d, timer %d\n", is_pending(SIGUSR1),
           is_pending(SIGUSR2), is_blocked(SIGUSR1), is_blocked(SIGTERM), has_action(SIGHUP, SIG_IGN),
           has_action(SIGINT, SIG_DFL), death, timer.it_value.tv_sec > 1000);
    fflush(stdout);
    int taken;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    CHECK(sigwait(&set, &taken) == 0 && taken == SIGUSR2 && !is_pending(SIGUSR2));
    return 0;
}

static void block(int how, int signal)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    CHECK(sigprocmask(how, &set, 0) == 0);
}

static void execute(const char *what)
{
    execl("/proc/self/exe", "program", what, (char *)0);
    _exit(9);
}

static void *execute_in_thread(void *unused)
{
    raise(SIGUSR2);
    execute("report");
    return unused;
}

static int wait_for(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

static void inherited(int in_thread)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct itimerval timer = {.it_value.tv_sec = 5000};
        signal(SIGHUP, SIG_IGN);
        signal(SIGINT, handler);
        block(SIG_BLOCK, SIGUSR1);
        block(SIG_BLOCK, SIGUSR2);
        kill(getpid(), SIGUSR1);
        prctl(PR_SET_PDEATHSIG, SIGWINCH);
        setitimer(ITIMER_REAL, &timer, 0);
        if (!in_thread)
            execute_in_thread(0);
        pthread_t thread;
        pthread_create(&thread, 0, execute_in_thread, 0);
        pause();
    }
    CHECK(wait_for(pid) == 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "report") == 0)
        return report();
    if (argc > 1 && strcmp(argv[1], "blocked") == 0)
        return !is_blocked(SIGTERM);
    if (argc > 1)
        for (;;)
            pause();
    inherited(0);
    inherited(1);
    // A signal that comes while the program is loaded: blocked it waits, else it kills.
    block(SIG_BLOCK, SIGTERM);
    for (int round = 0; round < ROUNDS; round++) {
        pid_t pid = vfork();
        if (pid == 0)
            execute("blocked");
        CHECK(kill(pid, SIGTERM) == 0);
        int status = wait_for(pid);
        if (status != 0) {
            printf("round %d: %x\n", round, status);
            break;
        }
    }
    block(SIG_UNBLOCK, SIGTERM);
    for (int round = 0; round < ROUNDS; round++) {
        pid_t pid = fork();
        if (pid == 0)
            execute("endless");
        for (int turn = 0; turn < round * 1000; turn++)
            __asm__ volatile("" ::: "memory");
        CHECK(kill(pid, SIGTERM) == 0);
        CHECK(wait_for(pid) == SIGTERM);
    }
    return FINISH();
}
