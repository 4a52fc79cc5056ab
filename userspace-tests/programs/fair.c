// Threads that share one CPU: who runs when it is woken, who gets how much of it.
// cpus: 1 2

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic int woken, stop, ready;
static int calls[2];

static void check(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

static void *sleeper(void *nothing)
{
    char byte;
    while (read(calls[0], &byte, 1) == 1)
        woken++;
    return nothing;
}

static long cpu_time(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000 + time.tv_nsec;
}

static void *spin(void *nice)
{
    check(!setpriority(PRIO_PROCESS, syscall(SYS_gettid), (long)nice), "setpriority");
    ready++;
    while (ready < 3)
        sched_yield();
    long start = cpu_time(CLOCK_THREAD_CPUTIME_ID);
    while (!stop)
        ;
    return (void *)(cpu_time(CLOCK_THREAD_CPUTIME_ID) - start);
}

int main(void)
{
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    check(!sched_setaffinity(0, sizeof first, &first), "sched_setaffinity");
    check(!pipe(calls), "pipe");
    pthread_t thread;
    check(!pthread_create(&thread, NULL, sleeper, NULL), "pthread_create");

    // Who is woken by a thread of SCHED_IDLE runs before it goes on.
    struct sched_param none = {0};
    check(!sched_setscheduler(0, SCHED_IDLE, &none), "sched_setscheduler");
    int at_once = 0;
    for (int i = 0; i < 100; i++) {
        int before = woken;
        check(write(calls[1], "", 1) == 1, "write");
        at_once += woken > before;
    }
    // Not always: a slice may end while the other still runs, if the host lets the machine run seldom.
    puts(at_once >= 20 ? "woken at once" : "not woken at once");
    check(!sched_setscheduler(0, SCHED_OTHER, &none), "sched_setscheduler");

    // Who spins does not keep the others from running, nor those that are woken.
    for (int i = 0; i < 20; i++) {
        int before = woken;
        check(write(calls[1], "", 1) == 1, "write");
        while (woken == before)
            ;
    }
    puts("woken while another spins");
    close(calls[1]);
    pthread_join(thread, NULL);

    // Nice values say who gets more.
    pthread_t threads[2];
    for (long i = 0; i < 2; i++)
        check(!pthread_create(&threads[i], NULL, spin, (void *)(i * 10)), "pthread_create");
    while (ready < 2)
        sched_yield();
    ready++;
    // Until both together have had three tenths of a second.
    for (long begin = cpu_time(CLOCK_PROCESS_CPUTIME_ID); cpu_time(CLOCK_PROCESS_CPUTIME_ID) - begin < 300000000;)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    stop = 1;
    long ran[2];
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], (void **)&ran[i]);
    puts(ran[0] > 3 * ran[1] ? "the nicer one gets less" : "the nicer one does not get less");
    printf("%d\n", getpriority(PRIO_PROCESS, 0));
    return 0;
}
