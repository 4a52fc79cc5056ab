// dlmopen, RTLD_SHARED and DF_GNU_1_UNIQUE beyond the table of loader/tests/fixtures/namespaces.c: what proxies share,
// scopes, failures that leave nothing, many namespaces. (Linux cannot be asked: glibc has 16, and no proxies.)
// hosted: too
// forked: too
// shared: unique.so -DUNIQUE -Wl,-z,unique
// shared: needs.so -DNEEDS -L. -l:unique.so
// shared: plain.so -DPLAIN
// shared: user.so -DUSER
// shared: broken.so -DBROKEN
#if defined UNIQUE
#include <stdio.h>
int counter;
__thread int of_thread = 5;
__attribute__((constructor)) static void begin(void) { puts("unique: begin"), fflush(stdout); }
__attribute__((destructor)) static void end(void) { puts("unique: end"), fflush(stdout); }
#elif defined NEEDS
extern int counter;
extern __thread int of_thread;
int *needed_counter(void) { return &counter; }
int *needed_of_thread(void) { return &of_thread; }
#elif defined PLAIN
int plain = 1;
int call_plain(void) { return plain; }
#elif defined USER
#include <dlfcn.h>
#include <stdlib.h>
void *find(const char *name) { return dlsym(RTLD_DEFAULT, name); }
void *take(void) { return malloc(10); }
int own;
#elif defined BROKEN
int not_anywhere(void);
int (*use)(void) = not_anywhere;
#else
#include "check.h"
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#define SHARED 0x80

static char directory[3000];
static const char *path(const char *name) {
    static char paths[4][4096];
    static int next;
    char *text = paths[next++ % 4];
    sprintf(text, "%s/%s", directory, name);
    return text;
}
static Lmid_t namespace_of(void *handle) {
    Lmid_t id = -7;
    CHECK(dlinfo(handle, RTLD_DI_LMID, &id) == 0);
    return id;
}
static void *new(const char *name, int mode) {
    void *handle = dlmopen(LM_ID_NEWLM, path(name), mode);
    if (!handle) puts(dlerror());
    return handle;
}
static int maps(void) {
    char line[4096];
    int count = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, file)) count += strstr(line, directory) != NULL;
    fclose(file);
    return count;
}
struct r_debug_2 { struct r_debug base; struct r_debug_2 *next; };
static int debug_chain(void) {
    int count = 0;
    ElfW(Dyn) *entry = _DYNAMIC;
    while (entry->d_tag != DT_DEBUG) entry++;
    for (struct r_debug_2 *debug = (struct r_debug_2 *)entry->d_un.d_ptr; debug; debug = debug->base.r_version > 1 ? debug->next : NULL)
        for (struct link_map *map = debug->base.r_map; map; map = map->l_next) count++;
    return count;
}

static void proxies(void) {
    void *one = new("needs.so", RTLD_NOW), *two = new("needs.so", RTLD_NOW);
    int *(*counter_of)(void) = dlsym(one, "needed_counter"), *(*thread_of)(void) = dlsym(one, "needed_of_thread");
    int *(*counter_of_2)(void) = dlsym(two, "needed_counter"), *(*thread_of_2)(void) = dlsym(two, "needed_of_thread");
    CHECK(counter_of != counter_of_2 && counter_of() == counter_of_2() && thread_of() == thread_of_2());
    // The master is in the base namespace; through a proxy's handle everything is the master's.
    void *base = dlopen(path("unique.so"), RTLD_NOW | RTLD_NOLOAD);
    void *proxy = dlmopen(namespace_of(one), path("unique.so"), RTLD_NOW | RTLD_NOLOAD);
    CHECK(base && proxy && base != proxy);
    CHECK(dlsym(proxy, "counter") == counter_of() && dlsym(base, "counter") == counter_of());
    CHECK(dlsym(proxy, "of_thread") == (void *)thread_of() && *thread_of() == 5);
    CHECK(namespace_of(proxy) == namespace_of(one) && namespace_of(base) == LM_ID_BASE);
    struct link_map *map = proxy, *master = base;
    CHECK(map->l_addr == master->l_addr && strcmp(map->l_name, master->l_name) == 0);
    *counter_of() = 9;
    CHECK(dlclose(proxy) == 0 && dlclose(one) == 0 && dlclose(two) == 0 && dlclose(base) == 0);
    // Closing proxies unmaps nothing.
    base = dlopen(path("unique.so"), RTLD_NOW | RTLD_NOLOAD);
    CHECK(base && *(int *)dlsym(base, "counter") == 9);
    // One malloc.
    void *user = new("user.so", RTLD_NOW);
    void *(*take)(void) = dlsym(user, "take"), *(*find)(const char *) = dlsym(user, "find");
    free(take());
    CHECK(find("malloc") == dlsym(RTLD_DEFAULT, "malloc"));
    CHECK(dlclose(user) == 0);
}

