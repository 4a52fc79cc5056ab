// Unwinders before gcc 12, and others, look for the tables of every return address with dl_iterate_phdr: from INIT
// functions and callbacks, through the dynamic linker, to main.
// hosted: too
// shared: iterate_frames-init.so -DINIT
// flags: -rdynamic
#include <execinfo.h>
#include <link.h>
void look(void);
#ifdef INIT
__attribute__((constructor)) static void begin(void)
{
    look();
    __asm__(""); // no tail call
}
#else
#include <dlfcn.h>
#include "check.h"

static int has_tables(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    ElfW(Addr) at = *(ElfW(Addr) *)data - 1;
    int inside = 0, tables = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        inside |= header->p_type == PT_LOAD && at - info->dlpi_addr - header->p_vaddr < header->p_memsz;
        if (header->p_type == PT_GNU_EH_FRAME)
            tables = *(const unsigned char *)(info->dlpi_addr + header->p_vaddr);
    }
    return inside ? 10 + tables : 0;
}

void look(void)
{
    void *frames[64];
    int count = backtrace(frames, 64), main_is_there = 0;
    CHECK(count > 3);
    for (int i = 0; i < count; i++) {
        Dl_info info;
        // Version 1 of the search table.
        CHECK(dl_iterate_phdr(has_tables, &frames[i]) == 11);
        main_is_there |= dladdr(frames[i], &info) && info.dli_saddr == (void *)dlsym(RTLD_DEFAULT, "main");
    }
    CHECK(main_is_there);
}

static int visit(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info, (void)size, (void)data;
    look();
    return 1;
}

int main(void)
{
    CHECK(dlopen("./iterate_frames-init.so", RTLD_NOW));
    CHECK(dl_iterate_phdr(visit, 0) == 1);
    return FINISH();
}
#endif
