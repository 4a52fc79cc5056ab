// Stopping: all threads stand still until a timer sends SIGCONT, which cannot be missed; what else is sent waits; waits of other
// threads go on afterwards; SIGKILL ends what is stopped.
// args:
// args: killed
// exit: 0 137
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

enum { MS = 1000000, PAUSE = 150 * MS };

static struct runner {
    atomic_long longest_gap;
    atomic_int round;
} runners[2];
static atomic_int current_round, over;
static volatile long handled_at[NSIG];
static int ends[2];
static sem_t semaphore;

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000 + time.tv_nsec;
}

static void handler(int number)
{
    handled_at[number] = now();
}

// Sends a signal after a time, and then each time it has gone by again.
static timer_t every(long ns, int number)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number};
    struct itimerspec spec = {{0, ns}, {0, ns}};
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &spec, 0) == 0);
    return timer;
}

// Measures the longest time for which it has not run.
static void *runs(void *argument)
{
    struct runner *runner = argument;
    for (long last = now(), time; !over; last = time) {
        time = now();
        if (time - last > runner->longest_gap)
            runner->longest_gap = time - last;
        runner->round = current_round;
    }
    return 0;
}

static void *reads(void *unused)
{
    char byte;
    while (read(ends[0], &byte, 1) == 1)
        CHECK(byte == 'x');
    return unused;
}

static void *waits(void *unused)
{
    CHECK(sem_wait(&semaphore) == 0);
    return unused;
}

// Ends long before the program goes on, or long after, and not between.
static void *sleeps(void *ms)
{
    long before = now(), length = (long)ms * MS;
    CHECK(nanosleep(&(struct timespec){.tv_nsec = length}, 0) == 0);
    CHECK(now() - before >= length);
    return 0;
}

// When they have gone round twice they have measured what was before.
static void wait_for_rounds(void)
{
    for (int round = 0; round < 2; round++) {
        current_round++;
        for (int i = 0; i < 2; i++)
            while (runners[i].round != current_round)
                usleep(1000);
    }
}

// The signal stops the thread that sends it to itself; the others must have stood still for about as long.
static void *stops(void *number)
{
    wait_for_rounds();
    for (int i = 0; i < 2; i++)
        runners[i].longest_gap = 0;
    long length = 0;
    timer_t timer = every(PAUSE, SIGCONT);
    // On a busy machine the timer may be done before the signal is sent.
    for (int tries = 0; tries < 10 && length < PAUSE / 3; tries++) {
        long before = now();
        CHECK(raise((long)number) == 0);
        length = now() - before;
    }
    CHECK(timer_delete(timer) == 0);
    wait_for_rounds();
    for (int i = 0; i < 2; i++)
        if (length < PAUSE / 3 || runners[i].longest_gap < length / 2)
            printf("signal %ld: %ld of %ld ms\n", (long)number, runners[i].longest_gap / MS, length / MS), check_failures++;
    return 0;
}

static void stop(long number)
{
    stops((void *)number);
    pthread_t thread;
    CHECK(pthread_create(&thread, 0, stops, (void *)number) == 0 && pthread_join(thread, 0) == 0);
}

int main(int argc, char **argv)
{
    // Not part of an orphaned group, which only SIGSTOP stops.
    pid_t child = fork();
    if (child > 0) {
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    CHECK(child == 0 && setpgid(0, 0) == 0);
    if (argc > 1 && strcmp(argv[1], "killed") == 0) {
        // This one does not let it go on.
        signal(SIGUSR1, handler);
        every(50 * MS, SIGUSR1);
        every(100 * MS, SIGKILL);
        raise(SIGSTOP);
        return 1;
    }
    pthread_t running[2], reading, waiting, sleeping[2];
    CHECK(pipe(ends) == 0 && sem_init(&semaphore, 0, 0) == 0);
    for (int i = 0; i < 2; i++)
        pthread_create(&running[i], 0, runs, &runners[i]);
    pthread_create(&reading, 0, reads, 0);
    pthread_create(&waiting, 0, waits, 0);
    pthread_create(&sleeping[0], 0, sleeps, (void *)50L);
    pthread_create(&sleeping[1], 0, sleeps, (void *)500L);

    stop(SIGSTOP);
    stop(SIGTSTP);
    stop(SIGTTIN);
    stop(SIGTTOU);

    // It goes on whatever is done with the signal.
    signal(SIGCONT, SIG_IGN);
    stop(SIGSTOP);
    // Handlers run then.
    signal(SIGCONT, handler);
    signal(SIGUSR1, handler);
    long before = now();
    timer_t early = every(PAUSE / 50, SIGUSR1), late = every(PAUSE, SIGCONT);
    CHECK(raise(SIGSTOP) == 0 && timer_delete(early) == 0 && timer_delete(late) == 0);
    // Any thread may have them.
    while (handled_at[SIGCONT] == 0 || handled_at[SIGUSR1] == 0)
        usleep(1000);
    CHECK(handled_at[SIGCONT] - before >= PAUSE);

    // What has a handler does not stop.
    signal(SIGTSTP, handler);
    CHECK(raise(SIGTSTP) == 0 && handled_at[SIGTSTP] != 0);
    // Nor does what SIGCONT has taken back.
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGTTIN);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, &old) == 0 && raise(SIGTTIN) == 0 && kill(getpid(), SIGCONT) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &old, 0) == 0);

    CHECK(write(ends[1], "x", 1) == 1 && close(ends[1]) == 0 && sem_post(&semaphore) == 0);
    over = 1;
    CHECK(pthread_join(running[0], 0) == 0 && pthread_join(running[1], 0) == 0 && pthread_join(reading, 0) == 0);
    CHECK(pthread_join(waiting, 0) == 0 && pthread_join(sleeping[0], 0) == 0 && pthread_join(sleeping[1], 0) == 0);
    return FINISH();
}
