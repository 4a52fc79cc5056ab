// INIT functions that do not come back: they end their thread by pthread_exit, or are cancelled, also inside a load of
// another thread's family; or leave by longjmp for an INIT function around them. Others go on to load, and find what was
// being loaded. Under ld.so they would hang, so that this is run under Elfin only. The argument is the number of rounds; all
// must say the same.
// shared: init_exit-ends.so -DENDS=1
// shared: init_exit-cancelled.so -DENDS=2
// shared: init_exit-around.so -DENDS=3
// shared: init_exit-inside.so -DENDS=4
// shared: init_exit-jumps.so -DENDS=5
// flags: -rdynamic -DROUNDS=3
// cpus: 1 4
// soak: 2000
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include "rounds.h"
extern sem_t begun;
extern jmp_buf out;
static inline void *open_it(void *name)
{
    void *handle = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
    say("opened %s\n", handle ? (char *)name : dlerror());
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
    say("around begins\n");
    pthread_create(&thread, 0, open_it, "./init_exit-inside.so");
    pthread_join(thread, 0);
    open_it("./init_exit-inside.so");
    if (!setjmp(out))
        open_it("./init_exit-jumps.so");
    else
        say("jumped\n");
    open_it("./init_exit-jumps.so");
    say("around ends\n");
}
#elif ENDS == 5
int jumps(void) { return 5; }
__attribute__((constructor)) static void begin(void)
{
    say("jumps begins\n");
    longjmp(out, 1);
}
#else
int inside(void) { return 4; }
__attribute__((constructor)) static void begin(void)
{
    say("inside begins\n");
    pthread_exit(&begun);
}
#endif
#else
sem_t begun;
jmp_buf out;
static void *program;

static void *open_quietly(void *name)
{
    return dlopen(name, RTLD_NOW | RTLD_GLOBAL);
}

static int call(const char *name)
{
    // With this handle the program does not come to depend on what is found.
    int (*function)(void) = (int (*)(void))dlsym(program, name);
    return function ? function() : -1;
}

// Whoever has not come back from opening it has opened it all the same.
static void close_all(const char *name)
{
    for (void *handle; (handle = dlopen(name, RTLD_NOW | RTLD_NOLOAD));)
        dlclose(handle), dlclose(handle);
}

static void play(void)
{
    pthread_t first, second;
    void *result;
    sem_init(&begun, 0, 0);

    pthread_create(&first, 0, open_it, "./init_exit-ends.so");
    pthread_join(first, &result);
    say("ended by itself: %d\n", result != 0);
    open_it("./init_exit-ends.so");

    pthread_create(&first, 0, open_it, "./init_exit-cancelled.so");
    sem_wait(&begun);
    // This one waits for the load.
    pthread_create(&second, 0, open_quietly, "./init_exit-cancelled.so");
    say("not found yet: %d\n", call("cancelled"));
    pthread_cancel(first);
    pthread_join(first, &result);
    say("cancelled: %d\n", result == PTHREAD_CANCELED);
    pthread_join(second, &result);
    say("opened then: %d\n", result != 0);

    open_it("./init_exit-around.so");
    pthread_create(&second, 0, open_it, "./init_exit-ends.so");
    pthread_join(second, &result);
    say("%d %d %d %d %d\n", call("ends"), call("cancelled"), call("around"), call("inside"), call("jumps"));
    close_all("./init_exit-ends.so");
    close_all("./init_exit-cancelled.so");
    close_all("./init_exit-around.so");
    close_all("./init_exit-inside.so");
    close_all("./init_exit-jumps.so");
}

int main(int argc, char **argv)
{
    program = dlopen(0, RTLD_LAZY);
    return play_rounds(argc > 1 ? argv[1] : 0, play);
}
#endif
