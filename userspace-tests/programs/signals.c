// Signals: handlers and what they are told, masks, pending signals, restarts, waiting, nesting, directed at threads.
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include "check.h"

static volatile sig_atomic_t counts[65], depth, deepest, order[8], ordered;
static siginfo_t last;
static pid_t handled_by;

static void handler(int number) { counts[number]++; }
static void informed(int number, siginfo_t *info, void *context)
{
    counts[number]++;
    last = *info;
    handled_by = gettid();
    CHECK(((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] != 0);
}
static void nested(int number)
{
    if (++depth > deepest)
        deepest = depth;
    counts[number]++;
    if (number == SIGUSR1)
        raise(SIGUSR2);
    depth--;
}
static void in_order(int number)
{
    if (ordered < 8)
        order[ordered++] = number;
}

static int install(int number, void (*function)(int), int flags)
{
    struct sigaction action = {.sa_handler = function, .sa_flags = flags};
    return sigaction(number, &action, 0);
}
static int install_info(int number, int flags)
{
    struct sigaction action = {.sa_sigaction = informed, .sa_flags = SA_SIGINFO | flags};
    return sigaction(number, &action, 0);
}
static sigset_t set_of(int a, int b)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, a);
    if (b)
        sigaddset(&set, b);
    return set;
}

static sem_t ready;
static int ends[2];
static void *wait_to_read(void *result)
{
    char byte;
    sem_post(&ready);
    *(ssize_t *)result = read(ends[0], &byte, 1);
    return (void *)(long)errno;
}
static void *wait_for_signal(void *unused)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2);
    int number = 0;
    CHECK(sigwait(&set, &number) == 0);
    return unused = (void *)(long)number;
}
static void *spin_until_handled(void *unused)
{
    sem_post(&ready);
    while (!counts[SIGUSR2])
        __asm__ volatile("pause");
    CHECK(handled_by == gettid());
    return unused;
}

static sigjmp_buf back;
static void jump(int number) { siglongjmp(back, number); }

