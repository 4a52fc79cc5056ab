// Symbol versions: callers linked against the old version keep it, new ones get the default, dlvsym gets either. The library
// finds its own old version, too, from its INIT function and later.
// hosted: too
// shared: versions-library.so -DLIBRARY -Wl,--version-script=$SOURCES/versions.map -Wl,-z,lazy
// shared: versions-old.so -DOLD versions-library.so
// link: versions-library.so versions-old.so
#ifdef LIBRARY
int greet_old(void) { return 1; }
int greet_new(void) { return 2; }
__asm__(".symver greet_old, greet@V1");
__asm__(".symver greet_new, greet@@V2");
int greet_own(void);
__asm__(".symver greet_own, greet@V1");
static int in_init;
__attribute__((constructor)) static void begin(void) { in_init = greet_own(); }
int old_only(void) { return 10 * in_init; }
int new_only(void) { return 20 * greet_own(); }
#elif defined OLD
int greet_v1(void);
__asm__(".symver greet_v1, greet@V1");
int ask_old(void) { return greet_v1(); }
#else
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <stdio.h>
int greet(void), ask_old(void), old_only(void), new_only(void);
static int by_version(const char *version)
{
    int (*function)(void) = (int (*)(void))dlvsym(RTLD_DEFAULT, "greet", version);
    return function ? function() : -1;
}
int main(void)
{
    printf("%d %d %d %d\n", greet(), ask_old(), old_only(), new_only());
    printf("%d %d %d\n", by_version("V1"), by_version("V2"), by_version("V3"));
    int (*unversioned)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "greet");
    printf("%d\n", unversioned());
    puts(gnu_get_libc_version());
    return 0;
}
#endif
