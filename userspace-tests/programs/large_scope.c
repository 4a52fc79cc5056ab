// A global scope of a hundred objects: the first one that defines a name is found, whatever else defines it; the
// program's own comes before all; a library with the old hash table only is found, too; what has been closed is not.
// shared: large_scope-copied.so -DCOPIED
// shared: large_scope-last.so -DLAST -Wl,--hash-style=sysv
// flags: -rdynamic
// hosted: too
#ifdef COPIED
int many = 1, ours = 2;
int *its_many(void) { return &many; }
int *its_ours(void) { return &ours; }
#elif defined(LAST)
extern int many, ours;
int last = 3;
int *its_many(void) { return &many; }
int *its_ours(void) { return &ours; }
#else
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <unistd.h>
#include "check.h"

enum { COUNT = 100 };

int ours;

// A file of its own is an object of its own.
static void copy(const char *from, const char *to)
{
    static char buf[1 << 16];
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    CHECK(in && out);
    size_t len = fread(buf, 1, sizeof buf, in);
    CHECK(feof(in) && fwrite(buf, 1, len, out) == len);
    fclose(in);
    fclose(out);
}

static void *own(void *handle, const char *function)
{
    void *(*call)(void) = (void *(*)(void))dlsym(handle, function);
    CHECK(call);
    return call();
}

int main(void)
{
    char directory[] = "/tmp/large_scopeXXXXXX", from[4096], path[64];
    CHECK(mkdtemp(directory));
    void *original = dlopen("large_scope-copied.so", RTLD_NOW);
    struct link_map *map;
    CHECK(original && dlinfo(original, RTLD_DI_LINKMAP, &map) == 0);
    snprintf(from, sizeof from, "%s", map->l_name);
    CHECK(dlclose(original) == 0);
    void *handles[COUNT];
    for (int i = 0; i < COUNT; i++) {
        snprintf(path, sizeof path, "%s/%d.so", directory, i);
        copy(from, path);
        handles[i] = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
        CHECK(handles[i]);
        unlink(path);
        CHECK(dlsym(RTLD_DEFAULT, "many") == dlsym(handles[0], "many"));
        CHECK(own(handles[i], "its_many") == dlsym(handles[0], "many") && own(handles[i], "its_ours") == &ours);
    }
    rmdir(directory);
    CHECK(dlsym(RTLD_DEFAULT, "last") == NULL && dlerror());
    void *last = dlopen("large_scope-last.so", RTLD_NOW | RTLD_GLOBAL);
    CHECK(last && own(last, "its_many") == dlsym(handles[0], "many") && own(last, "its_ours") == &ours);
    // Nobody uses it.
    CHECK(dlclose(last) == 0 && dlsym(RTLD_DEFAULT, "last") == NULL && dlerror());
    last = dlopen("large_scope-last.so", RTLD_NOW | RTLD_GLOBAL);
    CHECK(last && dlsym(RTLD_DEFAULT, "last") == dlsym(last, "last") && dlsym(last, "last"));
    CHECK(dlsym(RTLD_DEFAULT, "nobody's") == NULL && dlerror());
    // This one all others use: it stays.
    CHECK(dlclose(handles[0]) == 0 && dlsym(RTLD_DEFAULT, "many") == own(handles[1], "its_many"));
    for (int i = COUNT - 1; i > 0; i--)
        CHECK(dlclose(handles[i]) == 0);
    CHECK(dlsym(RTLD_DEFAULT, "ours") == &ours);
    return FINISH();
}
#endif
