// Functions that the dynamic linker calls are left by longjmp, from a handler, by pthread_exit and by cancellation, thousands of
// times; afterwards everything works as before. The argument says how often more than usually.
// shared: dl_left-plug.so -DPLUG
// shared: dl_left-last.so -DLAST
// flags: -rdynamic
// soak: 5
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef PLUG
void leave(void);
__attribute__((constructor)) static void begin(void) { leave(); }
#elif defined LAST
int last(void) { return 7; }
static int (*resolve(void))(void) { return last; }
int indirect(void) __attribute__((ifunc("resolve")));
int call_indirect(void) { return indirect(); }
#else
#include "check.h"
static int rounds = 3000, opened = 200, threads = 300;
static sigjmp_buf back;
static _Atomic int left;
static int at_first;

// Loaded objects, counted by a callback in a callback.
static int inner(struct dl_phdr_info *info, size_t size, void *count) { return ++*(int *)count, !info || !size; }
static int outer(struct dl_phdr_info *info, size_t size, void *count) { return *(int *)count = 0, dl_iterate_phdr(inner, count), !info || size; }
static int objects(void)
{
    int count = 0;
    dl_iterate_phdr(outer, &count);
    return count;
}

static int jump(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info, (void)size, (void)data;
    left++;
    siglongjmp(back, 1);
}
static void jump_back(int number)
{
    left++;
    siglongjmp(back, number);
}
static int raise_signal(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info, (void)size;
    return data ? dl_iterate_phdr(raise_signal, 0) : raise(SIGUSR1);
}
static int end_thread(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info, (void)size, (void)data;
    left++;
    pthread_exit(0);
}
static int wait_for_cancel(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info, (void)size, (void)data;
    left++;
    return pause();
}
static void *iterate(void *callback)
{
    dl_iterate_phdr((int (*)(struct dl_phdr_info *, size_t, void *))callback, 0);
    return callback;
}
// Called by the INIT functions.
void leave(void)
{
    left++;
    siglongjmp(back, 1);
}

static void check(const char *what, int times)
{
    CHECK(left == times);
    CHECK(dlsym(RTLD_DEFAULT, "main") != 0);
    printf("%s: left %d times, %d more objects\n", what, left, objects() - at_first);
    left = 0;
}

static void copy(const char *from, const char *to)
{
    static char buffer[1 << 16];
    int in = open(from, O_RDONLY), out = open(to, O_CREAT | O_TRUNC | O_WRONLY, 0700);
    CHECK(in >= 0 && out >= 0);
    for (ssize_t got; (got = read(in, buffer, sizeof buffer)) > 0;)
        CHECK(write(out, buffer, got) == got);
    close(in), close(out);
}

static void handlers(const char *what)
{
    for (volatile int i = 0; i < rounds; i++)
        if (sigsetjmp(back, 1) == 0)
            dl_iterate_phdr(raise_signal, (void *)what);
    check(what, rounds);
}

int main(int argc, char **argv)
{
    int times = argc > 1 ? atoi(argv[1]) : 1;
    rounds *= times, opened *= times, threads *= times;
    pthread_t thread;
    at_first = objects();
    for (int i = 0; i < threads; i++) {
        pthread_create(&thread, 0, iterate, end_thread);
        pthread_join(thread, 0);
    }
    check("ended threads", threads);
    for (int i = 0; i < threads; i++) {
        void *result;
        pthread_create(&thread, 0, iterate, wait_for_cancel);
        pthread_cancel(thread);
        pthread_join(thread, &result);
        CHECK(result == PTHREAD_CANCELED);
    }
    left = 0;
    check("cancelled threads", 0);

    // From here on ld.so's locks are left held by this thread, which may take them again.
    for (volatile int i = 0; i < rounds; i++)
        if (sigsetjmp(back, 0) == 0)
            dl_iterate_phdr(jump, 0);
    check("callbacks", rounds);

    stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
    struct sigaction action = {.sa_handler = jump_back};
    sigaction(SIGUSR1, &action, 0);
    handlers("handlers");
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR1, &action, 0);
    CHECK(sigaltstack(&stack, 0) == 0);
    handlers("handlers on another stack");

    char directory[] = "/tmp/dl_left-XXXXXX", path[64];
    CHECK(mkdtemp(directory) != 0);
    for (volatile int i = 0; i < opened; i++) {
        snprintf(path, sizeof path, "%s/%d.so", directory, i);
        copy("dl_left-plug.so", path);
        if (sigsetjmp(back, 0) == 0) {
            dlopen(path, RTLD_NOW);
            CHECK(!"dlopen returns");
        }
        unlink(path);
    }
    rmdir(directory);
    check("INIT functions", opened);

    void *last = dlopen("./dl_left-last.so", RTLD_NOW);
    int (*function)(void) = last ? (int (*)(void))dlsym(last, "call_indirect") : 0;
    CHECK(function && function() == 7);
    CHECK(last && dlclose(last) == 0);
    return FINISH();
}
#endif
