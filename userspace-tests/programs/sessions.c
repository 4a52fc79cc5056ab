// Sessions (GHC's case): modules with equal file names, sonames and symbols in sessions that never see each other's. The
// argument is the number of rounds of what is done in many threads, or many times.
// hosted: too
// forked: too
// cpus: 4
// soak: 1000
// seconds: 240
// shared: libelfin.so.1 -DLIBELFIN -Wl,-soname,libelfin.so.1
// link: libelfin.so.1 -rdynamic
// shared: module_1.so -DMODULE=1 -Wl,-soname,M.so
// shared: module_2.so -DMODULE=2 -Wl,-soname,M.so
// shared: module_3.so -DMODULE=3 -Wl,-soname,M.so
// shared: plugin.so -DPLUGIN -Wl,-soname,P.so
// shared: started.so -DSTARTED
#if defined LIBELFIN
#include "../../include/libelfin.c"
#elif defined MODULE
// What GHC makes of a module M that exports x; the third exports only a part of the first's symbols.
int M_x_closure = MODULE;
int *M_x_entry(void) { return &M_x_closure; }
#if MODULE != 3
int M_y_closure = MODULE * 10;
__attribute__((weak)) int M_weak;
#endif
#elif defined PLUGIN
extern int M_y_closure;
int of_host(int);
int plugin(void) { return of_host(M_y_closure); }
#elif defined STARTED
#include <pthread.h>
#include <unistd.h>
__attribute__((weak)) void while_initialising(void);
__attribute__((weak)) void *look_from_outside(void *name);
pid_t init_thread;
int seen_by_child;
__attribute__((constructor)) static void begin(void) {
    init_thread = gettid();
    if (!while_initialising) return;
    pthread_t thread;
    void *found = NULL;
    if (pthread_create(&thread, NULL, look_from_outside, "init_thread") == 0) pthread_join(thread, &found);
    seen_by_child = found == &init_thread && look_from_outside("init_thread") == found;
    while_initialising();
}
#else
#include "check.h"
#include "../../include/elfin.h"
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[2000], scratch[] = "/tmp/sessions-XXXXXX";
int of_host(int x) { return x + 1; }

// Puts a module into a directory of its own under the name all of them have.
static const char *place(const char *module, const char *under) {
    static char to[4096];
    char from[4096], buffer[65536];
    sprintf(to, "%s/%s", scratch, under);
    mkdir(to, 0755);
    strcat(to, "/M.so");
    sprintf(from, "%s/%s", directory, module);
    unlink(to);
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, in)) > 0) fwrite(buffer, 1, n, out);
    fclose(in);
    CHECK(fclose(out) == 0);
    return to;
}
static elfin_namespace_t open_session(const char *const *shared) {
    elfin_namespace_t session = -1;
    int error = elfin_session_open(shared, &session);
    if (error) printf("%s: %s\n", strerror(error), dlerror());
    return session;
}
static void *load(elfin_namespace_t session, const char *file) {
    void *handle = elfin_session_load(session, file, RTLD_NOW);
    if (!handle) puts(dlerror());
    return handle;
}
static int value(elfin_namespace_t session, const char *name) {
    int *found = elfin_session_symbol(session, name);
    return found ? *found : -1;
}

