// inotify(7): which events come, in what order, under what names, for files, directories and all that is in them;
// what is refused; and how a descriptor with events is waited for.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "asleep.h"
#include "check.h"

static int fd;
static unsigned cookie_before;

static void print_mask(unsigned mask)
{
    static const char *const names[] = {
        "ACCESS", "MODIFY", "ATTRIB", "CLOSE_WRITE", "CLOSE_NOWRITE", "OPEN", "MOVED_FROM", "MOVED_TO",
        "CREATE", "DELETE", "DELETE_SELF", "MOVE_SELF", "?", "UNMOUNT", "Q_OVERFLOW", "IGNORED",
    };
    for (int bit = 0; bit < 16; bit++)
        if (mask & 1u << bit)
            printf(" %s", names[bit]);
    if (mask & IN_ISDIR)
        printf(" ISDIR");
}

// Prints and takes all events there are.
static void print(const char *title)
{
    _Alignas(struct inotify_event) char buf[8192];
    printf("%s:\n", title);
    for (;;) {
        ssize_t len = read(fd, buf, sizeof buf);
        if (len <= 0) {
            CHECK(len == -1 && errno == EAGAIN);
            return;
        }
        for (char *at = buf; at < buf + len;) {
            struct inotify_event *event = (void *)at;
            printf("  %d", event->wd);
            print_mask(event->mask);
            if (event->len)
                printf(" %s (%u)", event->name, event->len);
            if (event->cookie) {
                printf(event->cookie == cookie_before ? " same cookie" : " cookie");
                cookie_before = event->cookie;
            }
            printf("\n");
            at += sizeof *event + event->len;
        }
    }
}

static void make(const char *path)
{
    int file = open(path, O_CREAT | O_WRONLY, 0644);
    CHECK(file >= 0 && write(file, "text", 4) == 4 && write(file, "more", 4) == 4 && close(file) == 0);
}

static void *make_late(void *unused)
{
    until_asleep(getpid());
    make("late");
    return unused;
}

static void files_and_directories(void)
{
    char text[8];
    int directory = inotify_add_watch(fd, ".", IN_ALL_EVENTS);
    CHECK(directory == 1);
    make("a");
    print("made, written, closed");
    int watch = inotify_add_watch(fd, "a", IN_ALL_EVENTS);
    CHECK(watch == 2 && inotify_add_watch(fd, "./a", IN_ALL_EVENTS) == 2);
    int file = open("a", O_RDWR);
    CHECK(read(file, text, 4) == 4 && pread(file, text, 4, 0) == 4 && read(file, text, 0) == 0);
    print("read");
    CHECK(fchmod(file, 0600) == 0 && ftruncate(file, 2) == 0 && close(file) == 0);
    print("changed");
    CHECK(chmod("a", 0644) == 0 && truncate("a", 1) == 0 && utimensat(AT_FDCWD, "a", 0, 0) == 0);
    print("changed by path");
    CHECK(link("a", "b") == 0 && unlink("b") == 0);
    print("linked, unlinked");
    CHECK(rename("a", "long name of a file") == 0);
    print("renamed");
    file = open("long name of a file", O_RDONLY);
    CHECK(rename("long name of a file", "a") == 0 && read(file, text, 4) == 1 && close(file) == 0);
    print("renamed while open");
    make("c");
    print("another");
    CHECK(rename("c", "a") == 0);
    print("replaced");
    CHECK(unlink("a") == 0 && symlink("nowhere", "s") == 0 && unlink("s") == 0 && mkfifo("f", 0600) == 0);
    print("unlinked");
    CHECK(mkdir("d", 0755) == 0);
    int inner = inotify_add_watch(fd, "d", IN_ALL_EVENTS | IN_ONLYDIR);
    printf("inner %d\n", inner);
    make("d/x");
    CHECK(rename("d/x", "x") == 0 && rename("d", "e") == 0 && chmod("e", 0700) == 0);
    print("out of a directory");
    CHECK(renameat2(AT_FDCWD, "x", AT_FDCWD, "f", RENAME_EXCHANGE) == 0);
    print("exchanged");
    file = open("e", O_RDONLY | O_DIRECTORY);
    CHECK(close(file) == 0 && rmdir("e") == 0);
    print("removed");
    CHECK(inotify_rm_watch(fd, inner) == -1 && errno == EINVAL);
    CHECK(close(open("x", O_PATH)) == 0);
    print("without opening");
    CHECK(inotify_rm_watch(fd, directory) == 0 && unlink("x") == 0 && unlink("f") == 0);
    print("no more");
}

