// LD_PRELOAD: functions of the preloaded object come before the C library's, which it can still call.
// shared: preload-over.so -DOVER
// env: LD_PRELOAD=./preload-over.so ./preload-absent.so
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef OVER
__attribute__((constructor)) static void begin(void) { puts("preloaded"); }
static int calls;
int atoi(const char *text)
{
    int (*next)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "atoi");
    calls++;
    return next(text) + 1000;
}
char *getenv(const char *name)
{
    char *(*next)(const char *) = (char *(*)(const char *))dlsym(RTLD_NEXT, "getenv");
    return strcmp(name, "SECRET") ? next(name) : "overridden";
}
int preload_calls(void) { return calls; }
#else
int preload_calls(void) __attribute__((weak));
int main(void)
{
    printf("%d\n", atoi("7"));
    puts(getenv("SECRET"));
    puts(getenv("LANG"));
    printf("%d\n", preload_calls ? preload_calls() : -1);
    return 0;
}
#endif
