// Which thread takes a signal that is sent to the process: the main one if it can, else another that does not block it;
// a timer's one that runs.
// cpus: 4
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

enum { WORKERS = 2 };

static int counts[WORKERS + 1];
static _Thread_local int me;
static volatile int stop, ready;

static void handler(int signal)
{
    (void)signal;
    __atomic_add_fetch(&counts[me], 1, __ATOMIC_SEQ_CST);
}

static int total(void)
{
    int sum = 0;
    for (int index = 0; index <= WORKERS; index++)
        sum += __atomic_load_n(&counts[index], __ATOMIC_SEQ_CST);
    return sum;
}

static void clear(void)
{
    for (int index = 0; index <= WORKERS; index++)
        __atomic_store_n(&counts[index], 0, __ATOMIC_SEQ_CST);
}

static void block(int how, int signal)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    pthread_sigmask(how, &set, 0);
}

static void *works(void *number)
{
    me = (int)(long)number;
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    while (!stop)
        ;
    return 0;
}

static void *sleeps(void *number)
{
    me = (int)(long)number;
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    while (!stop)
        usleep(1000);
    return 0;
}

static pthread_t threads[WORKERS];

static void start(void *(*body)(void *))
{
    stop = ready = 0;
    clear();
    for (long index = 0; index < WORKERS; index++)
        pthread_create(&threads[index], 0, body, (void *)(index + 1));
    while (ready < WORKERS)
        usleep(1000);
}

static void end(void)
{
    stop = 1;
    for (int index = 0; index < WORKERS; index++)
        pthread_join(threads[index], 0);
}

// The main thread sleeps until so many have been handled.
static void until(int count)
{
    while (total() < count) {
        struct timespec while_ = {0, 20000000};
        nanosleep(&while_, 0);
    }
}

static void profile(int which, int signal)
{
    struct itimerval interval = {{0, 1000}, {0, 1000}}, none = {{0, 0}, {0, 0}};
    start(works);
    CHECK(setitimer(which, &interval, 0) == 0);
    until(60);
    CHECK(setitimer(which, &none, 0) == 0);
    end();
    // Who sleeps is woken now and then at most, and nobody who works is left out.
    CHECK(counts[0] <= total() / 5);
    for (int index = 1; index <= WORKERS; index++)
        CHECK(counts[index] >= total() / 10);
    if (check_failures)
        printf("signal %d: %d %d %d\n", signal, counts[0], counts[1], counts[2]);
}

static void posix_timer(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    struct itimerspec interval = {{0, 1000000}, {0, 1000000}};
    timer_t timer;
    CHECK(timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer) == 0);
    start(works);
    CHECK(timer_settime(timer, 0, &interval, 0) == 0);
    until(60);
    CHECK(timer_delete(timer) == 0);
    end();
    CHECK(counts[0] <= total() / 5);
}

static void sent(void)
{
    start(sleeps);
    for (int round = 1; round <= 20; round++) {
        kill(getpid(), SIGUSR1);
        CHECK(counts[0] == round);
    }
    block(SIG_BLOCK, SIGUSR1);
    for (int round = 21; round <= 40; round++) {
        kill(getpid(), SIGUSR1);
        until(round);
    }
    CHECK(counts[0] == 20);
    block(SIG_UNBLOCK, SIGUSR1);
    end();
    CHECK(total() == 40);
}

// The real timer's is the main thread's, whoever runs.
static void real(void)
{
    struct itimerval interval = {{0, 5000}, {0, 5000}}, none = {{0, 0}, {0, 0}};
    start(works);
    CHECK(setitimer(ITIMER_REAL, &interval, 0) == 0);
    until(10);
    CHECK(setitimer(ITIMER_REAL, &none, 0) == 0);
    end();
    CHECK(counts[0] == total());
}

static void *blocks(void *unused)
{
    sigset_t set;
    int signal = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(sigwait(&set, &signal) == 0 && signal == SIGUSR1);
    return unused;
}

int main(void)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    int signals[] = {SIGUSR1, SIGUSR2, SIGPROF, SIGVTALRM, SIGALRM};
    for (int index = 0; index < 5; index++)
        sigaction(signals[index], &action, 0);
    profile(ITIMER_PROF, SIGPROF);
    profile(ITIMER_VIRTUAL, SIGVTALRM);
    posix_timer();
    sent();
    real();
    // What all block is taken by who waits for it.
    pthread_t thread;
    block(SIG_BLOCK, SIGUSR1);
    kill(getpid(), SIGUSR1);
    pthread_create(&thread, 0, blocks, 0);
    pthread_join(thread, 0);
    return FINISH();
}
