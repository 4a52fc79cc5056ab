// What signal_binding.c and signal_binding_now.c are, and their libraries.
#define EACH(X) D3(X, 0) D3(X, 1) D3(X, 2) D3(X, 3)
#define D3(X, p) D2(X, p##0) D2(X, p##1) D2(X, p##2) D2(X, p##3) D2(X, p##4) D2(X, p##5) D2(X, p##6) D2(X, p##7) \
    D2(X, p##8) D2(X, p##9) D2(X, p##a) D2(X, p##b) D2(X, p##c) D2(X, p##d) D2(X, p##e) D2(X, p##f)
#define D2(X, p) X(p##0) X(p##1) X(p##2) X(p##3) X(p##4) X(p##5) X(p##6) X(p##7) \
    X(p##8) X(p##9) X(p##a) X(p##b) X(p##c) X(p##d) X(p##e) X(p##f)
enum { FUNCTIONS = 1024 };

#if defined TARGETS
#define DEFINE(n) int target_##n(int x) { return x + 0x1##n; }
EACH(DEFINE)
#elif defined CALLERS
#define DEFINE(n) int target_##n(int); static int call_##n(int x) { return target_##n(x) * 2; }
EACH(DEFINE)
#define NAME(n) call_##n,
int (*const callers[])(int) = {EACH(NAME)};
#else
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "check.h"

static int (*const *callers)(int);
static volatile int next = FUNCTIONS;
static volatile long signals, first_calls;

static void handler(int number)
{
    (void)number;
    int at = next;
    signals++;
    if (at == FUNCTIONS)
        return;
    errno = 4321;
    CHECK(callers[at](at) == (at + 0x1000 + at) * 2);
    CHECK(errno == 4321);
    first_calls++;
    next = at + 1;
}

struct block { unsigned char *at; size_t size; unsigned char mark; };
enum { BLOCKS = 400 };

static uint32_t number(uint32_t *state)
{
    return (*state = *state * 1664525 + 1013904223) >> 8;
}

static void check(const struct block *block)
{
    for (size_t i = 0; i < block->size; i++)
        if (block->at[i] != block->mark) {
            CHECK(!"a live block was written to");
            return;
        }
}

static void change(struct block *blocks, uint32_t *state)
{
    struct block *block = &blocks[number(state) % BLOCKS];
    size_t size = number(state) % 64 ? number(state) % 700 : number(state) % 30000;
    if (block->at)
        check(block);
    if (block->at && number(state) % 4 == 0) {
        size_t kept = size < block->size ? size : block->size;
        block->at = realloc(block->at, size + 1);
        check(&(struct block){block->at, kept, block->mark});
    } else {
        free(block->at);
        block->at = malloc(size + 1);
    }
    block->size = size;
    block->mark = (unsigned char)number(state);
    memset(block->at, block->mark, size);
}

static volatile int stop;
static void *allocate(void *unused)
{
    static struct block blocks[BLOCKS];
    uint32_t state = 7;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, 0);
    while (!stop)
        change(blocks, &state);
    return unused;
}

static struct block blocks[BLOCKS];
static void allocate_until(long count, int mode)
{
    uint32_t state = 1;
    void *library = 0;
    while (!library || first_calls < count) {
        change(blocks, &state);
        if (next < FUNCTIONS)
            continue;
        // The handler leaves the callers alone meanwhile.
        if (library && dlclose(library))
            CHECK(!"dlclose");
        library = dlopen("./signal_binding-callers.so", mode);
        callers = library ? dlsym(library, "callers") : 0;
        if (!callers) {
            puts(dlerror());
            exit(1);
        }
        next = 0;
    }
    next = FUNCTIONS;
    CHECK(dlclose(library) == 0);
}

int main(int argc, char **argv)
{
    long count = argc > 1 ? atol(argv[1]) : 1000;
    int mode = argc > 2 && !strcmp(argv[2], "now") ? RTLD_NOW : RTLD_LAZY;
    static char stack[65536];
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, 0);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigaction(SIGPROF, &action, 0);
    timer_t timer;
    timer_create(CLOCK_MONOTONIC, &(struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGPROF}, &timer);
    struct itimerspec often = {{0, 20000}, {0, 20000}};
    timer_settime(timer, 0, &often, 0);
    // One thread, for which malloc takes no lock; then two with one heap, which it locks.
    allocate_until(count / 2, mode);
    mallopt(M_ARENA_MAX, 1);
    pthread_t thread;
    pthread_create(&thread, 0, allocate, 0);
    allocate_until(count, mode);
    stop = 1;
    pthread_join(thread, 0);
    for (int i = 0; i < BLOCKS; i++)
        if (blocks[i].at)
            check(&blocks[i]);
    if (argc > 3)
        printf("%ld signals, %ld first calls\n", signals, first_calls);
    CHECK(first_calls >= count && signals >= first_calls);
    return FINISH();
}
#endif
