// Thread-local variables: in the program, in an object it needs, in one opened later, and by TLS descriptors.
// shared: tls-needed.so -DLIBRARY=needed
// shared: tls-descriptors.so -DLIBRARY=descriptors -mtls-dialect=gnu2
// shared: tls-opened.so -DLIBRARY=opened
// shared: tls-opened-descriptors.so -DLIBRARY=opened_descriptors -mtls-dialect=gnu2
// link: tls-needed.so tls-descriptors.so
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#ifdef LIBRARY
__thread int JOIN(visible_, LIBRARY) = 100;
static __thread int hidden = 5;
static __thread char zeroes[5000];
static __thread long aligned __attribute__((aligned(64))) = 9;
static int target = 7;
static __thread int *pointer = &target;

int JOIN(next_, LIBRARY)(int step)
{
    hidden += step;
    zeroes[4999] += 1;
    // The compiler takes it for granted, unless it does not know whose address it is.
    const void *at = &aligned;
    __asm__("" : "+r"(at));
    int misaligned = (unsigned long)at % 64 != 0;
    return (JOIN(visible_, LIBRARY) += step) + hidden + zeroes[4999] + aligned + *pointer + 100000 * misaligned;
}
#else
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include "check.h"

int next_needed(int), next_descriptors(int);
extern __thread int visible_needed, visible_descriptors;
static __thread int own = 3;
static __thread char block[300] = "initial";
static int (*next_opened)(int), (*next_opened_descriptors)(int);
static pthread_barrier_t barrier;

struct result { int numbers[24], count; };

static void use(struct result *result)
{
    for (int step = 1; step < 4; step++) {
        int *to = result->numbers + result->count;
        to[0] = next_needed(step);
        to[1] = next_descriptors(step);
        to[2] = next_opened ? next_opened(step) : 0;
        to[3] = next_opened_descriptors ? next_opened_descriptors(step) : 0;
        result->count += 4;
    }
    CHECK(visible_needed == 100 + 6 * result->count / 12);
    CHECK(visible_descriptors == visible_needed);
    CHECK(!strcmp(block, "initial") || !strcmp(block, "changed"));
    strcpy(block, "changed");
    own++;
}

static void *early(void *result)
{
    use(result);
    pthread_barrier_wait(&barrier);
    // The main thread opens the objects now: threads that are there already get their variables, too.
    pthread_barrier_wait(&barrier);
    use(result);
    CHECK(own == 5);
    return 0;
}

static void *late(void *result)
{
    use(result);
    CHECK(own == 4);
    return 0;
}

static void show(const char *who, const struct result *result)
{
    printf("%s:", who);
    for (int i = 0; i < result->count; i++)
        printf(" %d", result->numbers[i]);
    puts("");
}

int main(void)
{
    struct result results[3] = {0};
    pthread_t threads[2];
    pthread_barrier_init(&barrier, 0, 2);
    pthread_create(&threads[0], 0, early, &results[0]);
    pthread_barrier_wait(&barrier);
    void *opened = dlopen("./tls-opened.so", RTLD_NOW);
    void *descriptors = dlopen("./tls-opened-descriptors.so", RTLD_NOW);
    CHECK(opened && descriptors);
    next_opened = dlsym(opened, "next_opened");
    next_opened_descriptors = dlsym(descriptors, "next_opened_descriptors");
    pthread_barrier_wait(&barrier);
    pthread_create(&threads[1], 0, late, &results[1]);
    pthread_join(threads[0], 0);
    pthread_join(threads[1], 0);
    use(&results[2]);
    show("early", &results[0]);
    show("late", &results[1]);
    show("main", &results[2]);
    int *mine = dlsym(opened, "visible_opened");
    CHECK(mine && *mine == 106);
    // Closed and opened again, the variables begin anew.
    CHECK(dlclose(opened) == 0);
    opened = dlopen("./tls-opened.so", RTLD_LAZY);
    next_opened = dlsym(opened, "next_opened");
    printf("again: %d\n", next_opened(1));
    return FINISH();
}
#endif
