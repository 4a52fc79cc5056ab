// POSIX timers: signals to the process and to threads, functions in threads of their own, overruns, clocks of CPU time, and
// interval timers of CPU time.
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static volatile sig_atomic_t count, alarms, virtual_count, prof_count;
static volatile siginfo_t last;
static volatile pid_t handled_by;

static void informed(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    memcpy((void *)&last, info, sizeof last);
    handled_by = gettid();
    count++;
}
static void simple(int number) { *(number == SIGALRM ? &alarms : number == SIGPROF ? &prof_count : &virtual_count) += 1; }

static struct itimerspec spec(long value_ns, long interval_ns)
{
    return (struct itimerspec){{interval_ns / 1000000000, interval_ns % 1000000000},
                               {value_ns / 1000000000, value_ns % 1000000000}};
}
static int set(timer_t timer, long value_ns, long interval_ns)
{
    struct itimerspec new = spec(value_ns, interval_ns);
    return timer_settime(timer, 0, &new, 0);
}
static void until(volatile sig_atomic_t *counter, int wanted)
{
    while (*counter < wanted)
        usleep(1000);
}
static double now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}
static void burn(double seconds)
{
    double end = now(CLOCK_PROCESS_CPUTIME_ID) + seconds;
    while (now(CLOCK_PROCESS_CPUTIME_ID) < end)
        ;
}

