// RTLD_ISOLATE: a second C library with a malloc, stdio and locale of its own, and the first one's list of threads.
// (Linux cannot be asked: there every namespace has its own.)
// hosted: too
// forked: too
#include "check.h"
#include <dlfcn.h>
#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#define RTLD_ISOLATE 0x40

static __thread int mine = 3;
static void *worker(void *argument) {
    CHECK(mine == 3);
    char *block = malloc(100);
    free(block);
    return argument;
}
static void *symbol(void *handle, const char *name) {
    void *found = dlsym(handle, name);
    CHECK(found != NULL && found != dlsym(RTLD_DEFAULT, name));
    return found;
}

int main(void) {
    void *other = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW | RTLD_ISOLATE);
    if (!other) return puts(dlerror()), 1;
    int (*print)(const char *, ...) = symbol(other, "printf"), (*flush)(FILE *) = symbol(other, "fflush");
    void *(*allocate)(size_t) = symbol(other, "malloc");
    void (*release)(void *) = symbol(other, "free");
    void *blocks[2000];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2000; i++) {
            size_t size = 16 + i % 300;
            blocks[i] = i % 2 ? allocate(size) : malloc(size);
            memset(blocks[i], i, size);
        }
        for (int i = 0; i < 2000; i++) {
            CHECK(*(unsigned char *)blocks[i] == (unsigned char)i);
            (i % 2 ? release : free)(blocks[i]);
        }
    }
    print("%s %.1f\n", "the other's", 1.5);
    CHECK(flush(NULL) == 0);
    char *(*locale)(int, const char *) = symbol(other, "setlocale");
    CHECK(strcmp(locale(LC_ALL, "C.UTF-8"), "C.UTF-8") == 0 && strcmp(setlocale(LC_ALL, NULL), "C") == 0);
    int *(*location)(void) = symbol(other, "__errno_location");
    errno = 1;
    *location() = 2;
    CHECK(errno == 1 && location() != &errno);
    // Threads started through either, on stacks either may reuse.
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = symbol(other, "pthread_create");
    int (*join)(pthread_t, void **) = symbol(other, "pthread_join");
    for (long i = 0; i < 40; i++) {
        pthread_t thread;
        void *result = NULL;
        CHECK((i % 2 ? create : pthread_create)(&thread, NULL, worker, (void *)i) == 0);
        CHECK((i % 2 ? join : pthread_join)(thread, &result) == 0 && result == (void *)i);
    }
    CHECK(dlclose(other) == 0);
    return FINISH();
}
