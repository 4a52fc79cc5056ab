// More threads than memory holds: refused with EAGAIN, and the program goes on. How many there may be is the system's
// business, so that this is run in the guest only.
// memory: 64M
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static sem_t ready;
static void *wait_for_ever(void *unused)
{
    sem_post(&ready);
    pause();
    return unused;
}
int main(void)
{
    pthread_t thread;
    int error = 0, count = 0;
    sem_init(&ready, 0, 0);
    while (error == 0 && count++ < 100000) {
        error = pthread_create(&thread, 0, wait_for_ever, 0);
        // It has touched what it needs of its stack.
        if (error == 0)
            sem_wait(&ready);
    }
    printf("%s threads, then %s\n", count > 100 ? "many" : "few", strerrorname_np(error));
    return 0;
}
