// Reads of files whose pages are in memory, which are copied from where they lie: over the ends of pages and of the
// file, into pieces, into memory that is not there, into a mapping of the file itself; and mappings of pages that are
// there.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 40, SIZE = PAGES * PAGE + 100 };

static unsigned char content[SIZE], got[SIZE + PAGE];

static void show(const char *what, ssize_t length, off_t at)
{
    if (length < 0)
        printf("%s: %s\n", what, strerror(errno));
    else
        printf("%s: %zd bytes, %s\n", what, length, memcmp(got, content + at, length) ? "others" : "as written");
}

static void check(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

int main(void)
{
    for (int i = 0; i < SIZE; i++)
        content[i] = i * 7 + i / PAGE;
    int fd = open("/tmp/page_reads", O_RDWR | O_CREAT | O_TRUNC, 0600);
    check(fd >= 0 && write(fd, content, SIZE) == SIZE, "write");

    static const struct { off_t at; size_t length; } reads[] = {
        {0, 0}, {0, 1}, {PAGE - 1, 2}, {PAGE, PAGE}, {100, 3 * PAGE}, {0, SIZE}, {0, sizeof got}, {SIZE - 1, 10},
        {SIZE, 10},
        {SIZE + PAGE, 1}, {20 * PAGE - 5, 17 * PAGE},
    };
    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++)
        show("pread", pread(fd, got, reads[i].length, reads[i].at), reads[i].at);

    // In pieces, some of them empty; from the position, which moves.
    struct iovec pieces[] = {
        {got, 10}, {got + 10, 0}, {got + 10, PAGE}, {got + 10 + PAGE, 3}, {got + 13 + PAGE, 2 * PAGE},
    };
    check(lseek(fd, PAGE - 20, SEEK_SET) == PAGE - 20, "lseek");
    show("readv", readv(fd, pieces, 5), PAGE - 20);
    printf("position %ld\n", (long)lseek(fd, 0, SEEK_CUR));

    // What is not there ends a read, at a page.
    unsigned char *memory = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED && !munmap(memory + 2 * PAGE, PAGE), "mmap");
    ssize_t length = pread(fd, memory + PAGE, 2 * PAGE, 7);
    printf("into half of what is there: %zd, %d\n", length, length > 0 && !memcmp(memory + PAGE, content + 7, length));
    length = pread(fd, memory + 2 * PAGE, PAGE, 0);
    printf("into nothing: %zd, %s\n", length, strerror(errno));

    // A hole, and what is written into it.
    check(!ftruncate(fd, SIZE + 4 * PAGE), "ftruncate");
    memset(got, 1, sizeof got);
    check(pread(fd, got, 2 * PAGE, SIZE) == 2 * PAGE, "pread of a hole");
    int nonzero = 0;
    for (int i = 0; i < 2 * PAGE; i++)
        nonzero += got[i] != 0;
    printf("a hole: %d bytes are not 0\n", nonzero);

    // A mapping sees each page, and what is written to it later by any way.
    unsigned char *shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    unsigned char *private = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    check(shared != MAP_FAILED && private != MAP_FAILED, "mmap of the file");
    printf("mapped: %d %d\n", !memcmp(shared, content, SIZE), !memcmp(private, content, SIZE));
    private[5 * PAGE] = 1;
    shared[6 * PAGE] = 2;
    check(pwrite(fd, "\3", 1, 7 * PAGE) == 1, "pwrite");
    printf("private %d %d %d\n", private[5 * PAGE], private[6 * PAGE], private[7 * PAGE]);
    printf("shared %d %d %d\n", shared[5 * PAGE] == content[5 * PAGE], shared[6 * PAGE], shared[7 * PAGE]);
    // The target is the file's own page.
    length = pread(fd, shared + 8 * PAGE, PAGE, 0);
    printf("into itself: %zd, %d\n", length, !memcmp(shared + 8 * PAGE, content, PAGE));
    // What is cut off is gone from the mappings; what was copied stays where it is not.
    check(!ftruncate(fd, 3 * PAGE), "ftruncate");
    check(!ftruncate(fd, SIZE), "ftruncate");
    printf("cut: %d %d %d\n", private[5 * PAGE], shared[8 * PAGE], private[PAGE] == content[PAGE]);
    unlink("/tmp/page_reads");
    return 0;
}
