// What calls on files refuse, and in which order they look: limits on sizes (RLIMIT_FSIZE), set-group-ID bits, device
// nodes, directories that are gone, memory that is locked.
// cpus: 1
// linux: as root
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

enum { USER = 1000, GROUP = 1001, OTHER = 1002 };

static int signals;

static void count(int signal)
{
    signals += signal == SIGXFSZ;
}

static long show(const char *call, long result)
{
    if (result == -1)
        printf("  %-62s %s", call, strerrorname_np(errno));
    else
        printf("  %-62s %ld", call, result);
    printf(signals ? ", SIGXFSZ\n" : "\n");
    signals = 0;
    return result;
}

#define SHOW(call) show(#call, call)

static void sizes(void)
{
    puts("sizes");
    static char bytes[8192];
    int fd = open("limited", O_CREAT | O_RDWR, 0600);
    int end = open("limited", O_WRONLY | O_APPEND);
    int other = open("other", O_CREAT | O_RDWR, 0600);
    int pipes[2];
    CHECK(!pipe(pipes) && write(pipes[1], bytes, 100) == 100);
    CHECK(write(other, bytes, 5000) == 5000 && !lseek(other, 0, SEEK_SET));
    signal(SIGXFSZ, count);
    struct rlimit limit = {4096, RLIM_INFINITY};
    CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
    SHOW(write(fd, bytes, 4000));
    SHOW(write(fd, bytes, 4000));
    SHOW(write(fd, bytes, 1));
    SHOW(write(fd, bytes, 0));
    SHOW(write(end, bytes, 1));
    SHOW(pwrite(fd, bytes, 8192, 0));
    SHOW(pwrite(fd, bytes, 1, 4096));
    struct iovec two[2] = {{bytes, 3000}, {bytes, 3000}};
    SHOW(pwritev(fd, two, 2, 0));
    SHOW(ftruncate(fd, 4097));
    SHOW(truncate("limited", 8192));
    SHOW(ftruncate(fd, 4096));
    SHOW(fallocate(fd, 0, 0, 4097));
    SHOW(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096));
    SHOW(ftruncate(fd, 100));
    SHOW(lseek(fd, 4000, SEEK_SET));
    SHOW(sendfile(fd, other, NULL, 96));
    SHOW(sendfile(fd, other, NULL, 10));
    SHOW(lseek(fd, 4096, SEEK_SET));
    SHOW(splice(pipes[0], NULL, fd, NULL, 100, 0));
    // What is large already may be cut, and written to.
    limit.rlim_cur = 10;
    CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
    SHOW(ftruncate(fd, 50));
    SHOW(pwrite(fd, bytes, 20, 5));
    int null = open("/dev/null", O_WRONLY);
    SHOW(write(null, bytes, 100));
    SHOW(write(pipes[1], bytes, 100));
    limit.rlim_cur = limit.rlim_max;
    CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
    close(fd), close(end), close(other), close(null), close(pipes[0]), close(pipes[1]);
}

static void order(void)
{
    puts("order");
    char bytes[200];
    int pipes[2];
    CHECK(!pipe(pipes));
    struct iovec one = {bytes, 1};
    SHOW(pread(pipes[1], bytes, 1, 0));
    SHOW(pwrite(pipes[0], bytes, 1, 0));
    SHOW(pwritev2(pipes[0], &one, 1, 0, 0));
    int readable = open("order", O_CREAT | O_RDONLY, 0600);
    int writable = open("order", O_WRONLY);
    SHOW(sendfile(readable, readable, NULL, 1));
    SHOW(sendfile(writable, writable, NULL, 1));
    SHOW(sendfile(readable, pipes[0], NULL, 1));
    SHOW(readlink("", bytes, sizeof bytes));
    SHOW(readlink("order", bytes, sizeof bytes));
    SHOW(readlinkat(readable, "", bytes, sizeof bytes));
    int null = open("/dev/null", O_RDWR);
    SHOW(fsync(null));
    SHOW(fdatasync(null));
    SHOW(sync_file_range(null, 0, 1, SYNC_FILE_RANGE_WAIT_AFTER));
    SHOW(fsync(pipes[1]));
    SHOW(sync_file_range(pipes[1], 0, 1, 0));
    SHOW(sync_file_range(readable, 0, 1, SYNC_FILE_RANGE_WRITE));
    CHECK(!mkdir("gone", 0700));
    int gone = open("gone", O_RDONLY | O_DIRECTORY);
    CHECK(!rmdir("gone"));
    SHOW(syscall(SYS_getdents64, gone, bytes, sizeof bytes));
    SHOW(fsync(gone));
    close(gone), close(null), close(readable), close(writable), close(pipes[0]), close(pipes[1]);
}

static mode_t mode(const char *path)
{
    struct stat of;
    return stat(path, &of) ? 0 : of.st_mode;
}

static gid_t group(const char *path)
{
    struct stat of;
    return stat(path, &of) ? (gid_t)-1 : of.st_gid;
}

