// Flag words, bit by bit: which error each bit gives where nothing else is wrong. A line has a call, and for each error,
// 0 for none, the bits that give it. Left out: bits that came after Linux 6.1, and those that file systems differ in.
// linux: as root
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

#define KINDS 16
static struct {
    int error;
    unsigned long bits;
} seen[KINDS];

static void note(long result, unsigned long bit)
{
    int error = result < 0 ? errno : 0, i = 0;
    while (i < KINDS - 1 && seen[i].bits && seen[i].error != error)
        i++;
    seen[i].error = error;
    seen[i].bits |= bit;
}

static void show(const char *name)
{
    printf("%s:", name);
    for (int error = 0; error < 200; error++)
        for (int i = 0; i < KINDS; i++)
            if (seen[i].bits && seen[i].error == error)
                printf(" %s=%#lx", error ? strerrorname_np(error) : "0", seen[i].bits);
    putchar('\n');
    fflush(stdout);
    memset(seen, 0, sizeof seen);
}

// What a call opened is closed.
static long closing(long fd)
{
    if (fd >= 0)
        close(fd);
    return fd;
}

#define EACH_OF(name, width, without, call)                               \
    do {                                                                  \
        for (int i = 0; i < width; i++) {                                 \
            unsigned long bit = 1ul << i;                                 \
            if ((unsigned long)(without) & bit)                           \
                continue;                                                 \
            note(call, bit);                                              \
        }                                                                 \
        show(name);                                                       \
    } while (0)
#define EACH(name, call) EACH_OF(name, 32, 0, call)
#define AFTER(call, then) \
    ({                    \
        long result = call; \
        int error = errno; \
        then;             \
        errno = error;    \
        result;           \
    })

static long openat2_of(const char *path, unsigned long flags, unsigned long mode, unsigned long resolve)
{
    struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
    return closing(syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how));
}

static char directory[] = "/tmp/flag_words-XXXXXX";

