// The upper half of a register that holds an int may be anything: it does not count.
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// An int, with something above it.
#define WIDE(value) ((uint32_t)(value) | UINT64_C(0xdeadbeef00000000))
#define PLACE(pointer) ((uint64_t)(pointer))

static long call(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
    register uint64_t r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#define CALL4(name, a, b, c, d) call(SYS_##name, a, b, c, d, WIDE(0), WIDE(0))

static void files(void)
{
    char byte = 'x', text[16];
    struct stat status;
    int fd = CALL4(open, PLACE("wide-registers"), WIDE(O_RDWR | O_CREAT | O_TRUNC), WIDE(0644), 0);
    CHECK(fd > 2 && CALL4(write, WIDE(fd), PLACE(&byte), 1, 0) == 1);
    CHECK(CALL4(lseek, WIDE(fd), 0, WIDE(SEEK_END), 0) == 1);
    CHECK(CALL4(pread64, WIDE(fd), PLACE(text), 1, 0) == 1 && text[0] == 'x');
    CHECK(CALL4(access, PLACE("wide-registers"), WIDE(R_OK), 0, 0) == 0);
    CHECK(CALL4(faccessat2, WIDE(AT_FDCWD), PLACE("wide-registers"), WIDE(F_OK), WIDE(AT_EACCESS)) == 0);
    CHECK(CALL4(newfstatat, WIDE(AT_FDCWD), PLACE("wide-registers"), PLACE(&status), WIDE(0)) == 0);
    CHECK(CALL4(fcntl, WIDE(fd), WIDE(F_SETFL), WIDE(O_APPEND), 0) == 0);
    CHECK((fcntl(fd, F_GETFL) & O_APPEND) != 0);
    CHECK(CALL4(fchown, WIDE(fd), WIDE(-1), WIDE(-1), 0) == 0);
    CHECK(CALL4(fallocate, WIDE(fd), WIDE(0), 0, 4096) == 0);
    CHECK(CALL4(flock, WIDE(fd), WIDE(2), 0, 0) == 0);
    CHECK(CALL4(fadvise64, WIDE(fd), 0, 0, WIDE(POSIX_FADV_DONTNEED)) == 0);
    CHECK(CALL4(readlink, PLACE("/proc/self/exe"), PLACE(text), WIDE(sizeof text), 0) > 0);
    int again = CALL4(dup3, WIDE(fd), WIDE(100), WIDE(O_CLOEXEC), 0);
    CHECK(again == 100 && CALL4(close_range, WIDE(100), WIDE(100), WIDE(0), 0) == 0 && fcntl(100, F_GETFD) == -1);
    char *page = (char *)call(SYS_mmap, 0, 4096, PROT_READ, MAP_SHARED, WIDE(fd), 0);
    CHECK(page != MAP_FAILED && page[0] == 'x');
    CHECK(CALL4(madvise, PLACE(page), 4096, WIDE(MADV_DONTNEED), 0) == 0);
    CHECK(CALL4(msync, PLACE(page), 4096, WIDE(MS_SYNC), 0) == 0 && munmap(page, 4096) == 0);
    CHECK(CALL4(unlinkat, WIDE(AT_FDCWD), PLACE("wide-registers"), WIDE(0), 0) == 0);
    CHECK(CALL4(close, WIDE(fd), 0, 0, 0) == 0);
}

static void waits(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct itimerspec soon = {.it_value.tv_nsec = 1};
    int epoll = CALL4(epoll_create1, WIDE(EPOLL_CLOEXEC), 0, 0, 0);
    int timer = CALL4(timerfd_create, WIDE(CLOCK_MONOTONIC), WIDE(0), 0, 0);
    CHECK(CALL4(epoll_ctl, WIDE(epoll), WIDE(EPOLL_CTL_ADD), WIDE(timer), PLACE(&event)) == 0);
    CHECK(CALL4(timerfd_settime, WIDE(timer), WIDE(0), PLACE(&soon), 0) == 0);
    CHECK(CALL4(epoll_wait, WIDE(epoll), PLACE(&event), WIDE(1), WIDE(-1)) == 1);
    struct pollfd wait = {.fd = timer, .events = POLLIN};
    CHECK(CALL4(poll, PLACE(&wait), WIDE(1), WIDE(-1), 0) == 1);
    uint32_t word = 1;
    CHECK(CALL4(futex, PLACE(&word), WIDE(FUTEX_WAIT_PRIVATE), WIDE(2), 0) == -EAGAIN);
    CHECK(CALL4(futex, PLACE(&word), WIDE(FUTEX_WAKE_PRIVATE), WIDE(1), 0) == 0);
    close(timer);
    close(epoll);
}

static void processes(void)
{
    int status;
    struct timespec now;
    struct rlimit limit;
    unsigned long mask = 0;
    pid_t child = fork();
    if (child == 0) {
        CALL4(exit_group, WIDE(3), 0, 0, 0);
        _exit(1);
    }
    CHECK(CALL4(kill, WIDE(child), WIDE(0), 0, 0) == 0);
    CHECK(CALL4(wait4, WIDE(child), PLACE(&status), WIDE(0), 0) == child && WEXITSTATUS(status) == 3);
    CHECK(CALL4(clock_gettime, WIDE(CLOCK_REALTIME), PLACE(&now), 0, 0) == 0);
    CHECK(CALL4(prlimit64, WIDE(0), WIDE(RLIMIT_NOFILE), 0, PLACE(&limit)) == 0);
    CHECK(CALL4(sched_getaffinity, WIDE(0), WIDE(sizeof mask), PLACE(&mask), 0) > 0 && mask != 0);
    CHECK(CALL4(sched_setaffinity, WIDE(0), WIDE(sizeof mask), PLACE(&mask), 0) == 0);
    CHECK(CALL4(getpriority, WIDE(PRIO_PROCESS), WIDE(0), 0, 0) == 20 - getpriority(PRIO_PROCESS, 0));
    CHECK(CALL4(getpgid, WIDE(0), 0, 0, 0) == getpgrp() && CALL4(umask, WIDE(022), 0, 0, 0) >= 0);
    sigset_t none = {0};
    CHECK(CALL4(rt_sigprocmask, WIDE(SIG_BLOCK), PLACE(&none), 0, 8) == 0);
}

static void sockets_and_ipc(void)
{
    int pair[2], one = 1;
    struct sembuf up = {.sem_op = 1};
    CHECK(CALL4(socketpair, WIDE(AF_UNIX), WIDE(SOCK_STREAM), WIDE(0), PLACE(pair)) == 0);
    long set_option = call(SYS_setsockopt, WIDE(pair[0]), WIDE(SOL_SOCKET), WIDE(SO_PASSCRED), PLACE(&one), WIDE(4), 0);
    CHECK(set_option == 0);
    CHECK(call(SYS_sendto, WIDE(pair[0]), PLACE("x"), 1, WIDE(MSG_NOSIGNAL), 0, WIDE(0)) == 1);
    CHECK(CALL4(shutdown, WIDE(pair[0]), WIDE(SHUT_WR), 0, 0) == 0);
    int set = CALL4(semget, WIDE(IPC_PRIVATE), WIDE(1), WIDE(0600), 0);
    CHECK(set >= 0 && CALL4(semop, WIDE(set), PLACE(&up), WIDE(1), 0) == 0);
    CHECK(CALL4(semctl, WIDE(set), WIDE(0), WIDE(GETVAL), 0) == 1);
    CHECK(CALL4(semctl, WIDE(set), WIDE(0), WIDE(IPC_RMID), 0) == 0);
}

int main(void)
{
    CHECK(chdir("/tmp") == 0);
    files();
    waits();
    processes();
    sockets_and_ipc();
    return FINISH();
}