/// As a user who is not in the directory's group.
static void groups_of_user(void)
{
    CHECK(!setresgid(OTHER, OTHER, OTHER) && !setresuid(USER, USER, USER));
    umask(0);
    int fd = open("team/program", O_CREAT | O_RDWR, 02775);
    int plain = open("team/plain", O_CREAT | O_RDWR, 02644);
    CHECK(!mkdir("team/below", 02775) && !mknod("team/fifo", S_IFIFO | 02770, 0));
    printf("  %o %o %o %o\n", mode("team/program"), mode("team/plain"), mode("team/below"), mode("team/fifo"));
    printf("  %u %u %u\n", group("team/program"), group("team/below"), group("team/fifo"));
    SHOW(fchmod(fd, 02770));
    printf("  %o\n", mode("team/program"));
    SHOW(mknod("device", S_IFCHR | 0600, makedev(1, 3)));
    SHOW(mknod("team/none", S_IFCHR | 0600, 0));
    SHOW(mknod("team/socket", S_IFSOCK | 0600, 0));
    SHOW(mknod("team/wrong", S_IFLNK | 0600, 0));
    SHOW(mknod("team/none", S_IFCHR | 0600, makedev(1, 3)));
    close(fd), close(plain);
    exit(check_failures);
}

static void groups(void)
{
    puts("groups");
    fflush(stdout);
    CHECK(!mkdir("team", 0777) && !chown("team", 0, GROUP) && !chmod("team", 02777));
    pid_t child = fork();
    if (!child)
        groups_of_user();
    int status;
    CHECK(waitpid(child, &status, 0) == child && !status);
    // Root may keep them, but for who runs a program.
    umask(0);
    int fd = open("team/of_root", O_CREAT | O_RDWR, 06755);
    printf("  %o\n", mode("team/of_root"));
    SHOW(fchown(fd, USER, -1));
    printf("  %o\n", mode("team/of_root"));
    SHOW(fchmod(fd, 02644));
    SHOW(fchown(fd, 0, OTHER));
    printf("  %o\n", mode("team/of_root"));
    close(fd);
}

static void devices(void)
{
    puts("devices");
    char bytes[4] = "xyz";
    struct stat of;
    SHOW(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
    SHOW(mknod("zero", S_IFCHR | 0600, makedev(1, 5)));
    SHOW(mknod("nobody", S_IFCHR | 0600, makedev(300, 70000)));
    SHOW(mknod("disk", S_IFBLK | 0600, makedev(1, 3)));
    SHOW(mknod("null", S_IFCHR | 0600, makedev(1, 3)));
    CHECK(!stat("nobody", &of));
    printf("  %o %u %u\n", of.st_mode, major(of.st_rdev), minor(of.st_rdev));
    int null = open("null", O_RDWR), zero = open("zero", O_RDONLY);
    SHOW(write(null, bytes, 3));
    SHOW(read(null, bytes, 3));
    SHOW(read(zero, bytes, 3));
    CHECK(!bytes[0] && !bytes[2]);
    SHOW(open("nobody", O_RDONLY));
    SHOW(unlink("disk"));
    close(null), close(zero);
}

static void locked(void)
{
    puts("locked");
    unsigned char there[3] = {0};
    int fd = open("mapped", O_CREAT | O_RDWR, 0600);
    CHECK(!ftruncate(fd, 3 * 4096));
    char *at = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *file = mmap(NULL, 3 * 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED && file != MAP_FAILED);
    SHOW(mlock(at + 4096 + 5, 4096));
    CHECK(!mincore(at, 3 * 4096, there));
    printf("  %d %d %d\n", there[0] & 1, there[1] & 1, there[2] & 1);
    SHOW(madvise(at, 3 * 4096, MADV_DONTNEED));
    SHOW(madvise(at, 4096, MADV_DONTNEED));
    SHOW(munlock(at, 3 * 4096));
    SHOW(madvise(at, 3 * 4096, MADV_DONTNEED));
    SHOW(mlock(file, 4096));
    SHOW(msync(file, 3 * 4096, MS_SYNC | MS_INVALIDATE));
    SHOW(msync(file, 3 * 4096, MS_SYNC));
    SHOW(madvise(file, 4096, MADV_REMOVE));
    pid_t child = fork();
    if (!child)
        _exit(msync(file, 4096, MS_SYNC | MS_INVALIDATE) ? errno : 0);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    printf("  a child: %d\n", status);
    SHOW(munlock(file, 4096));
    SHOW(msync(file, 3 * 4096, MS_SYNC | MS_INVALIDATE));
    munmap(at, 4096);
    SHOW(mlock(at, 2 * 4096));
    SHOW(munlock(at, 2 * 4096));
    SHOW(mlock2(at + 4096, 4096, MLOCK_ONFAULT));
    SHOW(mlock2(at + 4096, 4096, 2));
    close(fd);
}

static void watched(void)
{
    puts("watched");
    int fd = inotify_init1(IN_NONBLOCK);
    CHECK(inotify_add_watch(fd, ".", IN_MODIFY | IN_ONESHOT) == 1);
    struct stat of;
    CHECK(!stat(".", &of));
    char path[64], line[200];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *info = fopen(path, "r");
    int wd, mask;
    unsigned long ino;
    unsigned sdev;
    while (fgets(line, sizeof line, info))
        if (sscanf(line, "inotify wd:%x ino:%lx sdev:%x mask:%x", &wd, &ino, &sdev, &mask) == 4)
            printf("  %d %d %x\n", wd, ino == of.st_ino, mask);
    fclose(info);
    close(fd);
}

int main(void)
{
    char directory[] = "/tmp/edges-XXXXXX";
    CHECK(mkdtemp(directory) && !chdir(directory) && !chmod(directory, 0777));
    sizes();
    order();
    groups();
    devices();
    locked();
    watched();
    return FINISH();
}
