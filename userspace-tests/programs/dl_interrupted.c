// Threads that wait in dlopen for another thread's INIT functions run their signal handlers meanwhile, also ones that call the
// dynamic linker, and go on waiting. The argument is the number of signals each of them gets.
// shared: dl_interrupted-slow.so -DSLOW
// shared: dl_interrupted-other.so -DOTHER
// soak: 1000
// flags: -Wl,-z,lazy -rdynamic
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef SLOW
void while_waiting(void);
__attribute__((constructor)) static void begin(void) { while_waiting(); }
#elif defined OTHER
int other(void) { return 5; }
#else
#include "check.h"
#define WAITERS 3
static pthread_t waiters[WAITERS];
static sem_t handled, waiting, begun;
static _Atomic int handlers, first_done;
static int signals = 10;

static int callback(struct dl_phdr_info *info, size_t size, void *data)
{
    return info != 0 && size != 0 && data == 0;
}

static void handler(int number)
{
    int before = errno;
    // The first call binds; the second enters the dynamic linker, which calls back.
    CHECK(labs(-number) == number);
    CHECK(dl_iterate_phdr(callback, 0) == 1);
    handlers++;
    sem_post(&handled);
    errno = before;
}

static void wait_a_moment(int signals)
{
    while (signals--)
        while (sem_wait(&handled) != 0)
            CHECK(errno == EINTR);
}

// Called by the INIT function: two of the waiters wait for this library, one for another, and each handles its signals.
void while_waiting(void)
{
    sem_post(&begun);
    for (int i = 0; i < WAITERS; i++)
        while (sem_wait(&waiting) != 0)
            CHECK(errno == EINTR);
    // On their way into dlopen; whether they are there yet makes no difference to them.
    usleep(50000);
    for (int round = 0; round < signals; round++) {
        for (int i = 0; i < WAITERS; i++)
            CHECK(pthread_kill(waiters[i], SIGUSR1) == 0);
        wait_a_moment(WAITERS);
    }
    CHECK(handlers == signals * WAITERS);
    first_done = 1;
}

static void *open_one(void *name)
{
    sem_post(&waiting);
    void *handle = dlopen(name, RTLD_NOW);
    CHECK(handle != 0 && first_done);
    return 0;
}

static void *open_slow(void *name)
{
    CHECK(dlopen(name, RTLD_NOW) != 0);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        signals = atoi(argv[1]);
    pthread_t opener;
    sem_init(&handled, 0, 0);
    sem_init(&waiting, 0, 0);
    sem_init(&begun, 0, 0);
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handler}, 0);
    pthread_create(&opener, 0, open_slow, "./dl_interrupted-slow.so");
    sem_wait(&begun);
    for (int i = 0; i < WAITERS; i++)
        pthread_create(waiters + i, 0, open_one, i ? "./dl_interrupted-slow.so" : "./dl_interrupted-other.so");
    for (int i = 0; i < WAITERS; i++)
        pthread_join(waiters[i], 0);
    pthread_join(opener, 0);
    printf("%d signals handled\n", handlers);
    return FINISH();
}
#endif
