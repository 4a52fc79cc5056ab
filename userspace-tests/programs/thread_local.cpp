// thread_local objects: made on first use, destroyed in reverse order when their thread ends, the main thread's at exit;
// also those of an object that was closed meanwhile.
// shared: thread_local-plug.so -DPLUG
#include <cstdio>
#include <string>

struct Talker {
    std::string name;
    explicit Talker(const char *name) : name(name) { std::printf("  +%s\n", name); }
    ~Talker() { std::printf("  -%s\n", name.c_str()); }
    int touch() { return static_cast<int>(name.size()); }
};
#ifdef PLUG
static thread_local Talker in_plug("plug");
struct Unloaded {
    ~Unloaded() { std::puts("  plug is unloaded"); }
} unloaded;
extern "C" int touch_plug() { return in_plug.touch(); }
#else
#include <dlfcn.h>
#include <thread>
static thread_local Talker first("first");
static thread_local Talker second("second");
static Talker global("global");

struct Restless {
    ~Restless()
    {
        static thread_local Talker made_late("late");
        made_late.touch();
    }
    int touch() { return 0; }
};
static thread_local Restless restless;

int main()
{
    std::puts("thread 1");
    std::thread([] { return first.touch(), second.touch(); }).join();
    std::puts("thread 2");
    std::thread([] { second.touch(); }).join();
    std::puts("thread 3, destructor makes another");
    std::thread([] { restless.touch(); }).join();
    void *plug = dlopen("./thread_local-plug.so", RTLD_NOW);
    if (!plug)
        return std::puts(dlerror()), 1;
    auto touch_plug = reinterpret_cast<int (*)()>(dlsym(plug, "touch_plug"));
    std::puts("thread 4, closes the plug-in it still has a variable of");
    std::thread([=] {
        std::printf("  %d\n", touch_plug());
        dlclose(plug);
        std::puts("  closed");
    }).join();
    std::puts("main");
    first.touch();
    std::puts("end");
    return 0;
}
#endif
