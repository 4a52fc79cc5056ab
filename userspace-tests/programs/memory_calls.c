// mmap, mremap, madvise, msync, mincore, mlock: each flag and advice does what it does on Linux, or fails as there;
// what there can be no memory for is refused.
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include "check.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 8
#endif
enum { PAGE = 4096, RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS };

static const char *outcome(void *at, size_t len)
{
    if (at == MAP_FAILED)
        return strerrorname_np(errno);
    munmap(at, len);
    return "done";
}

static const char *status(int result)
{
    return result == -1 ? strerrorname_np(errno) : "done";
}

// What is accepted and what not.
static void flags(int fd, int reader)
{
    static const struct { const char *name; int flags; } rows[] = {
        {"none", 0}, {"type 0", MAP_ANONYMOUS}, {"type 4", 4}, {"SHARED_VALIDATE", MAP_SHARED_VALIDATE},
        {"SYNC", MAP_SHARED_VALIDATE | MAP_SYNC}, {"SYNC shared", MAP_SHARED | MAP_SYNC},
        {"unknown", MAP_SHARED_VALIDATE | 0x400000}, {"unknown shared", MAP_SHARED | 0x400000},
        {"unknown private", MAP_PRIVATE | 0x400000}, {"GROWSDOWN", MAP_PRIVATE | MAP_GROWSDOWN},
        {"GROWSDOWN shared", MAP_SHARED | MAP_GROWSDOWN}, {"NORESERVE", MAP_PRIVATE | MAP_NORESERVE},
        {"STACK", MAP_PRIVATE | MAP_STACK}, {"LOCKED", MAP_PRIVATE | MAP_LOCKED},
        {"POPULATE", MAP_PRIVATE | MAP_POPULATE}, {"NONBLOCK", MAP_PRIVATE | MAP_POPULATE | MAP_NONBLOCK},
        {"DENYWRITE", MAP_PRIVATE | MAP_DENYWRITE}, {"32BIT", MAP_PRIVATE | MAP_32BIT},
    };
    for (unsigned row = 0; row < sizeof rows / sizeof *rows; row++) {
        int flags = rows[row].flags;
        printf("%s: %s", rows[row].name, outcome(mmap(0, PAGE, RW, flags, fd, 0), PAGE));
        printf(", reader %s", outcome(mmap(0, PAGE, RW, flags, reader, 0), PAGE));
        printf(", anonymous %s\n", outcome(mmap(0, PAGE, RW, flags | MAP_ANONYMOUS, -1, 0), PAGE));
    }
    printf("offset %s, ", outcome(mmap(0, PAGE, RW, ANON, -1, 5), PAGE));
    printf("length %s, ", outcome(mmap(0, 0, RW, ANON, -1, 0), 0));
    printf("descriptor %s, ", outcome(mmap(0, 0, RW, MAP_PRIVATE, -1, 0), PAGE));
    printf("protection %s, ", outcome(mmap(0, PAGE, 0x100, ANON, -1, 0), PAGE));
    char *own = mmap(0, PAGE, RW, ANON, -1, 0);
    printf("mprotect %s %s %s", status(mprotect(own, PAGE, 0x100)), status(mprotect(own, 0, 0x100)),
           status(mprotect(own + 1, 0, RW)));
    printf(" %s %s, ", status(mprotect(own, PAGE, RW | PROT_GROWSUP | PROT_GROWSDOWN)),
           status(mprotect(own, PAGE, RW | PROT_GROWSDOWN)));
    munmap(own, PAGE);
    printf("high %s\n", outcome(mmap((void *)-PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0), PAGE));
}

