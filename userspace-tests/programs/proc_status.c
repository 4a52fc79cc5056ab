// What /proc/PID/status and stat say of signals, scheduling, times and ends of processes and threads.
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

#define BIT(signal) (1UL << ((signal) - 1))

static void on_signal(int signal) { (void)signal; }

// The number after a name in a file of /proc.
static unsigned long field(const char *file, const char *name, int base)
{
    char line[512];
    unsigned long found = -1UL;
    FILE *text = fopen(file, "r");
    CHECK(text != 0);
    while (text && fgets(line, sizeof line, text))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            found = strtoul(line + strlen(name) + 1, 0, base);
    if (text)
        fclose(text);
    return found;
}

static unsigned long set(const char *name) { return field("/proc/thread-self/status", name, 16); }

// The fields of stat by the numbers that proc(5) gives them; the third is a letter.
static void stat_of(const char *file, char *state, long long *to)
{
    char text[1024] = "";
    FILE *stat = fopen(file, "r");
    CHECK(stat != 0 && fread(text, 1, sizeof text - 1, stat) > 0);
    if (stat)
        fclose(stat);
    char *at = strrchr(text, ')');
    CHECK(at != 0);
    if (!at)
        return;
    *state = at[2];
    int count = 3;
    for (char *word = strtok(at + 3, " \n"); word && count < 52; word = strtok(0, " \n"))
        to[++count] = strtoull(word, 0, 10);
    CHECK(count == 52);
}

static void signals(void)
{
    unsigned long caught = set("SigCgt"), ignored = set("SigIgn");
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR && signal(SIGRTMIN + 3, on_signal) != SIG_ERR);
    CHECK(signal(SIGUSR2, SIG_IGN) != SIG_ERR);
    CHECK(set("SigCgt") == (caught | BIT(SIGUSR1) | BIT(SIGRTMIN + 3)));
    CHECK(set("SigIgn") == (ignored | BIT(SIGUSR2)));
    CHECK(set("SigBlk") == 0 && set("SigPnd") == 0 && set("ShdPnd") == 0);
    sigset_t some;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    sigaddset(&some, SIGHUP);
    sigprocmask(SIG_BLOCK, &some, 0);
    CHECK(raise(SIGUSR1) == 0 && kill(getpid(), SIGHUP) == 0);
    CHECK(set("SigBlk") == (BIT(SIGUSR1) | BIT(SIGHUP)));
    CHECK(set("SigPnd") == BIT(SIGUSR1) && set("ShdPnd") == BIT(SIGHUP));
    long long of[53];
    char state;
    stat_of("/proc/thread-self/stat", &state, of);
    CHECK(of[31] == (long long)BIT(SIGUSR1) && of[32] == (long long)(BIT(SIGUSR1) | BIT(SIGHUP)));
    CHECK((of[33] & (long long)BIT(SIGUSR2)) != 0 && (of[34] & (long long)BIT(SIGUSR1)) != 0);
    CHECK(signal(SIGHUP, SIG_IGN) != SIG_ERR);
    sigprocmask(SIG_UNBLOCK, &some, 0);
    CHECK(set("SigBlk") == 0 && set("SigPnd") == 0 && set("ShdPnd") == 0);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGRTMIN + 3, SIG_DFL);
    CHECK(set("SigCgt") == caught);
}

static sem_t told, go;

static void *thread(void *file)
{
    cpu_set_t cpu;
    CPU_ZERO(&cpu);
    CPU_SET(0, &cpu);
    CHECK(sched_setaffinity(0, sizeof cpu, &cpu) == 0 && setpriority(PRIO_PROCESS, gettid(), 17) == 0);
    sprintf(file, "/proc/self/task/%d/stat", gettid());
    sem_post(&told);
    while (sem_wait(&go) != 0) {
    }
    return 0;
}

static void scheduling(void)
{
    long long of[53];
    char state, file[64];
    int nice_value = getpriority(PRIO_PROCESS, 0);
    pthread_t other;
    sem_init(&told, 0, 0);
    sem_init(&go, 0, 0);
    CHECK(pthread_create(&other, 0, thread, file) == 0);
    while (sem_wait(&told) != 0) {
    }
    stat_of(file, &state, of);
    CHECK(of[4] == getppid() && of[5] == getpgrp() && of[6] == getsid(0));
    CHECK(of[18] == 37 && of[19] == 17 && of[20] == 2 && of[38] == -1 && of[39] == 0 && of[40] == 0 && of[41] == SCHED_OTHER);
    long long began = of[22];
    sem_post(&go);
    pthread_join(other, 0);
    stat_of("/proc/self/stat", &state, of);
    CHECK(state == 'R' && of[18] == 20 + nice_value && of[19] == nice_value && of[38] == SIGCHLD);
    // Since boot, in hundredths of a second; the thread was started after its process.
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    CHECK(of[22] > 0 && of[22] <= began && began <= now.tv_sec * 100 + now.tv_nsec / 10000000);
    CHECK(of[23] > 0 && of[24] > 0 && (unsigned long long)of[25] == (unsigned long long)RLIM_INFINITY);
}

// A child waits, stops, ends, and is a zombie until somebody asks.
static void states(void)
{
    char file[64], state;
    long long of[53];
    int ends[2], status;
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        close(ends[1]);
        // A tenth of a second of CPU time.
        while (clock() < CLOCKS_PER_SEC / 10) {
        }
        raise(SIGSTOP);
        _exit(read(ends[0], &byte, 1) == 0 ? 3 : 4);
    }
    close(ends[0]);
    sprintf(file, "/proc/%d/stat", child);
    CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    stat_of(file, &state, of);
    CHECK(state == 'T' && of[4] == getpid() && of[14] + of[15] >= 9);
    struct tms times_of;
    CHECK(times(&times_of) != -1 && times_of.tms_cutime + times_of.tms_cstime == 0);
    close(ends[1]);
    kill(child, SIGCONT);
    siginfo_t info;
    CHECK(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0);
    stat_of(file, &state, of);
    CHECK(state == 'Z' && of[23] == 0 && of[24] == 0);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 3);
    stat_of("/proc/self/stat", &state, of);
    CHECK(times(&times_of) != -1 && times_of.tms_cutime + times_of.tms_cstime >= 9);
    CHECK(of[16] + of[17] >= 9);
}

int main(void)
{
    signals();
    scheduling();
    states();
    return FINISH();
}
