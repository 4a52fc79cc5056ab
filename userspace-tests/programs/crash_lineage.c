// A crash report says who started the thread that has crashed, and so on, ancestors that have ended among them.
// exit: 134
// stderr: any
// says: killed by SIGABRT, thread 4, started by 3 (ended), started by 2, started by 1
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include "check.h"

static pthread_t parent;
static sem_t never;

static void *crash(void *unused)
{
    // Its parent has ended, which the kernel has been told.
    CHECK(pthread_join(parent, 0) == 0);
    abort();
    return unused;
}

static void *end(void *unused)
{
    pthread_t child;
    parent = pthread_self();
    CHECK(pthread_create(&child, 0, crash, 0) == 0);
    return unused;
}

static void *stay(void *unused)
{
    pthread_t child;
    CHECK(pthread_create(&child, 0, end, 0) == 0);
    sem_wait(&never);
    return unused;
}

int main(void)
{
    pthread_t child;
    CHECK(pthread_create(&child, 0, stay, 0) == 0);
    return pthread_join(child, 0);
}