static void files(void)
{
    struct stat status;
    static char room[256];
    close(open("file", O_CREAT | O_RDWR, 0600));
    symlink("file", "link");
    mkdir("dir", 0700);
    EACH_OF("open", 32, O_DIRECT | O_CREAT, closing(open("file", bit)));
    EACH_OF("open, written", 32, O_DIRECT | O_CREAT, closing(open("file", O_RDWR | bit)));
    EACH_OF("open, link", 32, O_DIRECT | O_CREAT, closing(open("link", bit)));
    EACH_OF("open, directory", 32, O_DIRECT | O_CREAT, closing(open("dir", bit)));
    EACH_OF("open, path", 32, 0, closing(open("file", O_PATH | bit)));
    EACH_OF("open, created", 32, O_DIRECT | __O_TMPFILE,
            AFTER(closing(open("new", O_CREAT | bit, 0600)), unlink("new")));
    EACH_OF("openat2", 64, O_DIRECT | O_CREAT, openat2_of("file", bit, 0, 0));
    EACH_OF("openat2, path", 64, 0, openat2_of("file", O_PATH | bit, 0, 0));
    EACH_OF("openat2, directory", 64, O_DIRECT | O_CREAT, openat2_of("dir", O_DIRECTORY | bit, 0, 0));
    EACH_OF("openat2, mode", 64, 0, openat2_of("file", 0, bit, 0));
    EACH_OF("openat2, mode of a new file", 64, 0, AFTER(openat2_of("new", O_CREAT, bit, 0), unlink("new")));
    EACH_OF("openat2, resolve", 64, RESOLVE_CACHED, openat2_of("file", 0, 0, bit));
    EACH_OF("openat2, resolve a link", 64, RESOLVE_CACHED, openat2_of("link", 0, 0, bit));
    EACH_OF("openat2, resolve upwards", 64, RESOLVE_CACHED, openat2_of("dir/../../.", 0, 0, bit));
    EACH_OF("openat2, resolve absolute", 64, RESOLVE_CACHED, openat2_of("/tmp", 0, 0, bit));
    EACH_OF("openat2, resolve across mounts", 64, RESOLVE_CACHED, openat2_of("/proc/self/cmdline", 0, 0, bit));
    EACH_OF("openat2, resolve a magic link", 64, RESOLVE_CACHED, openat2_of("/proc/self/cwd/file", 0, 0, bit));
    struct { struct open_how how; unsigned long more[3]; } large = {0};
    for (unsigned long size = 0; size < 48; size += 4)
        note(closing(syscall(SYS_openat2, AT_FDCWD, "file", &large, size)), 1ul << size);
    show("openat2, size");
    large.more[0] = 1;
    for (unsigned long size = 0; size < 48; size += 4)
        note(closing(syscall(SYS_openat2, AT_FDCWD, "file", &large, size)), 1ul << size);
    show("openat2, more than is known");
    EACH("faccessat2", syscall(SYS_faccessat2, AT_FDCWD, "file", R_OK, bit));
    EACH("faccessat2, mode", syscall(SYS_faccessat2, AT_FDCWD, "file", bit & ~1, 0));
    EACH("fchownat", fchownat(AT_FDCWD, "file", -1, -1, bit));
    EACH("utimensat", syscall(SYS_utimensat, AT_FDCWD, "file", 0, bit));
    EACH("utimensat, of a descriptor", syscall(SYS_utimensat, 0, 0, 0, bit));
    EACH("linkat", AFTER(syscall(SYS_linkat, AT_FDCWD, "file", AT_FDCWD, "new", bit), unlink("new")));
    EACH("unlinkat", unlinkat(AT_FDCWD, "missing", bit));
    EACH("unlinkat, directory", AFTER(unlinkat(AT_FDCWD, "dir", bit | AT_REMOVEDIR), mkdir("dir", 0700)));
    EACH("newfstatat", syscall(SYS_newfstatat, AT_FDCWD, "file", &status, bit));
    EACH("statx", syscall(SYS_statx, AT_FDCWD, "file", bit, 0, room));
    EACH("statx, mask", syscall(SYS_statx, AT_FDCWD, "file", 0, bit, room));
    EACH("statx, two kinds of synchronisation", syscall(SYS_statx, AT_FDCWD, "file", bit | 0x2000, 0, room));
    for (unsigned flags = 0; flags < 32; flags++) {
        if (flags == 4 || flags == 5)
            continue;
        close(open("one", O_CREAT | O_RDWR, 0600));
        close(open("two", O_CREAT | O_RDWR, 0600));
        note(syscall(SYS_renameat2, AT_FDCWD, "one", AT_FDCWD, "two", flags), 1ul << flags);
    }
    show("renameat2, flags together");
    EACH_OF("renameat2, bits", 32, 4, syscall(SYS_renameat2, AT_FDCWD, "missing", AT_FDCWD, "two", bit));
    EACH_OF("execveat", 32, 0x10000, syscall(SYS_execveat, AT_FDCWD, "missing", 0, 0, bit));
    EACH_OF("mknodat", 32, S_IFCHR | S_IFBLK | S_IFSOCK,
            AFTER(syscall(SYS_mknodat, AT_FDCWD, "node", bit | 0600, 0), unlink("node")));
    EACH("mkdirat", AFTER(syscall(SYS_mkdirat, AT_FDCWD, "made", bit), rmdir("made")));
    int in = open("file", O_RDWR), out = open("two", O_RDWR);
    write(in, "some bytes", 10);
    EACH("copy_file_range", syscall(SYS_copy_file_range, in, 0, out, 0, 1, bit));
    EACH("sync_file_range", syscall(SYS_sync_file_range, in, 0, 0, bit));
    EACH_OF("fallocate", 32, 0x8 | 0x20 | 0x40 | 0x10 | 0x3, syscall(SYS_fallocate, in, bit, 0, 4096));
    for (int whence = 0; whence < 32; whence++)
        if (whence != 3 && whence != 4)
            note(lseek(in, 0, whence), 1ul << whence);
    show("lseek");
    for (int advice = 0; advice < 32; advice++)
        note(syscall(SYS_fadvise64, in, 0, 0, advice), 1ul << advice);
    show("fadvise64");
    EACH("flock", flock(in, bit | LOCK_NB));
    flock(in, LOCK_UN);
    char byte;
    struct iovec vector = {&byte, 1};
    EACH_OF("preadv2", 32, 0x1e8, syscall(SYS_preadv2, in, &vector, 1, 0, 0, bit));
    EACH_OF("pwritev2", 32, 0x1e8, syscall(SYS_pwritev2, in, &vector, 1, 0, 0, bit));
    close(in);
    close(out);
}

