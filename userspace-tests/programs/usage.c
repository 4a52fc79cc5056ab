// What processes have used, and may use: getrusage of self, threads and children, wait4's, RLIMIT_CPU.
// stderr: any
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

// Of a sleep it may be late on a busy machine, and not have to wait.
enum { PAGES = 2000, SLEEPS = 20, WAITS = SLEEPS / 2 };

static struct rusage of(int who)
{
    struct rusage usage;
    CHECK(getrusage(who, &usage) == 0);
    return usage;
}

static void touch(void)
{
    char *area = mmap(0, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED && madvise(area, PAGES * 4096, MADV_NOHUGEPAGE) == 0);
    for (int page = 0; page < PAGES; page++)
        area[page * 4096] = 1;
    CHECK(munmap(area, PAGES * 4096) == 0);
}

static void wait_often(void)
{
    for (int i = 0; i < SLEEPS; i++)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, 0);
}

static void *in_thread(void *unused)
{
    struct rusage before = of(RUSAGE_THREAD), own = before;
    CHECK(before.ru_minflt < PAGES);
    touch();
    wait_often();
    own = of(RUSAGE_THREAD);
    CHECK(own.ru_minflt >= before.ru_minflt + PAGES && own.ru_nvcsw >= before.ru_nvcsw + WAITS);
    CHECK(own.ru_maxrss >= PAGES * 4);
    return unused;
}

static long line(const char *name)
{
    char text[256];
    long value = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(text, sizeof text, status))
        if (!strncmp(text, name, strlen(name)))
            value = atol(text + strlen(name));
    if (status)
        fclose(status);
    return value;
}

static volatile int told;

static void count(int signal)
{
    told += signal == SIGXCPU;
}

static void burn(void)
{
    for (;;)
        if (told > 0)
            break;
}

// Status of a child with this limit: soft, hard.
static int limited(int soft, int hard, int handles, int in_child)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {soft, hard};
        if (handles)
            signal(SIGXCPU, count);
        CHECK(setrlimit(RLIMIT_CPU, &limit) == 0);
        // The limit is a child's as well.
        if (in_child && (pid = fork()) != 0) {
            int status;
            waitpid(pid, &status, 0);
            _exit(WTERMSIG(status));
        }
        burn();
        _exit(told == 1 ? 42 : 43);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int main(void)
{
    struct rusage before = of(RUSAGE_SELF), after;
    touch();
    after = of(RUSAGE_SELF);
    CHECK(after.ru_minflt >= before.ru_minflt + PAGES && after.ru_majflt >= before.ru_majflt);
    // The most that there was, not what there is.
    CHECK(after.ru_maxrss >= PAGES * 4 && line("VmHWM:") >= PAGES * 4 && line("VmRSS:") < line("VmHWM:"));
    wait_often();
    after = of(RUSAGE_SELF);
    CHECK(after.ru_nvcsw >= before.ru_nvcsw + WAITS && line("voluntary_ctxt_switches:") >= WAITS);

    pthread_t thread;
    CHECK(pthread_create(&thread, 0, in_thread, 0) == 0 && pthread_join(thread, 0) == 0);
    // What a thread has used stays the process'.
    CHECK(of(RUSAGE_SELF).ru_minflt >= after.ru_minflt + PAGES && of(RUSAGE_SELF).ru_nvcsw >= after.ru_nvcsw + WAITS);

    CHECK(of(RUSAGE_CHILDREN).ru_minflt == 0 && of(RUSAGE_CHILDREN).ru_maxrss == 0);
    pid_t pid = fork();
    if (pid == 0) {
        // A grandchild's counts if it is waited for.
        if ((pid = fork()) == 0) {
            touch();
            _exit(0);
        }
        waitpid(pid, 0, 0);
        wait_often();
        _exit(0);
    }
    struct rusage usage, children;
    CHECK(wait4(pid, 0, 0, &usage) == pid);
    children = of(RUSAGE_CHILDREN);
    CHECK(usage.ru_minflt >= PAGES && usage.ru_nvcsw >= WAITS && usage.ru_maxrss >= PAGES * 4);
    CHECK(children.ru_minflt == usage.ru_minflt && children.ru_nvcsw == usage.ru_nvcsw && children.ru_maxrss == usage.ru_maxrss);
    CHECK(getrusage(5, &usage) == -1 && errno == EINVAL);

    printf("soft, caught: %d\n", limited(1, 3, 1, 0));
    printf("hard: %d\n", limited(1, 1, 1, 0));
    printf("a child's: %d\n", limited(1, 3, 0, 1));
    return FINISH();
}
