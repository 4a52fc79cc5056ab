// A crash report names code that the program has registered, and goes on to who called it.
// shared: libelfin.so.1 -DLIBELFIN -Wl,-soname,libelfin.so.1
// link: libelfin.so.1
// flags: -rdynamic
// args: frames
// args: header
// exit: 134
// backtrace: abort die made outer main
// says: made+0xb (registered code)
#ifdef LIBELFIN
#include "../../include/libelfin.c"
#else
#include "jit.h"

__attribute__((noinline)) int die(int value)
{
    if (value)
        abort();
    return value;
}
__attribute__((noinline)) int outer(jit_call *call, int value) { return call(die, value) + 1; }
int main(int count, char **arguments)
{
    char *page = jit_pages(4096);
    jit_call *call = (jit_call *)jit_make(page + 3, jit_call_bytes);
    const char *frames = jit_frames(page + 64, call);
    struct elfin_code code = jit_code(call, "made");
    if (arguments[1][0] == 'f')
        code.eh_frame = frames;
    else
        code.eh_frame_hdr = jit_header(page + 256, frames, call);
    CHECK(elfin_code_register(&code, NULL) == 0);
    return outer(call, count);
}
#endif
