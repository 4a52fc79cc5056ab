// A file of the image that is mapped, and then written and cut, is the same file everywhere. Linux would have its own
// file damaged, so that this is run in the guest only.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "check.h"

enum { PAGE = 4096 };
static sigjmp_buf back;
static void caught(int number) { siglongjmp(back, number); }

int main(int argc, char **argv)
{
    char name[] = "/tests/hello", byte;
    signal(SIGBUS, caught);
    // Another program's: what runs is not written to.
    int fd = open(argc > 1 ? argv[1] : name, O_RDWR);
    off_t size = lseek(fd, 0, SEEK_END), last = (size - 1) / PAGE * PAGE;
    CHECK(fd >= 0 && size > 2 * PAGE);
    char *shared = mmap(0, size, PROT_READ, MAP_SHARED, fd, 0);
    char *private = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *written = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(shared != MAP_FAILED && private != MAP_FAILED && written != MAP_FAILED);
    CHECK(!memcmp(shared, "\177ELF", 4) && !memcmp(private, shared, size) && !memcmp(written, shared, size));

    CHECK(pwrite(fd, "W", 1, last) == 1 && shared[last] == 'W' && private[last] == 'W' && written[last] == 'W');
    written[last + 1] = 'S';
    CHECK(shared[last + 1] == 'S' && pread(fd, &byte, 1, last + 1) == 1 && byte == 'S');
    private[last + 2] = 'P';
    CHECK(shared[last + 2] != 'P' && private[last] == 'W');
    // By a mapping first, a page that was only read so far.
    written[last - PAGE] = 'M';
    CHECK(shared[last - PAGE] == 'M' && private[last - PAGE] == 'M');
    CHECK(pread(fd, &byte, 1, last - PAGE) == 1 && byte == 'M');
    CHECK(ftruncate(fd, last) == 0 && shared[last - PAGE] == 'M');
    int signal = sigsetjmp(back, 1);
    if (signal == 0)
        byte = *(volatile char *)(shared + last);
    CHECK(signal == SIGBUS);
    CHECK(ftruncate(fd, size) == 0 && shared[last] == 0 && written[last + 1] == 0);
    return FINISH();
}
