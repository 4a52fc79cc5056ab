// Hundreds of libraries with thread-local storage: tables grow in threads that are there already, ids and blocks are given
// back by dlclose and by loads that fail, and dlinfo tells about both.
// hosted: too
// forked: too
// soak:
// shared: tls_modules-lib.so -DLIBRARY -nostartfiles
// shared: tls_modules-broken.so -DLIBRARY -DBROKEN -nostartfiles
#ifdef LIBRARY
__thread long value = 42;
__thread char zeroes[100];
#ifdef BROKEN
int there_is_none(void);
int broken(void) { return there_is_none(); }
#endif
long add(long number)
{
    zeroes[99]++;
    return (value += number) + 1000 * zeroes[99];
}
#else
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "check.h"

enum { COUNT = 240, THREADS = 3 };
static char directory[] = "/tmp/tls_modules.XXXXXX", path[64];
static void *libraries[COUNT];
static long (*adds[COUNT])(long);
static pthread_barrier_t barrier;

// Copies are objects of their own.
static void *open_copy(int number)
{
    static char content[100000];
    static long size;
    if (size == 0) {
        int file = open("./tls_modules-lib.so", O_RDONLY);
        size = read(file, content, sizeof content);
        close(file);
    }
    snprintf(path, sizeof path, "%s/%d.so", directory, number);
    int file = open(path, O_WRONLY | O_CREAT, 0755);
    CHECK(write(file, content, (size_t)size) == size);
    close(file);
    void *library = dlopen(path, number % 2 ? RTLD_NOW : RTLD_LAZY);
    if (!library)
        puts(dlerror());
    unlink(path);
    return library;
}

static size_t module_of(void *library)
{
    size_t module = 0;
    CHECK(dlinfo(library, RTLD_DI_TLS_MODID, &module) == 0);
    return module;
}

static void *data_of(void *library)
{
    void *data = (void *)1;
    CHECK(dlinfo(library, RTLD_DI_TLS_DATA, &data) == 0);
    return data;
}

// Uses every library twice, in an order of the thread's own.
static void use(long thread)
{
    for (int i = 0; i < COUNT; i++) {
        int at = (int)((i * 7 + thread * 31) % COUNT);
        CHECK(data_of(libraries[at]) == 0);
        CHECK(adds[at](thread) == 1042 + thread);
        CHECK(data_of(libraries[at]) != 0);
    }
    for (int i = 0; i < COUNT; i++)
        CHECK(adds[i](i) == 2042 + thread + i);
}

static void *run(void *number)
{
    // There before any of the libraries.
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    use((long)number);
    // The main thread closes every other one, and opens as many.
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < COUNT; i++)
        CHECK(adds[i](1) == (i % 2 ? 1043 : 3043 + (long)number + i));
    return 0;
}

int main(void)
{
    pthread_t threads[THREADS];
    CHECK(mkdtemp(directory));
    pthread_barrier_init(&barrier, 0, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], 0, run, (void *)i);
    pthread_barrier_wait(&barrier);
    size_t first = 0, last = 0;
    for (int i = 0; i < COUNT; i++) {
        libraries[i] = open_copy(i);
        adds[i] = (long (*)(long))dlsym(libraries[i], "add");
        last = module_of(libraries[i]);
        if (i == 0)
            first = last;
        CHECK(last == first + (size_t)i);
    }
    pthread_barrier_wait(&barrier);
    use(100);
    pthread_barrier_wait(&barrier);
    for (int i = 1; i < COUNT; i += 2)
        CHECK(dlclose(libraries[i]) == 0);
    // These fail when their segments are there already.
    for (int i = 0; i < 50; i++) {
        CHECK(!dlopen("./tls_modules-broken.so", RTLD_NOW));
        CHECK(strstr(dlerror(), "undefined symbol: there_is_none"));
    }
    for (int i = 1; i < COUNT; i += 2) {
        libraries[i] = open_copy(COUNT + i);
        adds[i] = (long (*)(long))dlsym(libraries[i], "add");
        CHECK(module_of(libraries[i]) <= last);
    }
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], 0);
    for (int i = 0; i < COUNT; i++)
        CHECK(dlclose(libraries[i]) == 0);
    void *library = open_copy(0);
    printf("first again: %d\n", module_of(library) == first);
    rmdir(directory);
    return FINISH();
}
#endif
