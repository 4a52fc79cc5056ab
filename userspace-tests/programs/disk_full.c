// Files are memory: writing more than there is ends with ENOSPC, and what is deleted can be used again. Linux has a
// disk, so that this is run in the guest only.
// memory: 64M
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "check.h"

enum { BLOCK = 1 << 18 };

int main(void)
{
    static char block[BLOCK];
    memset(block, 'b', BLOCK);
    long sizes[3];
    for (int round = 0; round < 3; round++) {
        int fd = open("/tmp/full", O_RDWR | O_CREAT | O_TRUNC, 0600);
        CHECK(fd >= 0);
        ssize_t count;
        while ((count = write(fd, block, BLOCK)) > 0)
            ;
        CHECK(count == -1 && errno == ENOSPC);
        sizes[round] = lseek(fd, 0, SEEK_CUR);
        CHECK(sizes[round] > 8 << 20 && sizes[round] < 64 << 20);
        CHECK(posix_fallocate(fd, 0, 100 << 20) == ENOSPC);
        char last;
        CHECK(pread(fd, &last, 1, sizes[round] - 1) == 1 && last == 'b');
        // Others still get some memory.
        char *memory = malloc(100000);
        CHECK(memory && memset(memory, 1, 100000) && printf("round %d\n", round) > 0);
        free(memory);
        struct stat status;
        CHECK(fstat(fd, &status) == 0 && status.st_size == sizes[round] && status.st_blocks * 512 >= status.st_size);
        struct statvfs system;
        CHECK(statvfs("/tmp", &system) == 0 && system.f_bavail * system.f_bsize < 4 << 20);
        CHECK(unlink("/tmp/full") == 0 && close(fd) == 0);
    }
    CHECK(labs(sizes[2] - sizes[0]) < 1 << 20);
    // Pages of a sparse file that cannot be had when a mapping is written to are no endless loop.
    int fd = memfd_create("sparse", 0);
    CHECK(ftruncate(fd, 1L << 40) == 0);
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1L << 40) == 0);
    CHECK(lseek(fd, 0, SEEK_DATA) == -1 && errno == ENXIO && lseek(fd, 0, SEEK_HOLE) == 0);
    return FINISH();
}