static void scopes(void) {
    void *user = new("user.so", RTLD_NOW);
    Lmid_t id = namespace_of(user);
    void *(*find)(const char *) = dlsym(user, "find");
    CHECK(find("own") == dlsym(user, "own") && find("plain") == NULL && find("main_only") == NULL);
    // A proxy is global where it is asked to be, and nowhere else.
    void *shared = dlmopen(id, path("plain.so"), RTLD_NOW | SHARED | RTLD_GLOBAL);
    CHECK(shared && find("plain") == dlsym(shared, "plain") && dlsym(RTLD_DEFAULT, "plain") == NULL);
    CHECK(dlclose(user) == 0 && dlclose(shared) == 0);
    // RTLD_GLOBAL for an object of the namespace's own.
    user = new("user.so", RTLD_NOW);
    find = dlsym(user, "find");
    void *own = dlmopen(namespace_of(user), path("plain.so"), RTLD_NOW);
    CHECK(find("plain") == NULL);
    CHECK(dlmopen(namespace_of(user), path("plain.so"), RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD) == own);
    CHECK(find("plain") && find("plain") != dlsym(shared, "plain"));
    CHECK(dlclose(own) == 0 && dlclose(own) == 0 && dlclose(user) == 0);
}

static void failures(void) {
    int chain = debug_chain(), mapped = maps();
    for (int i = 0; i < 100; i++) {
        CHECK(dlmopen(LM_ID_NEWLM, path("broken.so"), RTLD_NOW) == NULL);
        CHECK(dlmopen(LM_ID_NEWLM, path("broken.so"), RTLD_NOW | SHARED) == NULL);
        CHECK(dlmopen(LM_ID_NEWLM, path("missing.so"), RTLD_NOW) == NULL);
    }
    puts(strrchr(dlerror(), '/'));
    CHECK(dlmopen(12345, path("plain.so"), RTLD_NOW) == NULL);
    puts(dlerror());
    CHECK(dlmopen(LM_ID_NEWLM, NULL, RTLD_NOW) == NULL);
    puts(dlerror());
    CHECK(debug_chain() == chain && maps() == mapped);
    CHECK(dlopen(path("broken.so"), RTLD_NOW | RTLD_NOLOAD) == NULL);
    // Nor the namespace that was to be: the one before this, by its number.
    void *next = new("plain.so", RTLD_NOW);
    CHECK(dlmopen(namespace_of(next) - 1, path("plain.so"), RTLD_NOW) == NULL);
    CHECK(dlclose(next) == 0);
}

#define MANY 1000
static void many(void) {
    static void *handles[MANY];
    int chain = debug_chain(), mapped = maps();
    for (int i = 0; i < MANY; i++) {
        handles[i] = new("plain.so", RTLD_NOW);
        *(int *)dlsym(handles[i], "plain") = i;
    }
    CHECK(debug_chain() >= chain + MANY);
    for (int i = 0; i < MANY; i++) {
        int (*call)(void) = dlsym(handles[i], "call_plain");
        CHECK(call() == i);
    }
    Lmid_t id = namespace_of(handles[0]);
    for (int i = 0; i < MANY; i++) CHECK(dlclose(handles[i]) == 0);
    CHECK(debug_chain() == chain && maps() == mapped);
    // It is gone, and its number does not come back.
    CHECK(dlmopen(id, path("plain.so"), RTLD_NOW) == NULL);
}

int main(int argc, char **argv) {
    (void)argc;
    CHECK(realpath(argv[0], directory) != NULL);
    *strrchr(directory, '/') = 0;
    proxies();
    scopes();
    failures();
    many();
    return FINISH();
}
#endif
