// What is written to a volume and not yet on its disk has room there: `fill DIRECTORY` fills the volume in small pieces
// and finds all of it again. `replace DIRECTORY` has files take others' places and says so, for the machine to be
// killed then. `grow DIRECTORY` makes a large file, `shrink DIRECTORY` removes it. `crowd DIRECTORY` fills memory with
// a file of the volume and makes others in memory. `overfill DIRECTORY` writes more than the host has room for.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { FILES = 4, PIECE = 3000, LARGE = 1 << 20 };

#define CHECK(what)                                                                  \
    do {                                                                             \
        if (!(what)) {                                                               \
            printf("line %d: %s: %s\n", __LINE__, #what, strerror(errno));           \
            exit(1);                                                                 \
        }                                                                            \
    } while (0)

static char piece[PIECE], found[PIECE], large[LARGE];

static void make_piece(int file, long number)
{
    for (int i = 0; i < PIECE; i++)
        piece[i] = (char)(file * 31 + number * 7 + i);
}

static unsigned long long blocks_free(void)
{
    struct statvfs of;
    CHECK(statvfs(".", &of) == 0);
    return of.f_bavail;
}

static long fill(void)
{
    int fds[FILES];
    long pieces[FILES] = {0}, last[FILES] = {0}, all = 0;
    for (int i = 0; i < FILES; i++) {
        char name[] = "file-0";
        name[5] += i;
        CHECK((fds[i] = open(name, O_CREAT | O_RDWR | O_TRUNC, 0644)) >= 0);
    }
    for (int i = 0;; i = (i + 1) % FILES) {
        make_piece(i, pieces[i]);
        last[i] = write(fds[i], piece, PIECE);
        if (last[i] != PIECE) {
            CHECK(last[i] >= 0 || errno == ENOSPC);
            break;
        }
        pieces[i]++;
        all++;
    }
    for (int i = 0; i < FILES; i++) {
        CHECK(fsync(fds[i]) == 0);
        CHECK(posix_fadvise(fds[i], 0, 0, POSIX_FADV_DONTNEED) == 0);
    }
    for (int i = 0; i < FILES; i++) {
        for (long number = 0; number < pieces[i]; number++) {
            make_piece(i, number);
            CHECK(pread(fds[i], found, PIECE, number * PIECE) == PIECE);
            CHECK(memcmp(piece, found, PIECE) == 0);
        }
        char name[] = "file-0";
        name[5] += i;
        CHECK(close(fds[i]) == 0 && unlink(name) == 0);
    }
    return all;
}

static void attributes(void)
{
    struct stat before, after;
    int fd = open("attributes", O_CREAT | O_RDWR, 0644);
    CHECK(fd >= 0 && write(fd, large, LARGE) == LARGE && fstat(fd, &before) == 0);
    CHECK(before.st_size == LARGE && before.st_blocks == LARGE / 512);
    CHECK(fsync(fd) == 0 && fstat(fd, &after) == 0);
    CHECK(after.st_size == LARGE && after.st_blocks == LARGE / 512);
    CHECK(after.st_mtim.tv_sec == before.st_mtim.tv_sec && after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
    CHECK(after.st_ctim.tv_sec == before.st_ctim.tv_sec && after.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
    struct timespec times[] = {{1000, 5}, {2000, 7}};
    CHECK(pwrite(fd, "more", 4, 10) == 4 && futimens(fd, times) == 0);
    CHECK(fsync(fd) == 0 && fstat(fd, &after) == 0 && after.st_mtim.tv_sec == 2000);
    CHECK(close(fd) == 0 && unlink("attributes") == 0);
}

static void nobody_misses_it(void)
{
    sync();
    unsigned long long before = blocks_free();
    int fd = open("gone", O_CREAT | O_RDWR, 0644);
    CHECK(fd >= 0 && write(fd, large, LARGE) == LARGE);
    CHECK(blocks_free() <= before - LARGE / 4096);
    CHECK(unlink("gone") == 0 && close(fd) == 0);
    CHECK(blocks_free() == before);
}

// A block that has been written in part, and as a whole later, is read as it was written last, whoever has it meanwhile.
static void over_a_part(void)
{
    int fd = open("over", O_CREAT | O_RDWR, 0644);
    memset(large, 'a', LARGE);
    CHECK(fd >= 0 && pwrite(fd, large, 100, 0) == 100 && fsync(fd) == 0);
    memset(large, 'b', LARGE);
    CHECK(pwrite(fd, large, 4096, 0) == 4096 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    CHECK(pread(fd, found, 200, 0) == 200 && memcmp(found, large, 200) == 0);
    CHECK(close(fd) == 0 && (fd = open("over", O_RDONLY)) >= 0);
    CHECK(pread(fd, found, 200, 0) == 200 && memcmp(found, large, 200) == 0);
    CHECK(close(fd) == 0 && unlink("over") == 0);
}

static void write_all(const char *name, int flags, const char *text)
{
    int fd = open(name, O_CREAT | O_WRONLY | flags, 0644);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

static void crowd(void)
{
    int fd = open("large", O_CREAT | O_RDWR, 0644);
    for (int i = 0; i < 40; i++)
        CHECK(write(fd, large, LARGE) == LARGE);
    CHECK(fsync(fd) == 0);
    char line[100];
    long cached = 0, available = 0;
    FILE *info = fopen("/proc/meminfo", "r");
    while (fgets(line, sizeof line, info)) {
        sscanf(line, "Cached: %ld", &cached);
        sscanf(line, "MemAvailable: %ld", &available);
    }
    CHECK(fclose(info) == 0 && cached > 8 << 10 && available > 8 << 10);
    struct statvfs of;
    CHECK(statvfs("/tmp", &of) == 0 && of.f_bavail > 1 << 10);
    CHECK(mkdir("/tmp/other", 0755) == 0 && chdir("/tmp/other") == 0);
    for (int i = 0; i < 100; i++) {
        snprintf(line, sizeof line, "%d", i);
        int other = open(line, O_CREAT | O_RDWR, 0644);
        CHECK(other >= 0 && write(other, large, 4096) == 4096 && close(other) == 0);
    }
    int reserved = open("reserved", O_CREAT | O_RDWR, 0644);
    CHECK(posix_fallocate(reserved, 0, 4 * LARGE) == 0 && close(reserved) == 0 && close(fd) == 0);
}

static void overfill(void)
{
    memset(large, 'k', LARGE);
    int kept = open("kept", O_CREAT | O_RDWR, 0644);
    CHECK(write(kept, large, LARGE) == LARGE && fsync(kept) == 0);
    int fd = open("large", O_CREAT | O_RDWR, 0644), failed = 0;
    for (int i = 0; i < 40 && !failed; i++)
        failed = write(fd, large, LARGE) != LARGE;
    CHECK(fsync(fd) != 0 && errno == EIO);
    CHECK(posix_fadvise(kept, 0, 0, POSIX_FADV_DONTNEED) == 0);
    CHECK(pread(kept, found, PIECE, LARGE - PIECE) == PIECE && memcmp(found, large, PIECE) == 0);
    CHECK(open("another", O_CREAT | O_RDWR, 0644) < 0 || fsync(kept) != 0);
}

int main(int count, char **arguments)
{
    CHECK(count == 3 && chdir(arguments[2]) == 0);
    if (!strcmp(arguments[1], "fill")) {
        attributes();
        over_a_part();
        nobody_misses_it();
        long first = fill(), second = fill();
        CHECK(second >= first - first / 50);
        puts("passed");
        return 0;
    }
    if (!strcmp(arguments[1], "crowd") || !strcmp(arguments[1], "overfill")) {
        *arguments[1] == 'c' ? crowd() : overfill();
        puts("passed");
        return 0;
    }
    if (!strcmp(arguments[1], "grow") || !strcmp(arguments[1], "shrink")) {
        int grows = *arguments[1] == 'g';
        int fd = open("large", O_CREAT | O_RDWR, 0644);
        memset(large, 'x', LARGE);
        for (int i = 0; i < 16 && grows; i++)
            CHECK(fd >= 0 && write(fd, large, LARGE) == LARGE);
        CHECK(grows || unlink("large") == 0);
        puts("passed");
        return 0;
    }
    write_all("renamed", 0, "old");
    write_all("cut", 0, "old");
    int mapped = open("mapped", O_CREAT | O_RDWR, 0644);
    CHECK(mapped >= 0 && ftruncate(mapped, 8192) == 0);
    sync();
    write_all("new", 0, "new");
    CHECK(rename("new", "renamed") == 0);
    write_all("cut", O_TRUNC, "new");
    // What a mapping has changed, by msync; the rest, as this file's journal is everybody's.
    char *at = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
    CHECK(at != MAP_FAILED);
    strcpy(at + 4096, "new");
    CHECK(msync(at, 8192, MS_SYNC) == 0);
    puts("passed");
    fflush(stdout);
    pause();
}
