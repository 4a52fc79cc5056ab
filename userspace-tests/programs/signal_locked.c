// While another thread holds the load lock, and does not give it back before: a signal handler makes the first call of a
// function, of one chosen by an IFUNC resolver, and the first uses of thread-local variables by all models; looks up symbols
// and addresses, lists objects, and unwinds. It may interrupt malloc. The argument is the number of rounds. Under ld.so, dlsym
// waits for the lock.
// hosted: too
// forked: too
// args: 20
// soak: 1000
// shared: signal_locked-held.so -DHELD
// shared: signal_locked-used.so -DUSED -Wl,-z,lazy
// flags: -rdynamic
#if defined HELD
void hold_lock(void);
__attribute__((constructor)) static void begin(void) { hold_lock(); }
#elif defined USED
// Everything through the PLT or by the dynamic TLS models.
__thread int counter = 5;
__thread char large[20000] = {1};
int plain(int x) { return x + 1; }
static int twice(int x) { return 2 * x; }
static int (*resolve(void))(int) { return twice; }
int chosen(int) __attribute__((ifunc("resolve")));
static int *descriptor(void)
{
    int *at;
    __asm__("lea counter@tlsdesc(%%rip), %%rax\n\tcall *counter@tlscall(%%rax)\n\tadd %%fs:0, %%rax" : "=a"(at) :: "cc");
    return at;
}
int use(int descriptor_first)
{
    if (descriptor_first && *descriptor() != 5)
        return 0;
    return plain(4) == 5 && chosen(4) == 8 && counter == 5 && large[0] == 1 && large[19999] == 0 && descriptor() == &counter;
}
#else
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include "check.h"

static sem_t held, handled;
static int (*use)(int);
static int round_number;
static _Atomic int begun, done;

// Called by the INIT function.
void hold_lock(void)
{
    sem_post(&held);
    sem_wait(&handled);
}

static void *load(void *unused)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, 0);
    void *library = dlopen("./signal_locked-held.so", RTLD_NOW);
    CHECK(library && dlclose(library) == 0);
    return unused;
}

static int count(struct dl_phdr_info *info, size_t size, void *total)
{
    (void)size;
    *(int *)total += info->dlpi_phnum > 0;
    return 0;
}

static void handler(int signal)
{
    int objects = 0;
    Dl_info info;
    void *frames[32];
    struct dl_find_object found;
    (void)signal;
    CHECK(use(round_number % 2));
    CHECK(dlsym(RTLD_DEFAULT, "strtol") != 0);
    CHECK(dladdr((void *)use, &info) && info.dli_saddr == (void *)use);
    CHECK(_dl_find_object((void *)use, &found) == 0);
    CHECK(dl_iterate_phdr(count, &objects) == 0 && objects >= 3);
    CHECK(backtrace(frames, 32) >= 2);
    done = 1;
}

static void *work(void *unused)
{
    begun = 1;
    while (!done)
        free(malloc((size_t)rand() % 5000));
    return unused;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    void *frames[2];
    // The unwinder is loaded, with malloc, when it is first used.
    backtrace(frames, 2);
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handler, .sa_flags = SA_RESTART}, 0);
    sem_init(&held, 0, 0);
    sem_init(&handled, 0, 0);
    for (; round_number < rounds; round_number++) {
        pthread_t loader, worker;
        begun = done = 0;
        void *used = dlopen("./signal_locked-used.so", RTLD_LAZY);
        use = used ? (int (*)(int))dlsym(used, "use") : 0;
        if (!use) {
            puts(dlerror());
            return 1;
        }
        pthread_create(&worker, 0, work, 0);
        pthread_create(&loader, 0, load, 0);
        sem_wait(&held);
        while (!begun)
            ;
        pthread_kill(worker, SIGUSR1);
        pthread_join(worker, 0);
        sem_post(&handled);
        pthread_join(loader, 0);
        CHECK(dlclose(used) == 0);
    }
    return FINISH();
}
#endif
