// After many rounds everything on record is what it was: threads that register code, call through it and end in every
// way; libraries that are opened, register code, and are closed; and the memory in use.
// A second argument is the number of rounds. Each is four threads, or one library.
// shared: libelfin.so.1 -DLIBELFIN -Wl,-soname,libelfin.so.1
// shared: code_rounds-plug.so -DPLUG libelfin.so.1
// link: libelfin.so.1
// args: threads
// args: libraries
// args: both
// soak: threads 25000
// soak: libraries 100000
// soak: both 2000
#ifdef LIBELFIN
#include "../../include/libelfin.c"
#else
#include <dirent.h>
#include <dlfcn.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "jit.h"

#ifdef PLUG
static char *page;
static __thread int used[500];
int use(void) { return ++used[0]; }
__attribute__((constructor)) static void start(void)
{
    page = jit_pages(4096);
    struct elfin_code code = jit_code(page + 9, "library's");
    code.owned_by = ELFIN_CODE_OF_OBJECT, code.owner = &page;
    CHECK(elfin_code_register(&code, NULL) == 0);
}
__attribute__((destructor)) static void stop(void) { munmap(page, 4096); }
#else

enum { ROUNDS = 1500, WARM = 200, AT_ONCE = 3 };

static char *page;
static jit_call *call;
static void *library;
static pthread_barrier_t all;

static int add(int value) { return value + 1; }

// Ends in three ways, by number.
static void *thread(void *data)
{
    long number = (long)data;
    struct elfin_code code = jit_code(page + 100 + number * JIT_SIZE, "thread's");
    code.owned_by = ELFIN_CODE_OF_THREAD;
    CHECK(elfin_code_register(&code, NULL) == 0);
    CHECK(call(add, 1) == 3);
    // As many as there ever are: libc keeps stacks of threads that have ended.
    pthread_barrier_wait(&all);
    if (library)
        CHECK(((int (*)(void))dlsym(library, "use"))() == 1);
    if (number == 0)
        pthread_exit(data);
    if (number == 1)
        pthread_cancel(pthread_self());
    pthread_testcancel();
    return data;
}

static volatile pid_t detached_id;

static void *detached(void *data)
{
    detached_id = gettid();
    pthread_detach(pthread_self());
    return thread(data);
}

static void threads_round(void)
{
    pthread_t ids[AT_ONCE + 1];
    detached_id = 0;
    CHECK(pthread_create(&ids[AT_ONCE], NULL, detached, (void *)AT_ONCE) == 0);
    for (long i = 0; i < AT_ONCE; i++)
        CHECK(pthread_create(&ids[i], NULL, thread, (void *)i) == 0);
    for (long i = 0; i < AT_ONCE; i++)
        pthread_join(ids[i], NULL);
    while (!detached_id || !tgkill(getpid(), detached_id, 0))
        sched_yield();
    CHECK(elfin_code_count() == (library != NULL));
}

static void libraries_round(void)
{
    void *opened = dlopen("./code_rounds-plug.so", RTLD_NOW);
    CHECK(opened && ((int (*)(void))dlsym(opened, "use"))() >= 1);
    CHECK(dlclose(opened) == 0 && elfin_code_count() == (library != NULL));
    CHECK(!dlopen("./absent.so", RTLD_NOW) && dlerror());
}

struct measure { long mappings, executable, pages, resident, taken, threads, heap, objects, loaded, codes; };

static int object(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    struct measure *now = data;
    now->objects++;
    now->loaded = info->dlpi_adds - info->dlpi_subs;
    return 0;
}

static struct measure measure(void)
{
    struct measure now = {0};
    char line[512], may[8];
    FILE *file = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, file)) {
        now.mappings++;
        now.executable += sscanf(line, "%*s %7s", may) == 1 && may[2] == 'x';
    }
    fclose(file);
    file = fopen("/proc/self/statm", "r");
    CHECK(fscanf(file, "%ld %ld", &now.pages, &now.resident) == 2);
    fclose(file);
    DIR *tasks = opendir("/proc/self/task");
    while (readdir(tasks))
        now.threads++;
    closedir(tasks);
    dl_iterate_phdr(object, &now);
    now.heap = mallinfo2().uordblks;
    now.codes = elfin_code_count();
    // All of a guest's memory is this program's and the kernel's.
    struct utsname name;
    struct sysinfo system;
    if (!uname(&name) && strstr(name.release, "elfin") && !sysinfo(&system))
        now.taken = (system.totalram - system.freeram) * system.mem_unit / 4096;
    return now;
}

static void play(char what, long rounds)
{
    while (rounds--) {
        if (what != 'l')
            threads_round();
        if (what != 't')
            libraries_round();
    }
}

int main(int count, char **arguments)
{
    char what = arguments[1][0];
    // Which of several heaps threads get is a matter of chance.
    mallopt(M_ARENA_MAX, 1);
    pthread_barrier_init(&all, NULL, AT_ONCE + 1);
    page = jit_pages(4096);
    call = (jit_call *)jit_make(page + 1, jit_call_bytes);
    if (what == 'b')
        library = dlopen("./code_rounds-plug.so", RTLD_NOW);
    play(what, WARM);
    // Measuring takes some itself.
    measure();
    struct measure before = measure();
    play(what, count > 2 ? atol(arguments[2]) : ROUNDS);
    struct measure after = measure();
#define WITHIN(slack, member)                                                                       \
    (labs(after.member - before.member) <= slack ||                                                    \
     (printf("%s: %ld, now %ld\n", #member, before.member, after.member), 0))
    CHECK(WITHIN(0, mappings) & WITHIN(0, executable) & WITHIN(0, pages) & WITHIN(0, heap));
    CHECK(WITHIN(0, threads) & WITHIN(0, objects) & WITHIN(0, loaded) & WITHIN(0, codes));
    // Linux maps up to 16 pages of a file at once, when it likes. A thread that has ended has its kernel stack, which is
    // kept for others, until another thread runs on its CPU: there may have been one more on each than before.
    long stacks = what == 'l' ? 0 : 17 * sysconf(_SC_NPROCESSORS_ONLN);
    CHECK(WITHIN(24, resident) & WITHIN(24 + stacks, taken));
    return FINISH();
}
#endif
#endif
