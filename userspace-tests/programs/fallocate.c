// Room for files: what fallocate(2) sets aside, punches, zeroes, takes out and puts in, what of it lseek(2) finds and stat(2) counts.
// `fallocate [DIR [all]]`: in a directory that is given, else in /tmp; `all` if its file system has to be able to do everything that
// ext4 is. `qemu/tests/volumes.rs` runs it on volumes.
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "check.h"

enum { PAGE = 4096, PAGES = 64, SIZE = PAGES * PAGE };
#define FAILS(call, error) CHECK((errno = 0, (call)) == -1 && errno == (error))

static int all;
static unsigned char data[SIZE + 8 * PAGE];

static long blocks(int fd)
{
    struct stat of;
    CHECK(fstat(fd, &of) == 0);
    return of.st_blocks;
}

static long size(int fd)
{
    struct stat of;
    CHECK(fstat(fd, &of) == 0);
    return of.st_size;
}

// A file each of whose pages is filled with its number and one.
static int filled(void)
{
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    for (int i = 0; i < PAGES; i++) memset(data + i * PAGE, i + 1, PAGE);
    // Linux gives it blocks when it is written back.
    CHECK(write(fd, data, SIZE) == SIZE && fsync(fd) == 0);
    return fd;
}

// What the byte at an offset is; -1 if that is not in the file.
static int byte(int fd, long at)
{
    unsigned char found;
    return pread(fd, &found, 1, at) == 1 ? found : -1;
}

static int can(int fd, int mode, long at, long len)
{
    if (fallocate(fd, mode, at, len) == 0) return 1;
    CHECK(errno == EOPNOTSUPP && !all);
    return 0;
}

static void set_aside(void)
{
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, SIZE) == 0);
    CHECK(size(fd) == 0 && blocks(fd) >= SIZE / 512);
    CHECK(fallocate(fd, 0, PAGE / 2, SIZE) == 0);
    CHECK(size(fd) == SIZE + PAGE / 2 && byte(fd, SIZE) == 0 && byte(fd, 5) == 0);
    CHECK(pwrite(fd, "x", 1, 3 * PAGE + 5) == 1 && byte(fd, 3 * PAGE + 5) == 'x' && byte(fd, 3 * PAGE + 6) == 0);
    CHECK(fsync(fd) == 0);
    CHECK(ftruncate(fd, 10) == 0 && blocks(fd) < SIZE / 512);
    FAILS(fallocate(fd, 0, -1, 1), EINVAL);
    FAILS(fallocate(fd, 0, 0, 0), EINVAL);
    FAILS(fallocate(fd, 0, 1L << 62, 1L << 62), EFBIG);
    FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 1), EOPNOTSUPP);
    FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE, 0, 1), EOPNOTSUPP);
    FAILS(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_KEEP_SIZE, 0, PAGE), EOPNOTSUPP);
    FAILS(fallocate(fd, FALLOC_FL_INSERT_RANGE | FALLOC_FL_ZERO_RANGE, 0, PAGE), EOPNOTSUPP);
    FAILS(fallocate(fd, 0x800, 0, PAGE), EOPNOTSUPP);
    close(fd);
    fd = open("file", O_RDONLY);
    FAILS(fallocate(fd, 0, 0, PAGE), EBADF);
    close(fd);
}

static void punched(void)
{
    int fd = filled();
    long before = blocks(fd);
    unsigned char *map = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    // Nobody but the mapping knows of this yet.
    map[2 * PAGE + 1] = 200;
    map[12 * PAGE + 1] = 201;
    map[5 * PAGE] = 202;
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PAGE + 10, 10 * PAGE) == 0);
    CHECK(size(fd) == SIZE && blocks(fd) <= before - 9 * PAGE / 512);
    CHECK(lseek(fd, 0, SEEK_HOLE) == 3 * PAGE && lseek(fd, 3 * PAGE, SEEK_DATA) == 12 * PAGE);
    CHECK(lseek(fd, 7 * PAGE, SEEK_HOLE) == 7 * PAGE && lseek(fd, 12 * PAGE, SEEK_HOLE) == SIZE);
    FAILS(lseek(fd, SIZE, SEEK_DATA), ENXIO);
    CHECK(byte(fd, 2 * PAGE) == 3 && byte(fd, 2 * PAGE + 1) == 200 && byte(fd, 2 * PAGE + 9) == 3);
    CHECK(byte(fd, 2 * PAGE + 10) == 0 && byte(fd, 5 * PAGE) == 0 && byte(fd, 12 * PAGE + 9) == 0);
    CHECK(byte(fd, 12 * PAGE + 10) == 13);
    CHECK(map[2 * PAGE + 9] == 3 && map[5 * PAGE] == 0 && map[12 * PAGE + 1] == 0 && map[12 * PAGE + 10] == 13);
    // The mapping still is of the file.
    map[5 * PAGE + 7] = 203;
    CHECK(byte(fd, 5 * PAGE + 7) == 203);
    pwrite(fd, "y", 1, 6 * PAGE);
    CHECK(map[6 * PAGE] == 'y');
    // What lies around may come to be data with them, but no more than that.
    long next = lseek(fd, 0, SEEK_DATA);
    CHECK(next == 0 && lseek(fd, 5 * PAGE, SEEK_DATA) == 5 * PAGE && lseek(fd, 6 * PAGE, SEEK_DATA) == 6 * PAGE);
    // Past the end there is nothing to punch.
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, SIZE - PAGE, 100 * PAGE) == 0 && size(fd) == SIZE);
    CHECK(byte(fd, SIZE - 1) == 0);
    munmap(map, SIZE);
    close(fd);
}

