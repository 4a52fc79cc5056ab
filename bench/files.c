// What files cost: each line is one kind of work on the directory that is the argument, done between two marks, which
// bench/count.c notices. Prints its number, how often it was done, the nanoseconds it took, and its name.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MARK(number) __asm__ volatile("nopl 0x5e1f0000+%c0(%%rax)" : : "i"(number) : "memory")
enum { MIB = 1 << 20, SIZE = 16 * MIB, SMALL = 4096, LARGE = 256 << 10, FILES = 300, SYNCS = 50, PLACES = 2000 };

static char buffer[LARGE];
static unsigned seed = 1;

static void check(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

static unsigned place(void)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 8) % (SIZE / SMALL);
}

static void sequential(int fd, int size, int writes)
{
    for (int at = 0; at < SIZE; at += size) {
        ssize_t done = writes ? pwrite(fd, buffer, size, at) : pread(fd, buffer, size, at);
        check(done == size, writes ? "write" : "read");
    }
}

static void scattered(int fd, int writes)
{
    for (int i = 0; i < PLACES; i++) {
        off_t at = (off_t)place() * SMALL;
        ssize_t done = writes ? pwrite(fd, buffer, SMALL, at) : pread(fd, buffer, SMALL, at);
        check(done == SMALL, writes ? "write" : "read");
    }
}

// What was read goes, so that it has to be read again.
static void forget(int fd)
{
    check(fsync(fd) == 0, "fsync");
    check(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0, "fadvise");
}

static void small_files(int makes)
{
    for (int i = 0; i < FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "small-%d", i);
        if (makes) {
            int fd = open(name, O_CREAT | O_WRONLY, 0644);
            check(fd >= 0 && write(fd, buffer, 1000) == 1000 && close(fd) == 0, "small file");
        } else {
            check(unlink(name) == 0, "unlink");
        }
    }
}

static void appends(int fd)
{
    for (int i = 0; i < SYNCS; i++)
        check(write(fd, buffer, 100) == 100 && fdatasync(fd) == 0, "append");
}

static void mapped(int fd)
{
    volatile char *map = mmap(0, SIZE, PROT_READ, MAP_SHARED, fd, 0);
    check(map != MAP_FAILED, "mmap");
    for (int at = 0; at < SIZE; at += SMALL)
        (void)map[at];
    munmap((void *)map, SIZE);
}

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

#define MEASURE(number, times, name, ...)                                        \
    do {                                                                         \
        long long before = now();                                                \
        MARK(2 * number);                                                        \
        __VA_ARGS__;                                                             \
        MARK(2 * number + 1);                                                    \
        printf("%d %d %lld %s\n", number, times, now() - before, name);          \
        fflush(stdout);                                                          \
    } while (0)

int main(int count, char **arguments)
{
    check(count == 2 && chdir(arguments[1]) == 0, "usage: files DIRECTORY");
    memset(buffer, 'x', sizeof buffer);
    int fd = open("large", O_CREAT | O_RDWR | O_TRUNC, 0644);
    check(fd >= 0, "open");
    MEASURE(0, SIZE / MIB, "write new, 4 KiB each, fsync: MiB", {
        sequential(fd, SMALL, 1);
        check(fsync(fd) == 0, "fsync");
    });
    MEASURE(1, SIZE / MIB, "overwrite, 256 KiB each, fsync: MiB", {
        sequential(fd, LARGE, 1);
        check(fsync(fd) == 0, "fsync");
    });
    forget(fd);
    MEASURE(2, SIZE / MIB, "read, 4 KiB each: MiB", sequential(fd, SMALL, 0));
    forget(fd);
    MEASURE(3, SIZE / MIB, "read, 256 KiB each: MiB", sequential(fd, LARGE, 0));
    MEASURE(4, SIZE / MIB, "read what is in memory, 256 KiB each: MiB", sequential(fd, LARGE, 0));
    forget(fd);
    MEASURE(5, SIZE / MIB, "read by mmap: MiB", mapped(fd));
    MEASURE(6, PLACES, "overwrite 4 KiB anywhere", scattered(fd, 1));
    MEASURE(7, 1, "and fsync", check(fsync(fd) == 0, "fsync"));
    forget(fd);
    MEASURE(8, PLACES, "read 4 KiB anywhere", scattered(fd, 0));
    MEASURE(9, FILES, "make a file of 1,000 bytes", small_files(1));
    MEASURE(10, 1, "and sync", sync());
    MEASURE(11, FILES, "remove it", small_files(0));
    int log = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644);
    check(log >= 0, "open");
    MEASURE(12, SYNCS, "append 100 bytes, fdatasync", appends(log));
    return 0;
}
