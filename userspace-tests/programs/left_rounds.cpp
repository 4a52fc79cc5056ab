// Functions that the dynamic linker calls are left in every way, many times. Each time what it held for them is free again:
// objects can be closed and go, other threads can load. In the end everything on record and the memory in use are what
// they were. Under ld.so most of this does not come back. An argument is the number of rounds, for more of them by hand.
// hosted: too
// shared: left_rounds-needed.so -DNEEDED
// shared: left_rounds-init.so -DINIT
// shared: left_rounds-fini.so -DFINI -Wl,--no-as-needed left_rounds-needed.so
// shared: left_rounds-resolver.so -DRESOLVER
// shared: left_rounds-other.so -DOTHER
// flags: -rdynamic -Wl,--no-as-needed
extern "C" void leave();
#if defined INIT
__attribute__((constructor)) static void begin() { leave(); }
#elif defined FINI
__attribute__((destructor)) static void end() { leave(); }
#elif defined NEEDED
extern "C" int finished;
__attribute__((destructor)) static void end() { finished++; }
#elif defined RESOLVER
static int seven() { return 7; }
extern "C" {
int (*resolve())() { return leave(), seven; }
int value() __attribute__((ifunc("resolve")));
int call() { return value(); }
}
#elif !defined OTHER
#include <csetjmp>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include "check.h"

enum Way { RETURN, JUMP, THROW, EXIT, CANCEL, WAYS };
static Way way;
static jmp_buf back;
static int left;
extern "C" int finished;
int finished;

extern "C" void leave()
{
    left += way != RETURN;
    if (way == JUMP)
        longjmp(back, 1);
    if (way == THROW)
        throw left;
    if (way == EXIT)
        pthread_exit(nullptr);
    if (way == CANCEL) {
        pthread_cancel(pthread_self());
        pthread_testcancel();
    }
}

// <dlfcn.h> promises that they do not throw.
static void *(*volatile load)(const char *, int) = dlopen;
static int (*volatile unload)(void *) = dlclose;

static bool is_guest()
{
    utsname name;
    return uname(&name) == 0 && strstr(name.release, "elfin");
}

static bool is_loaded(const char *name)
{
    void *handle = load(name, RTLD_NOW | RTLD_NOLOAD);
    return handle && unload(handle) == 0;
}

static bool is_mapped(const char *name)
{
    char line[512];
    bool found = false;
    FILE *file = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, file))
        found |= strstr(line, name) != nullptr;
    fclose(file);
    return found;
}

static void *open_other(void *)
{
    void *other = load("./left_rounds-other.so", RTLD_NOW);
    CHECK(other && unload(other) == 0);
    return nullptr;
}

static void in_thread(void *(*function)(void *), void *data)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, nullptr, function, data) == 0);
    pthread_join(thread, nullptr);
}

// Calls something in the linker that calls `leave`.
template <typename Action> static void *act(void *action)
{
    try {
        if (setjmp(back) == 0)
            (*static_cast<Action *>(action))();
    } catch (int) {
    }
    return nullptr;
}
template <typename Action> static void leaving(Action action)
{
    int before = left;
    if (way == EXIT || way == CANCEL)
        in_thread(act<Action>, &action);
    else
        act<Action>(&action);
    CHECK(left == before + 1);
    way = RETURN;
    // elfin-hosted hears of a thread's end when its stack is used again.
    if (!is_guest())
        in_thread([](void *data) { return data; }, nullptr);
}

static void init_round()
{
    leaving([] { load("./left_rounds-init.so", RTLD_NOW); });
    void *plug = load("./left_rounds-init.so", RTLD_NOW);
    CHECK(plug && unload(plug) == 0 && unload(plug) == 0);
    CHECK(!is_loaded("./left_rounds-init.so"));
}

static void fini_round()
{
    void *plug = load("./left_rounds-fini.so", RTLD_NOW);
    int before = finished;
    leaving([plug] { unload(plug); });
    CHECK(!is_loaded("./left_rounds-fini.so"));
    // The next close finishes what has been left.
    open_other(nullptr);
    CHECK(finished == before + 1);
}

static void resolver_round()
{
    sigset_t before, after;
    pthread_sigmask(SIG_BLOCK, nullptr, &before);
    leaving([] { load("./left_rounds-resolver.so", RTLD_NOW); });
    CHECK(!is_loaded("./left_rounds-resolver.so"));
    pthread_sigmask(SIG_BLOCK, nullptr, &after);
    CHECK(sigismember(&before, SIGUSR1) == sigismember(&after, SIGUSR1));
}

static int callback(dl_phdr_info *, size_t, void *) { return leave(), 1; }
static int nested(dl_phdr_info *, size_t, void *again) { return dl_iterate_phdr(again ? nested : callback, nullptr); }

static void callback_round()
{
    void *plug = load("./left_rounds-other.so", RTLD_NOW);
    leaving([] { dl_iterate_phdr(nested, &way); });
    CHECK(plug && unload(plug) == 0 && !is_loaded("./left_rounds-other.so"));
}

struct Measure { long mappings, pages, taken, heap, objects, loaded; };

static int count(dl_phdr_info *info, size_t, void *data)
{
    Measure *now = static_cast<Measure *>(data);
    now->objects++;
    now->loaded = info->dlpi_adds - info->dlpi_subs;
    return 0;
}

static Measure measure()
{
    Measure now = {};
    char line[512];
    FILE *file = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, file))
        now.mappings++;
    fclose(file);
    file = fopen("/proc/self/statm", "r");
    CHECK(fscanf(file, "%ld", &now.pages) == 1);
    fclose(file);
    dl_iterate_phdr(count, &now);
    now.heap = mallinfo2().uordblks;
    // All of a guest's memory is this program's and the kernel's.
    struct sysinfo system;
    if (is_guest() && sysinfo(&system) == 0)
        now.taken = (system.totalram - system.freeram) * system.mem_unit / 4096;
    return now;
}

static void play(int rounds)
{
    void (*const places[])() = {init_round, fini_round, resolver_round, callback_round};
    for (auto place : places)
        for (int w = JUMP; w < WAYS; w++) {
            for (int round = 0; round < rounds; round++)
                way = static_cast<Way>(w), place();
            in_thread(open_other, nullptr);
            CHECK(!is_mapped("left_rounds-o") && !is_mapped("left_rounds-i"));
        }
}

int main(int argc, char **argv)
{
    // Which of several heaps threads get is a matter of chance.
    mallopt(M_ARENA_MAX, 1);
    play(20);
    // Measuring takes some itself.
    measure();
    Measure before = measure();
    play(argc > 1 ? atoi(argv[1]) : 100);
    Measure after = measure();
#define WITHIN(slack, member)                                                             \
    (labs(after.member - before.member) <= slack ||                                         \
     (printf("%s: %ld, now %ld\n", #member, before.member, after.member), 0))
    CHECK(WITHIN(0, mappings) & WITHIN(0, pages) & WITHIN(0, heap) & WITHIN(0, objects) & WITHIN(0, loaded));
    CHECK(WITHIN(24, taken));
    return FINISH();
}
#endif