static void descriptors(void)
{
    int ends[2], other[2], one;
    unsigned long set = 1ul << (SIGUSR1 - 1);
    struct epoll_event event = {.events = EPOLLIN};
    EACH("epoll_create1", closing(syscall(SYS_epoll_create1, bit)));
    EACH("eventfd2", closing(syscall(SYS_eventfd2, 0, bit)));
    EACH("signalfd4", closing(syscall(SYS_signalfd4, -1, &set, 8, bit)));
    for (int clock = 0; clock < 16; clock++)
        if (clock != 8 && clock != 9)
            note(closing(syscall(SYS_timerfd_create, clock, 0)), 1ul << clock);
    show("timerfd_create, clock");
    EACH("timerfd_create", closing(syscall(SYS_timerfd_create, CLOCK_MONOTONIC, bit)));
    one = timerfd_create(CLOCK_REALTIME, 0);
    struct itimerspec times = {.it_value = {1000, 0}};
    EACH("timerfd_settime", syscall(SYS_timerfd_settime, one, bit, &times, 0));
    close(one);
    one = timerfd_create(CLOCK_MONOTONIC, 0);
    EACH("timerfd_settime, monotonic", syscall(SYS_timerfd_settime, one, bit, &times, 0));
    close(one);
    for (int i = 0; i < 32; i++) {
        if (1ul << i & (O_EXCL | O_DIRECT))
            continue;
        int result = syscall(SYS_pipe2, ends, 1ul << i);
        note(result, 1ul << i);
        if (!result)
            close(ends[0]), close(ends[1]);
    }
    show("pipe2");
    EACH("dup3", closing(syscall(SYS_dup3, 1, 100, bit)));
    EACH("close_range", syscall(SYS_close_range, 200, 300, bit));
    EACH_OF("memfd_create", 32, MFD_HUGETLB | 0x18, closing(syscall(SYS_memfd_create, "x", bit)));
    EACH("getrandom", syscall(SYS_getrandom, &set, 1, bit));
    pipe(ends), pipe(other);
    int epoll = epoll_create1(0);
    for (int op = 0; op < 32; op++)
        note(epoll_ctl(epoll, op, ends[0], &event), 1ul << op);
    show("epoll_ctl, operation");
    for (int i = 0; i < 32; i++) {
        event.events = 1u << i;
        note(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event), 1ul << i);
        epoll_ctl(epoll, EPOLL_CTL_DEL, ends[0], &event);
    }
    show("epoll_ctl, events");
    for (int i = 0; i < 32; i++) {
        event.events = EPOLLEXCLUSIVE | 1u << i;
        note(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event), 1ul << i);
        epoll_ctl(epoll, EPOLL_CTL_DEL, ends[0], &event);
    }
    show("epoll_ctl, exclusive");
    event.events = EPOLLIN | EPOLLEXCLUSIVE;
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
    note(epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &event), 1);
    event.events = EPOLLIN;
    note(epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &event), 2);
    int inner = epoll_create1(0);
    note(epoll_ctl(epoll, EPOLL_CTL_ADD, inner, &event), 4);
    event.events = EPOLLIN | EPOLLEXCLUSIVE;
    int third = epoll_create1(0);
    note(epoll_ctl(epoll, EPOLL_CTL_ADD, third, &event), 8);
    note(epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &event), 16);
    note(epoll_ctl(inner, EPOLL_CTL_ADD, epoll, &event), 32);
    event.events = EPOLLIN;
    note(epoll_ctl(inner, EPOLL_CTL_ADD, epoll, &event), 64);
    note(epoll_ctl(1, EPOLL_CTL_ADD, ends[0], &event), 128);
    note(epoll_ctl(epoll, EPOLL_CTL_ADD, 1000, &event), 256);
    note(epoll_ctl(epoll, EPOLL_CTL_ADD, open("file", O_RDONLY), &event), 512);
    note(epoll_ctl(epoll, EPOLL_CTL_DEL, ends[1], 0), 1024);
    note(epoll_ctl(epoll, EPOLL_CTL_MOD, ends[1], &event), 2048);
    note(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[1], 0), 4096);
    show("epoll_ctl, further");
    close(epoll), close(inner), close(third);
    write(ends[1], "12345678901234567890123456789012345678901234567890", 50);
    EACH("splice", syscall(SYS_splice, ends[0], 0, other[1], 0, 1, bit | SPLICE_F_NONBLOCK));
    EACH("tee", syscall(SYS_tee, ends[0], other[1], 1, bit | SPLICE_F_NONBLOCK));
    struct iovec vector = {"x", 1};
    EACH("vmsplice", syscall(SYS_vmsplice, other[1], &vector, 1, bit | SPLICE_F_NONBLOCK));
    EACH("process_vm_readv", syscall(SYS_process_vm_readv, getpid(), &vector, 0, &vector, 0, bit));
    for (int type = 0; type < 12; type++)
        if (type != 7)
            note(syscall(SYS_kcmp, getpid(), getpid(), type, 0, 0) , 1ul << type);
    show("kcmp");
    for (int i = 0; i < 32; i++)
        note(closing(socket(AF_UNIX, SOCK_STREAM | 1u << i, 0)), 1ul << i);
    show("socket");
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {AF_UNIX, "listener"};
    bind(listener, (void *)&address, sizeof address), listen(listener, 1);
    EACH("accept4", closing(syscall(SYS_accept4, listener, 0, 0, bit)));
    close(listener);
    for (int i = 0; i < 4; i++)
        close(i < 2 ? ends[i] : other[i - 2]);
}