static void low(void)
{
    int count = 0;
    static char *at[900];
    for (int index = 0; index < 900; index++) {
        at[index] = mmap(0, 1 << 20, RW, ANON | MAP_32BIT, -1, 0);
        count += at[index] != MAP_FAILED && (uintptr_t)at[index] + (1 << 20) <= 0x80000000;
    }
    CHECK(count == 900);
    CHECK(mmap(0, 1 << 30, RW, ANON | MAP_32BIT | MAP_NORESERVE, -1, 0) == MAP_FAILED && errno == ENOMEM);
    for (int index = 0; index < 900; index++)
        munmap(at[index], 1 << 20);
    char *hint = (char *)0x20000000, *high = (char *)0x700000000000;
    CHECK(mmap(hint, PAGE, RW, ANON | MAP_32BIT, -1, 0) == hint);
    CHECK((uintptr_t)mmap(high, PAGE, RW, ANON | MAP_32BIT, -1, 0) < 0x80000000);
    CHECK(mmap(high, PAGE, RW, ANON | MAP_32BIT | MAP_FIXED, -1, 0) == high);
    CHECK(munmap(hint, PAGE) == 0 && munmap(high, PAGE) == 0);
}

// More than all memory at once is refused, where it would be needed.
static void too_much(void)
{
    struct sysinfo info;
    sysinfo(&info);
    size_t all = (info.totalram + info.totalswap) * info.mem_unit, more = (all | 0xfffff) + (1ull << 34);
    CHECK(mmap(0, more, RW, ANON, -1, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(mmap(0, more, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
    char *reserved = mmap(0, more, RW, ANON | MAP_NORESERVE, -1, 0);
    CHECK(reserved != MAP_FAILED && mprotect(reserved, more, PROT_READ) == 0 && mprotect(reserved, more, RW) == 0);
    CHECK(munmap(reserved, more) == 0);
    reserved = mmap(0, more, PROT_NONE, ANON, -1, 0);
    CHECK(reserved != MAP_FAILED && mprotect(reserved, more, RW) == -1 && errno == ENOMEM);
    CHECK(mprotect(reserved, 1 << 20, RW) == 0 && (reserved[5] = 1) && munmap(reserved, more) == 0);
    char *one = mmap(0, PAGE, RW, ANON, -1, 0);
    CHECK(mremap(one, PAGE, more, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM && munmap(one, PAGE) == 0);
}

static void data_limit(void)
{
    struct rlimit limit, before;
    CHECK(getrlimit(RLIMIT_DATA, &before) == 0);
    limit = before;
    limit.rlim_cur = 1 << 20;
    CHECK(setrlimit(RLIMIT_DATA, &limit) == 0);
    CHECK(mmap(0, 1 << 20, RW, ANON, -1, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(sbrk(1 << 20) == (void *)-1 && errno == ENOMEM);
    char *at = mmap(0, 1 << 20, PROT_READ, ANON, -1, 0);
    char *shared = mmap(0, 1 << 20, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED && shared != MAP_FAILED);
    CHECK(mprotect(at, 1 << 20, RW) == -1 && errno == ENOMEM);
    CHECK(setrlimit(RLIMIT_DATA, &before) == 0 && mprotect(at, 1 << 20, RW) == 0);
    CHECK(munmap(at, 1 << 20) == 0 && munmap(shared, 1 << 20) == 0);
}

static void remap(int fd)
{
    char *at = mmap(0, 2 * PAGE, RW, MAP_SHARED, fd, 0);
    strcpy(at + PAGE, "second");
    char *again = mremap(at + PAGE, 0, PAGE, MREMAP_MAYMOVE);
    CHECK(again != MAP_FAILED && strcmp(again, "second") == 0);
    strcpy(again, "both");
    CHECK(strcmp(at + PAGE, "both") == 0 && munmap(again, PAGE) == 0);
    CHECK(mremap(at, 0, PAGE, 0) == MAP_FAILED && errno == ENOMEM);
    char *own = mmap(0, 2 * PAGE, RW, ANON, -1, 0);
    CHECK(mremap(own, 0, PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EINVAL);
    strcpy(own, "moved");
    char *moved = mremap(own, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
    CHECK(moved != MAP_FAILED && moved != own && strcmp(moved, "moved") == 0 && own[0] == 0);
    strcpy(own, "new");
    CHECK(strcmp(moved, "moved") == 0);
    char *place = mmap(0, PAGE, RW, ANON, -1, 0);
    CHECK(mremap(own, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED, place) == place);
    CHECK(strcmp(place, "new") == 0 && own[0] == 0 && munmap(place, PAGE) == 0);
    CHECK(mremap(own, 2 * PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP) == MAP_FAILED && errno == EINVAL);
    CHECK(mremap(own, PAGE, PAGE, MREMAP_DONTUNMAP) == MAP_FAILED && errno == EINVAL);
    CHECK(mremap(own, PAGE, PAGE, 8) == MAP_FAILED && errno == EINVAL);
    CHECK(mremap(own, PAGE, 0, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(munmap(own, 2 * PAGE) == 0 && munmap(moved, 2 * PAGE) == 0 && munmap(at, 2 * PAGE) == 0);
}

static void advice(int fd)
{
    // Whether there are huge pages or merged ones (12 to 15) is a matter of configuration.
    static const int all[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23, 26, 99, -1};
    char *own = mmap(0, 4 * PAGE, RW, ANON, -1, 0), *shared = mmap(0, 2 * PAGE, RW, MAP_SHARED, fd, 0);
    char *copy = mmap(0, 2 * PAGE, RW, MAP_PRIVATE, fd, 0), *read = mmap(0, PAGE, PROT_READ, ANON, -1, 0);
    char *anonymous = mmap(0, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *none = mmap(0, PAGE, PROT_NONE, ANON, -1, 0);
    CHECK(munmap(own + 2 * PAGE, PAGE) == 0);
    for (unsigned index = 0; index < sizeof all / sizeof *all; index++) {
        int advice = all[index];
        printf("advice %d: %s %s %s", advice, status(madvise(own, PAGE, advice)), status(madvise(shared, PAGE, advice)),
               status(madvise(copy, PAGE, advice)));
        printf(" %s %s %s", status(madvise(read, PAGE, advice)), status(madvise(anonymous, PAGE, advice)),
               status(madvise(none, PAGE, advice)));
        printf(", hole %s, odd %s", status(madvise(own, 4 * PAGE, advice)), status(madvise(own + 1, 5, advice)));
        printf(", nothing %s", status(madvise(own, 0, advice)));
        printf(", round %s\n", status(madvise(own, -5, advice)));
    }
    strcpy(shared + PAGE, "there");
    CHECK(madvise(shared + PAGE, PAGE, MADV_REMOVE) == 0 && shared[PAGE] == 0);
    char byte = 7;
    CHECK(pread(fd, &byte, 1, PAGE) == 1 && byte == 0);
    strcpy(anonymous, "there");
    CHECK(madvise(anonymous, PAGE, MADV_REMOVE) == 0 && anonymous[0] == 0);
    munmap(own, 4 * PAGE), munmap(shared, 2 * PAGE), munmap(copy, 2 * PAGE), munmap(read, PAGE);
    munmap(anonymous, PAGE), munmap(none, PAGE);
}

static void presence(int fd)
{
    unsigned char there[4] = {9, 9, 9, 9};
    char *own = mmap(0, 4 * PAGE, RW, ANON, -1, 0), *shared = mmap(0, 2 * PAGE, RW, MAP_SHARED, fd, 0);
    own[PAGE] = 1;
    CHECK(madvise(own + 3 * PAGE, PAGE, MADV_POPULATE_WRITE) == 0);
    CHECK(mincore(own, 4 * PAGE, there) == 0);
    printf("mincore %d %d %d %d\n", there[0] & 1, there[1] & 1, there[2] & 1, there[3] & 1);
    CHECK(madvise(shared, 2 * PAGE, MADV_REMOVE) == 0 && pwrite(fd, "x", 1, PAGE) == 1);
    CHECK(mincore(shared, 2 * PAGE, there) == 0);
    printf("mincore %d %d\n", there[0] & 1, there[1] & 1);
    printf("%s %s %s %s\n", status(mincore(own + 1, PAGE, there)), status(mincore(own, PAGE, (void *)8)),
           status(mincore((void *)-PAGE, 2 * PAGE, there)), status(mincore(own, 0, there)));
    CHECK(munmap(own + PAGE, PAGE) == 0);
    printf("%s\n", status(mincore(own, 4 * PAGE, there)));
    for (int flags = 0; flags < 16; flags++)
        printf("msync %d: %s %s\n", flags, status(msync(own, PAGE, flags)), status(msync(own, 2 * PAGE, flags)));
    printf("%s %s\n", status(msync(own + 1, PAGE, MS_SYNC)), status(msync(own, 0, MS_SYNC)));
    for (int flags = 0; flags < 4; flags++)
        printf("mlock2 %d: %s\n", flags, status(mlock2(own, PAGE, flags)));
    for (int flags = 0; flags < 10; flags++)
        printf("mlockall %d: %s\n", flags, flags & MCL_FUTURE ? "-" : status(mlockall(flags)));
    munlockall();
    printf("%s %s\n", status(mlock(own + PAGE, 5)), status(mlock(own + 5, 5)));
    munmap(own, 4 * PAGE), munmap(shared, 2 * PAGE);
}

// get_mempolicy(2): the mode and the first nodes.
static long policy(int flags)
{
    int mode = -1;
    unsigned long nodes[16] = {0};
    long result = syscall(SYS_get_mempolicy, &mode, flags & MPOL_F_NODE ? 0 : nodes, 8 * sizeof nodes, 0, flags);
    return result ? -errno : mode << 8 | (int)nodes[0];
}

static void *policy_of_thread(void *to)
{
    *(long *)to = policy(0);
    // A null pointer is to no nodes, however long.
    CHECK(syscall(SYS_set_mempolicy, MPOL_PREFERRED, 0, 64) == 0 && syscall(SYS_set_mempolicy, MPOL_BIND, 0, 64) == -1);
    syscall(SYS_set_mempolicy, MPOL_DEFAULT, 0, 0);
    return 0;
}

static void policies(void)
{
    unsigned long first = 1;
    long of_thread;
    pthread_t thread;
    printf("%lx %ld\n", policy(0), policy(MPOL_F_NODE));
    CHECK(syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &first, 8) == 0);
    printf("%lx %lx\n", policy(0), policy(MPOL_F_NODE));
    CHECK(pthread_create(&thread, 0, policy_of_thread, &of_thread) == 0 && pthread_join(thread, 0) == 0);
    printf("%lx %lx\n", of_thread, policy(0));
    CHECK(syscall(SYS_set_mempolicy, MPOL_BIND | MPOL_F_STATIC_NODES, &first, 8) == 0);
    printf("%lx %ld\n", policy(0), policy(MPOL_F_NODE));
    CHECK(syscall(SYS_set_mempolicy, MPOL_PREFERRED, 0, 0) == 0);
    printf("%lx\n", policy(0));
    first = 2;
    CHECK(syscall(SYS_set_mempolicy, MPOL_BIND, &first, 8) == -1 && errno == EINVAL);
    printf("%lx\n", policy(0));
    CHECK(syscall(SYS_set_mempolicy, MPOL_DEFAULT, 0, 0) == 0);
    printf("%lx\n", policy(0));
}

int main(void)
{
    char name[64];
    int fd = memfd_create("file", 0);
    CHECK(ftruncate(fd, 2 * PAGE) == 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int reader = open(name, O_RDONLY);
    flags(fd, reader);
    low();
    too_much();
    data_limit();
    remap(fd);
    advice(fd);
    presence(fd);
    policies();
    return FINISH();
}
