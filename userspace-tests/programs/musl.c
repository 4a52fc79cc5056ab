// A program of musl's, as Alpine has them: its own dynamic linker loads it and what it opens, and its threads, signals,
// children and timers are the kernel's alone; the kernel's loader has no part in it.
// flags: -specs=/usr/lib/x86_64-linux-musl/musl-gcc.specs -rdynamic -pthread
// link: -Wl,-rpath,$ORIGIN
// cpus: 1 4
// shared: musl-plugin.so -DPLUGIN -specs=/usr/lib/x86_64-linux-musl/musl-gcc.specs
#include <pthread.h>
#include <stdio.h>

#ifdef PLUGIN

extern int host_value;

static _Thread_local int own = 40;
static pthread_t worker;
static int from_worker;

static void *work(void *nothing)
{
    from_worker = own++ + host_value;
    return nothing;
}

// Its INIT function starts a thread and waits for it.
__attribute__((constructor)) static void begin(void)
{
    pthread_create(&worker, NULL, work, NULL);
    pthread_join(worker, NULL);
    printf("plugin begins: %d\n", from_worker);
}

__attribute__((destructor)) static void end(void)
{
    printf("plugin ends: %d\n", own);
}

int plugin(void)
{
    return ++own;
}

#else

#include "check.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 16, ROUNDS = 1000 };

extern char **environ;
int host_value = 2;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static int sum, arrived;
static _Thread_local int mine = 7;
static int (*called)(void);

static void *add(void *number)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&lock);
        sum++;
        pthread_mutex_unlock(&lock);
    }
    mine += *(int *)number;
    pthread_barrier_wait(&barrier);
    pthread_mutex_lock(&lock);
    arrived += mine + called();
    pthread_cond_broadcast(&change);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void threads(void)
{
    pthread_t all[THREADS];
    int numbers[THREADS];
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&all[i], NULL, add, &numbers[i]) == 0);
    }
    // Each has a `mine` of 7, and an `own` of the plugin's that is 41 once it is called.
    int all_of_them = THREADS * (7 + 41) + THREADS * (THREADS - 1) / 2;
    pthread_mutex_lock(&lock);
    while (arrived != all_of_them)
        pthread_cond_wait(&change, &lock);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(all[i], NULL) == 0);
    printf("threads: %d %d\n", sum, arrived);
}

static void *sleep_for_ever(void *nothing)
{
    pause();
    return nothing;
}

static void cancelled(void)
{
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, sleep_for_ever, NULL) == 0 && pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
}

static int loaded(struct dl_phdr_info *info, size_t size, void *count)
{
    (void)size;
    ++*(int *)count;
    return info->dlpi_phnum == 0;
}

static void objects(void)
{
    int count = 0, before = 0;
    Dl_info info;
    CHECK(dl_iterate_phdr(loaded, &before) == 0 && before >= 2);
    void *plugin = dlopen("musl-plugin.so", RTLD_NOW);
    CHECK(plugin != NULL);
    if (!plugin) {
        printf("%s\n", dlerror());
        return;
    }
    called = (int (*)(void))dlsym(plugin, "plugin");
    CHECK(dl_iterate_phdr(loaded, &count) == 0 && count == before + 1);
    CHECK(called && dladdr((void *)called, &info) && strstr(info.dli_fname, "musl-plugin.so"));
    CHECK(!dlsym(plugin, "no such symbol") && dlerror() && !dlopen("no-such.so", RTLD_NOW) && dlerror());
    int first = called();
    printf("plugin: %d %d\n", first, called());
    threads();
    CHECK(dlclose(plugin) == 0);
}

static volatile sig_atomic_t caught;
static sigjmp_buf back;

static void handler(int signal, siginfo_t *info, void *context)
{
    (void)context;
    caught = signal + info->si_code;
    if (signal == SIGSEGV)
        siglongjmp(back, 1);
}

static void signals(void)
{
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGRTMIN, &action, NULL) == 0);
    char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!sigsetjmp(back, 1))
        *(volatile char *)page = 1;
    CHECK(caught == SIGSEGV + SEGV_ACCERR);
    CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = 3 }) == 0 && caught == SIGRTMIN + SI_QUEUE);
    timer_t timer;
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
    struct itimerspec soon = { .it_value.tv_nsec = 1000000 };
    caught = 0;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &soon, NULL) == 0);
    while (!caught)
        usleep(1000);
    CHECK(caught == SIGRTMIN + SI_TIMER && timer_delete(timer) == 0);
}

static void children(void)
{
    int status, ends[2];
    char line[64] = "";
    FILE *shell = popen("echo a pipe of $((6 * 7))", "r");
    CHECK(shell && fgets(line, sizeof line, shell) && pclose(shell) == 0);
    printf("shell: %s", line);
    CHECK(system("exit 3") == 3 << 8);
    pid_t pid;
    char *arguments[] = { "true", NULL };
    CHECK(posix_spawnp(&pid, "true", NULL, NULL, arguments, environ) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(pipe(ends) == 0);
    fflush(stdout);
    if ((pid = fork()) == 0)
        _exit(write(ends[1], &mine, sizeof mine) != sizeof mine);
    int of_child = 0;
    CHECK(read(ends[0], &of_child, sizeof of_child) == sizeof of_child && of_child == 7);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void library(void)
{
    struct timespec now, later;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0 && nanosleep(&(struct timespec){ .tv_nsec = 1000 }, NULL) == 0);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &later) == 0);
    CHECK(later.tv_sec > now.tv_sec || later.tv_nsec > now.tv_nsec);
    CHECK(getauxval(AT_PHDR) && getauxval(AT_BASE) && getauxval(AT_SYSINFO_EHDR) && getauxval(AT_PAGESZ) == 4096);
    int ends[2];
    char byte = 0;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && write(ends[0], "x", 1) == 1);
    CHECK(read(ends[1], &byte, 1) == 1 && byte == 'x');
    CHECK(open("/no/such", O_RDONLY) == -1 && errno == ENOENT);
    void *large = malloc(64 << 20);
    CHECK(large != NULL);
    free(large);
    printf("%s: %.12f %a\n", strerror(ENOENT), sin(0.5), exp(1.0));
}

int main(void)
{
    objects();
    cancelled();
    signals();
    children();
    library();
    return FINISH();
}

#endif