static void memory(void)
{
    char *page = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *room = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 32; i++) {
        unsigned flag = 1u << i;
        if (flag & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_HUGETLB | 0x80))
            continue;
        void *at = mmap(0, 4096, PROT_READ, MAP_ANONYMOUS | MAP_PRIVATE | flag, -1, 0);
        note(at == MAP_FAILED ? -1 : 0, flag);
        if (at != MAP_FAILED)
            munmap(at, 4096);
    }
    show("mmap, private");
    int file = open("two", O_RDWR);
    ftruncate(file, 4096);
    for (int type = 0; type < 3; type++) {
        for (int i = 0; i < 32; i++) {
            unsigned flag = 1u << i;
            if (flag & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_HUGETLB | MAP_ANONYMOUS | 0x80 | MAP_SYNC))
                continue;
            void *at = mmap(0, 4096, PROT_READ, (type + 1) | flag, file, 0);
            note(at == MAP_FAILED ? -1 : 0, flag);
            if (at != MAP_FAILED)
                munmap(at, 4096);
        }
        show(type == 0 ? "mmap, file, shared" : type == 1 ? "mmap, file, private" : "mmap, file, validated");
    }
    close(file);
    for (int i = 0; i < 32; i++) {
        void *at = mmap(0, 4096, 1u << i, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
        note(at == MAP_FAILED ? -1 : 0, 1ul << i);
    }
    show("mmap, protection");
    EACH("mprotect", mprotect(room, 4096, bit));
    EACH("mremap", syscall(SYS_mremap, page, 4096, 4096, bit, room));
    EACH("mremap, moving", syscall(SYS_mremap, page + 4096, 4096, 4096, bit | MREMAP_MAYMOVE, room) == -1 ? -1 : 0);
    page = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EACH("mlock2", syscall(SYS_mlock2, page, 4096, bit));
    munlock(page, 4096);
    EACH_OF("mlockall", 32, 7, mlockall(bit));
    munlockall();
    EACH("msync", syscall(SYS_msync, page, 4096, bit));
    for (int advice = 0; advice < 64; advice++)
        if (advice != 12 && advice != 13 && advice != 24 && advice != 14 && advice != 15 && advice != 25)
            note(madvise(page, 4096, advice), 1ul << advice);
    show("madvise");
    for (int advice = 64; advice < 128; advice++)
        if (advice != 100 && advice != 101 && advice != 102 && advice != 103)
            note(madvise(page, 4096, advice), 1ul << (advice - 64));
    show("madvise, further");
    EACH("membarrier, flags", syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, bit, 0));
    EACH("get_mempolicy", syscall(SYS_get_mempolicy, 0, 0, 0, 0, bit));
    for (int mode = 0; mode < 16; mode++)
        if (mode == 0 || mode > 7)
            note(syscall(SYS_set_mempolicy, mode, 0, 0), 1ul << mode);
    show("set_mempolicy");
    EACH_OF("mbind", 32, 7, syscall(SYS_mbind, page, 4096, 0, 0, 0, bit));
}

