// A library with nested functions is opened by a program without: the stacks that are there become executable, those of
// other threads, too, and those that are made later; not those that are the program's own memory.
// shared: execstack_library.so -DLIBRARY -Wl,--no-warn-execstack
// hosted: too
#ifdef LIBRARY
#include "nested.h"

int from_library(int from)
{
    return sum_of_distances(from);
}
#else
#define NO_NESTED
#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>
#include "check.h"
#include "nested.h"

static pthread_barrier_t barrier;
static int (*nested)(int);

struct expected {
    int before, after;
};

static void *waits(void *argument)
{
    struct expected *expected = argument;
    CHECK(stack_runs() == expected->before);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    CHECK(stack_runs() == expected->after);
    if (expected->after)
        CHECK(nested(1) == 12345);
    return 0;
}

static void *starts(void *unused)
{
    CHECK(stack_runs());
    CHECK(nested(5) == 54321);
    return unused;
}

static void *ends(void *unused)
{
    CHECK(!stack_runs());
    return unused;
}

int main(void)
{
    CHECK(!stack_runs());
    pthread_barrier_init(&barrier, 0, 3);
    pthread_t kept, other, own;
    // One whose stack libc keeps for the next.
    CHECK(pthread_create(&kept, 0, ends, 0) == 0 && pthread_join(kept, 0) == 0);
    pthread_attr_t attributes;
    size_t size = 1 << 20;
    void *memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstack(&attributes, memory, size) == 0);
    CHECK(pthread_create(&own, &attributes, waits, &(struct expected){0, 0}) == 0);
    CHECK(pthread_attr_destroy(&attributes) == 0 && pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, size) == 0);
    CHECK(pthread_create(&other, &attributes, waits, &(struct expected){0, 1}) == 0);
    pthread_barrier_wait(&barrier);

    void *library = dlopen("./execstack_library.so", RTLD_NOW);
    CHECK(library && (nested = dlsym(library, "from_library")));
    CHECK(stack_runs() && nested(1) == 12345);
    pthread_barrier_wait(&barrier);
    CHECK(pthread_join(own, 0) == 0 && pthread_join(other, 0) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&other, i == 2 ? &attributes : 0, starts, 0) == 0 && pthread_join(other, 0) == 0);
    // They stay so.
    CHECK(dlclose(library) == 0 && stack_runs());
    return FINISH();
}
#endif
