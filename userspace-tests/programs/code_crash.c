// A crash report names code that the program has registered, and goes on to who called it; also while others register
// and unregister, and open and close a library.
// shared: libelfin.so.1 -DLIBELFIN -Wl,-soname,libelfin.so.1
// shared: code_crash-plug.so -DPLUG
// link: libelfin.so.1
// flags: -rdynamic
// args: frames
// args: header
// args: busy
// exit: 134
// backtrace: abort die made outer main
// says: made+0xb (registered code)
#ifdef LIBELFIN
#include "../../include/libelfin.c"
#elif defined(PLUG)
int plug = 1;
#else
#include <dlfcn.h>
#include <pthread.h>
#include "jit.h"

static char *page;
static volatile int rounds[2];

static void *registrar(void *data)
{
    for (;; rounds[0]++) {
        struct elfin_code code = jit_code(page + 1000 + rounds[0] % 50, "another");
        elfin_code_t id;
        if (elfin_code_register(&code, &id) || elfin_code_unregister(id))
            return data;
    }
}

static void *opener(void *data)
{
    for (;; rounds[1]++) {
        void *plug = dlopen("./code_crash-plug.so", RTLD_NOW);
        if (!plug || dlclose(plug))
            return data;
    }
}

__attribute__((noinline)) int die(int value)
{
    if (value)
        abort();
    return value;
}
__attribute__((noinline)) int outer(jit_call *call, int value) { return call(die, value) + 1; }
int main(int count, char **arguments)
{
    page = jit_pages(4096);
    jit_call *call = (jit_call *)jit_make(page + 3, jit_call_bytes);
    const char *frames = jit_frames(page + 64, call);
    struct elfin_code code = jit_code(call, "made");
    if (arguments[1][0] != 'h')
        code.eh_frame = frames;
    else
        code.eh_frame_hdr = jit_header(page + 256, frames, call);
    CHECK(elfin_code_register(&code, NULL) == 0);
    pthread_t threads[2];
    if (arguments[1][0] == 'b') {
        pthread_create(&threads[0], NULL, registrar, NULL);
        pthread_create(&threads[1], NULL, opener, NULL);
        while (rounds[0] < 100 || rounds[1] < 10)
            sched_yield();
    }
    return outer(call, count);
}
#endif
