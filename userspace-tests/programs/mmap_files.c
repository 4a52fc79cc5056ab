// Mappings of files and of anonymous memory: private and shared ones, mprotect, mremap, madvise, munmap in the middle,
// MAP_FIXED, addresses beyond a file's end.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

enum { PAGE = 4096 };
static sigjmp_buf back;
static volatile int last_signal;
static void caught(int number) { last_signal = number; siglongjmp(back, 1); }

static int reads(volatile char *at)
{
    last_signal = 0;
    if (sigsetjmp(back, 1) == 0)
        (void)*at;
    return last_signal;
}
static int writes(volatile char *at)
{
    last_signal = 0;
    if (sigsetjmp(back, 1) == 0)
        *at = 'w';
    return last_signal;
}
static char *anonymous(size_t size)
{
    return mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

int main(void)
{
    char *nowhere = (char *)0x7ffffffffffff000;
    CHECK(mlock(nowhere, 8) == -1 && errno == ENOMEM && munlock(nowhere, 8) == -1 && errno == ENOMEM);
    // Others than root are told first that they may not lock so much.
    CHECK(mlock(nowhere, -4097ul) == -1 && errno == (geteuid() ? ENOMEM : EINVAL));
    char name[] = "/tmp/mmap-XXXXXX", buffer[100];
    int fd = mkstemp(name);
    signal(SIGSEGV, caught);
    signal(SIGBUS, caught);
    for (int letter = 'a'; letter <= 'c'; letter++) {
        static char page[PAGE];
        memset(page, letter, PAGE);
        CHECK(write(fd, page, PAGE) == PAGE);
    }
    CHECK(ftruncate(fd, 3 * PAGE) == 0);

    char *private = mmap(0, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *shared = mmap(0, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *second = mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
    CHECK(private != MAP_FAILED && shared != MAP_FAILED && second != MAP_FAILED);
    CHECK(private[0] == 'a' && private[2 * PAGE] == 'c' && second[500] == 'b');
    private[0] = 'P';
    CHECK(shared[0] == 'a' && pread(fd, buffer, 1, 0) == 1 && buffer[0] == 'a');
    // Writing through a mapping is writing to the file.
    struct stat before, after;
    CHECK(fstat(fd, &before) == 0);
    nanosleep(&(struct timespec){0, 20000000}, 0);
    shared[PAGE] = 'S';
    CHECK(msync(shared, 3 * PAGE, MS_SYNC) == 0 && fstat(fd, &after) == 0);
    CHECK(after.st_mtim.tv_sec > before.st_mtim.tv_sec || after.st_mtim.tv_nsec > before.st_mtim.tv_nsec);
    CHECK(after.st_ctim.tv_sec > before.st_ctim.tv_sec || after.st_ctim.tv_nsec > before.st_ctim.tv_nsec);
    CHECK(second[0] == 'S' && pread(fd, buffer, 1, PAGE) == 1 && buffer[0] == 'S');
    CHECK(pwrite(fd, "W", 1, PAGE + 1) == 1 && shared[PAGE + 1] == 'W' && second[1] == 'W');
    CHECK(msync(shared, 3 * PAGE, MS_SYNC) == 0);
    CHECK(writes(second) == SIGSEGV);
    CHECK(mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 100) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(0, PAGE, PROT_READ, MAP_PRIVATE, 999, 0) == MAP_FAILED && errno == EBADF);
    int read_only = open(name, O_RDONLY);
    CHECK(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, read_only, 0) == MAP_FAILED && errno == EACCES);
    char *copy = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, read_only, 0);
    CHECK(copy != MAP_FAILED && writes(copy) == 0);
    // Nor can it be had later, while a private mapping may always be written to.
    char *shown = mmap(0, PAGE, PROT_READ, MAP_SHARED, read_only, 0);
    CHECK(shown != MAP_FAILED && mprotect(shown, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
    CHECK(mprotect(shown, PAGE, PROT_NONE) == 0 && mprotect(shown, PAGE, PROT_READ) == 0);
    CHECK(munmap(shown, PAGE) == 0);
    close(read_only);
    // Mappings outlive descriptors.
    close(fd);
    CHECK(shared[2 * PAGE] == 'c');
    CHECK(truncate(name, PAGE + 10) == 0);
    CHECK(reads(shared + PAGE) == 0 && reads(shared + 2 * PAGE) == SIGBUS);
    CHECK(shared[PAGE + 9] == 'b' && shared[PAGE + 10] == 0);
    CHECK(unlink(name) == 0 && shared[0] == 'a');

    char *memory = anonymous(8 * PAGE);
    for (int i = 0; i < 8; i++)
        memory[i * PAGE] = '0' + i;
    CHECK(munmap(memory + 3 * PAGE, 2 * PAGE) == 0);
    CHECK(memory[2 * PAGE] == '2' && memory[5 * PAGE] == '5');
    CHECK(reads(memory + 3 * PAGE) == SIGSEGV && reads(memory + 5 * PAGE - 1) == SIGSEGV);
    CHECK(munmap(memory + 3 * PAGE, PAGE) == 0 && munmap(memory + 1, PAGE) == -1 && errno == EINVAL);
    char *fixed = mmap(memory + 3 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(fixed == memory + 3 * PAGE && fixed[0] == 0);
    CHECK(mmap(memory, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST);
    CHECK(mprotect(memory + PAGE, PAGE, PROT_READ) == 0 && reads(memory + PAGE) == 0 && writes(memory + PAGE) == SIGSEGV);
    CHECK(mprotect(memory + PAGE, PAGE, PROT_NONE) == 0 && reads(memory + PAGE) == SIGSEGV);
    CHECK(writes(memory) == 0 && writes(memory + 2 * PAGE) == 0);
    CHECK(mprotect(memory + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0 && memory[PAGE] == '1' && writes(memory + PAGE) == 0);
    CHECK(munmap(memory + 4 * PAGE, PAGE) == 0);
    CHECK(mprotect(memory + 3 * PAGE, 3 * PAGE, PROT_READ) == -1 && errno == ENOMEM);

    CHECK(madvise(memory, PAGE, MADV_DONTNEED) == 0 && memory[0] == 0);
    CHECK(madvise(memory, 2 * PAGE, MADV_WILLNEED) == 0 && madvise(memory, PAGE, MADV_NORMAL) == 0);
    CHECK(private[0] == 'P' && madvise(private, PAGE, MADV_DONTNEED) == 0 && private[0] == 'a');

    char *grown = anonymous(2 * PAGE);
    strcpy(grown + PAGE, "kept");
    grown = mremap(grown, 2 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    CHECK(grown != MAP_FAILED && !strcmp(grown + PAGE, "kept") && grown[63 * PAGE] == 0);
    CHECK(mremap(grown, 64 * PAGE, 2 * PAGE, 0) == grown && !strcmp(grown + PAGE, "kept"));
    CHECK(reads(grown + 2 * PAGE) == SIGSEGV);
    char *room = anonymous(4 * PAGE);
    char *moved = mremap(grown, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + PAGE);
    CHECK(moved == room + PAGE && !strcmp(moved + PAGE, "kept") && reads(grown) == SIGSEGV);
    CHECK(mremap(room, PAGE, 2 * PAGE, 0) == MAP_FAILED && errno == ENOMEM);

    // A lot of address space, of which little is used.
    size_t huge = 16ull << 30;
    char *vast = mmap(0, huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(vast != MAP_FAILED);
    for (size_t at = 0; at < huge; at += huge / 16)
        vast[at] = (char)(at >> 30);
    CHECK(vast[huge / 16 * 15] == 15 && munmap(vast, huge) == 0);
    char *hidden = mmap(0, huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(hidden != MAP_FAILED && mprotect(hidden + (1 << 30), PAGE, PROT_READ | PROT_WRITE) == 0);
    CHECK(writes(hidden + (1 << 30)) == 0 && reads(hidden) == SIGSEGV);

    // Code made at run time.
    unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
    char *function = anonymous(PAGE);
    memcpy(function, code, sizeof code);
    CHECK(mprotect(function, PAGE, PROT_READ | PROT_EXEC) == 0);
    CHECK(((int (*)(void))function)() == 42 && writes(function) == SIGSEGV);

    int memory_file = memfd_create("name", MFD_CLOEXEC);
    CHECK(memory_file >= 0 && ftruncate(memory_file, PAGE) == 0);
    char *view = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory_file, 0);
    char *twin = mmap(0, PAGE, PROT_READ, MAP_SHARED, memory_file, 0);
    strcpy(view, "twice");
    CHECK(!strcmp(twin, "twice"));
    void *start = sbrk(0);
    CHECK(start != (void *)-1 && sbrk(3 * PAGE) == start);
    memset(start, 1, 3 * PAGE);
    CHECK(sbrk(-3 * PAGE) == (char *)start + 3 * PAGE && sbrk(0) == start);
    unsigned char resident[8];
    CHECK(mincore(view, PAGE, resident) == 0 && (resident[0] & 1));
    return FINISH();
}
