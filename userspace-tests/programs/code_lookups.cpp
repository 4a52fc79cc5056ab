// Unwinders, a timer's handler and a crash handler look addresses up while other threads register and unregister code
// and open and close a library: nobody waits for them, and nobody sees half a range. The argument is the number of rounds.
// shared: libelfin.so.1 -DLIBELFIN -Wl,-soname,libelfin.so.1
// shared: code_lookups-plug.so -DPLUG
// link: libelfin.so.1
// cpus: 4
// soak: 1000
#ifdef LIBELFIN
#include "../../include/libelfin.c"
#elif defined(PLUG)
extern "C" int call_back(int (*function)(int), int value) { return function(value) + 1; }
#else
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include "jit.h"

enum { PAGE = 4096 };
static int rounds = 400;

static char *contested, *own;
static jit_call *call;
static volatile bool over;
static volatile long handled, crashed, seen;
static sigjmp_buf back;

// Ranges that come and go at the same addresses are named by where they are.
static void look(const char *at)
{
    struct elfin_code_info info;
    char name[32];
    if (elfin_code_find(at, &info))
        return;
    snprintf(name, sizeof name, "%ld+%zu", (long)((const char *)info.start - contested), info.size);
    CHECK(info.start <= at && at < (const char *)info.start + info.size && !strcmp(name, info.name));
    seen++;
}

static void look_around(void *pc)
{
    void *frames[32];
    Dl_info named;
    struct dl_find_object found;
    struct elfin_code_info info;
    CHECK(elfin_code_find(pc, &info) == 0);
    CHECK(_dl_find_object(pc, &found) == 0 && found.dlfo_map_start <= pc && pc < found.dlfo_map_end);
    CHECK(dladdr(pc, &named));
    CHECK(backtrace(frames, 32) > 2);
    for (int at = 0; at < 64; at++)
        look(contested + at);
}

static void on_timer(int, siginfo_t *, void *context)
{
    // In the kernel's vDSO there may be no code to look up.
    struct elfin_code_info info;
    void *pc = (void *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    look_around(elfin_code_find(pc, &info) ? (void *)on_timer : pc);
    handled++;
}

static void on_crash(int, siginfo_t *, void *context)
{
    look_around((void *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP]);
    crashed++;
    siglongjmp(back, 1);
}

static int fail(int value) { throw value; }
static int crash(int value) { return *(volatile int *)(long)(value * 8); }

static int caught(jit_call *call, int value)
{
    try {
        return call(fail, value);
    } catch (int value) {
        return -value;
    }
}

static void *thrower(void *)
{
    while (!over)
        CHECK(caught(call, 7) == -7);
    return NULL;
}

// Ranges of 1 to 21 bytes in 64, and one with unwind information elsewhere.
static void *registrar(void *data)
{
    long lane = (long)data;
    for (long round = 0; !over; round++) {
        char name[32];
        long start = lane * 32 + round % 11, size = 1 + round % 21;
        snprintf(name, sizeof name, "%ld+%ld", start, size);
        struct elfin_code code = jit_code(contested + start, name);
        code.size = size;
        code.owned_by = round & 1 ? ELFIN_CODE_OF_THREAD : ELFIN_CODE_OF_NOBODY;
        elfin_code_t id;
        CHECK(elfin_code_register(&code, &id) == 0);
        CHECK(elfin_code_unregister(id) == 0);
    }
    return NULL;
}

static void *opener(void *)
{
    while (!over) {
        void *library = dlopen("./code_lookups-plug.so", RTLD_NOW);
        CHECK(library);
        CHECK(caught((jit_call *)dlsym(library, "call_back"), 3) == -3);
        dlclose(library);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atoi(argv[1]);
    contested = jit_pages(PAGE);
    own = jit_pages(PAGE);
    call = (jit_call *)jit_make(own + 1, jit_call_bytes);
    struct elfin_code code = jit_code((void *)call, "own");
    code.eh_frame = jit_frames(own + 64, (void *)call);
    CHECK(elfin_code_register(&code, NULL) == 0);
    // The first one loads libgcc.
    void *frames[4];
    backtrace(frames, 4);
    struct sigaction action = {};
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    action.sa_sigaction = on_timer;
    sigaction(SIGALRM, &action, NULL);
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    action.sa_sigaction = on_crash;
    sigaction(SIGSEGV, &action, NULL);
    pthread_t threads[4];
    pthread_create(&threads[0], NULL, registrar, (void *)0);
    pthread_create(&threads[1], NULL, registrar, (void *)1);
    pthread_create(&threads[2], NULL, opener, NULL);
    pthread_create(&threads[3], NULL, thrower, NULL);
    struct itimerval every = {{0, 2000}, {0, 2000}};
    setitimer(ITIMER_REAL, &every, NULL);
    for (volatile int round = 0; round < rounds || handled < rounds / 4 || !seen; round = round + 1) {
        CHECK(caught(call, round) == -round);
        if (sigsetjmp(back, 1) == 0)
            call(crash, 1);
        for (int at = 0; at < 64; at++)
            look(contested + at);
    }
    over = true;
    for (pthread_t thread : threads)
        pthread_join(thread, NULL);
    every = {};
    setitimer(ITIMER_REAL, &every, NULL);
    CHECK(crashed >= rounds && elfin_code_count() == 1);
    return FINISH();
}
#endif
