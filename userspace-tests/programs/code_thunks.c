// The code that PLT slots and TLS descriptors lead to exists once, for all objects and threads, and is not written to. A
// PLT slot leads there until the first call, and from then on to the function.
// shared: code_thunks-one.so -DPLUG=1 -fPIC -mtls-dialect=gnu2 -Wl,-z,lazy
// shared: code_thunks-two.so -DPLUG=2 -fPIC -mtls-dialect=gnu2 -Wl,-z,lazy
// link: -Wl,-z,lazy
#ifdef PLUG
#include <stdlib.h>
__thread int counter[PLUG];
int count(void) { return counter[0] += (int)strtol(PLUG == 1 ? "1" : "2", NULL, 10); }
#else
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "check.h"

enum { THREADS = 8, BYTES = 64 };

struct thunk { const unsigned char *at; unsigned char bytes[BYTES]; };
static struct thunk plt, descriptor;

// The first time notes a thunk, later compares.
static void same(struct thunk *thunk, uintptr_t at)
{
    if (!thunk->at) {
        thunk->at = (const unsigned char *)at;
        memcpy(thunk->bytes, thunk->at, BYTES);
    }
    CHECK(thunk->at == (const unsigned char *)at && !memcmp(thunk->at, thunk->bytes, BYTES));
}

// What an object's GOT holds; `called`: whether its call of `strtol`, if it has one, has been made.
static void look(struct link_map *map, int called)
{
    uintptr_t *got = NULL;
    int slots = 0;
    const ElfW(Rela) *relocation = NULL;
    const ElfW(Sym) *symbols = NULL;
    const char *names = NULL;
    size_t size = 0;
    for (ElfW(Dyn) *entry = map->l_ld; entry->d_tag; entry++)
        switch (entry->d_tag) {
        case DT_PLTGOT:
            got = (uintptr_t *)entry->d_un.d_ptr;
            break;
        case DT_SYMTAB:
            symbols = (const ElfW(Sym) *)entry->d_un.d_ptr;
            break;
        case DT_STRTAB:
            names = (const char *)entry->d_un.d_ptr;
            break;
        case DT_JMPREL:
            relocation = (const ElfW(Rela) *)entry->d_un.d_ptr;
            break;
        case DT_PLTRELSZ:
            size = entry->d_un.d_val;
            break;
        }
    CHECK(got && relocation && size && symbols && names);
    same(&plt, got[2]);
    for (; size; size -= sizeof *relocation, relocation++) {
        uintptr_t slot = *(uintptr_t *)(map->l_addr + relocation->r_offset);
        const char *name = names + symbols[ELF64_R_SYM(relocation->r_info)].st_name;
        if (ELF64_R_TYPE(relocation->r_info) == R_X86_64_TLSDESC)
            same(&descriptor, slot);
        else if (!strcmp(name, "strtol")) {
            CHECK((slot == (uintptr_t)dlsym(RTLD_DEFAULT, "strtol")) == called);
            slots++;
        }
    }
    CHECK(slots == (map->l_name[0] != 0));
}

// How many mappings can be executed; none may be writable as well.
static int executable(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], may[8];
    int count = 0;
    while (fgets(line, sizeof line, maps)) {
        CHECK(sscanf(line, "%*s %7s", may) == 1);
        CHECK(!(may[1] == 'w' && may[2] == 'x'));
        count += may[2] == 'x';
    }
    fclose(maps);
    return count;
}

static void *libraries[2];
static pthread_barrier_t barrier;

static void *thread(void *data)
{
    for (int i = 0; i < 2; i++) {
        int (*count)(void) = (int (*)(void))dlsym(libraries[i], "count");
        CHECK(count() == i + 1 && count() == 2 * i + 2);
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return data;
}

int main(void)
{
    struct link_map *program = dlopen(NULL, RTLD_NOW);
    for (int round = 0; round < 3; round++) {
        libraries[0] = dlopen("./code_thunks-one.so", RTLD_LAZY);
        libraries[1] = dlopen("./code_thunks-two.so", RTLD_LAZY);
        CHECK(libraries[0] && libraries[1]);
        look(program, 0);
        look(libraries[0], 0);
        look(libraries[1], 0);
        int before = executable();
        pthread_t ids[THREADS];
        pthread_barrier_init(&barrier, NULL, THREADS + 1);
        for (int i = 0; i < THREADS; i++)
            CHECK(pthread_create(&ids[i], NULL, thread, NULL) == 0);
        pthread_barrier_wait(&barrier);
        CHECK(executable() == before);
        look(libraries[0], 1);
        look(libraries[1], 1);
        pthread_barrier_wait(&barrier);
        for (int i = 0; i < THREADS; i++)
            pthread_join(ids[i], NULL);
        dlclose(libraries[0]);
        dlclose(libraries[1]);
    }
    CHECK(plt.at && descriptor.at);
    return FINISH();
}
#endif