// OSv's, GHC's and everybody's expectation.
static void case_of_ghc(void) {
    elfin_namespace_t one = open_session(NULL), two = open_session(NULL);
    printf("1: Load %s\n", load(one, place("module_1.so", "one")) ? "succeeded" : "failed");
    printf("2: Load %s\n", load(two, place("module_2.so", "two")) ? "succeeded" : "failed");
    printf("3: %d\n", value(one, "M_x_closure"));
    printf("4: %d\n", value(two, "M_x_closure"));
    printf("5: %d\n", value(one, "M_x_closure"));
    // References within a module are the module's own, too.
    int *(*entry)(void) = elfin_session_symbol(one, "M_x_entry");
    CHECK(*entry() == 1);
    // A module with some of the first's symbols in another session shadows none of them here.
    elfin_namespace_t three = open_session(NULL);
    CHECK(load(three, place("module_3.so", "three")) != NULL);
    CHECK(value(one, "M_x_closure") == 1 && value(three, "M_x_closure") == 3 && value(three, "M_y_closure") == -1);
    puts(strchr(dlerror(), ':'));
    // Nobody outside sees any of it.
    CHECK(dlsym(RTLD_DEFAULT, "M_x_closure") == NULL);
    // The end of a session leaves the others alone.
    CHECK(elfin_session_close(two) == 0 && elfin_session_close(three) == 0);
    CHECK(value(one, "M_x_closure") == 1 && value(one, "M_y_closure") == 10);
    CHECK(elfin_session_load(two, place("module_1.so", "one"), RTLD_NOW) == NULL);
    puts(dlerror());
    CHECK(elfin_session_close(two) != 0 && elfin_session_close(0) != 0 && elfin_session_close(one) == 0);
}

static int count_duplicate(const struct elfin_duplicate *duplicate, void *count) {
    ++*(int *)count;
    printf("duplicate %s: %s, %s\n", duplicate->symbol, duplicate->newer + strlen(scratch), duplicate->older + strlen(scratch));
    return 0;
}
static int print_symbol(const struct elfin_symbol *symbol, void *sum) {
    *(unsigned long *)sum += (unsigned long)symbol->address;
    printf("symbol %s in %s\n", symbol->name, symbol->file + strlen(scratch));
    return 0;
}
static int stop(const struct elfin_symbol *symbol, void *count) { return (void)symbol, ++*(int *)count; }

// Within one session the newest definition is found first.
static void shadowing(void) {
    elfin_namespace_t session = open_session(NULL);
    int count = 0;
    void *first = load(session, place("module_1.so", "one"));
    CHECK(elfin_session_duplicates(session, count_duplicate, &count) == 0 && count == 0);
    void *third = load(session, place("module_3.so", "three"));
    CHECK(first && third && first != third);
    CHECK(value(session, "M_x_closure") == 3 && value(session, "M_y_closure") == 10);
    CHECK(*(int *)dlsym(first, "M_x_closure") == 1);
    CHECK(elfin_session_duplicates(session, count_duplicate, &count) == 0 && count == 2);
    // The same path, another file: compiled again.
    void *again = load(session, place("module_2.so", "one"));
    CHECK(again && again != first && value(session, "M_x_closure") == 2 && value(session, "M_y_closure") == 20);
    // All symbols of one object.
    unsigned long sum = 0, wanted = (unsigned long)dlsym(third, "M_x_closure") + (unsigned long)dlsym(third, "M_x_entry");
    CHECK(elfin_symbols(session, third, print_symbol, &sum) == 0 && sum == wanted);
    count = 0;
    CHECK(elfin_symbols(session, NULL, stop, &count) == 0 && count == 1);
    CHECK(elfin_symbols(12345, NULL, stop, &count) != 0 && elfin_symbols(session, &count, stop, &count) != 0);
    CHECK(elfin_session_close(session) == 0);
}

