// Functions that the dynamic linker calls (INIT and FINI functions, IFUNC resolvers, callbacks) are left by exceptions,
// pthread_exit and cancellation, and look back by backtrace: unwinding goes on through the linker, to whoever called it.
// hosted: too
// shared: unwinding-init.so -DINIT
// shared: unwinding-fini.so -DFINI
// shared: unwinding-start.so -DSTART
// shared: unwinding-resolvers.so -DRESOLVERS
// flags: -rdynamic -O2 -Wl,--no-as-needed
// link: unwinding-start.so unwinding-resolvers.so
// args:
// args: exit
// args: throw
// exit: 0 0 134
// stderr: any
#include <cstdio>
extern "C" void hook(const char *where);
#if defined INIT
extern "C" __attribute__((constructor)) void begin() { hook("INIT"); }
extern "C" int value() { return 42; }
#elif defined FINI
extern "C" __attribute__((destructor)) void end() { hook("FINI"); }
#elif defined START
// No frame of the program lies outside of this one.
extern "C" __attribute__((constructor)) void start(int argc, char **argv)
{
    hook(argc > 1 && argv[1][0] == 't' ? "start, throws" : "start");
}
#elif defined RESOLVERS
using Function = long (*)(long);
static long identity(long n) { return n; }
extern "C" {
Function resolve() { return hook("resolver"), identity; }
long first(long) __attribute__((ifunc("resolve")));
long second(long) __attribute__((ifunc("resolve")));
long third(long) __attribute__((ifunc("resolve")));
}
#else
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdexcept>
#include <sys/resource.h>
#include <unistd.h>
#include <unwind.h>
extern "C" long first(long), second(long), third(long);

// <dlfcn.h> promises that they do not throw.
static void *(*volatile load)(const char *, int) = dlopen;
static int (*volatile unload)(void *) = dlclose;

static enum { LOOK, THROW, EXIT, WAIT } what = LOOK;
static sem_t waiting;

static _Unwind_Reason_Code show(_Unwind_Context *context, void *)
{
    Dl_info info;
    auto at = reinterpret_cast<void *>(_Unwind_GetIP(context) - 1);
    if (dladdr(at, &info) && info.dli_sname && std::strstr(info.dli_fname, "unwinding"))
        std::printf(" %s", info.dli_sname);
    return _URC_NO_REASON;
}

extern "C" void hook(const char *where)
{
    std::printf("%s:", where);
    if (std::strstr(where, "throws"))
        throw std::runtime_error(where);
    if (what == LOOK)
        _Unwind_Backtrace(show, nullptr);
    std::puts("");
    if (what == THROW)
        throw std::runtime_error(where);
    if (what == EXIT)
        pthread_exit(nullptr);
    if (what == WAIT)
        sem_post(&waiting);
    while (what == WAIT)
        pause();
}

struct Guard {
    const char *name;
    ~Guard() { std::printf("clean-up of %s\n", name); }
};

static int callback(dl_phdr_info *, size_t, void *) { return hook("callback"), 1; }

static int count(dl_phdr_info *, size_t, void *objects) { return ++*static_cast<int *>(objects), 0; }
static int objects()
{
    int objects = 0;
    dl_iterate_phdr(count, &objects);
    return objects;
}

// Keeps values in all registers that a call must not change.
template <typename Action> __attribute__((noinline)) static void keep(const char *name, Action action)
{
    Guard guard{name};
    static volatile long source = 1;
    long a = source, b = a + source, c = b + source, d = c + source, e = d + source, f = e + source;
    try {
        action();
        std::printf("%s returned\n", name);
    } catch (const std::runtime_error &error) {
        std::printf("%s threw \"%s\"\n", name, error.what());
    }
    std::printf("%ld %ld %ld %ld %ld %ld\n", a, b, c, d, e, f);
}

extern "C" {
void *open_init(void *) { return keep("dlopen", [] { load("./unwinding-init.so", RTLD_NOW); }), nullptr; }
void *iterate(void *) { return keep("dl_iterate_phdr", [] { dl_iterate_phdr(callback, nullptr); }), nullptr; }
void *bind_third(void *) { return keep("binding", [] { std::printf("%ld\n", third(3)); }), nullptr; }
void bind_first() { keep("binding", [] { std::printf("%ld\n", first(1)); }); }
void bind_second() { keep("binding", [] { std::printf("%ld\n", second(2)); }); }
void open_fini()
{
    void *plug = load("./unwinding-fini.so", RTLD_NOW);
    keep("dlclose", [plug] { unload(plug); });
}
}

static void in_thread(void *(*function)(void *), bool cancel)
{
    pthread_t thread;
    void *result;
    pthread_create(&thread, nullptr, function, nullptr);
    if (cancel) {
        sem_wait(&waiting);
        pthread_cancel(thread);
    }
    pthread_join(thread, &result);
    std::printf("cancelled: %d\n", result == PTHREAD_CANCELED);
}

int main(int argc, char **)
{
    rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    if (argc > 1) {
        // ld.so does not unlock what such a thread has locked: nothing can be opened any more, nor the process exit.
        what = EXIT;
        in_thread(open_init, false);
        std::fflush(stdout);
        _exit(0);
    }
    // Backtraces.
    int before = objects();
    open_init(nullptr);
    iterate(nullptr);
    bind_first();
    open_fini();
    void *plug = load("./unwinding-init.so", RTLD_NOW | RTLD_NOLOAD);
    for (int handles = 2; handles > 0; handles--)
        std::printf("closed: %d\n", unload(plug));
    std::printf("%+d objects\n", objects() - before);
    // Threads end.
    what = EXIT;
    in_thread(iterate, false);
    in_thread(bind_third, false);
    what = WAIT;
    in_thread(iterate, true);
    // Exceptions. The object has been opened, its INIT functions are not run again.
    what = THROW;
    iterate(nullptr);
    bind_second();
    open_init(nullptr);
    what = LOOK;
    open_init(nullptr);
    plug = load("./unwinding-init.so", RTLD_NOW | RTLD_NOLOAD);
    auto value = plug ? reinterpret_cast<int (*)()>(dlsym(plug, "value")) : nullptr;
    std::printf("value: %d\n", value ? value() : -1);
    for (int handles = 3; handles > 0; handles--)
        std::printf("closed: %d\n", unload(plug));
    std::printf("%+d objects\n", objects() - before);
    what = THROW;
    open_fini();
    return 0;
}
#endif
