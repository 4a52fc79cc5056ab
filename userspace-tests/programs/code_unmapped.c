// Memory that the program gives up holds no code any more, whatever was registered there: munmap, mmap over it, mremap.
// Changing its protection changes nothing.
// forked: too
// shared: libelfin.so.1 -DLIBELFIN -Wl,-soname,libelfin.so.1
// link: libelfin.so.1
#ifdef LIBELFIN
#include "../../include/libelfin.c"
#else
#include <dlfcn.h>
#include "jit.h"

enum { PAGE = 4096, ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS, ALL = PROT_READ | PROT_WRITE | PROT_EXEC };

static char *area;

// Code in the middle of the first page, across the second one's start, at its end, in the fourth; returns the area.
static char *make(void)
{
    static const int at[] = {2000, PAGE - 8, 2 * PAGE - JIT_SIZE, 3 * PAGE + 8};
    area = jit_pages(4 * PAGE);
    for (int i = 0; i < 4; i++) {
        struct elfin_code code = jit_code(area + at[i], "code");
        CHECK(elfin_code_register(&code, NULL) == 0);
    }
    return area;
}

static int has(int at)
{
    Dl_info info;
    int found = *jit_name(area + at) != 0;
    CHECK((dladdr(area + at, &info) != 0) == found);
    return found;
}

// Which of the four are there, of which the rest is then unregistered.
static void expect(const char *what, int first, int second, int third, int fourth)
{
    int as_expected = has(2000) == first && has(PAGE - 8) == second && has(2 * PAGE - 1) == third &&
                      has(3 * PAGE + 8) == fourth;
    CHECK(as_expected && elfin_code_count() == (size_t)(first + second + third + fourth));
    puts(what);
    struct elfin_code_info info;
    for (char *at = area; at < area + 4 * PAGE; at++)
        if (!elfin_code_find(at, &info))
            CHECK(elfin_code_unregister(info.id) == 0);
    CHECK(elfin_code_count() == 0);
    munmap(area, 4 * PAGE);
}

int main(void)
{
    munmap(make() + PAGE, PAGE);
    expect("unmapped", 1, 0, 0, 1);
    munmap(make() + PAGE + 1, PAGE);
    munmap(area, 0);
    expect("refused", 1, 1, 1, 1);
    munmap(make(), 1);
    expect("one byte is a page", 0, 0, 1, 1);
    CHECK(mmap(make() + PAGE, PAGE, ALL, ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    expect("mapped over", 1, 0, 0, 1);
    CHECK(mmap(make() + PAGE, PAGE, ALL, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
    expect("not mapped over", 1, 1, 1, 1);
    CHECK(mprotect(make(), 4 * PAGE, PROT_READ | PROT_WRITE) == 0);
    expect("protected", 1, 1, 1, 1);
    CHECK(mremap(make(), 4 * PAGE, 2 * PAGE, 0) == area);
    expect("shrunk", 1, 1, 1, 0);
    char *to = jit_pages(8 * PAGE);
    CHECK(mremap(make(), 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
    expect("moved", 0, 0, 0, 0);
    make();
    CHECK(mremap(to, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, area + 3 * PAGE) == area + 3 * PAGE);
    expect("moved over", 1, 1, 1, 0);
    return FINISH();
}
#endif
