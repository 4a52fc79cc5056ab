// dlopen, dlsym, dlclose, dlerror, dladdr and dlinfo as a plug-in host uses them, with every error's text.
// shared: dlopen-one.so -DPLUG=1
// shared: dlopen-two.so -DPLUG=2
// shared: dlopen-unresolved.so -DPLUG=3 -Wl,-z,lazy
#ifdef PLUG
#include <stdio.h>
int number(void) { return PLUG; }
int variable = PLUG * 11;
__attribute__((constructor)) static void begin(void) { printf("plug %d init\n", PLUG); }
__attribute__((destructor)) static void end(void) { printf("plug %d fini\n", PLUG); fflush(stdout); }
#if PLUG == 3
int nobody_has_this(void);
int call_nobody(void) { return nobody_has_this(); }
#endif
#else
#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <stdlib.h>
#include "check.h"

static void error(const char *what)
{
    const char *text = dlerror();
    printf("%s: %s\n", what, text ? text : "no error");
    CHECK(!dlerror());
}

static const char *base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int main(void)
{
    void *one = dlopen("./dlopen-one.so", RTLD_NOW);
    void *two = dlopen("./dlopen-two.so", RTLD_LAZY);
    error("opened");
    int (*number)(void) = dlsym(one, "number");
    int (*other)(void) = dlsym(two, "number");
    CHECK(number && other && number() == 1 && other() == 2);
    CHECK(*(int *)dlsym(one, "variable") == 11);
    CHECK(dlopen("./dlopen-one.so", RTLD_LAZY) == one);
    CHECK(dlopen("dlopen-one.so", RTLD_LAZY) == one);
    CHECK(dlclose(one) == 0 && dlclose(one) == 0);
    puts("two of three handles closed");
    CHECK(number() == 1);
    CHECK(dlopen("./dlopen-one.so", RTLD_LAZY | RTLD_NOLOAD) == one);
    dlclose(one);

    CHECK(!dlsym(one, "no_such_symbol"));
    error("dlsym");
    CHECK(!dlopen("./no-such.so", RTLD_NOW));
    error("dlopen");
    CHECK(!dlopen("no-such.so", RTLD_NOW));
    error("dlopen without a slash");
    CHECK(!dlopen("./dlopen.c-is-not-here/x.so", RTLD_NOW));
    error("dlopen in no directory");
    CHECK(!dlopen("/", RTLD_NOW));
    error("dlopen of a directory");
    CHECK(!dlopen("./dlopen-one.so", 0));
    error("dlopen without a mode");
    CHECK(!dlopen("./dlopen-unresolved.so", RTLD_NOW));
    error("RTLD_NOW");
    void *lazy = dlopen("./dlopen-unresolved.so", RTLD_LAZY);
    CHECK(lazy);
    error("RTLD_LAZY");
    CHECK(dlsym(lazy, "call_nobody"));
    CHECK(dlclose(lazy) == 0);
    CHECK(!dlsym(RTLD_DEFAULT, "no_such_symbol"));
    error("RTLD_DEFAULT");
    CHECK(!dlvsym(RTLD_DEFAULT, "puts", "GLIBC_9.9"));
    error("dlvsym");
    CHECK(dlvsym(RTLD_DEFAULT, "puts", "GLIBC_2.2.5") == dlsym(RTLD_DEFAULT, "puts"));

    Dl_info info;
    CHECK(dladdr((void *)number, &info));
    printf("dladdr: %s in %s\n", info.dli_sname, base(info.dli_fname));
    CHECK(info.dli_saddr == (void *)number);
    CHECK(dladdr(dlsym(two, "variable"), &info));
    printf("dladdr: %s in %s\n", info.dli_sname, base(info.dli_fname));
    CHECK(dladdr((void *)main, &info));
    printf("dladdr: main in %s, %s\n", info.dli_fname, info.dli_sname ? info.dli_sname : "no name");
    CHECK(dladdr(dlsym(RTLD_DEFAULT, "qsort"), &info) && strstr(info.dli_fname, "libc.so.6"));
    int local;
    CHECK(!dladdr(&local, &info));
    CHECK(!dladdr((void *)1, &info));

    struct link_map *map;
    CHECK(dlinfo(one, RTLD_DI_LINKMAP, &map) == 0);
    printf("dlinfo: %s\n", base(map->l_name));
    char origin[4096] = "";
    CHECK(dlinfo(one, RTLD_DI_ORIGIN, origin) == 0);
    printf("origin: %s\n", origin);
    void *self = dlopen(0, RTLD_LAZY);
    CHECK(self && dlinfo(self, RTLD_DI_LINKMAP, &map) == 0);
    printf("self: \"%s\"\n", map->l_name);
    void *math = dlopen("libm.so.6", RTLD_LAZY);
    double (*cosine)(double) = dlsym(math, "cos");
    printf("cos 2 = %.15f\n", cosine(2));
    dlclose(math);

    dlclose(two);
    CHECK(dlopen("./dlopen-two.so", RTLD_LAZY | RTLD_NOLOAD) == 0);
    puts("main ends, one is still open");
    return FINISH();
}
#endif
