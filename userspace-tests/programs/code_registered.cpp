// Code ranges registered by the program: who finds them, how exceptions pass through them, and when they go.
// shared: libelfin.so.1 -DLIBELFIN -Wl,-soname,libelfin.so.1
// shared: code_registered-plug.so -DPLUG libelfin.so.1
// link: libelfin.so.1
#ifdef LIBELFIN
#include "../../include/libelfin.c"
#else
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <pthread.h>
#include <unistd.h>
#include "jit.h"

#ifdef PLUG
extern "C" {
int only_here = 42;
// Code of the library's own, which it does not unregister.
jit_find *finder;
int registered;
}
__attribute__((constructor)) static void make_code()
{
    finder = (jit_find *)jit_make(jit_pages(4096) + 100, jit_find_bytes);
    struct elfin_code code = jit_code((const void *)finder, "finder");
    code.owned_by = ELFIN_CODE_OF_OBJECT;
    code.owner = &only_here;
    registered = elfin_code_register(&code, NULL);
}
#else

static int twice(int value) { return 2 * value; }
static int fail(int value) { throw value; }

static int trace(int value)
{
    void *frames[64];
    int count = backtrace(frames, 64);
    for (int i = 0; i < count; i++)
        if (!strcmp(jit_name((char *)frames[i] - 1), "traced"))
            return value + count - i;
    return 0;
}

static void errors(void)
{
    char *page = jit_pages(4096);
    struct elfin_code code = jit_code(page + 1, "code");
    elfin_code_t first, second;
    CHECK(elfin_code_unregister(0) == ENOENT);
    CHECK(elfin_code_register(&code, &first) == 0);
    CHECK(elfin_code_register(&code, &second) == EEXIST);
    code.start = page + JIT_SIZE;
    CHECK(elfin_code_register(&code, &second) == EEXIST);
    code.start = page + 1 + JIT_SIZE;
    CHECK(elfin_code_register(&code, &second) == 0 && second != first);
    CHECK(elfin_code_count() == 2);
    struct elfin_code bad = code;
    bad.start = (char *)&errors;
    CHECK(elfin_code_register(&bad, NULL) == EEXIST);
    bad.start = page + 200, bad.size = 0;
    CHECK(elfin_code_register(&bad, NULL) == EINVAL);
    bad.size = ~(size_t)0;
    CHECK(elfin_code_register(&bad, NULL) == EINVAL);
    bad.size = 1, bad.start = (void *)0xffff800000000000;
    CHECK(elfin_code_register(&bad, NULL) == EINVAL);
    bad.start = page + 200, bad.owned_by = 3;
    CHECK(elfin_code_register(&bad, NULL) == EINVAL);
    bad.owned_by = ELFIN_CODE_OF_OBJECT, bad.owner = page;
    CHECK(elfin_code_register(&bad, NULL) == EINVAL);
    bad.owned_by = 0, bad.eh_frame_hdr = page + 300;
    CHECK(elfin_code_register(&bad, NULL) == EINVAL);
    bad.eh_frame_hdr = NULL, bad.reserved[1] = 1;
    CHECK(elfin_code_register(&bad, NULL) == EINVAL);
    static char name[5000];
    memset(name, 'n', sizeof name - 1);
    bad.reserved[1] = 0, bad.name = name;
    CHECK(elfin_code_register(&bad, NULL) == EINVAL);
    name[4095] = 0;
    elfin_code_t third;
    CHECK(elfin_code_register(&bad, &third) == 0);
    CHECK(strlen(jit_name(page + 200)) == ELFIN_CODE_NAME - 1);
    CHECK(elfin_code_unregister(third) == 0 && elfin_code_unregister(third) == ENOENT);
    CHECK(elfin_code_unregister(first) == 0 && elfin_code_unregister(second) == 0);
    CHECK(elfin_code_count() == 0);
    munmap(page, 4096);
}

