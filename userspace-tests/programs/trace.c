// What --trace shows: arguments and results by their kinds, as strace does with constants as numbers.
// options: --trace
// stderr: any
// says: [1] open("no/such", 0) = -1 ENOENT (No such file or directory)
// says: [1] open("no/such", 0x41, 0644) = -1 ENOENT (No such file or directory)
// says: [1] openat(AT_FDCWD, "no/such", 0x10000) = -1 ENOENT (No such file or directory)
// says: [1] openat(AT_FDCWD, "no/such", 0x410002, 0600) = -1 ENOENT (No such file or directory)
// says: [1] openat(-1, NULL, 0) = -1 EFAULT (Bad address)
// says: [1] write(-1, "a 'line'\n\1\"", 11) = -1 EBADF (Bad file descriptor)
// says: [1] write(-1, "0123456789012345678901234567890123456789012345678901234567890123"..., 70) = -1 EBADF (Bad file descriptor)
// says: [1] write(1, 0x10, 5) = -1 EFAULT (Bad address)
// says: [1] poll(0x10, 2, -1) = -1 EFAULT (Bad address)
// says: [1] ppoll(0x10, 2, NULL, NULL, 8) = -1 EFAULT (Bad address)
// says: [1] select(1, 0x10, NULL, NULL, NULL) = -1 EFAULT (Bad address)
// says: [1] pselect6(1, 0x10, NULL, NULL, NULL, NULL) = -1 EFAULT (Bad address)
// says: [1] lseek(-1, -10, 2) = -1 EBADF (Bad file descriptor)
// says: [1] pread64(-1, 0x10, 8, 5000000000) = -1 EBADF (Bad file descriptor)
// says: [1] pwrite64(-1, "text", 4, 5000000000) = -1 EBADF (Bad file descriptor)
// says: [1] preadv(-1, 0x10, 1, 5000000000) = -1 EBADF (Bad file descriptor)
// says: [1] preadv2(-1, 0x10, 1, -1, 0x1) = -1 EBADF (Bad file descriptor)
// says: [1] truncate("no/such", 5000000000) = -1 ENOENT (No such file or directory)
// says: [1] fallocate(-1, 0x1, 0, 5000000000) = -1 EBADF (Bad file descriptor)
// says: [1] mmap(NULL, 0, 0, 0x22, -1, 0) = -1 EINVAL (Invalid argument)
// says: [1] mremap(0x1001, 4096, 8192, 0x1) = -1 EINVAL (Invalid argument)
// says: [1] madvise(0x1001, 4096, 4) = -1 EINVAL (Invalid argument)
// says: [1] mbind(0x1000, 4096, 0, NULL, 0, 0) = -1 EFAULT (Bad address)
// says: [1] pipe(0x10) = -1 EFAULT (Bad address)
// says: [1] pipe2(0x10, 0x80000) = -1 EFAULT (Bad address)
// says: [1] dup2(-1, 10) = -1 EBADF (Bad file descriptor)
// says: [1] dup3(-1, 10, 0x80000) = -1 EBADF (Bad file descriptor)
// says: [1] close_range(5, 4, 0) = -1 EINVAL (Invalid argument)
// says: [1] fcntl(-1, 1) = -1 EBADF (Bad file descriptor)
// says: [1] fcntl(-1, 0, 10) = -1 EBADF (Bad file descriptor)
// says: [1] fcntl(-1, 2, 0x1) = -1 EBADF (Bad file descriptor)
// says: [1] fcntl(-1, 6, 0x10) = -1 EBADF (Bad file descriptor)
// says: [1] sendfile(-1, -1, NULL, 10) = -1 EBADF (Bad file descriptor)
// says: [1] splice(-1, NULL, -1, NULL, 10, 0) = -1 EBADF (Bad file descriptor)
// says: [1] copy_file_range(-1, NULL, -1, NULL, 10, 0) = -1 EBADF (Bad file descriptor)
// says: [1] rename("no/such", "no/other") = -1 ENOENT (No such file or directory)
// says: [1] renameat(AT_FDCWD, "no/such", AT_FDCWD, "x") = -1 ENOENT (No such file or directory)
// says: [1] renameat2(AT_FDCWD, "no/such", 99, "/x", 0x1) = -1 ENOENT (No such file or directory)
// says: [1] link("no/such", "x") = -1 ENOENT (No such file or directory)
// says: [1] linkat(AT_FDCWD, "no/such", 99, "/x", 0x400) = -1 ENOENT (No such file or directory)
// says: [1] symlink("text", "no/such") = -1 ENOENT (No such file or directory)
// says: [1] symlinkat("text", AT_FDCWD, "no/such") = -1 ENOENT (No such file or directory)
// says: [1] mkdir("no/such", 0755) = -1 ENOENT (No such file or directory)
// says: [1] mknod("no/such", 010644) = -1 ENOENT (No such file or directory)
// says: [1] mknodat(AT_FDCWD, "no/such", 020600, 0x103) = -1 ENOENT (No such file or directory)
// says: [1] access("no/such", 0x4) = -1 ENOENT (No such file or directory)
// says: [1] chown("no/such", -1, 4294967294) = -1 ENOENT (No such file or directory)
// says: [1] statx(AT_FDCWD, "no/such", 0, 0x7ff, 0x10) = -1 ENOENT (No such file or directory)
// says: [1] setxattr("no/such", "user.x", "abc", 3, 0x1) = -1 ENOENT (No such file or directory)
// says: [1] listxattr("no/such", NULL, 0) = -1 ENOENT (No such file or directory)
// says: [1] umask(022) = 000
// says: [1] umask(077) = 022
// says: [1] getsockopt(-1, 1, 3, 0x10, 0x10) = -1 EBADF (Bad file descriptor)
// says: [1] setsockopt(-1, 1, 2, 0x10, 4) = -1 EBADF (Bad file descriptor)
// says: [1] sendto(-1, "text", 4, 0x4000, NULL, 0) = -1 EBADF (Bad file descriptor)
// says: [1] sendmsg(-1, 0x10, 0) = -1
// says: [1] getrlimit(7, 0x10) = -1 EFAULT (Bad address)
// says: [1] setrlimit(7, 0x10) = -1 EFAULT (Bad address)
// says: [1] prlimit64(0, 7, NULL, 0x10) = -1 EFAULT (Bad address)
// says: [1] getgroups(-1, 0x10) = -1 EINVAL (Invalid argument)
// says: [1] getresuid(0x10, 0x10, 0x10) = -1 EFAULT (Bad address)
// says: [1] capget(0x10, NULL) = -1 EFAULT (Bad address)
// says: [1] sched_setaffinity(0, 8, 0x10) = -1 EFAULT (Bad address)
// says: [1] sched_setparam(0, NULL) = -1 EINVAL (Invalid argument)
// says: [1] sched_setscheduler(0, 0x1, NULL) = -1 EINVAL (Invalid argument)
// says: [1] wait4(-1, NULL, 0x1, NULL) = -1 ECHILD (No child processes)
// says: [1] tgkill(-1, -1, 10) = -1 EINVAL (Invalid argument)
// says: [1] prctl(15, "traced") = 0
// says: [1] getcpu(0x10, NULL, NULL) = -1 EFAULT (Bad address)
// says: [1] futex(0x10, 0x80, 7, NULL) = -1 EFAULT (Bad address)
// says: [1] futex(0x10, 0x81, 1) =
// says: [1] futex(0x10, 0x8a, 1, 0) = -1 EINVAL (Invalid argument)
// says: [1] nanosleep(0x10, NULL) = -1 EFAULT (Bad address)
// says: [1] clock_settime(0, 0x10) = -1 EFAULT (Bad address)
// says: [1] clock_nanosleep(1, 0x1, 0x10, NULL) = -1 EFAULT (Bad address)
// says: [1] epoll_ctl(-1, 2, -1, NULL) = -1 EBADF (Bad file descriptor)
// says: [1] epoll_wait(-1, 0x10, 1, -1) = -1 EBADF (Bad file descriptor)
// says: [1] epoll_pwait(-1, 0x10, 1, -1, NULL, 8) = -1 EBADF (Bad file descriptor)
// says: [1] timerfd_settime(-1, 0, 0x10, NULL) = -1 EFAULT (Bad address)
// says: [1] timerfd_gettime(-1, 0x10) = -1 EBADF (Bad file descriptor)
// says: [1] mq_open("none", 0) = -1 ENOENT (No such file or directory)
// says: [1] mq_timedsend(-1, "text", 4, 3, NULL) = -1 EBADF (Bad file descriptor)
// says: [1] connect(-1, 0x10, 16) = -1
// says: [1] shmget(0, 0, 01600) = -1
// says: [1] syscall_0x1f4(0, 0x1, 0x2, 0x3, 0xffffffffffffffff, 0x5) = -1 ENOSYS (Function not implemented)
// says: [1] write(1, "done\n", 5) = 5
// says: [1] exit_group(0) = ?
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/stat.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
/* An address where nothing is, an offset that takes more than 32 bits, a text that is not shown whole. */
#define BAD 0x10
#define FAR 5000000000
#define LONG "0123456789012345678901234567890123456789012345678901234567890123456789"
int main(void)
{
    syscall(SYS_umask, 0);
    syscall(SYS_open, "no/such", O_RDONLY, 0777);
    syscall(SYS_open, "no/such", O_WRONLY | O_CREAT, 0644);
    syscall(SYS_openat, AT_FDCWD, "no/such", O_DIRECTORY, 0777);
    syscall(SYS_openat, AT_FDCWD, "no/such", O_RDWR | O_TMPFILE, 0600);
    syscall(SYS_openat, -1, NULL, O_RDONLY);
    syscall(SYS_write, -1, "a 'line'\n\1\"", 11);
    syscall(SYS_write, -1, LONG, 70);
    syscall(SYS_write, 1, BAD, 5);
    syscall(SYS_poll, BAD, 2, -1);
    syscall(SYS_ppoll, BAD, 2, NULL, NULL, 8);
    syscall(SYS_select, 1, BAD, NULL, NULL, NULL);
    syscall(SYS_pselect6, 1, BAD, NULL, NULL, NULL, NULL);
    syscall(SYS_lseek, -1, -10L, SEEK_END);
    syscall(SYS_pread64, -1, BAD, 8, FAR);
    syscall(SYS_pwrite64, -1, "text", 4, FAR);
    syscall(SYS_preadv, -1, BAD, 1, FAR, 0);
    syscall(SYS_preadv2, -1, BAD, 1, -1L, 0, RWF_HIPRI);
    syscall(SYS_truncate, "no/such", FAR);
    syscall(SYS_fallocate, -1, FALLOC_FL_KEEP_SIZE, 0, FAR);
    syscall(SYS_mmap, NULL, 0, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    syscall(SYS_mremap, 0x1001, 4096, 8192, MREMAP_MAYMOVE, BAD);
    syscall(SYS_madvise, 0x1001, 4096, MADV_DONTNEED);
    syscall(SYS_mbind, 0x1000, 4096, 0, NULL, 0, 0);
    syscall(SYS_pipe, BAD);
    syscall(SYS_pipe2, BAD, O_CLOEXEC);
    syscall(SYS_dup2, -1, 10);
    syscall(SYS_dup3, -1, 10, O_CLOEXEC);
    syscall(SYS_close_range, 5, 4, 0);
    syscall(SYS_fcntl, -1, F_GETFD, 99);
    syscall(SYS_fcntl, -1, F_DUPFD, 10);
    syscall(SYS_fcntl, -1, F_SETFD, FD_CLOEXEC);
    syscall(SYS_fcntl, -1, F_SETLK, BAD);
    syscall(SYS_sendfile, -1, -1, NULL, 10);
    syscall(SYS_splice, -1, NULL, -1, NULL, 10, 0);
    syscall(SYS_copy_file_range, -1, NULL, -1, NULL, 10, 0);
    syscall(SYS_rename, "no/such", "no/other");
    syscall(SYS_renameat, AT_FDCWD, "no/such", AT_FDCWD, "x");
    syscall(SYS_renameat2, AT_FDCWD, "no/such", 99, "/x", 1);
    syscall(SYS_link, "no/such", "x");
    syscall(SYS_linkat, AT_FDCWD, "no/such", 99, "/x", AT_SYMLINK_FOLLOW);
    syscall(SYS_symlink, "text", "no/such");
    syscall(SYS_symlinkat, "text", AT_FDCWD, "no/such");
    syscall(SYS_mkdir, "no/such", 0755);
    syscall(SYS_mknod, "no/such", S_IFIFO | 0644, 0);
    syscall(SYS_mknodat, AT_FDCWD, "no/such", S_IFCHR | 0600, 0x103);
    syscall(SYS_access, "no/such", R_OK);
    syscall(SYS_chown, "no/such", -1, 4294967294);
    syscall(SYS_statx, AT_FDCWD, "no/such", 0, STATX_BASIC_STATS, BAD);
    syscall(SYS_setxattr, "no/such", "user.x", "abc", 3, 1);
    syscall(SYS_listxattr, "no/such", NULL, 0);
    syscall(SYS_umask, 022);
    syscall(SYS_umask, 077);
    syscall(SYS_getsockopt, -1, SOL_SOCKET, SO_TYPE, BAD, BAD);
    syscall(SYS_setsockopt, -1, SOL_SOCKET, SO_REUSEADDR, BAD, 4);
    syscall(SYS_sendto, -1, "text", 4, MSG_NOSIGNAL, NULL, 0);
    syscall(SYS_sendmsg, -1, BAD, 0);
    syscall(SYS_getrlimit, RLIMIT_NOFILE, BAD);
    syscall(SYS_setrlimit, RLIMIT_NOFILE, BAD);
    syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, BAD);
    syscall(SYS_getgroups, -1, BAD);
    syscall(SYS_getresuid, BAD, BAD, BAD);
    syscall(SYS_capget, BAD, NULL);
    syscall(SYS_sched_setaffinity, 0, 8, BAD);
    syscall(SYS_sched_setparam, 0, NULL);
    syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, NULL);
    syscall(SYS_wait4, -1, NULL, WNOHANG, NULL);
    syscall(SYS_tgkill, -1, -1, SIGUSR1);
    syscall(SYS_prctl, PR_SET_NAME, "traced", 99, 99, 99);
    syscall(SYS_getcpu, BAD, NULL, NULL);
    syscall(SYS_futex, BAD, FUTEX_WAIT_PRIVATE, 7, NULL, 99, 99);
    syscall(SYS_futex, BAD, FUTEX_WAKE_PRIVATE, 1, 99, 99, 99);
    syscall(SYS_futex, BAD, FUTEX_WAKE_BITSET_PRIVATE, 1, 99, 99, 0);
    syscall(SYS_nanosleep, BAD, NULL);
    syscall(SYS_clock_settime, CLOCK_REALTIME, BAD);
    syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, BAD, NULL);
    syscall(SYS_epoll_ctl, -1, EPOLL_CTL_DEL, -1, NULL);
    syscall(SYS_epoll_wait, -1, BAD, 1, -1);
    syscall(SYS_epoll_pwait, -1, BAD, 1, -1, NULL, 8);
    syscall(SYS_timerfd_settime, -1, 0, BAD, NULL);
    syscall(SYS_timerfd_gettime, -1, BAD);
    syscall(SYS_mq_open, "none", O_RDONLY, 99, NULL);
    syscall(SYS_mq_timedsend, -1, "text", 4, 3, NULL);
    syscall(SYS_connect, -1, BAD, 16);
    syscall(SYS_shmget, 0, 0, IPC_CREAT | 0600);
    syscall(500, 0L, 1L, 2L, 3L, -1L, 5L);
    syscall(SYS_write, 1, "done\n", 5);
    return 0;
}
