// A file that may be larger than memory: written, read, mapped, and mapped to be changed: `large_file DIR MIB`. In a directory of the host
// and on a volume `qemu/tests/volumes.rs` runs it.
// args: /tmp 4
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "check.h"

enum { BLOCK = 64 << 10, PAGE = 4096 };

static uint64_t bytes[BLOCK / 8];

int main(int count, char **arguments)
{
    CHECK(count == 3 && chdir(arguments[1]) == 0);
    long size = atol(arguments[2]) << 20;
    int fd = open("large", O_CREAT | O_TRUNC | O_RDWR, 0644);
    for (long at = 0; at < size; at += BLOCK) {
        for (long i = 0; i < BLOCK / 8; i++) bytes[i] = at + i * 8;
        CHECK(pwrite(fd, bytes, BLOCK, at) == BLOCK);
    }
    // Twice: what is left in memory of the first time is of no use to the second.
    long wrong = 0;
    for (int round = 0; round < 2; round++)
        for (long at = 0; at < size; at += BLOCK) {
            CHECK(pread(fd, bytes, BLOCK, at) == BLOCK);
            for (long i = 0; i < BLOCK / 8; i++) wrong += bytes[i] != (uint64_t)(at + i * 8);
        }
    CHECK(wrong == 0);
    uint64_t *map = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    for (long i = 0; i < size / 8; i += PAGE / 8) wrong += map[i + 7] != (uint64_t)(i + 7) * 8;
    CHECK(wrong == 0);
    for (long i = 0; i < size / 8; i += PAGE / 8) map[i] = i + 1;
    for (long i = 0; i < size / 8; i += PAGE / 8) wrong += map[i] != (uint64_t)i + 1;
    CHECK(wrong == 0);
    CHECK(msync(map, size, MS_SYNC) == 0);
    for (long at = 0; at < size; at += PAGE) {
        CHECK(pread(fd, bytes, PAGE, at) == PAGE);
        wrong += bytes[0] != (uint64_t)at / 8 + 1 || bytes[1] != (uint64_t)at + 8;
    }
    CHECK(wrong == 0);
    // Memory of the program's own is there, too.
    size_t own = 8 << 20;
    char *memory = malloc(own);
    for (size_t i = 0; i < own; i += PAGE) memory[i] = 1;
    CHECK(memory[own / 2 / PAGE * PAGE] == 1);
    CHECK(unlink("large") == 0);
    CHECK(close(fd) == 0);
    return FINISH();
}