// Every address of the range, and none beside it.
static void extent(void)
{
    char *page = jit_pages(4096);
    struct elfin_code code = jit_code(page + 33, "odd");
    code.size = 27;
    elfin_code_t id;
    CHECK(elfin_code_register(&code, &id) == 0);
    struct elfin_code_info info;
    Dl_info named;
    for (int i = 0; i < 100; i++) {
        bool inside = 33 <= i && i < 60;
        CHECK(elfin_code_find(page + i, &info) == (inside ? 0 : ENOENT));
        CHECK((dladdr(page + i, &named) != 0) == inside);
    }
    CHECK(elfin_code_find(page + 59, &info) == 0);
    CHECK(info.start == page + 33 && info.size == 27 && info.id == id && info.owned_by == 0 && !info.handle);
    CHECK(dladdr(page + 59, &named) && !strcmp(named.dli_sname, "odd") && named.dli_saddr == page + 33);
    CHECK(elfin_code_unregister(id) == 0);
    // From now on it is data.
    memset(page, 1, 4096);
    for (int i = 0; i < 100; i++)
        CHECK(elfin_code_find(page + i, &info) == ENOENT && !dladdr(page + i, &named));
    munmap(page, 4096);
}

static void objects(void)
{
    struct elfin_code_info info;
    static int data;
    CHECK(elfin_code_find((void *)objects, &info) == 0 && info.owned_by == ELFIN_CODE_OF_OBJECT && info.id == 0);
    CHECK((char *)info.start <= (char *)objects && (char *)objects < (char *)info.start + info.size);
    CHECK(strstr(info.name, "code_registered") && info.eh_frame_hdr && ((struct link_map *)info.handle)->l_ld);
    CHECK(elfin_code_find(&data, &info) == ENOENT && elfin_code_find(&info, &info) == ENOENT);
    CHECK(elfin_code_find(NULL, &info) == ENOENT && elfin_code_find((void *)-1, &info) == ENOENT);
}

static int caught(jit_call *call)
{
    try {
        return call(fail, 5);
    } catch (int value) {
        return -value;
    }
}

static void unwinding(void)
{
    char *page = jit_pages(4096);
    jit_call *call = (jit_call *)jit_make(page + 1, jit_call_bytes);
    const char *frames = jit_frames(page + 64, (void *)call);
    CHECK(call(twice, 4) == 9);
    CHECK(call(trace, 1) == 1);
    struct elfin_code code = jit_code((void *)call, "traced");
    struct dl_find_object found;
    elfin_code_t id;

    // Without unwind information it is code, but unwinders stop there.
    CHECK(elfin_code_register(&code, &id) == 0);
    CHECK(_dl_find_object((char *)call + 1, &found) == -1);
    CHECK(call(trace, 1) == 3);
    CHECK(elfin_code_unregister(id) == 0);

    code.eh_frame = frames;
    CHECK(elfin_code_register(&code, &id) == 0);
    CHECK(caught(call) == -5);
    CHECK(call(trace, 1) > 4);
    CHECK(_dl_find_object((char *)call + 1, &found) == 0);
    CHECK(found.dlfo_map_start == (void *)call && found.dlfo_map_end == (char *)call + JIT_SIZE);
    CHECK(elfin_code_unregister(id) == 0);
    CHECK(_dl_find_object((char *)call + 1, &found) == -1);

    code.eh_frame = NULL;
    code.eh_frame_hdr = jit_header(page + 256, frames, (void *)call);
    CHECK(elfin_code_register(&code, &id) == 0);
    CHECK(caught(call) == -5);
    CHECK(elfin_code_unregister(id) == 0);

    munmap(page, 4096);
}

// What libgcc is told goes past the dynamic linker.
extern "C" void __register_frame(const void *);
extern "C" void __deregister_frame(const void *);

static void libgcc(void)
{
    char *page = jit_pages(4096);
    jit_call *call = (jit_call *)jit_make(page + 7, jit_call_bytes);
    const char *frames = jit_frames(page + 64, (void *)call);
    __register_frame(frames);
    CHECK(caught(call) == -5);
    struct elfin_code code = jit_code((void *)call, "both");
    code.eh_frame = frames;
    elfin_code_t id;
    CHECK(elfin_code_register(&code, &id) == 0);
    CHECK(caught(call) == -5);
    __deregister_frame(frames);
    CHECK(caught(call) == -5);
    CHECK(elfin_code_unregister(id) == 0);
    munmap(page, 4096);
}

static char *thread_page;
static volatile bool has_registered;

