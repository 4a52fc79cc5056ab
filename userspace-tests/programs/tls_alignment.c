// Thread-local variables aligned to pages and more, in the program and in a library opened later, in all kinds of threads.
// hosted: too
// shared: tls_alignment-lib.so -DLIBRARY

// Where something is, without what the compiler takes for granted.
static unsigned long place(const void *at)
{
    __asm__("" : "+r"(at));
    return (unsigned long)at;
}

#ifdef LIBRARY
static __thread char odd = 3;
static __thread long huge[3] __attribute__((aligned(65536))) = {4};
static __thread char page[5000] __attribute__((aligned(4096)));
long *get(long number)
{
    page[4999] = (char)(page[4999] + odd);
    huge[0] += number;
    return place(huge) % 65536 || place(page) % 4096 || page[4999] % 3 ? 0 : huge;
}
#else
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "check.h"

static __thread char before = 1;
static __thread int page[2] __attribute__((aligned(4096))) = {2, 3};
static __thread char huge[100] __attribute__((aligned(65536))) = "huge";
static __thread char vector[64] __attribute__((aligned(64)));
static long *(*get)(long);

static void *check(void *number)
{
    CHECK(place(page) % 4096 == 0 && place(huge) % 65536 == 0 && place(vector) % 64 == 0);
    CHECK(before == 1 && page[0] == 2 && page[1] == 3 && !strcmp(huge, "huge"));
    for (int i = 0; i < 64; i++)
        CHECK(vector[i] == 0);
    memset(vector, 1, sizeof vector);
    before = 9;
    page[0] = page[1] = 9;
    memset(huge, 9, sizeof huge);
    long *there = get((long)number);
    CHECK(there && there[0] == 4 + (long)number);
    CHECK(get(1) == there && there[0] == 5 + (long)number);
    // The stack, too, is where libc and the thread think it is.
    pthread_attr_t attributes;
    void *stack;
    size_t size;
    CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
    CHECK(pthread_attr_getstack(&attributes, &stack, &size) == 0);
    CHECK((char *)&stack > (char *)stack && (char *)&stack < (char *)stack + size);
    pthread_attr_destroy(&attributes);
    char deep[30000];
    memset(deep, (int)(long)number, sizeof deep);
    return (void *)(long)deep[29999];
}

int main(void)
{
    void *library = dlopen("./tls_alignment-lib.so", RTLD_LAZY);
    if (!library) {
        puts(dlerror());
        return 1;
    }
    get = (long *(*)(long))dlsym(library, "get");
    check(0);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    for (long round = 0; round < 3; round++) {
        pthread_t threads[4];
        for (long i = 0; i < 4; i++)
            CHECK(pthread_create(&threads[i], i % 2 ? &attributes : 0, check, (void *)(i + 4 * round)) == 0);
        for (long i = 0; i < 4; i++) {
            void *result;
            pthread_join(threads[i], &result);
            CHECK(result == (void *)(i + 4 * round));
        }
        // Small stacks, then one that is given, at an odd place.
        size_t size = 300000;
        CHECK(pthread_attr_setstacksize(&attributes, size) == 0);
    }
    char *own = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long i = 0; i < 2; i++) {
        pthread_t thread;
        memset(own, 0x55, 1 << 20);
        CHECK(pthread_attr_setstack(&attributes, own + 48, 400000) == 0);
        CHECK(pthread_create(&thread, &attributes, check, (void *)i) == 0);
        pthread_join(thread, 0);
    }
    return FINISH();
}
#endif
