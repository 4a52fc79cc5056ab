// Whether code runs where data are, and a nested function whose address is taken: GCC makes code for it on the stack.
#pragma once
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

// The disposition and the way out are the process': one thread at a time tries.
static pthread_mutex_t trying = PTHREAD_MUTEX_INITIALIZER;
static sigjmp_buf out_of_fault;

static void leave(int signal)
{
    siglongjmp(out_of_fault, signal);
}

// Calls a function that only returns, in the memory given.
static int runs(void *memory)
{
    struct sigaction action = {.sa_handler = leave}, before;
    pthread_mutex_lock(&trying);
    sigaction(SIGSEGV, &action, &before);
    memset(memory, 0xc3, 1);
    int fault = sigsetjmp(out_of_fault, 1);
    if (!fault)
        ((void (*)(void))memory)();
    sigaction(SIGSEGV, &before, 0);
    pthread_mutex_unlock(&trying);
    return !fault;
}

__attribute__((noinline, unused)) static int stack_runs(void)
{
    char code[16];
    return runs(code);
}

#ifndef NO_NESTED
static int sum_of_distances(int from)
{
    int values[] = {5, 1, 4, 2, 3}, sum = 0;
    int closer(const void *a, const void *b)
    {
        return abs(*(const int *)a - from) - abs(*(const int *)b - from);
    }
    qsort(values, 5, sizeof *values, closer);
    for (int i = 0; i < 5; i++)
        sum = 10 * sum + values[i];
    return sum;
}
#endif
