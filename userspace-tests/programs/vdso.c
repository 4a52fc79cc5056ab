// The vDSO: an object of the system's in the program's memory, which AT_SYSINFO_EHDR and dl_iterate_phdr lead to and
// /proc/self/maps names; its functions, found by the hash table and their version, read clocks. It can be opened as any
// other object. What dlsym gives of the dynamic linker's lies in the program's half, and dladdr says whose it is.
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <time.h>
#include "check.h"

static char *base;
static const ElfW(Sym) *symbols;
static const char *strings;
static const uint16_t *versions;
static const ElfW(Verdef) *definitions;
static const uint32_t *hash;

static int low(const void *address) { return (uintptr_t)address >> 47 == 0; }

static const char *version_of(uint16_t index)
{
    const ElfW(Verdef) *definition = definitions;
    while (definition->vd_ndx != (index & 0x7fff)) {
        if (!definition->vd_next)
            return "";
        definition = (void *)((char *)definition + definition->vd_next);
    }
    const ElfW(Verdaux) *name = (void *)((char *)definition + definition->vd_aux);
    return strings + name->vda_name;
}

// As musl does.
static void *find(const char *name)
{
    for (uint32_t i = 1; i < hash[1]; i++)
        if (symbols[i].st_shndx && !strcmp(strings + symbols[i].st_name, name)
            && !strcmp(version_of(versions[i]), "LINUX_2.6"))
            return base + symbols[i].st_value;
    return NULL;
}

static void read_dynamic(const ElfW(Dyn) *dynamic)
{
    for (; dynamic->d_tag; dynamic++) {
        void *at = base + dynamic->d_un.d_ptr;
        switch (dynamic->d_tag) {
        case DT_STRTAB: strings = at; break;
        case DT_SYMTAB: symbols = at; break;
        case DT_VERSYM: versions = at; break;
        case DT_VERDEF: definitions = at; break;
        case DT_HASH: hash = at; break;
        }
    }
}

static int listed(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    if ((char *)info->dlpi_addr == base) {
        *(int *)data += !strcmp(info->dlpi_name, "linux-vdso.so.1");
        CHECK(low(info->dlpi_phdr) && info->dlpi_phnum == ((ElfW(Ehdr) *)base)->e_phnum);
        CHECK(info->dlpi_phdr[0].p_type == PT_LOAD && info->dlpi_phdr[0].p_offset == 0);
    }
    return 0;
}

static int64_t nanoseconds(struct timespec time) { return time.tv_sec * 1000000000LL + time.tv_nsec; }

int main(void)
{
    base = (char *)getauxval(AT_SYSINFO_EHDR);
    CHECK(base && low(base) && !memcmp(base, ELFMAG, SELFMAG));
    const ElfW(Ehdr) *header = (void *)base;
    CHECK(header->e_type == ET_DYN && header->e_machine == EM_X86_64);
    const ElfW(Phdr) *segments = (void *)(base + header->e_phoff);
    int loads = 0, tables = 0;
    for (int i = 0; i < header->e_phnum; i++) {
        loads += segments[i].p_type == PT_LOAD;
        tables += segments[i].p_type == PT_GNU_EH_FRAME;
        if (segments[i].p_type == PT_DYNAMIC)
            read_dynamic((void *)(base + segments[i].p_vaddr));
    }
    CHECK(loads == 1 && tables == 1);
    CHECK(symbols && strings && versions && definitions && hash);

    int (*gettime)(clockid_t, struct timespec *) = find("__vdso_clock_gettime");
    int (*getres)(clockid_t, struct timespec *) = find("__vdso_clock_getres");
    int (*timeofday)(struct timeval *, void *) = find("__vdso_gettimeofday");
    time_t (*seconds)(time_t *) = find("__vdso_time");
    int (*cpu)(unsigned *, unsigned *, void *) = find("__vdso_getcpu");
    CHECK(gettime && getres && timeofday && seconds && cpu && find("clock_gettime") && !find("dlopen"));
    struct timespec before, between, after;
    clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_PROCESS_CPUTIME_ID};
    for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        clock_gettime(clocks[i], &before);
        CHECK(gettime(clocks[i], &between) == 0);
        clock_gettime(clocks[i], &after);
        CHECK(nanoseconds(before) <= nanoseconds(between) && nanoseconds(between) <= nanoseconds(after));
    }
    CHECK(gettime(12345, &between) != 0);
    struct timeval now;
    CHECK(timeofday(&now, NULL) == 0 && seconds(NULL) - now.tv_sec < 5 && now.tv_usec < 1000000);
    CHECK(getres(CLOCK_MONOTONIC, &between) == 0 && between.tv_sec == 0);
    unsigned where = 12345, node = 12345;
    CHECK(cpu(&where, &node, NULL) == 0 && where < 1024 && node == 0);

    int found = 0;
    dl_iterate_phdr(listed, &found);
    CHECK(found == 1);
    static char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");
    uintptr_t start = 0;
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, " r-xp ") && strstr(line, "[vdso]"))
            sscanf(line, "%lx", &start);
    CHECK(start == (uintptr_t)base);

#ifndef STATIC
    // libc's, which dynamic programs call, are these.
    const char *same[] = {"gettimeofday", "time"};
    for (int i = 0; i < 2; i++)
        CHECK((uintptr_t)dlsym(RTLD_DEFAULT, same[i]) - (uintptr_t)base < 65536);

    const char *names[] = {"dlopen", "__tls_get_addr", "dl_iterate_phdr", "_dl_find_object", "gettimeofday", "time"};
    for (int i = 0; i < 6; i++) {
        Dl_info info = {0};
        void *function = dlsym(RTLD_DEFAULT, names[i]);
        CHECK(function && low(function));
        CHECK(dladdr(function, &info) && low(info.dli_fname) && info.dli_saddr == function);
        printf("%s: %s %s\n", names[i], info.dli_fname, info.dli_sname);
    }

    // It is an object of the program's: in the lists, opened by its name, with symbols that nobody else finds.
    for (struct link_map *map = _r_debug.r_map; map; map = map->l_next)
        printf("map: %s behind %s\n", map->l_name, map->l_prev ? map->l_prev->l_name : "nothing");
    void *handle = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
    struct link_map *map = NULL;
    CHECK(handle && dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && (char *)map->l_addr == base);
    CHECK(dlsym(handle, "__vdso_clock_gettime") == (void *)gettime);
    CHECK(dlvsym(handle, "__vdso_time", "LINUX_2.6") == (void *)seconds);
    CHECK(!dlsym(RTLD_DEFAULT, "__vdso_clock_gettime"));
    CHECK(dlclose(handle) == 0 && gettime(CLOCK_MONOTONIC, &between) == 0);
#endif
    return FINISH();
}
