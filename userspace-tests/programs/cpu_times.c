// User and system time: what the program does and what the kernel does for it; the timers that go by them; /proc/stat.
#include "check.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// CPU time of a spell, in microseconds: many ticks of any kernel's.
enum { SPELL = 300000 };

static char buffer[1 << 20];
static volatile sig_atomic_t alarms;

static void count(int signal)
{
    (void)signal;
    alarms++;
}

static long micros(struct timeval time) { return time.tv_sec * 1000000 + time.tv_usec; }

static long cpu_micros(void)
{
    struct timespec time;
    CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0);
    return time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static struct rusage usage(int who)
{
    struct rusage usage;
    CHECK(getrusage(who, &usage) == 0);
    return usage;
}

// Has the program compute, or the kernel clear memory, for a spell.
static void work(int in_kernel)
{
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    for (long start = cpu_micros(); cpu_micros() - start < SPELL;)
        if (in_kernel)
            CHECK(read(zero, buffer, sizeof buffer) == sizeof buffer);
        else
            for (volatile int i = 0; i < 1000000; i++) {
            }
    close(zero);
}

// Of what was used between two times, how many percent are system time.
static long share(struct rusage before, struct rusage after)
{
    long user = micros(after.ru_utime) - micros(before.ru_utime);
    long system = micros(after.ru_stime) - micros(before.ru_stime);
    CHECK(user >= 0 && system >= 0);
    CHECK(user + system > SPELL * 9 / 10);
    return 100 * system / (user + system);
}

// The numbers of a line of /proc/stat that begins with this.
static void stat_line(const char *name, unsigned long long fields[4])
{
    char line[512];
    FILE *file = fopen("/proc/stat", "r");
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0) {
            fclose(file);
            CHECK(sscanf(line + strlen(name), "%llu %llu %llu %llu", &fields[0], &fields[1], &fields[2], &fields[3]) ==
                  4);
            return;
        }
    CHECK(!"no such line");
}

int main(void)
{
    struct rusage start = usage(RUSAGE_SELF);
    work(0);
    struct rusage computed = usage(RUSAGE_SELF);
    CHECK(share(start, computed) < 50);
    work(1);
    struct rusage cleared = usage(RUSAGE_SELF);
    CHECK(share(computed, cleared) > 50);
    CHECK(micros(usage(RUSAGE_THREAD).ru_stime) >= micros(cleared.ru_stime));

    struct tms tms;
    times(&tms);
    struct rusage now = usage(RUSAGE_SELF);
    CHECK(tms.tms_utime >= micros(cleared.ru_utime) / 10000 && tms.tms_utime <= micros(now.ru_utime) / 10000);
    CHECK(tms.tms_stime >= micros(cleared.ru_stime) / 10000 && tms.tms_stime <= micros(now.ru_stime) / 10000);
    CHECK(tms.tms_cutime == 0 && tms.tms_cstime == 0);

    // A timer of the program's own time stands still while the kernel works, a profiler's does not.
    signal(SIGVTALRM, count);
    signal(SIGPROF, count);
    struct itimerval each = {{0, SPELL}, {0, SPELL}}, none = {0};
    setitimer(ITIMER_VIRTUAL, &each, NULL);
    work(1);
    setitimer(ITIMER_VIRTUAL, &none, NULL);
    CHECK(alarms == 0);
    setitimer(ITIMER_PROF, &each, NULL);
    work(1);
    work(1);
    setitimer(ITIMER_PROF, &none, NULL);
    CHECK(alarms > 0);
    alarms = 0;
    setitimer(ITIMER_VIRTUAL, &each, NULL);
    work(0);
    work(0);
    setitimer(ITIMER_VIRTUAL, &none, NULL);
    CHECK(alarms > 0);

    // A child's, once it has been waited for.
    unsigned long long before[4], after[4];
    stat_line("cpu ", before);
    if (fork() == 0) {
        work(1);
        _exit(0);
    }
    struct rusage child;
    CHECK(wait4(-1, NULL, 0, &child) > 0);
    CHECK(share((struct rusage){0}, child) > 50);
    CHECK(micros(usage(RUSAGE_CHILDREN).ru_stime) == micros(child.ru_stime));
    times(&tms);
    CHECK(labs(tms.tms_cstime - micros(child.ru_stime) / 10000) <= 1);
    // The machine's do not shrink when a process is gone, in hundredths of a second.
    stat_line("cpu ", after);
    for (int kind = 0; kind < 4; kind++)
        CHECK(after[kind] >= before[kind]);
    CHECK(after[2] - before[2] >= SPELL / 10000 / 2);

    double load[3];
    CHECK(getloadavg(load, 3) == 3);
    FILE *file = fopen("/proc/loadavg", "r");
    int active, all;
    CHECK(fscanf(file, "%lf %lf %lf %d/%d", &load[0], &load[1], &load[2], &active, &all) == 5);
    CHECK(active >= 1 && all >= active);
    return FINISH();
}
