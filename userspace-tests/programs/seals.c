// Seals of memfd_create: what is sealed can be done no more, by nobody.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "check.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8
#define MFD_EXEC 16
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif
enum { PAGE = 4096, RW = PROT_READ | PROT_WRITE };

static const char *status(long result)
{
    return result == -1 ? strerrorname_np(errno) : "done";
}

static int make(unsigned flags)
{
    int fd = memfd_create("sealed", flags);
    if (fd >= 0 && ftruncate(fd, 2 * PAGE) == 0)
        pwrite(fd, "text", 4, 0);
    return fd;
}

// All that can be done to a file with these seals.
static void attempts(int seals)
{
    int fd = make(MFD_ALLOW_SEALING);
    printf("seals %#x: %s, now %#x\n", seals, status(fcntl(fd, F_ADD_SEALS, seals)), fcntl(fd, F_GET_SEALS));
    printf("  write %s, beyond %s", status(pwrite(fd, "more", 4, 0)), status(pwrite(fd, "more", 4, 2 * PAGE - 2)));
    printf(", grow %s, same %s", status(ftruncate(fd, 3 * PAGE)), status(ftruncate(fd, 2 * PAGE)));
    printf(", shrink %s", status(ftruncate(fd, PAGE)));
    printf(", punch %s", status(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE)));
    printf(", reserve %s", status(fallocate(fd, 0, 0, PAGE)));
    printf(", beyond %s\n", status(fallocate(fd, FALLOC_FL_KEEP_SIZE, 4 * PAGE, PAGE)));
    void *shared = mmap(0, PAGE, RW, MAP_SHARED, fd, 0), *copy = mmap(0, PAGE, RW, MAP_PRIVATE, fd, 0);
    printf("  shared %s", status(shared == MAP_FAILED ? -1 : 0));
    printf(", private %s", status(copy == MAP_FAILED ? -1 : 0));
    void *reads = mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    printf(", read %s", status(reads == MAP_FAILED ? -1 : 0));
    printf(", then write %s", status(mprotect(reads, PAGE, RW)));
    printf(", mode %s, again %s\n", status(fchmod(fd, 0600)), status(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW)));
    munmap(shared, PAGE), munmap(copy, PAGE), munmap(reads, PAGE);
    close(fd);
}

int main(void)
{
    for (int seals = 0; seals < 0x40; seals++)
        attempts(seals);
    attempts(0x80);
    for (unsigned flags = 0; flags < 0x40; flags++) {
        struct stat file;
        if (flags & MFD_HUGETLB)
            continue;
        int fd = make(flags);
        printf("flags %#x: %s", flags, status(fd));
        if (fd >= 0 && fstat(fd, &file) == 0)
            printf(", seals %#x, mode %o, close %d", fcntl(fd, F_GET_SEALS), file.st_mode, fcntl(fd, F_GETFD));
        puts("");
        close(fd);
    }
    // A mapping that writes is in the way of one seal, not of the other; one that only reads is, too, if it could.
    int fd = make(MFD_ALLOW_SEALING), reader;
    char *at = mmap(0, PAGE, RW, MAP_SHARED, fd, 0), name[64];
    printf("mapped: %s", status(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)));
    printf(", %s\n", status(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE)));
    strcpy(at, "late");
    CHECK(pread(fd, name, 4, 0) == 4 && memcmp(name, "late", 4) == 0);
    CHECK(mprotect(at, PAGE, PROT_READ) == 0 && mprotect(at, PAGE, RW) == 0 && munmap(at, PAGE) == 0);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    reader = open(name, O_RDONLY);
    printf("reader: %s %#x\n", status(fcntl(reader, F_ADD_SEALS, F_SEAL_GROW)), fcntl(reader, F_GET_SEALS));
    int ends[2];
    CHECK(pipe(ends) == 0);
    printf("pipe: %s\n", status(fcntl(ends[0], F_GET_SEALS)));
    int shm = shm_open("/seals", O_RDWR | O_CREAT, 0600);
    printf("shm: %d %s\n", fcntl(shm, F_GET_SEALS), status(fcntl(shm, F_ADD_SEALS, F_SEAL_GROW)));
    shm_unlink("/seals");
    return FINISH();
}