static void processes(void)
{
    struct { unsigned size, policy; unsigned long flags; int nice; unsigned priority; unsigned long more[3];
             unsigned low, high, rest[16]; } attributes = {.size = 48};
    for (int i = 0; i < 64; i++) {
        attributes.flags = 1ul << i;
        if (attributes.flags & 0x64)
            continue;
        note(syscall(SYS_sched_setattr, 0, &attributes, 0), 1ul << i);
    }
    show("sched_setattr");
    attributes.flags = 0;
    EACH("sched_setattr, argument", syscall(SYS_sched_setattr, 0, &attributes, bit));
    EACH("sched_getattr", syscall(SYS_sched_getattr, 0, &attributes, 56, bit));
    for (unsigned size = 0; size < 64; size += 4)
        note(syscall(SYS_sched_getattr, 0, &attributes, size, 0), 1ul << size);
    show("sched_getattr, size");
    for (unsigned size = 0; size < 64; size += 4) {
        memset(&attributes, 0, sizeof attributes);
        attributes.size = size;
        note(syscall(SYS_sched_setattr, 0, &attributes, 0), 1ul << size);
    }
    show("sched_setattr, size");
    struct sched_param parameter = {0};
    for (int policy = 0; policy < 32; policy++)
        if (policy != SCHED_BATCH && policy != SCHED_IDLE && policy != 7)
            note(sched_setscheduler(0, policy, &parameter), 1ul << policy);
    show("sched_setscheduler");
    parameter.sched_priority = 0;
    EACH_OF("sched_setscheduler, bits", 32, 0x7f, sched_setscheduler(0, SCHED_OTHER | bit, &parameter));
    sched_setscheduler(0, SCHED_OTHER, &parameter);
    for (int policy = 0; policy < 16; policy++)
        if (policy != 7)
            note(sched_get_priority_max(policy), 1ul << policy);
    show("sched_get_priority_max");
    int status;
    EACH("wait4", syscall(SYS_wait4, -1, &status, bit, 0));
    siginfo_t info;
    EACH("waitid", syscall(SYS_waitid, P_ALL, 0, &info, bit, 0));
    EACH("waitid, exited", syscall(SYS_waitid, P_ALL, 0, &info, bit | WEXITED, 0));
    for (int type = 0; type < 16; type++)
        if (type != 3)
            note(syscall(SYS_waitid, type, 1 << 21, &info, WEXITED, 0), 1ul << type);
    show("waitid, type");
    struct rusage usage;
    for (int who = -3; who < 4; who++)
        note(getrusage(who, &usage), 1ul << (who + 3));
    show("getrusage");
    for (int which = 0; which < 8; which++)
        note(syscall(SYS_getpriority, which, 0), 1ul << which);
    show("getpriority");
    for (int resource = 0; resource < 32; resource++)
        note(syscall(SYS_prlimit64, 0, resource, 0, 0), 1ul << resource);
    show("prlimit64");
    struct timespec none = {0};
    for (int clock = 0; clock < 16; clock++)
        if (clock != 8 && clock != 9 && clock != 10)
            note(syscall(SYS_clock_gettime, clock, &none), 1ul << clock);
    show("clock_gettime");
    none = (struct timespec){0};
    EACH("clock_nanosleep", syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, bit, &none, 0));
    timer_t timer;
    timer_create(CLOCK_MONOTONIC, 0, &timer);
    struct itimerspec times = {0};
    EACH("timer_settime", timer_settime(timer, bit, &times, 0));
    timer_delete(timer);
    for (int i = 0; i < 16; i++) {
        struct sigevent event = {.sigev_notify = i, .sigev_signo = SIGUSR1};
        int kernel_timer;
        if (i == 4)
            continue;
        int result = syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &kernel_timer);
        note(result, 1ul << i);
        if (!result)
            syscall(SYS_timer_delete, kernel_timer);
    }
    show("timer_create, notification");
    for (int i = 0; i < 32; i++) {
        static char room[65536];
        stack_t stack = {room, 1 << i, sizeof room}, off = {0, SS_DISABLE, 0};
        note(sigaltstack(&stack, 0), 1ul << i);
        sigaltstack(&off, 0);
    }
    show("sigaltstack");
    unsigned long set = 0;
    for (int how = 0; how < 8; how++)
        note(syscall(SYS_rt_sigprocmask, how, &set, 0, 8), 1ul << how);
    show("rt_sigprocmask");
    for (int who = 0; who < 8; who++)
        note(syscall(SYS_getitimer, who, &times), 1ul << who);
    show("getitimer");
    unsigned word = 1;
    for (int operation = 0; operation < 32; operation++)
        if (operation < FUTEX_LOCK_PI || (operation > FUTEX_TRYLOCK_PI && operation < FUTEX_WAIT_REQUEUE_PI) ||
            operation > FUTEX_LOCK_PI2) {
            int waits = operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET;
            void *timeout = waits ? (void *)&none : (void *)1;
            note(syscall(SYS_futex, &word, operation, 0, timeout, &word, 0), 1ul << operation);
        }
    show("futex");
    note(syscall(SYS_futex, &word, FUTEX_REQUEUE, -1, 1, &word, 0), 1);
    note(syscall(SYS_futex, &word, FUTEX_REQUEUE, 1, -1, &word, 0), 2);
    note(syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE, 1, -1, &word, word), 4);
    note(syscall(SYS_futex, &word, FUTEX_WAKE, -1, 0, 0, 0), 8);
    show("futex, negative numbers");
    EACH_OF("futex, flags", 32, 0x7f, syscall(SYS_futex, &word, FUTEX_WAKE | bit, 0, 0, 0, 0));
    word = 1;
    EACH_OF("futex, wait, flags", 32, 0x7f, syscall(SYS_futex, &word, FUTEX_WAIT | bit, 0, 0, 0, 0));
    struct { unsigned long value, addr; unsigned flags, reserved; } waiter = {0, (long)&word, 2, 0};
    for (int i = 0; i < 32; i++) {
        waiter.flags = 1u << i;
        note(syscall(SYS_futex_waitv, &waiter, 1, 0, 0, 0), 1ul << i);
    }
    show("futex_waitv");
    waiter.flags = 2;
    EACH("futex_waitv, flags", syscall(SYS_futex_waitv, &waiter, 1, bit, 0, 0));
    EACH("membarrier", bit & 0x1e0 ? 0 : syscall(SYS_membarrier, bit, 0, 0));
}

int main(void)
{
    alarm(60);
    mkdtemp(directory);
    chdir(directory);
    files();
    descriptors();
    memory();
    processes();
    const char *left[] = {"file", "link", "one", "two", "listener"};
    for (int i = 0; i < 5; i++)
        unlink(left[i]);
    rmdir("dir");
    CHECK(rmdir(directory) == 0);
    return FINISH();
}
