// A load that fails half-way leaves nothing behind: no symbol in scope, no object, no descriptor, no mapping; and the next
// attempt works. It fails for an object deep down that is missing or damaged, for a symbol, for a version.
// The argument is the number of attempts.
// hosted: too
// soak: 1000
// shared: load_undone-deep.so -DDEEP
// shared: load_undone-middle.so -DMIDDLE load_undone-deep.so
// shared: load_undone-top.so -DTOP load_undone-middle.so
// shared: load_undone-symbol.so -DSYMBOL load_undone-middle.so -Wl,-z,lazy
// shared: load_undone-first.so -DPROVIDER -Wl,--version-script=$SOURCES/load_undone-1.map
// shared: load_undone-second.so -DPROVIDER -Wl,--version-script=$SOURCES/load_undone-2.map -Wl,-soname,provider.so
// shared: load_undone-user.so -DUSER load_undone-second.so
// flags: -rdynamic
#define GREET(name) __attribute__((constructor)) static void begin(void) { puts(name " init"); }
#include <stdio.h>
#if defined DEEP
int deep(void) { return 1; }
__thread int deep_thread_local = 10;
GREET("deep")
#elif defined MIDDLE
int deep(void);
int middle(void) { return deep() + 1; }
GREET("middle")
#elif defined TOP
int middle(void);
int top(void) { return middle() + 1; }
GREET("top")
#elif defined SYMBOL
int middle(void), nobody_has_this(void);
int call_nobody(void) { return nobody_has_this(); }
int top(void) { return middle() + 1; }
GREET("symbol")
#elif defined PROVIDER
int provide(void) { return 2; }
GREET("provider")
#elif defined USER
int provide(void);
int top(void) { return provide() + 1; }
GREET("user")
#else
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "check.h"

static int attempts = 100;
static char dir[] = "/tmp/load_undone-XXXXXX";

// Puts an object into the directory under a name, or as much of it as `size` says.
static void put(const char *object, const char *name, size_t size)
{
    static char content[1 << 20];
    char from[100], to[100];
    snprintf(from, sizeof from, "./load_undone-%s.so", object);
    snprintf(to, sizeof to, "%s/%s.so", dir, name);
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0755);
    size_t length = read(in, content, sizeof content);
    if (length > size)
        length = size;
    CHECK(write(out, content, length) == (ssize_t)length);
    close(in);
    close(out);
}

static void damage(const char *name)
{
    char path[100];
    snprintf(path, sizeof path, "%s/%s.so", dir, name);
    int file = open(path, O_WRONLY);
    CHECK(pwrite(file, "?", 1, 1) == 1);
    close(file);
}

static void take(const char *name)
{
    char path[100];
    snprintf(path, sizeof path, "%s/%s.so", dir, name);
    CHECK(unlink(path) == 0);
}

static void *open_object(const char *name, int mode)
{
    char path[100];
    snprintf(path, sizeof path, "%s/%s.so", dir, name);
    return dlopen(path, mode);
}

// An error's text without the directory's name.
static void error(void)
{
    const char *text = dlerror();
    size_t length = strlen(dir) + 1;
    for (const char *found; (found = strstr(text, dir)); text = found + length)
        printf("%.*s", (int)(found - text), text);
    puts(text);
}

static int one_more(struct dl_phdr_info *info, size_t size, void *count)
{
    (void)info, (void)size;
    ++*(int *)count;
    return 0;
}

struct counts { int descriptors, mappings, objects; long taken; };

static struct counts count(void)
{
    struct counts counts = {0};
    DIR *fds = opendir("/proc/self/fd");
    while (readdir(fds))
        counts.descriptors++;
    closedir(fds);
    static char text[1 << 16];
    int maps = open("/proc/self/maps", O_RDONLY);
    for (ssize_t got; (got = read(maps, text, sizeof text)) > 0;)
        for (ssize_t i = 0; i < got; i++)
            counts.mappings += text[i] == '\n';
    close(maps);
    dl_iterate_phdr(one_more, &counts.objects);
    // All of a guest's memory is this program's and the kernel's.
    struct utsname name;
    struct sysinfo system;
    if (!uname(&name) && strstr(name.release, "elfin") && !sysinfo(&system))
        counts.taken = (long)((system.totalram - system.freeram) * system.mem_unit / 4096);
    return counts;
}

// Opens an object in vain, again and again.
static void fail(const char *name, const char *with)
{
    struct counts before, after;
    for (int round = 0; round < attempts; round++) {
        CHECK(!open_object(name, RTLD_NOW | RTLD_GLOBAL));
        if (round == 0)
            error();
        // The first attempts take memory that the next ones use again.
        if (round == attempts / 10)
            before = count();
        CHECK(!dlsym(RTLD_DEFAULT, "top") && !dlsym(RTLD_DEFAULT, "middle") && !dlsym(RTLD_DEFAULT, "deep"));
        CHECK(!open_object(name, RTLD_LAZY | RTLD_NOLOAD));
        CHECK(!open_object(with, RTLD_LAZY | RTLD_NOLOAD));
        CHECK(!dlopen(with, RTLD_LAZY | RTLD_NOLOAD));
    }
    after = count();
    CHECK(before.descriptors == after.descriptors);
    CHECK(before.mappings == after.mappings);
    CHECK(before.objects == after.objects);
    CHECK(labs(before.taken - after.taken) <= 8);
}

// Opens it with success, and closes it.
static void succeed(const char *name, int mode)
{
    struct counts before = count();
    void *handle = open_object(name, mode);
    if (!handle)
        error();
    int (*top)(void) = dlsym(handle, "top");
    printf("%s: %d\n", name, top());
    CHECK(dlclose(handle) == 0);
    struct counts after = count();
    CHECK(before.mappings == after.mappings && before.objects == after.objects);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        attempts = atoi(argv[1]);
    mkdir("/tmp", 0777);
    CHECK(mkdtemp(dir));
    put("top", "top", -1);
    put("middle", "load_undone-middle", -1);
    fail("top", "load_undone-middle");
    put("deep", "load_undone-deep", -1);
    damage("load_undone-deep");
    fail("top", "load_undone-middle");
    take("load_undone-deep");
    put("deep", "load_undone-deep", 20);
    fail("top", "load_undone-middle");
    take("load_undone-deep");
    put("deep", "load_undone-deep", -1);
    succeed("top", RTLD_NOW);

    put("symbol", "symbol", -1);
    fail("symbol", "load_undone-middle");
    if (!getenv("LD_BIND_NOW"))
        succeed("symbol", RTLD_LAZY);

    put("user", "user", -1);
    put("first", "provider", -1);
    fail("user", "provider");
    take("provider");
    put("second", "provider", -1);
    succeed("user", RTLD_NOW);

    take("top");
    take("symbol");
    take("user");
    take("provider");
    take("load_undone-middle");
    take("load_undone-deep");
    CHECK(rmdir(dir) == 0);
    return FINISH();
}
#endif
