// INIT functions that open objects: one that their object needs without saying so, one that needs their own object, one
// that opens others in its turn; and close them. Two threads load at once. The argument is the number of rounds.
// hosted: too
// forked: too
// soak: 3000
// shared: init_open-leaf.so -DLEAF
// shared: init_open-inner.so -DINNER
// shared: init_open-outer.so -DOUTER
// shared: init_open-user.so -DUSER -Wl,--no-as-needed init_open-outer.so
// link: -Wl,--no-as-needed
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static inline void *must_open(const char *name)
{
    void *handle = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
    if (!handle)
        puts(dlerror());
    return handle;
}
#if defined LEAF
int leaf(void) { return 7; }
__attribute__((constructor)) static void begin(void) { puts("leaf begins and ends"); }
__attribute__((destructor)) static void end(void) { puts("leaf is finished"); }
#elif defined INNER
int inner;
__attribute__((constructor)) static void begin(void)
{
    puts("inner begins");
    void *leaf = must_open("./init_open-leaf.so");
    inner = ((int (*)(void))dlsym(leaf, "leaf"))();
    dlclose(leaf);
    puts("inner ends");
}
__attribute__((destructor)) static void end(void) { puts("inner is finished"); }
#elif defined OUTER
int outer_state;
static void *inner;
__attribute__((constructor)) static void begin(void)
{
    puts("outer begins");
    outer_state = 1;
    void *self = dlopen("./init_open-outer.so", RTLD_NOW | RTLD_NOLOAD);
    printf("finds itself: %d\n", self && dlsym(self, "outer_state") == &outer_state);
    dlclose(self);
    inner = must_open("./init_open-inner.so");
    printf("inner says %d\n", *(int *)dlsym(inner, "inner"));
    // Needs this object, which has begun.
    dlclose(must_open("./init_open-user.so"));
    outer_state = 2;
    puts("outer ends");
}
__attribute__((destructor)) static void end(void)
{
    puts("outer is finished");
    dlclose(inner);
}
#elif defined USER
extern int outer_state;
__attribute__((constructor)) static void begin(void) { printf("user begins when outer is at %d\n", outer_state); }
__attribute__((destructor)) static void end(void) { puts("user is finished"); }
#else
static int found;
static void *second(void *unused)
{
    // Which of the two loads is the first, chance decides; the other waits until it is over.
    void *outer = must_open("./init_open-outer.so");
    found = *(int *)dlsym(outer, "outer_state");
    (void)unused;
    return outer;
}
int main(int argc, char **argv)
{
    for (int round = argc > 1 ? atoi(argv[1]) : 3; round; round--) {
        pthread_t thread;
        pthread_create(&thread, 0, second, 0);
        void *theirs, *ours = must_open("./init_open-outer.so");
        printf("first finds outer at %d\n", *(int *)dlsym(ours, "outer_state"));
        pthread_join(thread, &theirs);
        printf("second finds outer at %d\n", found);
        printf("the same handle: %d\n", ours == theirs);
        dlclose(ours);
        dlclose(theirs);
        puts("closed");
    }
    return 0;
}
#endif
