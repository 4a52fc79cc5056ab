// Libraries with variables at fixed places (initial-exec), opened later: they get room below every thread pointer, also of
// threads that run, give it back in any order, and are refused, in glibc's words, when there is none or when a variable has
// been used at another place already. Not run on Linux: there only the block that was made last is given back.
// The argument is the number of rounds.
// hosted: too
// soak: 1000
// shared: tls_static-a.so -DLIBRARY -DSIZE=500 -ftls-model=initial-exec
// shared: tls_static-b.so -DLIBRARY -DSIZE=500 -ftls-model=initial-exec
// shared: tls_static-c.so -DLIBRARY -DSIZE=500 -ftls-model=initial-exec
// shared: tls_static-large.so -DLIBRARY -DSIZE=1000000 -ftls-model=initial-exec
// shared: tls_static-aligned.so -DLIBRARY -DSIZE=8 -DALIGN=8192 -ftls-model=initial-exec
// shared: tls_static-owner.so -DOWNER
// shared: tls_static-user.so -DUSER -ftls-model=initial-exec tls_static-owner.so
#if defined LIBRARY
#ifndef ALIGN
#define ALIGN 16
#endif
static __thread char room[SIZE] __attribute__((aligned(ALIGN))) = "x";
static int target = 7;
static __thread int *pointer = &target;
int use(int number)
{
    int good = room[0] == 'x' && room[SIZE - 1] == 0 && *pointer == 7;
    room[0] = (char)number;
    room[SIZE - 1] = (char)number;
    return good;
}
int check(int number) { return room[0] == (char)number && room[SIZE - 1] == (char)number; }
#elif defined OWNER
__thread int variable = 5;
int *owner(void) { return &variable; }
#elif defined USER
extern __thread int variable;
int *user(void) { return &variable; }
#else
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"

static int (*use)(int), (*check)(int);
static pthread_barrier_t barrier;
static int rounds = 40;

static void *open_it(const char *name)
{
    void *library = dlopen(name, RTLD_LAZY);
    if (!library) {
        puts(dlerror());
        exit(1);
    }
    use = (int (*)(int))dlsym(library, "use");
    check = (int (*)(int))dlsym(library, "check");
    return library;
}

static void refuse(const char *name)
{
    CHECK(!dlopen(name, RTLD_LAZY));
    puts(dlerror());
}

static void *run(void *unused)
{
    // There before each of the libraries.
    for (int round = 0; round < rounds; round++) {
        pthread_barrier_wait(&barrier);
        CHECK(use(round));
        pthread_barrier_wait(&barrier);
        CHECK(check(round));
        pthread_barrier_wait(&barrier);
    }
    return unused;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atoi(argv[1]);
    pthread_t thread, late;
    pthread_barrier_init(&barrier, 0, 2);
    pthread_create(&thread, 0, run, 0);
    // One of three is closed and opened again, in turns; there is room for no more than three.
    static const char *names[] = {"./tls_static-a.so", "./tls_static-b.so", "./tls_static-c.so"};
    void *libraries[3] = {0};
    for (int round = 0; round < rounds; round++) {
        int at = round * 5 % 3;
        if (libraries[at])
            CHECK(dlclose(libraries[at]) == 0);
        libraries[at] = open_it(names[at]);
        CHECK(use(100));
        pthread_barrier_wait(&barrier);
        pthread_barrier_wait(&barrier);
        CHECK(check(100));
        pthread_barrier_wait(&barrier);
    }
    pthread_join(thread, 0);
    refuse("./tls_static-large.so");
    refuse("./tls_static-aligned.so");

    // A variable that some thread has used stays where it is. One that nobody has can still be moved.
    for (int used = 1; used >= 0; used--) {
        void *owner = dlopen("./tls_static-owner.so", RTLD_NOW);
        int *(*get)(void) = (int *(*)(void))dlsym(owner, "owner");
        if (used) {
            *get() = 6;
            refuse("./tls_static-user.so");
            CHECK(*get() == 6);
        } else {
            void *user = dlopen("./tls_static-user.so", RTLD_NOW);
            int *(*other)(void) = (int *(*)(void))dlsym(user, "user");
            CHECK(user && *other() == 5 && other() == get());
            void *result;
            pthread_create(&late, 0, (void *(*)(void *))(void *)other, 0);
            pthread_join(late, &result);
            CHECK(result && result != other());
            CHECK(dlclose(user) == 0);
        }
        CHECK(dlclose(owner) == 0);
    }
    return FINISH();
}
#endif
