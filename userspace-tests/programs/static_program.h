// What static.c and static_pie.c are, linked in two ways.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "check.h"
static __thread int variable = 41;
static void *work(void *unused)
{
    variable++;
    return (void *)(long)(variable + (unused != 0));
}
__attribute__((constructor)) static void begin(void) { puts("constructor"); }
__attribute__((destructor)) static void end(void) { puts("destructor"); }
int main(int argc, char **argv)
{
    pthread_t thread;
    void *result = 0;
    printf("%d %s\n", argc, argv[argc - 1]);
    printf("%s\n", getenv("HOME"));
    CHECK(pthread_create(&thread, 0, work, 0) == 0);
    pthread_join(thread, &result);
    printf("%ld %d\n", (long)result, variable);
    char *much = malloc(10 << 20);
    memset(much, 7, 10 << 20);
    CHECK(much[10485759] == 7);
    free(much);
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    CHECK(access("/proc/self/exe", F_OK) == 0);
    return FINISH();
}
