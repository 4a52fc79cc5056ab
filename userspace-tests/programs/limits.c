// The limits on descriptors and on the address space hold when they are lowered and when they are raised.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "check.h"

static char *map(void *at, size_t size, int flags)
{
    return mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

// What reserves addresses counts, whether there is memory behind it or not.
static void address_space(void)
{
    enum { SIZE = 1 << 20, COUNT = 64 };
    struct rlimit limit;
    char *first = map(0, SIZE, 0), *at[COUNT];
    long end = syscall(SYS_brk, 0);
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    rlim_t before = limit.rlim_cur;
    // Less than there is already.
    limit.rlim_cur = SIZE;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    CHECK(map(0, 4096, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(mremap(first, SIZE, 2 * SIZE, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
    CHECK(syscall(SYS_brk, end + SIZE) == end);
    // Room for some more: how much is left is what unmapping gives back.
    limit.rlim_cur = 1 << 30;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    char *rest = 0;
    size_t size = 1 << 30;
    while ((rest = map(0, size, MAP_NORESERVE)) == MAP_FAILED)
        size -= SIZE;
    CHECK(map(0, SIZE, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(munmap(rest, 3 * SIZE) == 0);
    int count = 0;
    while (count < COUNT && (at[count] = map(0, SIZE, 0)) != MAP_FAILED)
        count++;
    CHECK(count == 3 && errno == ENOMEM);
    // What replaces a mapping takes nothing more.
    CHECK(map(at[0], SIZE, MAP_FIXED) == at[0]);
    CHECK(mremap(at[0], SIZE, SIZE / 2, 0) == at[0] && mremap(at[0], SIZE / 2, SIZE, MREMAP_MAYMOVE) != MAP_FAILED);
    limit.rlim_cur = before;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0 && map(0, SIZE, 0) != MAP_FAILED);
}

int main(void)
{
    address_space();
    // The host's limits may be others than the guest's.
    struct rlimit limit, now;
    CHECK(close_range(3, ~0U, 0) == 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= limit.rlim_max);
    limit.rlim_cur = 20;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0 && getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur == 20);
    CHECK(sysconf(_SC_OPEN_MAX) == 20);
    int fd, highest = -1;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        highest = fd;
    CHECK(errno == EMFILE && highest == 19);
    CHECK(dup2(0, 20) == -1 && errno == EBADF && dup2(0, 19) == 19);
    CHECK(fcntl(0, F_DUPFD, 20) == -1 && errno == EINVAL);
    int ends[2];
    close(19);
    CHECK(pipe(ends) == -1 && errno == EMFILE && dup(0) == 19);
    limit.rlim_cur = 3000;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int i = 20; i < 3000; i++)
        highest = open("/dev/null", O_RDONLY);
    CHECK(highest == 2999);
    CHECK(open("/dev/null", O_RDONLY) == -1 && errno == EMFILE);
    // Descriptors above a new limit stay open.
    limit.rlim_cur = 100;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0 && fcntl(2999, F_GETFD) == 0 && close(2999) == 0);
    CHECK(prlimit(0, RLIMIT_NOFILE, 0, &now) == 0 && now.rlim_cur == 100);
    limit.rlim_cur = limit.rlim_max + 1;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == -1 && errno == EINVAL);
    // /proc shows what holds.
    limit = (struct rlimit){12345, 54321};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    char line[200];
    int lines = 0, found = 0;
    close(50);
    FILE *limits = fopen("/proc/self/limits", "r");
    while (limits && fgets(line, sizeof line, limits)) {
        lines++;
        found += !strcmp(line, "Max file size             12345                54321                bytes     \n");
        found += !strncmp(line, "Max open files            100                  ", 47);
    }
    CHECK(lines == 17 && found == 2);
    return FINISH();
}
