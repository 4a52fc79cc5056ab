// INIT functions that do not come back: they end their thread by pthread_exit, or are cancelled, also inside a load of
// another thread's family; or leave by longjmp for an INIT function around them. Others go on to load, and find what was
// being loaded. Under ld.so they would hang, so that this is run under Elfin only.
// shared: init_exit-ends.so -DENDS=1
// shared: init_exit-cancelled.so -DENDS=2
// shared: init_exit-around.so -DENDS=3
// shared: init_exit-inside.so -DENDS=4
// shared: init_exit-jumps.so -DENDS=5
// flags: -rdynamic
// cpus: 1 4
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdio.h>
extern sem_t begun;
extern jmp_buf out;
static inline void *open_it(void *name)
{
    void *handle = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
    printf("opened %s\n", handle ? (char *)name : dlerror());
    return handle;
}
#ifdef ENDS
#if ENDS == 1
int ends(void) { return 1; }
__attribute__((constructor)) static void begin(void) { pthread_exit(&begun); }
#elif ENDS == 2
int cancelled(void) { return 2; }
__attribute__((constructor)) static void begin(void)
{
    sem_t never;
    sem_init(&never, 0, 0);
    sem_post(&begun);
    sem_wait(&never);
}
#elif ENDS == 3
int around(void) { return 3; }
__attribute__((constructor)) static void begin(void)
{
    // The inner load's thread ends; this one's goes on, and opens the same.
    pthread_t thread;
    puts("around begins");
    pthread_create(&thread, 0, open_it, "./init_exit-inside.so");
    pthread_join(thread, 0);
    open_it("./init_exit-inside.so");
    if (!setjmp(out))
        open_it("./init_exit-jumps.so");
    else
        puts("jumped");
    open_it("./init_exit-jumps.so");
    puts("around ends");
}
#elif ENDS == 5
int jumps(void) { return 5; }
__attribute__((constructor)) static void begin(void)
{
    puts("jumps begins");
    longjmp(out, 1);
}
#else
int inside(void) { return 4; }
__attribute__((constructor)) static void begin(void)
{
    puts("inside begins");
    pthread_exit(&begun);
}
#endif
#else
sem_t begun;
jmp_buf out;

static void *open_quietly(void *name)
{
    return dlopen(name, RTLD_NOW | RTLD_GLOBAL);
}

static int call(const char *name)
{
    int (*function)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, name);
    return function ? function() : -1;
}

int main(void)
{
    pthread_t first, second;
    void *result;
    sem_init(&begun, 0, 0);

    pthread_create(&first, 0, open_it, "./init_exit-ends.so");
    pthread_join(first, &result);
    printf("ended by itself: %d\n", result != 0);
    open_it("./init_exit-ends.so");

    pthread_create(&first, 0, open_it, "./init_exit-cancelled.so");
    sem_wait(&begun);
    // This one waits for the load.
    pthread_create(&second, 0, open_quietly, "./init_exit-cancelled.so");
    printf("not found yet: %d\n", call("cancelled"));
    pthread_cancel(first);
    pthread_join(first, &result);
    printf("cancelled: %d\n", result == PTHREAD_CANCELED);
    pthread_join(second, &result);
    printf("opened then: %d\n", result != 0);

    open_it("./init_exit-around.so");
    pthread_create(&second, 0, open_it, "./init_exit-ends.so");
    pthread_join(second, &result);
    printf("%d %d %d %d %d\n", call("ends"), call("cancelled"), call("around"), call("inside"), call("jumps"));
    return 0;
}
#endif
