// What a process says of itself, shares with its threads and sees of its own memory: prctl, kcmp, process_vm_readv,
// sched_getattr, membarrier, times and owners of files.
// linux: as root
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <pthread.h>
#include <unistd.h>
#include "check.h"

static const char *status(long result)
{
    static char text[8][32];
    static int next;
    char *mine = text[next++ % 8];
    if (result == -1)
        return strerrorname_np(errno);
    snprintf(mine, sizeof text[0], "%ld", result);
    return mine;
}

static void *thread_settings(void *unused)
{
    int signal = -1;
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && prctl(PR_GET_TIMERSLACK) == 1000);
    CHECK(prctl(PR_GET_PDEATHSIG, &signal) == 0);
    printf("thread: signal %d\n", signal);
    CHECK(prctl(PR_SET_TIMERSLACK, 5) == 0 && prctl(PR_SET_TIMERSLACK, 0) == 0 && prctl(PR_GET_TIMERSLACK) == 1000);
    return unused;
}

static void settings(void)
{
    int value = -1;
    pthread_t thread;
    printf("slack %s", status(prctl(PR_GET_TIMERSLACK)));
    printf(" %s %s", status(prctl(PR_SET_TIMERSLACK, 1000)), status(prctl(PR_GET_TIMERSLACK)));
    printf(" %s %s", status(prctl(PR_SET_TIMERSLACK, -1)), status(prctl(PR_GET_TIMERSLACK)));
    printf(" %s\n", status(prctl(PR_SET_TIMERSLACK, 1000)));
    printf("death: %s %s %s", status(prctl(PR_SET_PDEATHSIG, 65)), status(prctl(PR_SET_PDEATHSIG, -1)),
           status(prctl(PR_SET_PDEATHSIG, 9)));
    printf(" %s %d\n", status(prctl(PR_GET_PDEATHSIG, &value)), value);
    printf("privileges: %s", status(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)));
    printf(" %s %s", status(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)), status(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0)));
    printf(" %s %s\n", status(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)),
           status(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)));
    printf("subreaper: %s %d", status(prctl(PR_GET_CHILD_SUBREAPER, &value)), value);
    printf(" %s", status(prctl(PR_SET_CHILD_SUBREAPER, 5)));
    printf(" %s %d\n", status(prctl(PR_GET_CHILD_SUBREAPER, &value)), value);
    printf("dumpable: %s %s", status(prctl(PR_GET_DUMPABLE)), status(prctl(PR_SET_DUMPABLE, 0)));
    printf(" %s %s %s\n", status(prctl(PR_GET_DUMPABLE)), status(prctl(PR_SET_DUMPABLE, 2)),
           status(prctl(PR_SET_DUMPABLE, 1)));
    printf("others: %s %s %s\n", status(prctl(PR_GET_TIMING)), status(prctl(PR_SET_TIMING, 1)), status(prctl(12345)));
    pthread_create(&thread, 0, thread_settings, 0);
    pthread_join(thread, 0);
}

static void compare(void)
{
    int fd = dup(1), null = open("/dev/null", O_RDONLY), pid = getpid();
    for (int kind = 0; kind <= 6; kind++)
        printf("%s ", status(syscall(SYS_kcmp, pid, pid, kind, 1, fd)));
    printf("%s ", status(syscall(SYS_kcmp, pid, pid, KCMP_FILE, 1, null) != 0));
    printf("%s %s %s\n", status(syscall(SYS_kcmp, pid, pid, KCMP_FILE, 1, 99)),
           status(syscall(SYS_kcmp, pid, pid, 99, 0, 0)),
           status(syscall(SYS_kcmp, pid, 0, KCMP_VM, 0, 0)));
    close(fd), close(null);
}

static void memory(void)
{
    char from[16] = "0123456789abcde", to[16] = "";
    struct iovec local[2] = {{to, 4}, {to + 8, 3}}, remote[2] = {{from + 1, 5}, {from + 10, 5}};
    struct iovec bad[2] = {{from, 3}, {(void *)8, 5}}, whole = {to, 16};
    int pid = getpid();
    printf("%s %.4s %.4s\n", status(process_vm_readv(pid, local, 2, remote, 2, 0)), to, to + 8);
    printf("%s", status(process_vm_writev(pid, local, 2, remote, 2, 0)));
    printf(" %s\n", from);
    printf("%s ", status(process_vm_readv(pid, &whole, 1, bad + 1, 1, 0)));
    printf("%s ", status(process_vm_readv(pid, &whole, 1, bad, 2, 0)));
    printf("%s %s ", status(process_vm_readv(pid, local, 0, remote, 2, 0)),
           status(process_vm_readv(pid, local, 2, remote, 2, 1)));
    printf("%s\n", status(process_vm_readv(4194305, local, 2, remote, 2, 0)));
}

struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t least, most, extra[4];
};

