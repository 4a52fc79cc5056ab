// What the dynamic linker hands out lies in the program's half of the address space, where sanitizers compute shadow addresses of it,
// system calls take it, and /proc/self/maps names it; and what it has there cannot be unmapped, or mapped over.
// shared: loader_addresses-tls.so -DTLS -mtls-dialect=gnu2
// flags: -Wl,-z,lazy
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef TLS
// Too large for the static area: its descriptor is a dynamic one.
__thread char large[100000];
char *large_at(void) { return large; }
#else
static __thread char block[100000];

static int is_high(const volatile void *p)
{
    return (unsigned long)p >> 47 != 0;
}
static int is_named(const volatile void *p)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    unsigned long start, end;
    int found = 0;
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx", &start, &end) == 2 && (unsigned long)p >= start && (unsigned long)p < end)
            found = 1;
    fclose(maps);
    return found;
}
// The words that PLT entries and TLS descriptors go to.
static void look_at_code(const char *what, struct link_map *map)
{
    const ElfW(Rela) *tables[2] = {0};
    size_t sizes[2] = {0};
    void **got = 0;
    for (ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_PLTGOT)
            got = (void **)entry->d_un.d_ptr;
        else if (entry->d_tag == DT_RELA)
            tables[0] = (void *)entry->d_un.d_ptr;
        else if (entry->d_tag == DT_RELASZ)
            sizes[0] = entry->d_un.d_val;
        else if (entry->d_tag == DT_JMPREL)
            tables[1] = (void *)entry->d_un.d_ptr;
        else if (entry->d_tag == DT_PLTRELSZ)
            sizes[1] = entry->d_un.d_val;
    }
    if (got)
        printf("%s: PLT entry high %d named %d\n", what, is_high(got[2]), is_named(got[2]));
    for (int table = 0; table < 2; table++)
        for (size_t i = 0; i < sizes[table] / sizeof(ElfW(Rela)); i++)
            if (ELF64_R_TYPE(tables[table][i].r_info) == R_X86_64_TLSDESC) {
                void **descriptor = (void **)(map->l_addr + tables[table][i].r_offset);
                printf("%s: TLS descriptor high %d %d named %d\n", what, is_high(descriptor[0]), is_high(descriptor[1]),
                       is_named(descriptor[0]));
            }
}
static void look(const char *what, const volatile void *p)
{
    // A system call takes it.
    int pipes[2], written = -1;
    if (p && !pipe(pipes)) {
        written = write(pipes[1], (const void *)p, 1);
        close(pipes[0]);
        close(pipes[1]);
    }
    printf("%s: high %d, written %d, named %d\n", what, is_high(p), written, is_named(p));
}
static int object(struct dl_phdr_info *info, size_t size, void *data)
{
    int *sums = data;
    sums[0] += is_high(info->dlpi_name);
    sums[1] += is_high(info->dlpi_phdr);
    sums[2] += is_high(info->dlpi_tls_data);
    sums[3]++;
    return size < sizeof *info;
}
static void *on_thread(void *unused)
{
    block[0] = 1;
    look("a thread's block of thread-local storage", block);
    return unused;
}
int main(void)
{
    int sums[4] = {0};
    dl_iterate_phdr(object, sums);
    printf("names %d headers %d blocks %d of some %d are high\n", sums[0], sums[1], sums[2], sums[3] > 0);
    Dl_info info;
    struct link_map *map;
    dladdr1(strlen, &info, (void **)&map, RTLD_DL_LINKMAP);
    look("dli_fname", info.dli_fname);
    look("dli_sname", info.dli_sname);
    look("link_map", map);
    look("l_name", map->l_name);
    look("l_ld", map->l_ld);
    void *handle = dlopen("libm.so.6", RTLD_NOW);
    look("handle", handle);
    dlopen("/nonexistent", RTLD_NOW);
    look("dlerror", dlerror());
    Dl_serinfo size;
    dlinfo(handle, RTLD_DI_SERINFOSIZE, &size);
    Dl_serinfo *paths = malloc(size.dls_size);
    paths->dls_size = size.dls_size;
    paths->dls_cnt = size.dls_cnt;
    dlinfo(handle, RTLD_DI_SERINFO, paths);
    look("serinfo", paths->dls_serpath[0].dls_name);
    look("_r_debug", &_r_debug);
    look("r_map", _r_debug.r_map);
    look_at_code("program", _r_debug.r_map);
    struct link_map *tls = dlopen("./loader_addresses-tls.so", RTLD_LAZY);
    char *(*large_at)(void) = (char *(*)(void))dlsym(tls, "large_at");
    large_at()[99999] = 1;
    look_at_code("library", tls);
    look("the main thread's block", block);
    pthread_t thread;
    pthread_create(&thread, 0, on_thread, 0);
    pthread_join(thread, 0);
    dlclose(handle);
    return 0;
}
#endif
