// Clocks go forward, on all CPUs alike, at about the same pace; sleeping takes at least as long as asked.
// cpus: 4
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static long long nanoseconds(clockid_t clock)
{
    struct timespec time;
    CHECK(clock_gettime(clock, &time) == 0 && time.tv_nsec >= 0 && time.tv_nsec < 1000000000);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

// The threads pass the largest time seen on; nobody must see an earlier one.
static long long seen;
static int backwards;
static void *watch(void *unused)
{
    for (int i = 0; i < 50000; i++) {
        long long before = __atomic_load_n(&seen, __ATOMIC_SEQ_CST);
        long long time = nanoseconds(CLOCK_MONOTONIC);
        if (time < before)
            __atomic_add_fetch(&backwards, 1, __ATOMIC_RELAXED);
        while (before < time && !__atomic_compare_exchange_n(&seen, &before, time, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        }
        if (i % 1000 == 0)
            sched_yield();
    }
    return unused;
}

int main(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, watch, 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], 0);
    printf("backwards %d\n", backwards);

    // Some time after this was written, and before the 22nd century.
    long long real = nanoseconds(CLOCK_REALTIME) / 1000000000;
    CHECK(real > 1700000000 && real < 4102444800);
    CHECK(time(0) - real <= 1 && time(0) >= real - 1);
    struct timeval of_day;
    CHECK(gettimeofday(&of_day, 0) == 0 && of_day.tv_sec - real <= 1);

    struct timespec ask = {0, 50000000}, left;
    long long begin = nanoseconds(CLOCK_MONOTONIC), begin_real = nanoseconds(CLOCK_REALTIME), raw = nanoseconds(CLOCK_MONOTONIC_RAW), boot = nanoseconds(CLOCK_BOOTTIME);
    CHECK(nanosleep(&ask, &left) == 0);
    long long took = nanoseconds(CLOCK_MONOTONIC) - begin;
    CHECK(took >= 50000000 && took < 5000000000);
    CHECK(nanoseconds(CLOCK_REALTIME) - begin_real >= 45000000);
    CHECK(nanoseconds(CLOCK_MONOTONIC_RAW) - raw >= 45000000);
    CHECK(nanoseconds(CLOCK_BOOTTIME) - boot >= 49000000);
    CHECK(nanoseconds(CLOCK_MONOTONIC_COARSE) > 0 && nanoseconds(CLOCK_REALTIME_COARSE) > 0);

    begin = nanoseconds(CLOCK_MONOTONIC);
    struct timespec until = {(begin + 30000000) / 1000000000, (begin + 30000000) % 1000000000};
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, 0) == 0);
    CHECK(nanoseconds(CLOCK_MONOTONIC) >= begin + 30000000);
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, 0) == 0);
    ask.tv_nsec = 1000000000;
    CHECK(nanosleep(&ask, 0) == -1 && errno == EINVAL);
    CHECK(clock_gettime(9999, &left) == -1 && errno == EINVAL);
    CHECK(clock_getres(CLOCK_MONOTONIC, &left) == 0 && left.tv_sec == 0 && left.tv_nsec >= 1);

    // CPU time passes when computing, hardly when sleeping.
    long long used = nanoseconds(CLOCK_PROCESS_CPUTIME_ID), mine = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    begin = nanoseconds(CLOCK_MONOTONIC);
    while (nanoseconds(CLOCK_THREAD_CPUTIME_ID) - mine < 20000000 && nanoseconds(CLOCK_MONOTONIC) - begin < 20000000000) {
    }
    CHECK(nanoseconds(CLOCK_THREAD_CPUTIME_ID) - mine >= 20000000);
    CHECK(nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - used >= 15000000);
    mine = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    usleep(50000);
    CHECK(nanoseconds(CLOCK_THREAD_CPUTIME_ID) - mine < 40000000);
    CHECK(clock() > 0);
    struct tms ticks;
    CHECK(times(&ticks) > 0);
    struct tm calendar;
    time_t known = 1234567890;
    char text[50];
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %a", gmtime_r(&known, &calendar));
    puts(text);
    return FINISH();
}