// What a session shares, and what a plug-in needs of the session and of the program.
static void sharing(void) {
    char plugin[4096];
    sprintf(plugin, "%s/plugin.so", directory);
    elfin_namespace_t session = open_session((const char *const[]){"", NULL});
    CHECK(elfin_session_load(session, plugin, RTLD_NOW) == NULL);
    puts(strrchr(dlerror(), '/'));
    CHECK(load(session, place("module_1.so", "one")) != NULL);
    CHECK(load(session, plugin) != NULL);
    int (*call)(void) = elfin_session_symbol(session, "plugin");
    CHECK(call() == 11 && elfin_session_symbol(session, "of_host") == (void *)of_host);
    CHECK(elfin_session_close(session) == 0);
    // The C library, which nobody has asked for; and another one.
    session = open_session(NULL);
    CHECK(elfin_session_symbol(session, "puts") == dlsym(RTLD_DEFAULT, "puts"));
    CHECK(elfin_session_symbol(session, "of_host") == NULL && elfin_session_symbol(session, "elfin_symbols") == NULL);
    CHECK(elfin_session_load(session, "libc.so.6", RTLD_NOW | 0x40 /* RTLD_ISOLATE */) != NULL);
    CHECK(elfin_session_symbol(session, "puts") && elfin_session_symbol(session, "puts") != dlsym(RTLD_DEFAULT, "puts"));
    CHECK(elfin_session_close(session) == 0);
    // A library by its name; one that is not there.
    session = open_session((const char *const[]){"libelfin.so.1", NULL});
    CHECK(elfin_session_symbol(session, "elfin_symbols") == dlsym(RTLD_DEFAULT, "elfin_symbols"));
    CHECK(elfin_session_close(session) == 0);
    CHECK(elfin_session_open((const char *const[]){"libnowhere.so", NULL}, &session) != 0);
    puts(dlerror());
}

static int visit(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    const char *slash = strrchr(info->dlpi_name, '/');
    return strcmp(slash ? slash + 1 : info->dlpi_name, "M.so") == 0 ? ++*(int *)data, 0 : 0;
}

static int find_libc(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    struct { int count; unsigned long base; const void *headers; } *libc = data;
    if (strstr(info->dlpi_name, "/libc.so.6")) libc->count++, libc->base = info->dlpi_addr, libc->headers = info->dlpi_phdr;
    return 0;
}

// Code that knows nothing of sessions: plain dlopen and dlsym, on bound threads and on those they start.
static void *plain(void *file) {
    int *found = dlsym(RTLD_DEFAULT, "M_x_closure");
    if (!found) {
        void *handle = dlopen(file, RTLD_NOW);
        CHECK(handle != NULL);
        Lmid_t id;
        CHECK(dlinfo(handle, RTLD_DI_LMID, &id) == 0 && id != LM_ID_BASE);
        pthread_t child;
        void *result;
        CHECK(pthread_create(&child, NULL, plain, file) == 0 && pthread_join(child, &result) == 0);
        return result;
    }
    CHECK(dlsym(RTLD_DEFAULT, "malloc") == (void *)malloc);
    return (void *)(long)*found;
}
struct bound { elfin_namespace_t session; char file[100]; long result; };
static void *on_bound_thread(void *argument) {
    struct bound *bound = argument;
    CHECK(elfin_session_bind(bound->session) == 0);
    bound->result = (long)plain(bound->file);
    return NULL;
}
static void binding(int round) {
    struct bound bound[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        bound[i].session = open_session(NULL);
        strcpy(bound[i].file, place(i ? "module_2.so" : "module_1.so", i ? "two" : "one"));
    }
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, on_bound_thread, &bound[i]) == 0);
    for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(bound[0].result == 1 && bound[1].result == 2 && dlsym(RTLD_DEFAULT, "M_x_closure") == NULL);
    int here = 0, there = 0;
    CHECK(dl_iterate_phdr(visit, &here) == 0 && dl_iterate_ns_phdr(bound[1].session, visit, &there) == 0);
    CHECK(here == 0 && there == 1);
    // A proxy, of what this one needs, is listed once, with the object's own headers.
    char started[4096];
    sprintf(started, "%s/started.so", directory);
    CHECK(load(bound[1].session, started) != NULL);
    struct { int count; unsigned long base; const void *headers; } base = {0, 0, NULL}, proxy = {0, 0, NULL};
    CHECK(dl_iterate_phdr(find_libc, &base) == 0 && dl_iterate_ns_phdr(bound[1].session, find_libc, &proxy) == 0);
    CHECK(base.count == 1 && proxy.count == 1 && base.base == proxy.base && base.headers == proxy.headers);
    // A thread bound to a session that has ended.
    CHECK(elfin_session_bind(bound[0].session) == 0 && elfin_session_close(bound[0].session) == 0);
    CHECK(dlopen(bound[0].file, RTLD_NOW) == NULL);
    const char *error = dlerror();
    if (round == 0) puts(error);
    CHECK(elfin_session_bind(0) == 0 && elfin_session_bind(bound[0].session) != 0);
    CHECK(elfin_session_close(bound[1].session) == 0);
}

