// What calls that are about positions and ranges say of descriptors of each kind: pipes, sockets, devices, what epoll
// and its like are, /proc, files.
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void tell(const char *call, long long result)
{
    printf("  %s: %s\n", call, result < 0 ? strerrorname_np(errno) : result ? "some" : "0");
}

static void try(const char *name, int fd)
{
    char byte;
    int left;
    printf("%s\n", name);
    CHECK(fd >= 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    tell("SEEK_SET", lseek(fd, 3, SEEK_SET));
    tell("SEEK_CUR", lseek(fd, -1, SEEK_CUR));
    tell("SEEK_END", lseek(fd, 1, SEEK_END));
    tell("no whence", lseek(fd, 0, 5));
    lseek(fd, 0, SEEK_SET);
    tell("pread", pread(fd, &byte, 1, 0));
    tell("fsync", fsync(fd));
    tell("sync_file_range", sync_file_range(fd, 0, 0, 0));
    int error = posix_fadvise(fd, 0, 1, POSIX_FADV_WILLNEED);
    printf("  posix_fadvise: %s\n", error ? strerrorname_np(error) : "0");
    tell("readahead", readahead(fd, 0, 1));
    tell("fallocate", fallocate(fd, 0, 0, 1));
    if (strncmp(name, "/dev", 4) != 0 && strcmp(name, "epoll") != 0)
        tell("FIONREAD", ioctl(fd, FIONREAD, &left));
    tell("copy_file_range", copy_file_range(fd, NULL, fd, NULL, 1, 0));
    tell("F_GET_SEALS", fcntl(fd, F_GET_SEALS));
    close(fd);
}

// Copies within one file, whose ranges must not lie over each other.
static void copies(void)
{
    int fd = memfd_create("copies", MFD_CLOEXEC), other;
    char path[64], text[9] = {0};
    loff_t from = 0, to = 2;
    CHECK(write(fd, "abcd", 4) == 4);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CHECK((other = open(path, O_RDWR | O_CLOEXEC)) >= 0);
    CHECK(copy_file_range(fd, &from, fd, &to, 3, 0) == -1 && errno == EINVAL);
    CHECK(copy_file_range(fd, &from, other, &to, 3, 0) == -1 && errno == EINVAL);
    CHECK(copy_file_range(fd, &to, other, &from, 3, 0) == 2 && from == 2 && to == 4);
    // At the end there is nothing to copy, nor anything that lies over it.
    CHECK(copy_file_range(fd, NULL, fd, NULL, 8, 0) == 0);
    // The descriptor's position and another place.
    from = 0;
    CHECK(copy_file_range(fd, &from, fd, NULL, 4, 0) == 4);
    CHECK(pread(fd, text, 8, 0) == 8 && strcmp(text, "cdcdcdcd") == 0);
    from = INT64_MAX;
    CHECK(copy_file_range(fd, &from, fd, NULL, 4, 0) <= 0);
    close(other);
    CHECK((other = open(path, O_RDONLY | O_CLOEXEC)) >= 0);
    from = 0;
    CHECK(copy_file_range(fd, &from, other, NULL, 1, 0) == -1 && errno == EBADF);
    CHECK(fcntl(other, F_ADD_SEALS, F_SEAL_SEAL) == -1 && errno == EPERM);
}

int main(void)
{
    int pipes[2], sockets[2];
    sigset_t set;
    sigemptyset(&set);
    CHECK(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    try("pipe, to read", pipes[0]);
    try("pipe, to write", pipes[1]);
    try("socket", sockets[0]);
    try("eventfd", eventfd(1, EFD_CLOEXEC));
    try("timerfd", timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    try("signalfd", signalfd(-1, &set, SFD_CLOEXEC));
    try("epoll", epoll_create1(EPOLL_CLOEXEC));
    try("inotify", inotify_init1(IN_CLOEXEC));
    try("/dev/null", open("/dev/null", O_RDWR | O_CLOEXEC));
    try("/dev/zero", open("/dev/zero", O_RDWR | O_CLOEXEC));
    try("/dev/full", open("/dev/full", O_RDWR | O_CLOEXEC));
    try("/dev/urandom", open("/dev/urandom", O_RDWR | O_CLOEXEC));
    try("/proc/self/stat", open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
    try("/proc/self/comm", open("/proc/self/comm", O_RDWR | O_CLOEXEC));
    try("memfd", memfd_create("file_kinds", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    copies();
    return FINISH();
}
