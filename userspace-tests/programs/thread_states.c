// /proc says of each thread whether it runs or sleeps, and has its directory where it belongs.
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "check.h"

static int ends[2];
static volatile int stop;

// The letter in a thread's `stat`, and that in its `status`, which must be the same when nothing changes.
static char state(int thread, const char *file, const char *before)
{
    char path[100], text[2000];
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", thread, file);
    FILE *from = fopen(path, "r");
    size_t length = from ? fread(text, 1, sizeof text - 1, from) : 0;
    text[length] = 0;
    if (from)
        fclose(from);
    char *at = strstr(text, before);
    return at ? at[strlen(before)] : '?';
}

static void *watch(void *unused)
{
    // Ends when the main thread sleeps, for nothing else wakes it.
    while (state(getpid(), "stat", ") ") != 'S')
        ;
    CHECK(state(getpid(), "status", "State:\t") == 'S');
    CHECK(write(ends[1], "x", 1) == 1);
    return unused;
}

static void *spin(void *started)
{
    *(volatile int *)started = gettid();
    while (!stop)
        ;
    return 0;
}

int main(void)
{
    pthread_t watcher, spinner;
    char byte;
    volatile int id = 0;
    CHECK(pipe(ends) == 0);
    CHECK(state(getpid(), "stat", ") ") == 'R' && state(getpid(), "status", "State:\t") == 'R');
    pthread_create(&watcher, 0, watch, 0);
    CHECK(read(ends[0], &byte, 1) == 1);
    pthread_join(watcher, 0);
    pthread_create(&spinner, 0, spin, (void *)&id);
    while (!id)
        ;
    CHECK(state(id, "stat", ") ") == 'R');
    // Directories of threads are in that of the threads of the process.
    char path[100], real[PATH_MAX], wanted[100];
    snprintf(path, sizeof path, "/proc/self/task/%d/..", id);
    snprintf(wanted, sizeof wanted, "/proc/%d/task", getpid());
    CHECK(realpath(path, real) && !strcmp(real, wanted));
    CHECK(chdir(path) == 0 && getcwd(real, sizeof real) && !strcmp(real, wanted));
    CHECK(chdir("..") == 0 && readlink("/proc/self", path, sizeof path) > 0 && atoi(path) == getpid());
    stop = 1;
    pthread_join(spinner, 0);
    return FINISH();
}
