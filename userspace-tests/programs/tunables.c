// GLIBC_TUNABLES and the older variables: malloc, features of the CPU, room for static TLS. Values out of bounds, names that
// do not exist and what has no value are passed over; GLIBC_TUNABLES goes before an older variable.
// hosted: too
// env: GLIBC_TUNABLES=glibc.malloc.mmap_threshold=0x200000:glibc.no.such=1:glibc.cpu.hwcaps=-AVX2_Usable,-AVX2:glibc.malloc.perturb:glibc.malloc.tcache_count=0:glibc.rtld.optional_static_tls=3000:glibc.malloc.arena_max=-1
// env: MALLOC_PERTURB_=0x55
// env: MALLOC_MMAP_THRESHOLD_=1000
// env: MALLOC_MMAP_MAX_=99999999999
// env: MALLOC_TOP_PAD_=1048576
// shared: tunables-static.so -DLIBRARY -ftls-model=initial-exec
#ifdef LIBRARY
static __thread char room[3000] = "x";
int use(void) { return room[0] == 'x' && room[2999] == 0; }
#else
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/platform/x86.h>
#include <unistd.h>
#include "check.h"

int main(void)
{
    // Memory from malloc holds the complement of MALLOC_PERTURB_, and what is freed holds that.
    void *volatile block = malloc(100);
    memset(block, 0, 1);
    CHECK(((unsigned char *)block)[99] == 0xaa);
    CHECK(((char *)calloc(1, 100))[50] == 0);

    // Mapped by itself from 2 MiB on, not from 128 KiB, nor from 1000 bytes.
    size_t before = mallinfo2().hblks;
    void *volatile large = malloc(1000000);
    CHECK(mallinfo2().hblks == before);
    free(large);
    large = malloc(3000000);
    CHECK(mallinfo2().hblks == before + 1);

    // No cache of the thread's: what is freed last is not what is had next, but merged with its neighbour.
    void *volatile small[3] = {malloc(600), malloc(600), malloc(24)};
    free(small[0]);
    free(small[1]);
    CHECK(malloc(1200) == small[0]);

    CHECK((char *)sbrk(0) - (char *)small[0] > 1000000);

    CHECK(!CPU_FEATURE_ACTIVE(AVX2));
    CHECK(CPU_FEATURE_ACTIVE(SSE2));

    void *library = dlopen("./tunables-static.so", RTLD_NOW);
    if (!library)
        puts(dlerror());
    else
        CHECK(((int (*)(void))dlsym(library, "use"))());
    return FINISH();
}
#endif
