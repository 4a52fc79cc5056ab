// Bad pointers given to system calls are EFAULT, wherever they point; the program goes on.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

#define FAULTS(number, ...) CHECK(syscall(number, __VA_ARGS__) == -1 && errno == EFAULT)

int main(void)
{
    int ends[2], null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY);
    int file = open("/proc/self/exe", O_RDONLY);
    char *pages = mmap(0, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pipe(ends) == 0 && write(ends[1], "0123456789", 10) == 10);
    munmap(pages + 4096, 4096);
    char *none = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *read_only = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *bad[] = {
        (char *)8, pages + 4096, none, (char *)0x7ffffffffff0,
        (char *)0xffff800000000000, (char *)0xffffffff80200000, (char *)0x8000000000000000, (char *)-1L, (char *)-4096L,
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *at = bad[i];
        struct iovec vector = {at, 16};
        FAULTS(SYS_read, file, at, 16);
        FAULTS(SYS_read, zero, at, 16);
        FAULTS(SYS_write, ends[1], at, 16);
        FAULTS(SYS_open, at, O_RDONLY);
        FAULTS(SYS_stat, at, pages);
        FAULTS(SYS_stat, "/", at);
        FAULTS(SYS_fstat, null, at);
        FAULTS(SYS_readv, file, &vector, 1);
        FAULTS(SYS_writev, ends[1], &vector, 1);
        FAULTS(SYS_readv, file, at, 1);
        FAULTS(SYS_pipe, at);
        FAULTS(SYS_getcwd, at, 100);
        FAULTS(SYS_uname, at);
        FAULTS(SYS_clock_gettime, CLOCK_REALTIME, at);
        FAULTS(SYS_nanosleep, at, 0);
        FAULTS(SYS_rt_sigaction, SIGUSR1, at, 0, 8);
        FAULTS(SYS_rt_sigaction, SIGUSR1, 0, at, 8);
        FAULTS(SYS_rt_sigprocmask, SIG_BLOCK, at, 0, 8);
        FAULTS(SYS_poll, at, 1, 0);
        FAULTS(SYS_readlink, "/proc/self/exe", at, 100);
        FAULTS(SYS_getrandom, at, 16, 0);
        FAULTS(SYS_chdir, at);
        FAULTS(SYS_unlink, at);
        FAULTS(SYS_futex, (long)at & ~3L, 0 /* FUTEX_WAIT */, 0, 0, 0, 0);
        FAULTS(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, at);
        FAULTS(SYS_sysinfo, at);
        FAULTS(SYS_setitimer, ITIMER_REAL, at, 0);
    }
    FAULTS(SYS_read, file, read_only, 16);
    FAULTS(SYS_fstat, null, read_only);
    // What was there before the bad page is written.
    CHECK(syscall(SYS_read, zero, pages + 4090, 16) == 6 || errno == EFAULT);
    struct iovec half[2] = {{pages, 4}, {none, 4}};
    int amount = (int)writev(ends[1], half, 2);
    CHECK(amount == 4 || (amount == -1 && errno == EFAULT));
    // A path that ends right at the last byte of the page is fine, one that goes on is not.
    pages[4094] = '/', pages[4095] = 0;
    CHECK(access(pages + 4094, F_OK) == 0);
    pages[4095] = '/';
    FAULTS(SYS_access, pages + 4094, F_OK);
    // Lengths of nothing are fine anywhere.
    CHECK(syscall(SYS_write, null, 0, 0) == 0);
    CHECK(syscall(SYS_read, zero, 8, 0) == 0);
    // The pipe lost nothing, and gives what found no place again.
    char buffer[10];
    half[0].iov_base = pages + 4092, half[1].iov_base = none;
    FAULTS(SYS_read, ends[0], none, 10);
    FAULTS(SYS_read, ends[0], read_only, 1);
    FAULTS(SYS_readv, ends[0], half, 2);
    FAULTS(SYS_read, ends[0], pages + 4090, 10);
    FAULTS(SYS_vmsplice, ends[0], &(struct iovec){none, 10}, 1, 0);
    CHECK(read(ends[0], buffer, 10) == 10 && buffer[0] == '0' && buffer[9] == '9');
    CHECK(amount == -1 || read(ends[0], buffer, 10) == amount);
    // Where there is nothing to read, nothing is said of the pointer.
    CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 && read(ends[0], none, 10) == -1 && errno == EAGAIN);
    CHECK(close(ends[1]) == 0 && read(ends[0], none, 10) == 0);
    CHECK(syscall(9999) == -1 && errno == ENOSYS);
    return FINISH();
}
