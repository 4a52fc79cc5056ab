// dlopen, dlsym and dlclose where the dynamic linker or the C library is in the middle of something: in FINI functions at
// dlclose and at exit, in destructors of thread-local objects and of thread keys, in functions for atexit, in callbacks of
// dl_iterate_phdr.
// hosted: too
// forked: too
// shared: dl_callbacks-leaf.so -DLEAF
// shared: dl_callbacks-other.so -DLEAF
// shared: dl_callbacks-fini.so -DFINI
// shared: dl_callbacks-thread.so -DTHREAD
// flags: -rdynamic
#include <cstdio>
#include <dlfcn.h>
int use(const char *name);
#if defined LEAF
extern "C" int leaf() { return 4; }
#elif defined FINI
static void *held;
__attribute__((constructor)) static void begin() { held = dlopen("./dl_callbacks-other.so", RTLD_NOW); }
__attribute__((destructor)) static void end()
{
    printf("fini opens: %d\n", use("./dl_callbacks-leaf.so"));
    printf("fini closes: %d\n", dlclose(held));
}
#elif defined THREAD
struct Local {
    int value = 1;
    ~Local() { printf("thread-local destructor opens: %d, has %d\n", use("./dl_callbacks-leaf.so"), value); }
};
static thread_local Local local;
extern "C" int touch() { return local.value++; }
__attribute__((destructor)) static void end() { puts("thread object is finished"); }
#else
#include <cstdlib>
#include <link.h>
#include <pthread.h>

int use(const char *name)
{
    void *handle = dlopen(name, RTLD_NOW);
    auto function = reinterpret_cast<int (*)()>(dlsym(handle, "leaf"));
    int result = function ? function() : -1;
    return dlclose(handle) ? -2 : result;
}

static bool is_loaded(const char *name)
{
    void *handle = dlopen(name, RTLD_NOW | RTLD_NOLOAD);
    if (handle)
        dlclose(handle);
    return handle != nullptr;
}

static int visit(dl_phdr_info *info, size_t, void *rounds)
{
    // Each object of the list as it was: what is opened meanwhile may or may not be seen, what is closed stays readable.
    volatile auto type = info->dlpi_phdr[0].p_type;
    (void)type;
    if (use("./dl_callbacks-leaf.so") != 4)
        return -1;
    return --*static_cast<int *>(rounds) == 0;
}

static int close_and_read(dl_phdr_info *info, size_t, void *handle)
{
    void **open = static_cast<void **>(handle);
    if (*open && dlclose(*open))
        return -1;
    *open = nullptr;
    return info->dlpi_phnum == 0;
}

static void at_exit() { printf("atexit opens: %d\n", use("./dl_callbacks-leaf.so")); }

static void key_destructor(void *) { printf("key destructor opens: %d\n", use("./dl_callbacks-leaf.so")); }

static void *use_thread_object(void *key)
{
    pthread_setspecific(*static_cast<pthread_key_t *>(key), key);
    void *handle = dlopen("./dl_callbacks-thread.so", RTLD_NOW);
    auto touch = reinterpret_cast<int (*)()>(dlsym(handle, "touch"));
    printf("touched: %d\n", touch());
    printf("closed: %d\n", dlclose(handle));
    return nullptr;
}

int main()
{
    void *fini = dlopen("./dl_callbacks-fini.so", RTLD_NOW);
    printf("closed: %d\n", dlclose(fini));
    printf("loaded: %d %d\n", is_loaded("./dl_callbacks-fini.so"), is_loaded("./dl_callbacks-other.so"));

    int rounds = 3;
    printf("iteration: %d\n", dl_iterate_phdr(visit, &rounds));
    void *leaf = dlopen("./dl_callbacks-leaf.so", RTLD_NOW);
    printf("iteration: %d\n", dl_iterate_phdr(close_and_read, &leaf));
    printf("loaded: %d\n", is_loaded("./dl_callbacks-leaf.so"));

    pthread_key_t key;
    pthread_t thread;
    pthread_key_create(&key, key_destructor);
    pthread_create(&thread, nullptr, use_thread_object, &key);
    pthread_join(thread, nullptr);
    printf("used again: %d\n", use("./dl_callbacks-leaf.so"));

    std::atexit(at_exit);
    // Finished at exit.
    dlopen("./dl_callbacks-fini.so", RTLD_NOW);
    return 0;
}
#endif
