// Indirect functions: in the program, in an object, called lazily, by address, and in C's own string functions.
// shared: ifunc-library.so -DLIBRARY
// link: ifunc-library.so
#include <stdio.h>
static int chosen(void) { return 21; }
static int other(void) { return 99; }
static int (*choose(void))(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse2") ? chosen : other;
}
#ifdef LIBRARY
int in_library(void) __attribute__((ifunc("choose")));
int call_in_library(void) { return in_library() + 1; }
int (*address_in_library)(void) = in_library;
#else
#include <dlfcn.h>
#include <string.h>
int in_library(void), call_in_library(void);
extern int (*address_in_library)(void);
int in_program(void) __attribute__((ifunc("choose")));
static int hidden(void) __attribute__((ifunc("choose")));
int (*address)(void) = in_program;
int main(void)
{
    printf("%d %d %d %d\n", in_library(), call_in_library(), address_in_library(), in_program());
    printf("%d %d\n", hidden(), address());
    printf("%d\n", address_in_library == in_library && address == in_program);
    int (*found)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "in_library");
    printf("%d\n", found ? found() : -1);
    // These are indirect functions in glibc.
    char text[100], copy[100];
    memset(text, 'x', sizeof text);
    text[99] = 0;
    memcpy(copy, text, sizeof text);
    size_t (*length)(const char *) = (size_t (*)(const char *))dlsym(RTLD_DEFAULT, "strlen");
    printf("%zu %zu %d %s\n", strlen(text), length(copy), memcmp(text, copy, 100), strchr(strcpy(copy, "a,b"), ','));
    return 0;
}
#endif