static long get(struct attributes *to, unsigned size)
{
    memset(to, 0, sizeof *to);
    return syscall(SYS_sched_getattr, 0, to, size, 0);
}

static long set(struct attributes attributes)
{
    return syscall(SYS_sched_setattr, 0, &attributes, 0);
}

static void scheduling(void)
{
    struct attributes now;
    printf("get: %s %s %s", status(get(&now, 47)), status(get(&now, 4097)), status(get(&now, 48)));
    printf(" size %u policy %u flags %lu nice %d priority %u\n", now.size, now.policy, (long)now.flags, now.nice,
           now.priority);
    printf("set: %s", status(set((struct attributes){.size = 48, .policy = SCHED_BATCH, .nice = 5})));
    get(&now, 48);
    printf(" policy %u nice %d, getpriority %d\n", now.policy, now.nice, getpriority(PRIO_PROCESS, 0));
    printf("realtime: %s", status(set((struct attributes){.policy = SCHED_FIFO, .priority = 3, .flags = 1})));
    get(&now, 48);
    printf(" policy %u flags %lu priority %u", now.policy, (long)now.flags, now.priority);
    printf(", kept: %s", status(set((struct attributes){.flags = 8 | 1, .priority = 7})));
    get(&now, 48);
    printf(" policy %u priority %u\n", now.policy, now.priority);
    printf("back: %s", status(set((struct attributes){.policy = SCHED_OTHER, .nice = 0})));
    printf(", wrong: %s %s %s", status(set((struct attributes){.policy = 99})),
           status(set((struct attributes){.policy = -1})),
           status(set((struct attributes){.policy = SCHED_FIFO})));
    printf(" %s %s", status(set((struct attributes){.size = 20})),
           status(set((struct attributes){.flags = 1 << 20})));
    printf(" %s %s\n", status(set((struct attributes){.size = 72, .extra = {0, 0, 1}})),
           status(syscall(SYS_sched_setattr, 0, 0, 0)));
}

static void barriers(void)
{
    printf("barriers: %s", status(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0)));
    printf(" %s", status(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0)));
    printf(" %s", status(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0)));
    printf(" %s %s", status(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0)),
           status(syscall(SYS_membarrier, 3, 0, 0)));
    printf(" %s\n", status(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 1, 0)));
}

static unsigned mode_of(int fd)
{
    struct stat file;
    fstat(fd, &file);
    return file.st_mode & 07777;
}

static void owners(void)
{
    static const unsigned modes[] = {06777, 06755, 06745, 02644, 04600, 01777};
    int fd = open("/tmp/process_calls", O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (unsigned index = 0; index < sizeof modes / sizeof *modes; index++) {
        CHECK(fchmod(fd, modes[index]) == 0 && fchown(fd, 1, 1) == 0);
        printf("%o: %o", modes[index], mode_of(fd));
        CHECK(fchmod(fd, modes[index]) == 0 && fchown(fd, -1, -1) == 0);
        printf(" %o\n", mode_of(fd));
    }
    CHECK(mkdir("/tmp/process_calls.d", 0700) == 0 && chmod("/tmp/process_calls.d", 06777) == 0);
    int directory = open("/tmp/process_calls.d", O_RDONLY | O_DIRECTORY);
    CHECK(fchown(directory, 1, 1) == 0);
    printf("directory %o\n", mode_of(directory));
    struct timeval times[2] = {{1000, 5}, {2000, 7}};
    struct stat file;
    CHECK(syscall(SYS_futimesat, fd, 0, times) == 0 && fstat(fd, &file) == 0);
    printf("futimesat %ld.%ld", (long)file.st_mtim.tv_sec, file.st_mtim.tv_nsec);
    printf(" %s\n", status(syscall(SYS_futimesat, AT_FDCWD, 0, times)));
    struct timeval wrong = {0, 1000000};
    struct timezone zone = {1000, 0};
    printf("settimeofday %s", status(syscall(SYS_settimeofday, &wrong, 0)));
    printf(" %s %s\n", status(syscall(SYS_settimeofday, 0, &zone)), status(syscall(SYS_settimeofday, 8, 0)));
    rmdir("/tmp/process_calls.d");
    unlink("/tmp/process_calls");
    close(fd), close(directory);
}

// Who may reboot is told of wrong numbers, everybody else that they may not.
static void rebooting(void)
{
    int expected = prctl(PR_CAPBSET_READ, 22 /* CAP_SYS_BOOT */) == 1 && geteuid() == 0 ? EINVAL : EPERM;
    CHECK(syscall(SYS_reboot, 1, 2, 3, 0) == -1 && errno == expected);
    CHECK(syscall(SYS_reboot, 0xfee1dead, 2, 3, 0) == -1 && errno == expected);
}

int main(void)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    settings();
    compare();
    memory();
    scheduling();
    barriers();
    owners();
    rebooting();
    return FINISH();
}
