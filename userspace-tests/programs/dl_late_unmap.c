// An object that is closed while another thread is in a callback of dl_iterate_phdr stays mapped, and readable for that
// thread, no longer than the iteration lasts: nobody has to call the dynamic linker again. The argument is the number of
// rounds.
// hosted: too
// soak: 1000
// shared: dl_late_unmap-plug.so -DPLUG
#ifdef PLUG
char content[1 << 16] = "content";
#else
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static sem_t inside, closed;

// Says whether the object is mapped, without the dynamic linker's help.
static int is_mapped(void)
{
    static char text[1 << 16];
    size_t length = 0;
    int maps = open("/proc/self/maps", O_RDONLY);
    for (ssize_t got; (got = read(maps, text + length, sizeof text - 1 - length)) > 0;)
        length += got;
    close(maps);
    text[length] = 0;
    return strstr(text, "dl_late_unmap-plug.so") != 0;
}

static int visit(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size, (void)data;
    if (!strstr(info->dlpi_name, "dl_late_unmap-plug.so"))
        return 0;
    sem_post(&inside);
    // ld.so makes dlclose wait for the end of the iteration.
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 20000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (sem_timedwait(&closed, &until) != 0 && errno == EINTR)
        ;
    CHECK(is_mapped());
    volatile ElfW(Word) type = info->dlpi_phdr[0].p_type;
    CHECK(type == PT_LOAD);
    return 1;
}

static void *iterate(void *unused)
{
    CHECK(dl_iterate_phdr(visit, 0) == 1);
    return unused;
}

static void *close_it(void *plug)
{
    CHECK(dlclose(plug) == 0);
    sem_post(&closed);
    return 0;
}

int main(int argc, char **argv)
{
    sem_init(&inside, 0, 0);
    for (int round = argc > 1 ? atoi(argv[1]) : 10; round; round--) {
        pthread_t iterating, closing;
        void *plug = dlopen("./dl_late_unmap-plug.so", RTLD_NOW);
        CHECK(plug && is_mapped());
        sem_init(&closed, 0, 0);
        pthread_create(&iterating, 0, iterate, 0);
        sem_wait(&inside);
        pthread_create(&closing, 0, close_it, plug);
        pthread_join(iterating, 0);
        pthread_join(closing, 0);
        CHECK(!is_mapped());
    }
    return FINISH();
}
#endif
