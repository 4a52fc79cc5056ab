// Who started a thread, and who that one: by --trace when it starts, and in /proc, ancestors that have ended among them.
// options: --trace
// stderr: any
// says: [2] +++ thread 2, started by 1 +++
// says: [3] +++ thread 3, started by 2, started by 1 +++
// says: [4] +++ thread 4, started by 3, started by 2, started by 1 +++
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "check.h"

static pthread_t parent;
static sem_t done;

// Linux has no such line.
static void check_line(const char *expected)
{
    static char line[256];
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/status", gettid());
    FILE *file = fopen(path, "r");
    CHECK(file);
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "Lineage:\t", 9))
            CHECK(!strcmp(line + 9, expected));
    if (file)
        fclose(file);
}

static void *last(void *unused)
{
    CHECK(pthread_join(parent, NULL) == 0);
    check_line("started by 3 (ended), started by 2, started by 1\n");
    sem_post(&done);
    return unused;
}

static void *end(void *unused)
{
    pthread_t child;
    parent = pthread_self();
    check_line("started by 2, started by 1\n");
    CHECK(pthread_create(&child, NULL, last, NULL) == 0);
    pthread_detach(child);
    return unused;
}

static void *stay(void *unused)
{
    pthread_t child;
    CHECK(pthread_create(&child, NULL, end, NULL) == 0);
    sem_wait(&done);
    return unused;
}

int main(void)
{
    pthread_t child;
    sem_init(&done, 0, 0);
    CHECK(pthread_create(&child, NULL, stay, NULL) == 0);
    CHECK(pthread_join(child, NULL) == 0);
    return FINISH();
}
