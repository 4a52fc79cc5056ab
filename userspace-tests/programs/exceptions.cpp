// C++ exceptions: across shared objects, through threads, nested, by type, out of constructors, and uncaught ones.
// shared: exceptions-thrower.so -DTHROWER
// link: exceptions-thrower.so
// args:
// args: uncaught
// args: noexcept
// exit: 0 134 134
// stderr: any
#include <stdexcept>
#include <string>

struct Shared : std::runtime_error {
    int code;
    Shared(int code, const std::string &text);
    ~Shared() override;
};
void throw_from_library(int code);
void call_back(void (*function)());
extern int guards_left;

#ifdef THROWER
Shared::Shared(int code, const std::string &text) : std::runtime_error(text), code(code) {}
Shared::~Shared() = default;
int guards_left;
struct Guard {
    ~Guard() { guards_left++; }
};
void throw_from_library(int code)
{
    Guard guard;
    if (code > 0)
        throw_from_library(-code);
    else
        throw Shared(-code, "from the library");
}
void call_back(void (*function)())
{
    Guard guard;
    function();
}
#else
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <exception>
#include <future>
#include <memory>
#include <new>
#include <sys/resource.h>
#include <thread>
#include <typeinfo>
#include <vector>

static void show_nested(const std::exception &error, int depth = 0)
{
    std::printf("%*s%s\n", depth * 2, "", error.what());
    try {
        std::rethrow_if_nested(error);
    } catch (const std::exception &inner) {
        show_nested(inner, depth + 1);
    }
}

struct Member {
    const char *name;
    explicit Member(const char *name) : name(name) { std::printf("+%s\n", name); }
    ~Member() { std::printf("-%s\n", name); }
};
struct Whole {
    Member first{"first"}, second{"second"};
    Whole() { throw 42; }
};
struct Base {
    virtual ~Base() = default;
};
struct Left : virtual Base {};
struct Right : virtual Base {};
struct Bottom : Left, Right {};

static int depth(int n)
{
    if (n == 0)
        throw std::string("from deep below");
    std::unique_ptr<int> held(new int(n));
    return depth(n - 1) + *held;
}

[[gnu::noinline]] static void promise() noexcept
{
    throw_from_library(1);
}

int main(int argc, char **argv)
{
    rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    if (argc > 1 && !std::strcmp(argv[1], "uncaught"))
        throw_from_library(3);
    if (argc > 1 && !std::strcmp(argv[1], "noexcept"))
        promise();
    try {
        throw_from_library(5);
    } catch (const Shared &error) {
        std::printf("%s %d, %d guards\n", error.what(), error.code, guards_left);
    }
    try {
        call_back([] { throw 1.5; });
    } catch (double value) {
        std::printf("%g through the library, %d guards\n", value, guards_left);
    }
    try {
        Whole whole;
    } catch (int value) {
        std::printf("constructor threw %d\n", value);
    }
    try {
        try {
            throw_from_library(6);
        } catch (...) {
            std::throw_with_nested(std::logic_error("outer"));
        }
    } catch (const std::exception &error) {
        show_nested(error);
    }
    try {
        throw Bottom();
    } catch (Right &error) {
        std::printf("as a base: %s\n", dynamic_cast<Left *>(&error) ? "cross-cast" : "no cast");
    }
    try {
        depth(1000);
    } catch (const std::string &text) {
        std::puts(text.c_str());
    }
    try {
        std::vector<int>().at(3);
    } catch (const std::out_of_range &error) {
        std::puts(error.what());
    }
    try {
        volatile size_t much = ~size_t(0) / 2;
        delete[] new char[much];
    } catch (const std::bad_alloc &) {
        std::puts("bad_alloc");
    }
    std::vector<std::future<int>> futures;
    for (int i = 0; i < 8; i++)
        futures.push_back(std::async(std::launch::async, [i]() -> int {
            if (i % 2)
                throw_from_library(i);
            return i;
        }));
    for (auto &future : futures) {
        try {
            std::printf("future %d\n", future.get());
        } catch (const Shared &error) {
            std::printf("future threw %d\n", error.code);
        }
    }
    std::vector<std::thread> threads;
    std::vector<int> sums(4);
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&sums, t] {
            for (int i = 1; i <= 500; i++) {
                try {
                    throw_from_library(i);
                } catch (const Shared &error) {
                    sums[t] += error.code;
                }
            }
        });
    for (auto &thread : threads)
        thread.join();
    for (int sum : sums)
        std::printf("%d\n", sum);
    try {
        typeid(*static_cast<Base *>(nullptr)).name();
    } catch (const std::bad_typeid &error) {
        std::puts(error.what());
    }
    return 0;
}
#endif