static sem_t called;
static void function(union sigval value)
{
    CHECK(value.sival_int == 99);
    sem_post(&called);
}
static void *burn_on(void *stop)
{
    while (!*(volatile int *)stop)
        burn(0.001);
    return 0;
}
static volatile int stop;
static void *spin(void *tid)
{
    *(volatile pid_t *)tid = gettid();
    while (!stop)
        usleep(1000);
    return 0;
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = informed, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN, &action, 0);
    sigaction(SIGUSR1, &action, 0);
    struct itimerspec got, new;
    timer_t timer;

    // Once, on each clock; relative and absolute.
    clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
    for (int i = 0; i < 3; i++) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 10 + i};
        CHECK(timer_create(clocks[i], &event, &timer) == 0);
        CHECK(timer_gettime(timer, &got) == 0 && got.it_value.tv_sec == 0 && got.it_value.tv_nsec == 0);
        count = 0;
        CHECK(set(timer, 2000000, 0) == 0);
        until(&count, 1);
        CHECK(last.si_code == SI_TIMER && last.si_value.sival_int == 10 + i && last.si_overrun == 0);
        CHECK(timer_gettime(timer, &got) == 0 && got.it_value.tv_nsec == 0);
        struct timespec time;
        clock_gettime(clocks[i], &time);
        double start = now(CLOCK_MONOTONIC);
        new = (struct itimerspec){.it_value = time};
        new.it_value.tv_nsec += 5000000;
        if (new.it_value.tv_nsec >= 1000000000)
            new.it_value.tv_sec++, new.it_value.tv_nsec -= 1000000000;
        CHECK(timer_settime(timer, TIMER_ABSTIME, &new, 0) == 0);
        until(&count, 2);
        CHECK(now(CLOCK_MONOTONIC) - start > 0.003);
        // In the past: at once.
        CHECK(timer_settime(timer, TIMER_ABSTIME, &(struct itimerspec){.it_value = {1, 0}}, 0) == 0 || i);
        CHECK(timer_settime(timer, TIMER_ABSTIME, &(struct itimerspec){.it_value = {0, 1}}, 0) == 0);
        until(&count, 3);
        CHECK(timer_delete(timer) == 0);
        CHECK(timer_delete(timer) == -1 && errno == EINVAL);
    }
    puts("once");

    // The old setting; disarming; what is wrong.
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    count = 0;
    CHECK(set(timer, 5000000000, 7000000000) == 0);
    new = spec(0, 1000);
    CHECK(timer_settime(timer, 0, &new, &got) == 0);
    CHECK(got.it_interval.tv_sec == 7 && got.it_value.tv_sec == 4 && got.it_value.tv_nsec > 0);
    CHECK(timer_gettime(timer, &got) == 0 && got.it_value.tv_nsec == 0 && got.it_interval.tv_nsec == 0);
    new.it_value.tv_nsec = 1000000000;
    CHECK(timer_settime(timer, 0, &new, 0) == -1 && errno == EINVAL);
    event.sigev_signo = 77;
    timer_t bad;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &bad) == -1 && errno == EINVAL);
    event.sigev_signo = SIGUSR1;
    CHECK(timer_create(12345, &event, &bad) == -1 && errno == EINVAL);
    CHECK(count == 0);

    // Periodic.
    CHECK(set(timer, 1000000, 2000000) == 0);
    until(&count, 10);
    // Blocked: one signal is pending, the rest is its overrun count.
    sigset_t usr1, pending;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, 0);
    set(timer, 1000000, 10000000);
    count = 0;
    double start = now(CLOCK_MONOTONIC);
    usleep(55000);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1));
    CHECK(timer_gettime(timer, &got) == 0 && got.it_value.tv_nsec > 0 && got.it_value.tv_nsec <= 10000000);
    sigprocmask(SIG_UNBLOCK, &usr1, 0);
    double end = now(CLOCK_MONOTONIC);
    CHECK(count >= 1 && timer_getoverrun(timer) >= 0);
    if (count == 1) {
        CHECK(last.si_overrun >= 5 && last.si_overrun <= (end - start) * 100 + 1);
        CHECK(timer_getoverrun(timer) == last.si_overrun);
    }
    // Another signal of the same number does not get lost.
    sigprocmask(SIG_BLOCK, &usr1, 0);
    set(timer, 0, 0);
    count = 0;
    set(timer, 1000000, 0);
    raise(SIGUSR1);
    usleep(20000);
    sigprocmask(SIG_UNBLOCK, &usr1, 0);
    CHECK(count == 2);
    // Ignored, it goes on.
    signal(SIGUSR1, SIG_IGN);
    set(timer, 1000, 1000000);
    usleep(20000);
    count = 0;
    sigaction(SIGUSR1, &action, 0);
    until(&count, 2);
    CHECK(timer_delete(timer) == 0);
    puts("periodic");

    // Without an event: SIGALRM with the timer's id; with SIGEV_NONE nothing.
    signal(SIGALRM, simple);
    CHECK(timer_create(CLOCK_REALTIME, 0, &timer) == 0 && set(timer, 1000000, 0) == 0);
    until(&alarms, 1);
    CHECK(timer_delete(timer) == 0);
    event.sigev_notify = SIGEV_NONE;
    count = 0;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && set(timer, 30000000, 0) == 0);
    CHECK(timer_gettime(timer, &got) == 0 && got.it_value.tv_nsec > 0);
    usleep(40000);
    CHECK(timer_gettime(timer, &got) == 0 && got.it_value.tv_nsec == 0 && count == 0);
    CHECK(timer_delete(timer) == 0);

    // To a thread; in a thread.
    pthread_t thread;
    volatile pid_t tid = 0;
    pthread_create(&thread, 0, spin, (void *)&tid);
    while (!tid)
        usleep(1000);
    event = (struct sigevent){.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
    event._sigev_un._tid = tid;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && set(timer, 1000000, 1000000) == 0);
    for (int i = 1; i < 20; i++) {
        until(&count, i);
        CHECK(handled_by == tid);
    }
    stop = 1;
    pthread_join(thread, 0);
    CHECK(timer_delete(timer) == 0);
    event._sigev_un._tid = 123456;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == -1 && errno == EINVAL);
    sem_init(&called, 0, 0);
    event = (struct sigevent){.sigev_notify = SIGEV_THREAD, .sigev_notify_function = function, .sigev_value.sival_int = 99};
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && set(timer, 1000000, 1000000) == 0);
    for (int i = 0; i < 20; i++)
        sem_wait(&called);
    CHECK(timer_delete(timer) == 0);
    puts("threads");

    // CPU time, which stands still while the program sleeps.
    clockid_t own;
    pthread_getcpuclockid(pthread_self(), &own);
    clockid_t cpu[] = {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, own};
    for (int i = 0; i < 3; i++) {
        event = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
        CHECK(timer_create(cpu[i], &event, &timer) == 0);
        count = 0;
        CHECK(set(timer, 100000000, 0) == 0);
        usleep(150000);
        CHECK(count == 0);
        CHECK(timer_gettime(timer, &got) == 0 && got.it_value.tv_nsec > 20000000 && got.it_value.tv_nsec <= 100000000);
        double from = now(cpu[i]);
        while (!count)
            burn(0.001);
        CHECK(now(cpu[i]) - from > 0.01);
        CHECK(timer_delete(timer) == 0);
    }
    signal(SIGVTALRM, simple);
    signal(SIGPROF, simple);
    struct itimerval value = {{0, 20000}, {0, 20000}}, old;
    CHECK(setitimer(ITIMER_VIRTUAL, &value, 0) == 0 && setitimer(ITIMER_PROF, &value, 0) == 0);
    usleep(100000);
    CHECK(virtual_count <= 1 && prof_count <= 1);
    while (virtual_count < 3 || prof_count < 3)
        burn(0.001);
    CHECK(getitimer(ITIMER_PROF, &old) == 0 && old.it_interval.tv_usec == 20000 && old.it_value.tv_usec <= 20000);
    value = (struct itimerval){0};
    CHECK(setitimer(ITIMER_VIRTUAL, &value, 0) == 0 && setitimer(ITIMER_PROF, &value, &old) == 0);
    CHECK(old.it_interval.tv_usec == 20000);
    CHECK(getitimer(ITIMER_PROF, &old) == 0 && old.it_value.tv_usec == 0);
    CHECK(getitimer(3, &old) == -1 && errno == EINVAL);
    // A sleep of CPU time, which somebody else uses.
    int enough = 0;
    double from = now(CLOCK_PROCESS_CPUTIME_ID);
    struct timespec until_used = {0, 50000000};
    pthread_create(&thread, 0, burn_on, &enough);
    CHECK(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &until_used, 0) == 0);
    CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - from >= 0.05);
    *(volatile int *)&enough = 1;
    pthread_join(thread, 0);
    CHECK(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &until_used, 0) == EINVAL);
    puts("CPU time");
    return FINISH();
}
