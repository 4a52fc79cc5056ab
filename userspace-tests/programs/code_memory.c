// The kernel's memory goes to code ranges only as far as it can spare it: then ENOMEM, and the program goes on.
// shared: libelfin.so.1 -DLIBELFIN -Wl,-soname,libelfin.so.1
// link: libelfin.so.1
// memory: 64M
#ifdef LIBELFIN
#include "../../include/libelfin.c"
#else
#include <errno.h>
#include <sys/sysinfo.h>
#include "jit.h"

enum { LEFT = 12 << 20 };

int main(void)
{
    // Others have most of it.
    struct sysinfo system;
    sysinfo(&system);
    size_t size = system.freeram * system.mem_unit - LEFT;
    void *others = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    CHECK(others != MAP_FAILED);
    // No memory need be where the code is.
    const char *area = (const char *)0x10000000000;
    struct elfin_code code = jit_code(area, "one of very many");
    code.size = 1;
    int error;
    size_t count = 0;
    for (; !(error = elfin_code_register(&code, NULL)); count++)
        code.start = (const char *)code.start + 2;
    // Of the program's own it needs nothing new before it gives something back.
    struct elfin_code_info info;
    for (size_t i = 0; i < count; i++)
        if (elfin_code_find(area + 2 * i, &info) || elfin_code_unregister(info.id))
            error = 0;
    CHECK(error == ENOMEM && count > 10000 && elfin_code_count() == 0);
    munmap(others, size);
    CHECK(elfin_code_register(&code, NULL) == 0);
    return FINISH();
}
#endif
