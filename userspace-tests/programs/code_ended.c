// Code of a thread that has ended is not named in a crash report: what is there by now is data.
// shared: libelfin.so.1 -DLIBELFIN -Wl,-soname,libelfin.so.1
// link: libelfin.so.1
// exit: 132
// stderr: any
// says: (anonymous memory)
#ifdef LIBELFIN
#include "../../include/libelfin.c"
#else
#include <pthread.h>
#include "jit.h"

static char *page;

static void *thread(void *unused)
{
    struct elfin_code code = jit_code(page + 3, "thread's");
    code.owned_by = ELFIN_CODE_OF_THREAD;
    // Where there is no dynamic linker of Elfin's, there is nothing to forget.
    elfin_code_register(&code, NULL);
    return unused;
}

int main(void)
{
    pthread_t id;
    page = jit_pages(4096);
    jit_call *call = (jit_call *)jit_make(page + 3, jit_call_bytes);
    pthread_create(&id, NULL, thread, NULL);
    pthread_join(id, NULL);
    memcpy(page + 3, (const char[]){0x0f, 0x0b}, 2); // an invalid instruction
    return call(NULL, 0);
}
#endif