int main(void)
{
    pthread_t thread;
    void *result;
    ssize_t got;
    sigset_t set, old;
    struct timespec limit = {0, 10000000};
    sem_init(&ready, 0, 0);
    CHECK(pipe(ends) == 0);

    CHECK(install_info(SIGUSR1, 0) == 0 && raise(SIGUSR1) == 0 && counts[SIGUSR1] == 1);
    CHECK(last.si_signo == SIGUSR1 && last.si_code == SI_TKILL && last.si_pid == getpid());
    CHECK(kill(getpid(), SIGUSR1) == 0 && counts[SIGUSR1] == 2 && last.si_code == SI_USER);
    union sigval value = {.sival_int = 1234};
    CHECK(sigqueue(getpid(), SIGUSR1, value) == 0 && last.si_code == SI_QUEUE && last.si_value.sival_int == 1234);
    CHECK(kill(getpid(), 0) == 0 && kill(getpid(), 99) == -1 && errno == EINVAL);
    CHECK(sigaction(SIGKILL, &(struct sigaction){.sa_handler = handler}, 0) == -1 && errno == EINVAL);

    // Blocked: standard signals merge, real-time signals queue and come lowest first.
    set = set_of(SIGUSR1, SIGRTMIN);
    sigaddset(&set, SIGRTMIN + 1);
    install(SIGRTMIN, in_order, 0);
    install(SIGRTMIN + 1, in_order, 0);
    CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0);
    counts[SIGUSR1] = 0;
    raise(SIGUSR1), raise(SIGUSR1);
    raise(SIGRTMIN + 1), raise(SIGRTMIN), raise(SIGRTMIN);
    CHECK(counts[SIGUSR1] == 0 && sigpending(&set) == 0);
    CHECK(sigismember(&set, SIGUSR1) == 1 && sigismember(&set, SIGUSR2) == 0 && sigismember(&set, SIGRTMIN) == 1);
    CHECK(sigprocmask(SIG_SETMASK, &old, 0) == 0 && counts[SIGUSR1] == 1);
    printf("%d real-time signals\n", ordered);
    signal(SIGUSR1, SIG_IGN);
    CHECK(raise(SIGUSR1) == 0 && counts[SIGUSR1] == 1);

    install(SIGUSR2, handler, SA_RESETHAND);
    raise(SIGUSR2);
    struct sigaction action;
    CHECK(sigaction(SIGUSR2, 0, &action) == 0 && action.sa_handler == SIG_DFL && counts[SIGUSR2] == 1);

    install(SIGUSR1, nested, 0);
    install(SIGUSR2, nested, 0);
    raise(SIGUSR1);
    printf("nested %d deep\n", deepest);
    install(SIGUSR1, nested, 0);
    action.sa_handler = nested;
    action.sa_flags = 0;
    action.sa_mask = set_of(SIGUSR2, 0);
    sigaction(SIGUSR1, &action, 0);
    deepest = 0;
    raise(SIGUSR1);
    printf("masked, %d deep\n", deepest);

    // Without SA_RESTART a blocked read ends with EINTR, with it the read goes on.
    for (int restart = 0; restart < 2; restart++) {
        install(SIGUSR1, handler, restart ? SA_RESTART : 0);
        counts[SIGUSR1] = 0;
        pthread_create(&thread, 0, wait_to_read, &got);
        sem_wait(&ready);
        usleep(20000);
        CHECK(pthread_kill(thread, SIGUSR1) == 0);
        usleep(20000);
        CHECK(counts[SIGUSR1] == 1);
        CHECK(write(ends[1], "x", 1) == 1);
        pthread_join(thread, &result);
        printf("restart %d: read %zd, %s\n", restart, got, got == -1 && (long)result == EINTR ? "EINTR" : "no error");
        char byte;
        if (!restart)
            CHECK(read(ends[0], &byte, 1) == 1);
    }

    install_info(SIGUSR2, 0);
    counts[SIGUSR2] = 0;
    pthread_create(&thread, 0, spin_until_handled, 0);
    sem_wait(&ready);
    CHECK(pthread_kill(thread, SIGUSR2) == 0);
    pthread_join(thread, 0);

    set = set_of(SIGUSR1, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, 0);
    pthread_create(&thread, 0, wait_for_signal, 0);
    usleep(5000);
    kill(getpid(), SIGUSR2);
    pthread_join(thread, &result);
    printf("sigwait got %s\n", sigabbrev_np((int)(long)result));
    siginfo_t info;
    CHECK(sigtimedwait(&set, &info, &limit) == -1 && errno == EAGAIN);
    value.sival_int = 77;
    sigqueue(getpid(), SIGUSR1, value);
    CHECK(sigwaitinfo(&set, &info) == SIGUSR1 && info.si_value.sival_int == 77);
    int descriptor = signalfd(-1, &set, 0);
    struct signalfd_siginfo record;
    raise(SIGUSR1);
    CHECK(descriptor >= 0 && read(descriptor, &record, sizeof record) == sizeof record && record.ssi_signo == SIGUSR1);

    sigset_t open_set;
    sigemptyset(&open_set);
    counts[SIGUSR1] = 0;
    raise(SIGUSR1);
    CHECK(sigsuspend(&open_set) == -1 && errno == EINTR && counts[SIGUSR1] == 1);
    pthread_sigmask(SIG_SETMASK, 0, &old);
    CHECK(sigismember(&old, SIGUSR1) == 1);
    pthread_sigmask(SIG_UNBLOCK, &set, 0);

    install(SIGALRM, handler, 0);
    struct itimerval timer = {{0, 2000}, {0, 2000}};
    CHECK(setitimer(ITIMER_REAL, &timer, 0) == 0);
    while (counts[SIGALRM] < 5)
        pause();
    timer = (struct itimerval){0};
    CHECK(setitimer(ITIMER_REAL, &timer, 0) == 0);
    counts[SIGALRM] = 0;
    // Again and again: the first may come before the call that it is to interrupt.
    CHECK(ualarm(5000, 5000) == 0 && sleep(10) >= 9 && counts[SIGALRM] >= 1);
    struct timespec second = {10, 0}, rest;
    CHECK(nanosleep(&second, &rest) == -1 && errno == EINTR && rest.tv_sec == 9);
    ualarm(0, 0);
    timer_t handle;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2, .sigev_value.sival_int = 5};
    struct itimerspec setting = {{0, 0}, {0, 1000000}};
    counts[SIGUSR2] = 0;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &handle) == 0 && timer_settime(handle, 0, &setting, 0) == 0);
    while (!counts[SIGUSR2])
        usleep(1000);
    CHECK(last.si_code == SI_TIMER && last.si_value.sival_int == 5 && timer_delete(handle) == 0);

    // Out of a handler; the mask is put back.
    install(SIGUSR1, jump, 0);
    for (int i = 0; i < 3; i++)
        if (sigsetjmp(back, 1) == 0) {
            raise(SIGUSR1);
            CHECK(!"reached");
        }
    pthread_sigmask(SIG_SETMASK, 0, &old);
    CHECK(sigismember(&old, SIGUSR1) == 0);
    return FINISH();
}
