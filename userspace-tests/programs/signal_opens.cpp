// A signal handler that has interrupted an allocator opens and closes a library whose INIT and FINI functions allocate. The
// allocator is the program's own, locked while it sends itself the signal: coming in again would be noticed at once. Handlers
// run on the interrupted stack or on another, nest, and leave by siglongjmp. Not run on Linux: there, dlopen is not for handlers.
// hosted: too
// forked: too
// args: 4
// flags: -Wl,-z,lazy
// shared: signal_opens-library.so -DLIBRARY -fno-gnu-unique
#ifdef LIBRARY
#include <cstdlib>
#include <map>
#include <string>
static std::map<std::string, std::string> *table;
struct Strings {
    Strings()
    {
        table = new std::map<std::string, std::string>;
        for (int i = 0; i < 20; i++)
            (*table)[std::string(40, 'k') + std::to_string(i)] = std::string(i * 30, 'v');
    }
    ~Strings()
    {
        delete table;
        table = nullptr;
    }
} strings;
static void at_exit() { std::free(std::malloc(100)); }
__attribute__((constructor)) static void init() { std::atexit(at_exit); }
extern "C" int answer() { return table && table->size() == 20 ? 42 : 0; }
#else
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <execinfo.h>
#include <initializer_list>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "check.h"

// The allocator: libc's, which may not be come in again by the thread that is in there.
extern "C" {
void *__libc_malloc(size_t);
void __libc_free(void *);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
}
enum Inside { NOTHING, SIGNAL, FAULT, ABORT };
static volatile bool held;
static volatile int inside, times_inside, come_in_again;
static char *volatile fence;

static __attribute__((noinline)) void enter()
{
    if (held)
        come_in_again++;
    held = true;
}

static __attribute__((noinline)) void leave()
{
    int what = inside;
    inside = NOTHING;
    if (what != NOTHING)
        times_inside++;
    if (what == SIGNAL)
        syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
    else if (what == FAULT)
        *fence = 1;
    else if (what == ABORT)
        abort();
    held = false;
}

template <typename R> static inline R locked(R result)
{
    leave();
    return result;
}
extern "C" {
void *malloc(size_t size) { return enter(), locked(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return enter(), locked(__libc_calloc(count, size)); }
void *realloc(void *at, size_t size) { return enter(), locked(__libc_realloc(at, size)); }
void *memalign(size_t align, size_t size) { return enter(), locked(__libc_memalign(align, size)); }
void *aligned_alloc(size_t align, size_t size) { return enter(), locked(__libc_memalign(align, size)); }
void free(void *at) { enter(), __libc_free(at), leave(); }
}

static const char *const LIBRARY = "./signal_opens-library.so";
static volatile int opened, nesting, depth_wanted, leave_by_jump;
static char refused[200];
static sigjmp_buf back;

static void open_and_close()
{
    errno = 4321;
    void *library = dlopen(LIBRARY, RTLD_NOW);
    CHECK(library != nullptr);
    if (!library) {
        puts(dlerror());
        return;
    }
    auto answer = (int (*)())dlsym(library, "answer");
    CHECK(answer && answer() == 42);
    CHECK(dlclose(library) == 0);
    CHECK(!dlopen(LIBRARY, RTLD_NOW | RTLD_NOLOAD));
    CHECK(errno == 4321);
    opened++;
}

static void on_signal(int, siginfo_t *, void *)
{
    unsigned char pattern[3000];
    memset(pattern, 0x5a, sizeof pattern);
    if (nesting < depth_wanted) {
        // The inner handler finds two contexts: this one, and the allocator's.
        nesting++;
        syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
        nesting--;
    } else {
        open_and_close();
    }
    for (unsigned char byte : pattern)
        CHECK(byte == 0x5a);
    if (leave_by_jump)
        siglongjmp(back, 1);
}

static void keep_error(void *library)
{
    const char *text = library ? nullptr : dlerror();
    strncpy(refused, text ? text : "not refused", sizeof refused - 1);
}

static void on_fault(int, siginfo_t *info, void *)
{
    CHECK(info->si_addr == fence);
    keep_error(dlopen(LIBRARY, RTLD_NOW));
    mprotect(fence, 4096, PROT_READ | PROT_WRITE);
}

static void on_abort(int, siginfo_t *, void *)
{
    void *frames[32];
    keep_error(dlopen(LIBRARY, RTLD_NOW));
    CHECK(backtrace(frames, 32) > 4);
    held = false;
    siglongjmp(back, 1);
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | flags;
    sigaction(number, &action, nullptr);
}

// Each function of the allocator, interrupted before it returns.
static void interrupt_each()
{
    inside = SIGNAL;
    char *at = (char *)malloc(100);
    memset(at, 1, 100);
    inside = SIGNAL;
    at = (char *)realloc(at, 5000);
    for (int i = 0; i < 100; i++)
        CHECK(at[i] == 1);
    inside = SIGNAL;
    char *zeros = (char *)calloc(10, 30);
    for (int i = 0; i < 300; i++)
        CHECK(zeros[i] == 0);
    CHECK(zeros != at);
    inside = SIGNAL;
    void *aligned = aligned_alloc(256, 512);
    CHECK((uintptr_t)aligned % 256 == 0);
    for (void *it : {(void *)at, (void *)zeros, aligned}) {
        inside = SIGNAL;
        free(it);
        CHECK(inside == NOTHING);
    }
}

static void rounds(int count)
{
    for (depth_wanted = 0; depth_wanted < 3; depth_wanted++)
        for (int i = 0; i < count; i++)
            interrupt_each();
    depth_wanted = 0;
    // The call has been finished before the handler leaves for good: nothing is held.
    leave_by_jump = 1;
    for (volatile int i = 0; i < count; i++)
        if (!sigsetjmp(back, 1)) {
            inside = SIGNAL;
            free(malloc(1000));
            CHECK(!"the handler has returned");
        } else {
            CHECK(!held);
        }
    leave_by_jump = 0;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 1;
    static char stack[1 << 16];
    stack_t alternate = {};
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    sigaltstack(&alternate, nullptr);
    handle(SIGUSR1, on_signal, 0);
    rounds(count);
    handle(SIGUSR1, on_signal, SA_ONSTACK);
    rounds(count);
    printf("%d times in the allocator, opened %d times\n", times_inside, opened);

    // What cannot go on: it would fault again, or is on its way out.
    handle(SIGSEGV, on_fault, 0);
    fence = (char *)mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    inside = FAULT;
    free(malloc(10));
    puts(refused);
    handle(SIGABRT, on_abort, 0);
    if (!sigsetjmp(back, 1)) {
        inside = ABORT;
        free(malloc(10));
    }
    puts(refused);
    open_and_close();
    CHECK(come_in_again == 0);
    if (come_in_again)
        printf("come in again %d times\n", come_in_again);
    return FINISH();
}
#endif
