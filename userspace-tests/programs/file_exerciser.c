// Random operations on one file against a copy of it in memory (what file-system developers know as fsx), in a directory that is
// given, else in /tmp: `file_exerciser [DIR [OPERATIONS [SEED]]]`. Operations that the file system says it does not have are
// left out. `qemu/tests/volumes.rs` runs it on directories of the host and on volumes.
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "check.h"

enum { LARGEST = 400000, LOG = 40 };

static unsigned char model[LARGEST], buffer[LARGEST];
static long size;
static int fd;
static unsigned long seed = 1, number;
static char history[LOG][100];

static unsigned long any(unsigned long below)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return below ? (seed >> 11) % below : 0;
}

#define DID(...) snprintf(history[number % LOG], sizeof history[0], __VA_ARGS__)

static void wrong(const char *what)
{
    printf("operation %lu: %s (%s)\n", number, what, strerror(errno));
    for (unsigned long i = number > LOG ? number - LOG + 1 : 1; i <= number; i++)
        printf("%lu %s\n", i, history[i % LOG]);
    exit(1);
}

static void same(const unsigned char *bytes, long at, long len, const char *what)
{
    for (long i = 0; i < len; i++)
        if (bytes[i] != model[at + i]) {
            long n = i;
            while (n < len && bytes[n] != model[at + n]) n++;
            printf("bytes %ld..%ld differ: %02x is not %02x\n", at + i, at + n, bytes[i], model[at + i]);
            wrong(what);
        }
}

// Somewhere in the file or shortly behind it, often at the border of a page.
static long place(long most)
{
    long at = any(most + 1);
    if (any(3) == 0) at &= ~4095L;
    return at;
}

static long length(long at)
{
    long len = 1 + any(any(4) ? 9000 : 70000);
    if (any(3) == 0) len = (len + 4095) & ~4095L;
    return at + len > LARGEST ? LARGEST - at : len;
}

static void grown(long end)
{
    if (end > size) {
        memset(model + size, 0, end - size);
        size = end;
    }
}

static void fill(unsigned char *bytes, long len)
{
    unsigned char start = any(256), step = 1 + any(5);
    for (long i = 0; i < len; i++, start += step) bytes[i] = start ? start : 0xee;
}

static void reads(void)
{
    long at = place(size), len = length(at), want = at >= size ? 0 : at + len > size ? size - at : len;
    DID("read %ld+%ld", at, len);
    if (pread(fd, buffer, len, at) != want) wrong("read a wrong length");
    same(buffer, at, want, "read");
}

static void writes(void)
{
    long at = place(size < LARGEST - 70000 ? size + 5000 : size), len = length(at);
    if (len <= 0) return;
    fill(buffer, len);
    DID("write %ld+%ld", at, len);
    struct iovec parts[2] = {{buffer, len / 3}, {buffer + len / 3, len - len / 3}};
    long got = any(2) ? pwrite(fd, buffer, len, at) : pwritev2(fd, parts, 2, at, any(8) ? 0 : RWF_DSYNC);
    if (got != len) wrong("write");
    grown(at + len);
    memcpy(model + at, buffer, len);
}

static void appends(void)
{
    long len = length(size);
    if (len <= 0) return;
    fill(buffer, len);
    DID("append %ld", len);
    if (fcntl(fd, F_SETFL, O_APPEND)) wrong("O_APPEND");
    if (write(fd, buffer, len) != len) wrong("append");
    if (lseek(fd, 0, SEEK_CUR) != size + len) wrong("position after append");
    if (fcntl(fd, F_SETFL, 0)) wrong("O_APPEND");
    long at = size;
    grown(at + len);
    memcpy(model + at, buffer, len);
}

static void maps(int change)
{
    if (size == 0) return;
    long at = any(size), len = length(at);
    if (at + len > size) len = size - at;
    long start = at & ~4095L, within = at - start;
    DID("%s by mapping %ld+%ld", change ? "write" : "read", at, len);
    unsigned char *map = mmap(0, within + len, change ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, start);
    if (map == MAP_FAILED) wrong("mmap");
    same(map + within, at, len, "mapping");
    // What lies behind the end of the file in its last page are zeros.
    long end = (size + 4095) & ~4095L;
    if (at + len == size)
        for (long i = size; i < end; i++)
            if (map[i - start] != 0) wrong("not zero behind the end");
    if (change) {
        fill(buffer, len);
        memcpy(map + within, buffer, len);
        memcpy(model + at, buffer, len);
        if (any(4) == 0 && msync(map, within + len, MS_SYNC)) wrong("msync");
    }
    if (munmap(map, within + len)) wrong("munmap");
}

static void truncates(void)
{
    long to = any(3) ? (long)any(size + 1) : place(LARGEST);
    DID("truncate %ld", to);
    if (ftruncate(fd, to)) wrong("truncate");
    if (to < size) memset(model + to, 0, size - to);
    grown(to);
    size = to;
}