// More holes, and zeroed pages, than a few extents tell of.
static void perforated(void)
{
    int fd = filled();
    for (int i = 1; i < PAGES; i += 3) {
        CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i * PAGE, PAGE) == 0);
        can(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (i + 1) * PAGE, 1);
    }
    for (int i = 0; i < PAGES; i++) CHECK(byte(fd, i * PAGE + 1) == (i % 3 == 1 ? 0 : i + 1));
    CHECK(size(fd) == SIZE);
    close(fd);
}

static void zeroed(void)
{
    int fd = filled();
    if (can(fd, FALLOC_FL_ZERO_RANGE, PAGE + 100, 3 * PAGE)) {
        CHECK(size(fd) == SIZE && byte(fd, PAGE + 99) == 2 && byte(fd, PAGE + 100) == 0 && byte(fd, 3 * PAGE) == 0);
        CHECK(byte(fd, 4 * PAGE + 99) == 0 && byte(fd, 4 * PAGE + 100) == 5 && blocks(fd) >= SIZE / 512);
        CHECK(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, SIZE - PAGE, 2 * PAGE) == 0 && size(fd) == SIZE);
        CHECK(fallocate(fd, FALLOC_FL_ZERO_RANGE, SIZE - PAGE, 2 * PAGE) == 0 && size(fd) == SIZE + PAGE);
    }
    close(fd);
}

static void moved(void)
{
    int fd = filled();
    unsigned char *map = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    map[20 * PAGE + 3] = 210;
    if (can(fd, FALLOC_FL_COLLAPSE_RANGE, 2 * PAGE, 3 * PAGE)) {
        CHECK(size(fd) == SIZE - 3 * PAGE && byte(fd, 2 * PAGE - 1) == 2 && byte(fd, 2 * PAGE) == 6);
        CHECK(byte(fd, 17 * PAGE + 3) == 210 && map[17 * PAGE + 3] == 210 && map[2 * PAGE] == 6);
        FAILS(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 1, PAGE), EINVAL);
        FAILS(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, PAGE, SIZE), EINVAL);
        map[18 * PAGE] = 211;
        CHECK(fallocate(fd, FALLOC_FL_INSERT_RANGE, PAGE, 4 * PAGE) == 0);
        CHECK(size(fd) == SIZE + PAGE && byte(fd, PAGE - 1) == 1 && byte(fd, PAGE) == 0 && byte(fd, 5 * PAGE) == 2);
        CHECK(byte(fd, 22 * PAGE) == 211 && map[6 * PAGE] == 6);
        CHECK(lseek(fd, 0, SEEK_HOLE) == PAGE && lseek(fd, PAGE, SEEK_DATA) == 5 * PAGE);
        FAILS(fallocate(fd, FALLOC_FL_INSERT_RANGE, SIZE + PAGE, PAGE), EINVAL);
        FAILS(fallocate(fd, FALLOC_FL_INSERT_RANGE, 5, PAGE), EINVAL);
    }
    munmap(map, SIZE);
    close(fd);
}

// Files of one block go with all that they have: one written at the beginning, one elsewhere, one set aside at the
// beginning, past the end, and where the file has nothing.
static void gone_with_one_block(void)
{
    for (int kind = 0; kind < 5; kind++) {
        int fd = open("one", O_RDWR | O_CREAT | O_TRUNC, 0644);
        CHECK(ftruncate(fd, kind == 0 ? 100 : 3 * PAGE) == 0);
        if (kind < 2)
            CHECK(pwrite(fd, data, 100, kind * 2 * PAGE) == 100 && fsync(fd) == 0);
        else
            CHECK(fallocate(fd, FALLOC_FL_KEEP_SIZE, (kind - 2) * 2 * PAGE, PAGE) == 0);
        CHECK(close(fd) == 0 && unlink("one") == 0);
    }
}

int main(int count, char **arguments)
{
    CHECK(chdir(count > 1 ? arguments[1] : "/tmp") == 0);
    all = count > 2;
    set_aside();
    punched();
    perforated();
    zeroed();
    moved();
    CHECK(unlink("file") == 0);
    // With room past the end, and nothing else.
    int kept = open("kept", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fallocate(kept, FALLOC_FL_KEEP_SIZE, 0, PAGE) == 0 && close(kept) == 0 && unlink("kept") == 0);
    kept = filled();
    CHECK(fallocate(kept, 0, SIZE, 2 * PAGE) == 0 && close(kept) == 0 && unlink("file") == 0);
    gone_with_one_block();
    int ends[2], directory = open(".", O_RDONLY | O_DIRECTORY);
    CHECK(pipe(ends) == 0);
    FAILS(fallocate(ends[1], 0, 0, 1), ESPIPE);
    FAILS(fallocate(directory, 0, 0, 1), EBADF);
    return FINISH();
}