static void masks(void)
{
    make("m");
    int watch = inotify_add_watch(fd, "m", IN_OPEN);
    CHECK(inotify_add_watch(fd, "m", IN_MODIFY | IN_MASK_ADD) == watch);
    make("m");
    print("added");
    CHECK(inotify_add_watch(fd, "m", IN_CLOSE_WRITE) == watch);
    make("m");
    print("replaced");
    CHECK(inotify_add_watch(fd, "m", IN_OPEN | IN_MASK_CREATE) == -1 && errno == EEXIST);
    CHECK(inotify_add_watch(fd, "m", IN_OPEN | IN_MASK_CREATE | IN_MASK_ADD) == -1 && errno == EINVAL);
    CHECK(inotify_add_watch(fd, "m", IN_OPEN | IN_ONESHOT) == watch);
    make("m");
    make("m");
    print("once");
    CHECK(symlink("m", "l") == 0);
    int link = inotify_add_watch(fd, "l", IN_ALL_EVENTS | IN_DONT_FOLLOW);
    make("l");
    CHECK(unlink("l") == 0);
    print("a link");
    CHECK(inotify_add_watch(fd, "m", IN_OPEN | IN_ONLYDIR) == -1 && errno == ENOTDIR);
    CHECK(inotify_add_watch(fd, "none", IN_OPEN) == -1 && errno == ENOENT);
    CHECK(inotify_add_watch(fd, "m", 0) == -1 && errno == EINVAL);
    CHECK(inotify_add_watch(0, "m", IN_OPEN) == -1 && errno == EINVAL);
    CHECK(inotify_add_watch(99, "m", IN_OPEN) == -1 && errno == EBADF);
    CHECK(inotify_rm_watch(99, 1) == -1 && errno == EBADF);
    CHECK(inotify_rm_watch(0, 1) == -1 && errno == EINVAL);
    CHECK(inotify_rm_watch(fd, link) == -1 && errno == EINVAL);
    CHECK(inotify_init1(1) == -1 && errno == EINVAL);
    CHECK(unlink("m") == 0);
    print("nothing");
}

static void waiting(void)
{
    char buf[64];
    int ready, watch = inotify_add_watch(fd, ".", IN_CREATE);
    struct pollfd polled = {fd, POLLIN, 0};
    pthread_t thread;
    CHECK(poll(&polled, 1, 0) == 0 && ioctl(fd, FIONREAD, &ready) == 0 && ready == 0);
    CHECK(read(fd, buf, 1) == -1 && errno == EAGAIN);
    make("1");
    make("name of sixteen.");
    CHECK(poll(&polled, 1, 0) == 1 && polled.revents == POLLIN);
    CHECK(ioctl(fd, FIONREAD, &ready) == 0 && ready == 16 + 16 + 16 + 32);
    CHECK(read(fd, buf, 31) == -1 && errno == EINVAL);
    CHECK(read(fd, buf, 40) == 32 && ioctl(fd, FIONREAD, &ready) == 0 && ready == 48);
    CHECK(write(fd, buf, 1) == -1 && errno == EBADF);
    print("the rest");
    int epoll = epoll_create1(0);
    struct epoll_event event = {EPOLLIN | EPOLLET, {.fd = fd}};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 && epoll_wait(epoll, &event, 1, 0) == 0);
    CHECK(unlink("1") == 0 && pthread_create(&thread, 0, make_late, 0) == 0);
    CHECK(epoll_wait(epoll, &event, 1, 10000) == 1 && event.events == EPOLLIN);
    pthread_join(thread, 0);
    print("late");
    CHECK(unlink("late") == 0);
    CHECK(fcntl(fd, F_SETFL, 0) == 0 && pthread_create(&thread, 0, make_late, 0) == 0);
    CHECK(read(fd, buf, sizeof buf) == 32);
    pthread_join(thread, 0);
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && inotify_rm_watch(fd, watch) == 0);
    CHECK(unlink("late") == 0 && unlink("name of sixteen.") == 0);
    print("end");
}

// More events than are kept until they are read.
static void overflow(void)
{
    _Alignas(struct inotify_event) char buf[8192];
    int limit = 0, count = 0, watch = inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE);
    struct inotify_event *event = 0;
    FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    CHECK(file && fscanf(file, "%d", &limit) == 1 && fclose(file) == 0);
    for (int n = 0; n < limit / 2 + 10; n++)
        CHECK(mknod("o", S_IFREG | 0600, 0) == 0 && unlink("o") == 0);
    for (ssize_t len; (len = read(fd, buf, sizeof buf)) > 0;)
        for (char *at = buf; at < buf + len; at += sizeof *event + event->len, count++)
            event = (void *)at;
    CHECK(count == limit + 1 && event->mask == IN_Q_OVERFLOW && event->wd == -1 && event->len == 0);
    CHECK(mknod("o", S_IFREG | 0600, 0) == 0 && unlink("o") == 0 && inotify_rm_watch(fd, watch) == 0);
    print("after an overflow");
}

int main(void)
{
    char path[] = "/tmp/inotify.XXXXXX";
    CHECK(mkdtemp(path) && chdir(path) == 0);
    fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
    files_and_directories();
    masks();
    waiting();
    overflow();
    CHECK(chdir("/") == 0 && rmdir(path) == 0 && close(fd) == 0);
    int plain = inotify_init();
    CHECK(plain >= 0 && fcntl(plain, F_GETFL) == O_RDONLY && close(plain) == 0);
    return FINISH();
}