static int allocates(int mode, long at, long len)
{
    if (fallocate(fd, mode, at, len) == 0) return 1;
    if (errno != EOPNOTSUPP) wrong("fallocate");
    return 0;
}

static void reserves(void)
{
    long at = place(size), len = length(at);
    int keep = any(2) ? FALLOC_FL_KEEP_SIZE : 0;
    if (len <= 0) return;
    DID("allocate %ld+%ld%s", at, len, keep ? " keep" : "");
    if (allocates(keep, at, len) && !keep) grown(at + len);
}

static void zeroes(int mode)
{
    long at = place(size), len = length(at), end = at + len;
    int keep = mode == FALLOC_FL_PUNCH_HOLE || any(2) ? FALLOC_FL_KEEP_SIZE : 0;
    if (len <= 0) return;
    DID("%s %ld+%ld%s", mode == FALLOC_FL_PUNCH_HOLE ? "punch" : "zero", at, len, keep ? " keep" : "");
    if (!allocates(mode | keep, at, len)) return;
    if (!keep) grown(end);
    if (end > size) end = size;
    if (at < end) memset(model + at, 0, end - at);
}

static void shifts(int mode)
{
    long at = any(size + 1) & ~4095L, len = (1 + any(8)) * 4096;
    int collapse = mode == FALLOC_FL_COLLAPSE_RANGE;
    if (collapse ? at + len >= size : at >= size || size + len > LARGEST) return;
    DID("%s %ld+%ld", collapse ? "collapse" : "insert", at, len);
    if (!allocates(mode, at, len)) return;
    if (collapse) {
        memmove(model + at, model + at + len, size - at - len);
        size -= len;
    } else {
        memmove(model + at + len, model + at, size - at);
        memset(model + at, 0, len);
        size += len;
    }
}

static void copies(void)
{
    long from = place(size), len = length(from), to = place(size);
    if (from + len > size) len = size - from;
    if (to + len > LARGEST) len = LARGEST - to;
    if (len <= 0 || (from < to + len && to < from + len)) return;
    DID("copy %ld+%ld to %ld", from, len, to);
    off_t a = from, b = to;
    long done = copy_file_range(fd, &a, fd, &b, len, 0);
    if (done != len || a != from + len || b != to + len) wrong("copy_file_range");
    memcpy(buffer, model + from, len);
    grown(to + len);
    memcpy(model + to, buffer, len);
}

static void seeks(void)
{
    // Whatever is not data reads as zeros.
    long at = any(size + 1);
    DID("seek hole from %ld", at);
    if (at == size) {
        if (lseek(fd, at, SEEK_HOLE) != -1 || errno != ENXIO) wrong("SEEK_HOLE at the end");
        return;
    }
    long hole = lseek(fd, at, SEEK_HOLE);
    if (hole < at || hole > size) wrong("SEEK_HOLE");
    long data = hole < size ? lseek(fd, hole, SEEK_DATA) : size;
    if (data < 0 && errno != ENXIO) wrong("SEEK_DATA");
    for (long i = hole; i < (data < 0 ? size : data); i++)
        if (model[i]) wrong("data in a hole");
}

static void synchronises(void)
{
    DID("synchronise");
    if (any(2) ? fsync(fd) : fdatasync(fd)) wrong("fsync");
}

static void reopens(void)
{
    DID("open anew");
    if (close(fd) || (fd = open("exercised", O_RDWR)) < 0) wrong("close, open");
}

static void checks(void)
{
    struct stat of;
    if (fstat(fd, &of) || of.st_size != size) wrong("size");
    if (pread(fd, buffer, LARGEST, 0) != size) wrong("length of all");
    same(buffer, 0, size, "all");
}

int main(int count, char **arguments)
{
    long operations = count > 2 ? atol(arguments[2]) : 3000;
    seed = 88172645463325252UL + (count > 3 ? atol(arguments[3]) : 1) * 0x9e3779b97f4a7c15UL;
    CHECK(chdir(count > 1 ? arguments[1] : "/tmp") == 0);
    fd = open("exercised", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    for (number = 1; number <= (unsigned long)operations; number++) {
        switch (any(22)) {
        case 0 ... 3: reads(); break;
        case 4 ... 7: writes(); break;
        case 8: appends(); break;
        case 9: maps(0); break;
        case 10 ... 11: maps(1); break;
        case 12 ... 13: truncates(); break;
        case 14: reserves(); break;
        case 15: zeroes(FALLOC_FL_PUNCH_HOLE); break;
        case 16: zeroes(FALLOC_FL_ZERO_RANGE); break;
        case 17: copies(); break;
        case 18: seeks(); break;
        case 20: shifts(FALLOC_FL_COLLAPSE_RANGE); break;
        case 21: shifts(FALLOC_FL_INSERT_RANGE); break;
        case 19: any(4) ? any(4) ? checks() : reopens() : synchronises(); break;
        }
    }
    checks();
    CHECK(close(fd) == 0);
    CHECK(unlink("exercised") == 0);
    return FINISH();
}