// INIT functions on a thread of their own; it and what it starts see the new objects, and no other thread does meanwhile,
// not even one that the opening thread has started before.
static elfin_namespace_t initialising;
static sem_t asked, answered;
static void *sibling(void *seen) {
    sem_wait(&asked);
    *(int *)seen = elfin_session_symbol(initialising, "init_thread") != NULL;
    sem_post(&answered);
    return NULL;
}
// The program's code, which has no part in what is being initialised.
void *look_from_outside(void *name) { return elfin_session_symbol(initialising, name); }
void while_initialising(void) {
    sem_post(&asked);
    sem_wait(&answered);
}
static void worker(int count) {
    char file[4096];
    sprintf(file, "%s/started.so", directory);
    sem_init(&asked, 0, 0);
    sem_init(&answered, 0, 0);
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        int seen = -1;
        initialising = open_session((const char *const[]){"", NULL});
        CHECK(pthread_create(&thread, NULL, sibling, &seen) == 0);
        void *handle = elfin_session_load(initialising, file, RTLD_NOW | (i % 2 ? ELFIN_INIT_ON_WORKER : 0));
        if (!handle) puts(dlerror());
        CHECK(pthread_join(thread, NULL) == 0 && seen == 0);
        pid_t *init_thread = elfin_session_symbol(initialising, "init_thread");
        CHECK(init_thread && (*init_thread == gettid()) == (i % 2 == 0));
        CHECK(value(initialising, "seen_by_child") == 1);
        CHECK(elfin_session_close(initialising) == 0);
    }
}

// Many at once, used from several threads.
#define MANY 1000
static elfin_namespace_t many[MANY];
static void *evaluate(void *start) {
    for (int round = 0; round < 3; round++)
        for (int i = (int)(long)start; i < MANY; i += 4) {
            int *found = elfin_session_symbol(many[i], "M_x_closure");
            CHECK(found && *found == i);
        }
    return NULL;
}
static void thousand(void) {
    const char *file = place("module_1.so", "one");
    for (int i = 0; i < MANY; i++) {
        many[i] = open_session(NULL);
        CHECK(load(many[i], file) != NULL);
        *(int *)elfin_session_symbol(many[i], "M_x_closure") = i;
    }
    pthread_t threads[4];
    for (long i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, evaluate, (void *)i) == 0);
    for (long i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < MANY; i++) CHECK(elfin_session_close(many[i]) == 0);
}

// Some after each other: the memory in use comes back.
static long kilobytes(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(fscanf(file, "%ld", &pages) == 1);
    fclose(file);
    return pages * 4;
}
static void rounds(int count) {
    const char *file = place("module_1.so", "one");
    long before = 0;
    for (int i = 0; i < count; i++) {
        if (i == count / 10) before = kilobytes();
        elfin_namespace_t session = open_session(NULL);
        CHECK(load(session, file) != NULL && value(session, "M_x_closure") == 1);
        CHECK(elfin_session_close(session) == 0);
    }
    CHECK(kilobytes() <= before);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(realpath(argv[0], directory) != NULL && mkdtemp(scratch) != NULL);
    *strrchr(directory, '/') = 0;
    int count = argc > 1 ? atoi(argv[1]) : 4;
    case_of_ghc();
    shadowing();
    sharing();
    for (int round = 0; round < count; round++) binding(round);
    worker(count);
    thousand();
    rounds(1000);
    return FINISH();
}
#endif
