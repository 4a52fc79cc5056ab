// Threads that use the heap all the time are interrupted by timers; the handlers open and close a library whose INIT and FINI
// functions use it, too, and some leave by siglongjmp. No live block is handed out twice, nothing hangs. One thread first, for
// which malloc takes no lock; then several with one heap, which it locks. At last the same with libc's list of functions for
// exit. The argument is how many handlers must have interrupted these functions, in each part. Not run on Linux: there, dlopen
// is not for handlers.
// hosted: too
// args: 25
// cpus: 1
// cpus: 4
// shared: signal_heap-library.so -DLIBRARY -fno-gnu-unique
#ifdef LIBRARY
#include <string>
#include <vector>
static struct Strings : std::vector<std::string> {
    Strings()
    {
        for (int i = 0; i < 10; i++)
            push_back(std::string(20 + i * 50, 'a' + i));
    }
} strings;
extern "C" int answer()
{
    int sum = 0;
    for (int i = 0; i < 10; i++)
        sum += strings[i] == std::string(20 + i * 50, 'a' + i);
    return sum;
}
#else
#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include "check.h"

enum { BLOCKS = 200, THREADS = 3 };
struct Block {
    unsigned char *at;
    size_t size;
    unsigned char mark;
};
static thread_local Block blocks[BLOCKS];
static thread_local sigjmp_buf back;
static thread_local volatile unsigned handled;
static std::atomic<long> signals, hits, jumps;
static long wanted;

// The code that is to be interrupted: libc's allocator is one object file with malloc about in its middle, and functions are
// put into the list right before the one that takes them out.
extern "C" {
int __cxa_atexit(void (*)(void *), void *, void *);
void __cxa_finalize(void *);
}
static const intptr_t HEAP[] = {(intptr_t)malloc - 0x3000, (intptr_t)malloc + 0x1a00};
static const intptr_t LISTS[] = {(intptr_t)__cxa_finalize - 0xf0, (intptr_t)__cxa_finalize + 0x1c0};
static const intptr_t *target = HEAP;

static uint32_t number(uint32_t *state)
{
    return (*state = *state * 1664525 + 1013904223) >> 8;
}

static void check(const unsigned char *at, size_t size, unsigned char mark)
{
    for (size_t i = 0; i < size; i++)
        if (at[i] != mark) {
            CHECK(!"a live block was written to");
            return;
        }
}

// A handler may leave at any time: a block that is not in the list then is lost.
static void change(uint32_t *state)
{
    Block *block = &blocks[number(state) % BLOCKS];
    size_t size = number(state) % 64 ? number(state) % 90 : number(state) % 9000;
    unsigned char *at = block->at;
    block->at = nullptr;
    if (at)
        check(at, block->size, block->mark);
    if (at && number(state) % 4 == 0) {
        at = (unsigned char *)realloc(at, size + 1);
        check(at, size < block->size ? size : block->size, block->mark);
    } else {
        free(at);
        at = (unsigned char *)malloc(size + 1);
    }
    block->size = size;
    block->mark = (unsigned char)number(state);
    memset(at, block->mark, size);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    block->at = at;
}

static void handler(int, siginfo_t *, void *context)
{
    intptr_t at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    bool inside = target[0] <= at && at < target[1];
    signals++;
    void *library = dlopen("./signal_heap-library.so", RTLD_NOW);
    CHECK(library != nullptr);
    if (!library) {
        puts(dlerror());
        return;
    }
    CHECK(((int (*)())dlsym(library, "answer"))() == 10);
    CHECK(dlclose(library) == 0);
    if (inside)
        hits++;
    if (++handled % 5 == 0) {
        jumps++;
        siglongjmp(back, 1);
    }
}

static std::atomic<long> listed, called;
static void count(void *) { called++; }

static void change_lists()
{
    static char object;
    for (int i = 0; i < 20; i++) {
        listed++;
        __cxa_atexit(count, nullptr, &object);
    }
    __cxa_finalize(&object);
}

static void *interrupt(void *seed)
{
    static thread_local char stack[1 << 16];
    stack_t alternate = {};
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    if ((intptr_t)seed % 2 == 0)
        sigaltstack(&alternate, nullptr);
    struct sigevent event = {};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGRTMIN;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    static thread_local uint32_t state;
    state = (uint32_t)(intptr_t)seed;
    sigsetjmp(back, 1);
    // Each time anew: it rings once, when some blocks have changed.
    while (hits < wanted) {
        unsigned before = handled;
        struct itimerspec soon = {{0, 0}, {0, (20000 << number(&state) % 6) + number(&state) % 20000}};
        timer_settime(timer, 0, &soon, nullptr);
        while (handled == before && hits < wanted)
            if (target == HEAP)
                change(&state);
            else
                change_lists();
    }
    timer_delete(timer);
    for (Block &block : blocks)
        if (block.at)
            check(block.at, block.size, block.mark);
    return nullptr;
}

int main(int argc, char **argv)
{
    long count = argc > 1 ? atol(argv[1]) : 50;
    struct sigaction action = {};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigaction(SIGRTMIN, &action, nullptr);
    wanted = count;
    interrupt((void *)1);
    mallopt(M_ARENA_MAX, 1);
    wanted = 2 * count;
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], nullptr, interrupt, (void *)(i + 2));
    for (pthread_t thread : threads)
        pthread_join(thread, nullptr);
    target = LISTS;
    wanted = 3 * count;
    interrupt((void *)1);
    // A handler that has left for good may have done so before a function was listed, or taken out.
    change_lists();
    CHECK(called <= listed && called >= listed - jumps);
    CHECK(hits >= 3 * count && jumps > 0);
    if (argc > 2)
        printf("%ld signals, %ld in these functions, %ld left by siglongjmp\n", signals.load(), hits.load(), jumps.load());
    return FINISH();
}
#endif
