// What signal_loader.c and signal_loader_now.c are, and their libraries.
#if defined SLOW
#include <time.h>
int slow_done;
__attribute__((constructor)) static void initialise(void)
{
    struct timespec now, begin;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begin.tv_sec) * 1000000000 + now.tv_nsec - begin.tv_nsec < 2000000);
    slow_done = 1;
}
#elif defined LIBRARY
// Everything through the PLT or by the dynamic TLS models.
__thread int counter = 5;
__thread char large[20000] = {1};
int plain(int x) { return x + 1; }
static int twice(int x) { return 2 * x; }
static int (*resolve(void))(int) { return twice; }
int chosen(int) __attribute__((ifunc("resolve")));
int *descriptor(void)
{
    int *at;
    __asm__("lea counter@tlsdesc(%%rip), %%rax\n\tcall *counter@tlscall(%%rax)\n\tadd %%fs:0, %%rax" : "=a"(at) :: "cc");
    return at;
}
// 0 if all is as it must be in a thread that comes here for the first time.
int use(int first)
{
    int wrong = plain(4) != 5 || chosen(4) != 8;
    wrong |= (first && counter != 5) << 1;
    counter++;
    wrong |= (descriptor() != &counter || (first && *descriptor() != 6)) << 2;
    wrong |= (large[0] != 1 || large[19999] != 0) << 3;
    return wrong;
}
#else
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "check.h"

static timer_t timer;
static pthread_t main_thread;
static sigjmp_buf out;
static volatile int may_jump;
static volatile int handled;

static uint32_t number(void)
{
    static uint32_t state = 1;
    return (state = state * 1664525 + 1013904223) >> 8;
}

static void arm(void)
{
    struct itimerspec soon = {.it_value.tv_nsec = 20000 + number() % 200000};
    timer_settime(timer, 0, &soon, 0);
}

static int count(struct dl_phdr_info *info, size_t size, void *total)
{
    (void)size;
    *(int *)total += info->dlpi_phnum > 0;
    return 0;
}

static void open_and_use(const char *name)
{
    // Closed by a handler that interrupted FINI functions, it goes after them.
    void *before = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
    void *library = dlopen(name, RTLD_LAZY);
    if (!library) {
        puts(dlerror());
        CHECK(!"dlopen");
        return;
    }
    int (*use)(int) = (int (*)(int))dlsym(library, "use");
    int wrong = use(!before);
    CHECK(wrong == 0);
    Dl_info info;
    CHECK(dladdr((void *)use, &info) && info.dli_saddr == (void *)use);
    CHECK(dlsym(library, "there_is_none") == 0 && strstr(dlerror(), "undefined symbol: there_is_none"));
    CHECK(dlclose(library) == 0 && (!before || dlclose(before) == 0));
}

static void nested(int signal)
{
    (void)signal;
    open_and_use("./signal_loader-n.so");
}

static void handler(int signal)
{
    (void)signal;
    void *frames[32];
    int objects = 0;
    open_and_use("./signal_loader-h.so");
    dl_iterate_phdr(count, &objects);
    CHECK(objects >= 3);
    CHECK(backtrace(frames, 32) >= 2);
    if (number() % 4 == 0)
        raise(SIGUSR2);
    handled++;
    arm();
    if (may_jump && pthread_equal(pthread_self(), main_thread) && number() % 4 == 0)
        siglongjmp(out, 1);
}

// What is interrupted: one step of each kind of work.
static void allocate(void)
{
    static void *blocks[64];
    void **block = &blocks[number() % 64];
    free(*block);
    *block = malloc(number() % 5000);
}
static void bind(void)
{
    void *library = dlopen("./signal_loader-m.so", RTLD_LAZY);
    int (*use)(int) = (int (*)(int))dlsym(library, "use");
    if (sigsetjmp(out, 1) == 0) {
        may_jump = 1;
        CHECK(use(1) == 0);
    }
    may_jump = 0;
    CHECK(dlclose(library) == 0);
}
static void open_close(void)
{
    void *library = dlopen("./signal_loader-m.so", RTLD_NOW);
    CHECK(library && dlclose(library) == 0);
    CHECK(!dlopen("./there_is_none.so", RTLD_NOW));
}
static void initialise(void)
{
    void *library = dlopen("./signal_loader-slow.so", RTLD_NOW);
    CHECK(library && *(int *)dlsym(library, "slow_done") == 1);
    CHECK(dlclose(library) == 0);
}
static void look_up(void)
{
    if (sigsetjmp(out, 1) == 0) {
        may_jump = 1;
        for (int i = 0; i < 100; i++) {
            Dl_info info;
            CHECK(dlsym(RTLD_DEFAULT, "strtol") && dladdr((void *)handler, &info));
        }
    }
    may_jump = 0;
    // The handler may take the text away.
    CHECK(dlsym(RTLD_DEFAULT, "there_is_none") == 0);
    dlerror();
}
static void *library;
static void *use_there(void *unused)
{
    int (*use)(int) = (int (*)(int))dlsym(library, "use");
    CHECK(use(1) == 0);
    CHECK(use(0) == 0);
    return unused;
}
static void thread_local(void)
{
    library = dlopen("./signal_loader-m.so", RTLD_LAZY);
    use_there(0);
    CHECK(dlclose(library) == 0);
}
static void threads(void)
{
    pthread_t threads[3];
    library = dlopen("./signal_loader-m.so", RTLD_LAZY);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], 0, use_there, 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], 0);
    CHECK(dlclose(library) == 0);
}
static void nothing(void)
{
}

static volatile int stop;
static void *hold_lock(void *unused)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, 0);
    while (!stop)
        initialise();
    return unused;
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*step)(void); } works[] = {
        {"malloc", allocate}, {"bind", bind}, {"dlopen", open_close}, {"init", initialise},
        {"dlsym", look_up}, {"thread-local", thread_local}, {"threads", threads}, {"locked", nothing},
    };
    int signals = argc > 1 ? atoi(argv[1]) : 100;
    void *frames[2];
    // The unwinder is loaded, with malloc, when it is first used.
    backtrace(frames, 2);
    main_thread = pthread_self();
    static char stack[65536];
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, 0);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigaction(SIGUSR1, &action, 0);
    action.sa_handler = nested;
    sigaction(SIGUSR2, &action, 0);
    timer_create(CLOCK_MONOTONIC, &(struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1}, &timer);
    for (unsigned i = 0; i < sizeof works / sizeof *works; i++) {
        pthread_t holder;
        printf("%s%s", i ? ", " : "", works[i].name);
        fflush(stdout);
        if (works[i].step == nothing)
            pthread_create(&holder, 0, hold_lock, 0);
        handled = 0;
        arm();
        while (handled < signals)
            works[i].step();
        timer_settime(timer, 0, &(struct itimerspec){0}, 0);
        stop = works[i].step == nothing;
        if (stop)
            pthread_join(holder, 0);
    }
    puts(check_failures ? "" : ": passed");
    return FINISH();
}
#endif
