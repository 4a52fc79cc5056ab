// Three threads open the same object at once, whose INIT function starts threads that bind its symbols lazily, one of which
// outlives it; a fourth looks symbols and addresses up all the time. Whoever gets the object gets it initialised.
// The argument is the number of rounds.
// hosted: too
// shared: init_race-pool.so -DPOOL -Wl,-z,lazy
// flags: -rdynamic
// cpus: 1 2 4 8
// soak: 1000
#include <pthread.h>
#include <semaphore.h>
#ifdef POOL
enum { THREADS = 3 };
static __thread int calls = 100;
static sem_t asked, answered;
static pthread_t server;
static int question, answer;
int initialised;
// Visible, so that each call goes through the PLT.
int own0(int x) { return x + calls++; }
int own1(int x) { return own0(x) * 2; }
int own2(int x) { return own1(x) * 3; }
int late(int x) { return own0(x) - 1; }
static void *work(void *number)
{
    return (void *)(long)own2((int)(long)number);
}
static void *serve(void *unused)
{
    for (;;) {
        sem_wait(&asked);
        if (question < 0)
            return unused;
        answer = late(question);
        sem_post(&answered);
    }
}
__attribute__((constructor)) static void begin(void)
{
    pthread_t threads[THREADS];
    long sum = 0;
    sem_init(&asked, 0, 0);
    sem_init(&answered, 0, 0);
    pthread_create(&server, 0, serve, 0);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], 0, work, (void *)i);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    initialised = sum == 6 * (100 + 101 + 102);
}
int ask(int x)
{
    question = x;
    sem_post(&asked);
    sem_wait(&answered);
    return answer;
}
void finish(void)
{
    question = -1;
    sem_post(&asked);
    pthread_join(server, 0);
}
#else
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include "check.h"

enum { OPENERS = 3 };

static pthread_barrier_t barrier;
static int rounds = 150, over;

static void *opener(void *number)
{
    for (int round = 0; round < rounds; round++) {
        pthread_barrier_wait(&barrier);
        void *handle = dlopen("./init_race-pool.so", (round & 1 ? RTLD_LAZY : RTLD_NOW) | RTLD_GLOBAL);
        if (!handle) {
            CHECK(!dlerror());
            return 0;
        }
        CHECK(*(int *)dlsym(handle, "initialised") == 1);
        pthread_barrier_wait(&barrier);
        if (number) {
            int (*ask)(int) = dlsym(handle, "ask");
            void (*finish)(void) = dlsym(handle, "finish");
            CHECK(ask(5) == 104 && ask(5) == 105);
            finish();
        }
        CHECK(dlclose(handle) == 0);
    }
    return 0;
}

static int visit(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    *(int *)data += info->dlpi_phnum != 0;
    return 0;
}

void *observer(void *unused)
{
    void *program = dlopen(0, RTLD_LAZY);
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        int count = 0;
        Dl_info info;
        // With this handle the program does not come to depend on what is found.
        dlsym(program, "initialised");
        dl_iterate_phdr(visit, &count);
        CHECK(count >= 2);
        CHECK(dladdr((void *)observer, &info) && info.dli_saddr == (void *)observer);
    }
    return unused;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atoi(argv[1]);
    pthread_t openers[OPENERS], watcher;
    pthread_barrier_init(&barrier, 0, OPENERS);
    pthread_create(&watcher, 0, observer, 0);
    for (long i = 0; i < OPENERS; i++)
        pthread_create(&openers[i], 0, opener, (void *)(long)(i == 0));
    for (int i = 0; i < OPENERS; i++)
        pthread_join(openers[i], 0);
    __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
    pthread_join(watcher, 0);
    CHECK(!dlopen("./init_race-pool.so", RTLD_LAZY | RTLD_NOLOAD));
    return FINISH();
}
#endif
