// An INIT function starts threads that call functions of its own object, bound lazily, and waits for them; the same in
// an object that is opened later. The argument is the number of times that is done.
// forked: too
// shared: init_threads-helper.so -DHELPER
// shared: init_threads-needed.so -DPOOL="needed" init_threads-helper.so -Wl,-z,lazy
// shared: init_threads-opened.so -DPOOL="opened" init_threads-helper.so -Wl,-z,lazy
// link: init_threads-needed.so -Wl,-z,lazy
// env: LD_BIND_NOW=
// cpus: 4
// soak: 3000
#if defined HELPER
int helper(int x) { return x * 3; }
#elif defined POOL
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#include <pthread.h>
#include <stdio.h>
int helper(int);
static __thread int calls;
// Visible, so that each call goes through the PLT.
int own0(int x) { calls++; return helper(x) + 1; }
int own1(int x) { calls++; return own0(x) + 10; }
int own2(int x) { calls++; return own1(x) + 100; }
static void *work(void *number)
{
    long x = (long)number, result = own2(x) * 10 + calls;
    return (void *)result;
}
__attribute__((constructor)) static void begin(void)
{
    pthread_t threads[6];
    long sum = 0;
    puts(TEXT(POOL) " begins");
    for (long i = 0; i < 6; i++)
        if (pthread_create(&threads[i], 0, work, (void *)i))
            puts("no thread");
    for (int i = 0; i < 6; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    printf("%s sum %ld\n", TEXT(POOL), sum);
}
#else
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int own2(int);
int main(int argc, char **argv)
{
    printf("main %d\n", own2(1));
    for (int round = argc > 1 ? atoi(argv[1]) : 1; round; round--) {
        void *opened = dlopen("./init_threads-opened.so", RTLD_LAZY);
        puts(opened ? "opened" : dlerror());
        if (opened)
            printf("closed %d\n", dlclose(opened));
    }
    return 0;
}
#endif
