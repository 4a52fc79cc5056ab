// An INIT function starts a thread that opens another object and waits for it. ld.so deadlocks here, so that this is
// run in the guest only.
// shared: init_threads_open-leaf.so -DLEAF
// shared: init_threads_open-plug.so -DPLUG
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#if defined LEAF
int leaf(void) { return 12; }
__attribute__((constructor)) static void begin(void) { puts("leaf init"); }
#elif defined PLUG
static void *open_leaf(void *unused)
{
    void *leaf = dlopen("./init_threads_open-leaf.so", RTLD_NOW);
    int (*function)(void) = leaf ? (int (*)(void))dlsym(leaf, "leaf") : 0;
    printf("leaf says %d\n", function ? function() : -1);
    return unused;
}
__attribute__((constructor)) static void begin(void)
{
    pthread_t thread;
    puts("plug init");
    pthread_create(&thread, 0, open_leaf, 0);
    pthread_join(thread, 0);
    puts("plug init ends");
}
#else
int main(void)
{
    void *plug = dlopen("./init_threads_open-plug.so", RTLD_LAZY);
    puts(plug ? "opened" : dlerror());
    return 0;
}
#endif