static void *thread(void *how)
{
    struct elfin_code code = jit_code(thread_page + 1, "thread's");
    code.owned_by = ELFIN_CODE_OF_THREAD;
    elfin_code_t id;
    CHECK(elfin_code_register(&code, &id) == 0);
    code.start = thread_page + 100;
    CHECK(elfin_code_register(&code, NULL) == 0);
    CHECK(elfin_code_unregister(id) == 0);
    CHECK(!strcmp(jit_name(thread_page + 100), "thread's") && elfin_code_count() == 1);
    has_registered = true;
    switch (*(char *)how) {
    case 'e':
        pthread_exit(NULL);
    case 'c':
        pthread_cancel(pthread_self());
        pthread_testcancel();
        break;
    case 'd':
        pthread_detach(pthread_self());
        break;
    }
    return NULL;
}

static void threads(void)
{
    thread_page = jit_pages(4096);
    for (const char *how = "recd"; *how; how++)
        for (int round = 0; round < 3; round++) {
            pthread_t id;
            has_registered = false;
            CHECK(pthread_create(&id, NULL, thread, (void *)how) == 0);
            if (*how != 'd')
                pthread_join(id, NULL);
            // Nobody can join a detached thread.
            while (!has_registered || (*how == 'd' && elfin_code_count()))
                sched_yield();
            CHECK(elfin_code_count() == 0 && !*jit_name(thread_page + 100));
        }
    munmap(thread_page, 4096);
}

static void plug(void)
{
    void *library = dlopen("./code_registered-plug.so", RTLD_NOW | RTLD_LOCAL);
    CHECK(library);
    jit_find *find = *(jit_find **)dlsym(library, "finder");
    CHECK(*(int *)dlsym(library, "registered") == 0);
    struct elfin_code_info info;
    CHECK(elfin_code_find((void *)find, &info) == 0 && info.handle == library);
    Dl_info named;
    CHECK(dladdr((void *)find, &named) && strstr(named.dli_fname, "code_registered-plug.so"));
    // Called from there, dlsym looks where the library's own calls look.
    CHECK(!dlsym(RTLD_DEFAULT, "only_here"));
    CHECK(find(dlsym, "only_here") == dlsym(library, "only_here"));
    // With its handle as well as with an address.
    char *page = jit_pages(4096);
    struct elfin_code code = jit_code(page + 5, "main's");
    code.owned_by = ELFIN_CODE_OF_OBJECT, code.owner = library;
    CHECK(elfin_code_register(&code, NULL) == 0 && elfin_code_count() == 2);
    char *where = (char *)((struct link_map *)library)->l_ld;
    dlclose(library);
    CHECK(elfin_code_count() == 0 && !*jit_name((void *)find) && !*jit_name(page + 5));
    CHECK(!dladdr(where, &named) && !dladdr((void *)find, &named));
    // Data in its place is not it.
    where -= (uintptr_t)where % 4096;
    void *there = mmap(where, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(there == where);
    struct dl_find_object found;
    CHECK(!dladdr(there, &named) && _dl_find_object(there, &found) == -1 && !*jit_name(there));
    munmap(page, 4096);
}

// Many ranges are no slower to come by than few.
static void many(void)
{
    enum { COUNT = 100000 };
    char *area = jit_pages(COUNT * 16);
    elfin_code_t *ids = (elfin_code_t *)malloc(COUNT * sizeof *ids);
    struct elfin_code code = jit_code(NULL, "one of many");
    code.size = 13;
    bool good = true;
    for (long i = 0; i < COUNT; i++) {
        code.start = area + i * 7919 % COUNT * 16 + 1;
        good &= elfin_code_register(&code, &ids[i]) == 0;
    }
    struct elfin_code_info info;
    for (long i = 0; i < COUNT; i++)
        good &= elfin_code_find(area + i * 16, &info) == ENOENT && elfin_code_find(area + i * 16 + 13, &info) == 0;
    CHECK(good && elfin_code_count() == COUNT);
    for (long i = 0; i < COUNT; i++)
        good &= elfin_code_unregister(ids[COUNT - 1 - i]) == 0;
    CHECK(good && elfin_code_count() == 0);
    free(ids);
    munmap(area, COUNT * 16);
}

int main(void)
{
    errors();
    extent();
    objects();
    unwinding();
    libgcc();
    threads();
    plug();
    many();
    return FINISH();
}
#endif
#endif
