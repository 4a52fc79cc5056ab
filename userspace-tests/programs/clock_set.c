// The real-time clock is set: who waits for a time of day follows, who waits for a time span does not. Run in the guest only:
// the clock of the machine that builds this is left alone.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static struct timespec now(clockid_t clock)
{
    struct timespec time;
    CHECK(clock_gettime(clock, &time) == 0);
    return time;
}
static long elapsed_ms(struct timespec start)
{
    struct timespec end = now(CLOCK_MONOTONIC);
    return (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
}
static void move_clock(long seconds)
{
    struct timespec time = now(CLOCK_REALTIME);
    time.tv_sec += seconds;
    CHECK(clock_settime(CLOCK_REALTIME, &time) == 0);
}
static void *move_later(void *seconds)
{
    usleep(100000);
    move_clock((long)seconds);
    return 0;
}

// A timer or a sleep of 300 ms, or until 100 s from now, while the clock is moved after 100 ms.
static void wait_for(const char *what, int sleeps, int absolute, long seconds, long least, long most)
{
    struct timespec start = now(CLOCK_MONOTONIC), time = {0, 300000000};
    pthread_t thread;
    if (absolute) {
        time = now(CLOCK_REALTIME);
        time.tv_sec += 100;
    }
    pthread_create(&thread, 0, move_later, (void *)seconds);
    if (sleeps) {
        CHECK(clock_nanosleep(CLOCK_REALTIME, absolute ? TIMER_ABSTIME : 0, &time, 0) == 0);
    } else {
        timer_t timer;
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGALRM);
        CHECK(timer_create(CLOCK_REALTIME, 0, &timer) == 0);
        CHECK(timer_settime(timer, absolute ? TIMER_ABSTIME : 0, &(struct itimerspec){.it_value = time}, 0) == 0);
        CHECK(sigwaitinfo(&set, 0) == SIGALRM);
        CHECK(timer_delete(timer) == 0);
    }
    long took = elapsed_ms(start);
    pthread_join(thread, 0);
    printf("%s: %s\n", what, took < least ? "early" : took > most ? "late" : "in time");
}

// The same of a timer that is a file; and one that is told so.
static void wait_for_file(void)
{
    struct timespec start = now(CLOCK_MONOTONIC);
    struct itimerspec time = {.it_value = now(CLOCK_REALTIME)};
    unsigned long count = 0;
    int timer = timerfd_create(CLOCK_REALTIME, 0);
    time.it_value.tv_sec += 100;
    CHECK(timerfd_settime(timer, TFD_TIMER_ABSTIME, &time, 0) == 0);
    pthread_t thread;
    pthread_create(&thread, 0, move_later, (void *)1000);
    CHECK(read(timer, &count, sizeof count) == sizeof count && count == 1);
    pthread_join(thread, 0);
    long took = elapsed_ms(start);
    printf("file, time of day: %s\n", took < 99 ? "early" : took > 5000 ? "late" : "in time");

    struct pollfd poll_it = {.fd = timer, .events = POLLIN};
    int flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
    time.it_value.tv_sec += 1000000;
    CHECK(timerfd_settime(timer, flags, &time, 0) == 0);
    CHECK(poll(&poll_it, 1, 0) == 0);
    pthread_create(&thread, 0, move_later, (void *)1000);
    CHECK(read(timer, &count, sizeof count) == -1 && errno == ECANCELED);
    pthread_join(thread, 0);
    CHECK(poll(&poll_it, 1, 0) == 0);
    move_clock(-1000);
    CHECK(poll(&poll_it, 1, 0) == 1 && poll_it.revents == POLLIN);
    CHECK(timerfd_settime(timer, flags, &time, 0) == -1 && errno == ECANCELED);
    CHECK(poll(&poll_it, 1, 0) == 0);
    // It is set all the same.
    struct itimerspec left;
    CHECK(timerfd_gettime(timer, &left) == 0 && left.it_value.tv_sec > 100);
    move_clock(1000);
    CHECK(timerfd_settime(timer, TFD_TIMER_ABSTIME, &time, 0) == 0);
    CHECK(poll(&poll_it, 1, 0) == 0);
    move_clock(-1000);
    CHECK(poll(&poll_it, 1, 0) == 0);
    close(timer);
}

// Who is not root cannot set it.
static void refused(void)
{
    struct timespec time = now(CLOCK_REALTIME);
    CHECK(setuid(1000) == 0);
    CHECK(clock_settime(CLOCK_REALTIME, &time) == -1 && errno == EPERM);
}

int main(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, 0);
    wait_for("timer of a time span, clock set forward", 0, 0, 1000, 299, 5000);
    wait_for("timer of a time span, clock set back", 0, 0, -1000, 299, 5000);
    wait_for("timer of a time of day", 0, 1, 1000, 99, 5000);
    wait_for("sleep of a time span, clock set forward", 1, 0, 1000, 299, 5000);
    wait_for("sleep of a time span, clock set back", 1, 0, -1000, 299, 5000);
    wait_for("sleep until a time of day", 1, 1, 1000, 99, 5000);
    wait_for_file();
    refused();
    return FINISH();
}
