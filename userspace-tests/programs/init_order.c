// INIT and FINI functions of a diamond of needed objects: what is needed comes first, and goes last.
// shared: init_order-base.so -DLIBRARY="base"
// shared: init_order-left.so -DLIBRARY="left" -Wl,--no-as-needed init_order-base.so
// shared: init_order-right.so -DLIBRARY="right" -Wl,--no-as-needed init_order-base.so
// shared: init_order-plug.so -DLIBRARY="plug" -Wl,--no-as-needed init_order-right.so
// link: -Wl,--no-as-needed init_order-left.so init_order-right.so
#include <stdio.h>
#include <stdlib.h>
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#ifdef LIBRARY
#define NAME TEXT(LIBRARY)
#else
#include <dlfcn.h>
#define NAME "main"
#endif
__attribute__((constructor(101))) static void first(int argc, char **argv, char **env)
{
    printf("%s first, %d arguments, %s\n", NAME, argc, argv[argc] == 0 && env != 0 ? "environment" : "?");
}
__attribute__((constructor)) static void second(void) { puts(NAME " second"); }
__attribute__((destructor)) static void early(void) { puts(NAME " goes"); fflush(stdout); }
__attribute__((destructor(101))) static void last(void) { puts(NAME " is gone"); fflush(stdout); }
#ifndef LIBRARY
static void preinit(int argc) { printf("preinit %d\n", argc); }
__attribute__((section(".preinit_array"), used)) static void (*preinits)(int) = (void (*)(int))preinit;
static void at_exit(void) { puts("atexit"); }
int main(void)
{
    atexit(at_exit);
    void *plug = dlopen("./init_order-plug.so", RTLD_NOW);
    puts(plug ? "opened" : dlerror());
    dlclose(plug);
    puts("closed");
    plug = dlopen("./init_order-plug.so", RTLD_NOW);
    puts("main ends");
    return 0;
}
#endif
