// dl_iterate_phdr sees each object once, with headers that lie where they say; objects come and go with dlopen.
// shared: dl_iterate-plug.so -DPLUG
#ifdef PLUG
int plug = 1;
#else
#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include "check.h"

struct found { int main, libc, plug, others, order; unsigned long long adds, subs; };

static int visit(struct dl_phdr_info *info, size_t size, void *data)
{
    struct found *found = data;
    CHECK(size >= sizeof *info);
    int loads = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        loads += header->p_type == PT_LOAD;
        if (header->p_type == PT_PHDR)
            CHECK(info->dlpi_addr + header->p_vaddr == (ElfW(Addr))info->dlpi_phdr);
    }
    CHECK(loads > 0);
    if (!*info->dlpi_name) {
        CHECK(found->order == 0);
        found->main++;
    } else if (strstr(info->dlpi_name, "libc.so.6"))
        found->libc++;
    else if (strstr(info->dlpi_name, "dl_iterate-plug.so"))
        found->plug++;
    else
        found->others++;
    found->order++;
    found->adds = info->dlpi_adds;
    found->subs = info->dlpi_subs;
    return 0;
}

static int stop(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info, (void)size;
    ++*(int *)data;
    return 17;
}

int main(void)
{
    struct found before = {0}, with = {0}, after = {0};
    dl_iterate_phdr(visit, &before);
    void *plug = dlopen("./dl_iterate-plug.so", RTLD_NOW);
    CHECK(plug);
    dl_iterate_phdr(visit, &with);
    dlclose(plug);
    dl_iterate_phdr(visit, &after);
    printf("main %d %d %d\n", before.main, with.main, after.main);
    printf("libc %d %d %d\n", before.libc, with.libc, after.libc);
    printf("plug %d %d %d\n", before.plug, with.plug, after.plug);
    CHECK(before.others == with.others && with.others == after.others);
    CHECK(with.adds == before.adds + 1 && with.subs == before.subs);
    CHECK(after.adds == with.adds && after.subs == with.subs + 1);
    int calls = 0;
    CHECK(dl_iterate_phdr(stop, &calls) == 17 && calls == 1);
    return FINISH();
}
#endif
