// A program that has popped its interrupt flag away and neither calls nor faults is interrupted all the same: its signals come,
// and other threads get their turn.
// cpus: 1 2
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>

static volatile int ticks, turns;

static void tick(int signal) {
    (void)signal;
    ticks++;
}

static void *other(void *arg) {
    for (;;) turns++;
    return arg;
}

static long seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, other, NULL);
    signal(SIGALRM, tick);
    struct itimerval interval = {{0, 10000}, {0, 10000}};
    setitimer(ITIMER_REAL, &interval, NULL);
    for (int round = 0; round < 3; round++) {
        asm volatile("pushq $0; popfq" ::: "cc", "memory");
        int before = ticks, then = turns;
        // The clock is read without a call.
        for (long end = seconds() + 30; seconds() < end && (ticks < before + 3 || turns == then);) {}
        printf("ticks %s, other thread %s\n", ticks >= before + 3 ? "came" : "are missing", turns == then ? "stands" : "ran");
    }
}
