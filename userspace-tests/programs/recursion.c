// Stacks grow as deep as their limit allows: 7 MiB on the main thread, 3 MiB on a thread with a stack of 4 MiB.
#include <pthread.h>
#include <sys/resource.h>
#include "check.h"

static int __attribute__((noinline)) deep(int n)
{
    volatile char room[1000];
    room[n % 1000] = (char)n;
    return n ? deep(n - 1) + (room[n % 1000] == (char)n) : 0;
}
// Not step by step: the lowest byte first.
static int __attribute__((noinline)) at_once(void)
{
    volatile char block[6 << 20];
    block[0] = 1;
    return block[0];
}
static void *run(void *n) { return (void *)(long)deep((int)(long)n); }

int main(void)
{
    struct rlimit limit;
    pthread_t thread;
    pthread_attr_t attributes;
    void *result;
    CHECK(getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur >= 8 << 20);
    printf("%d\n", deep(7 << 10));
    printf("%d\n", deep(7 << 10));
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 4 << 20);
    CHECK(pthread_create(&thread, &attributes, run, (void *)(3L << 10)) == 0);
    pthread_join(thread, &result);
    printf("%ld\n", (long)result);
    printf("%d\n", at_once());
    return FINISH();
}
