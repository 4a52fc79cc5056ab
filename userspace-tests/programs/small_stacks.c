// Threads with the smallest stack there may be: they are started, and have room to call functions for the first time, to
// take a signal, to end by pthread_exit.
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"

static __thread volatile int number;
static void handler(int signal) { number += signal; }
static void *run(void *argument)
{
    char text[64];
    snprintf(text, sizeof text, "thread %d", *(int *)argument);
    number = atoi(strrchr(text, ' '));
    raise(SIGUSR1);
    *(int *)argument = number;
    pthread_exit(argument);
}
int main(void)
{
    signal(SIGUSR1, handler);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN) == 0);
    for (int i = 0; i < 10; i++) {
        pthread_t thread;
        int value = i;
        void *result;
        CHECK(pthread_create(&thread, &attributes, run, &value) == 0);
        CHECK(pthread_join(thread, &result) == 0);
        CHECK(result == &value && value == i + SIGUSR1);
    }
    return FINISH();
}
