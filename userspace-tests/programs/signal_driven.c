// Signal-driven I/O: who owns an open file description (F_SETOWN, F_SETOWN_EX, FIOSETOWN), what it is sent and when
// (F_SETSIG, O_ASYNC, FIOASYNC) by pipes, sockets, terminals, inotify; directories that tell of themselves (F_NOTIFY).
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static sigset_t all;

// Prints and takes the signals that are pending.
static void print(const char *what)
{
    siginfo_t info;
    struct timespec none = {0, 0};
    printf("%s:", what);
    for (int signal; (signal = sigtimedwait(&all, &info, &none)) > 0;) {
        if (signal >= SIGRTMIN)
            printf(" RT+%d", signal - SIGRTMIN);
        else
            printf(" %s", sigabbrev_np(signal));
        if (info.si_code == SI_KERNEL)
            printf(" (kernel)");
        else
            printf(" (code %d band %#lx fd %d)", info.si_code, info.si_band, info.si_fd);
    }
    printf("\n");
}

static void say(const char *what, int result)
{
    if (result == -1)
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %d\n", what, result);
}

static void async(int fd, int on)
{
    int flags = fcntl(fd, F_GETFL);
    CHECK(fcntl(fd, F_SETFL, on ? flags | O_ASYNC : flags & ~O_ASYNC) == 0);
    CHECK(!(fcntl(fd, F_GETFL) & O_ASYNC) == !on);
}

static void owners(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    say("no owner", fcntl(ends[0], F_GETOWN));
    say("no signal", fcntl(ends[0], F_GETSIG));
    CHECK(fcntl(ends[0], F_SETOWN, getpid()) == 0);
    printf("owned by us: %d, the other end: %d\n", fcntl(ends[0], F_GETOWN) == getpid(), fcntl(ends[1], F_GETOWN));
    CHECK(fcntl(ends[0], F_SETOWN, -getpgrp()) == 0);
    // Small groups' negative numbers would look like an error to glibc: it asks with F_GETOWN_EX.
    struct f_owner_ex owner;
    CHECK(fcntl(ends[0], F_GETOWN_EX, &owner) == 0);
    printf("by our group: %d\n", owner.type == F_OWNER_PGRP && owner.pid == getpgrp());
    owner = (struct f_owner_ex){F_OWNER_TID, gettid()};
    CHECK(fcntl(ends[0], F_SETOWN_EX, &owner) == 0);
    owner = (struct f_owner_ex){0, 0};
    CHECK(fcntl(ends[0], F_GETOWN_EX, &owner) == 0 && owner.type == F_OWNER_TID && owner.pid == gettid());
    CHECK(fcntl(ends[0], F_SETOWN, 0) == 0);
    say("by nobody", fcntl(ends[0], F_GETOWN));
    say("a process that is not there", fcntl(ends[0], F_SETOWN, 4000000));
    say("a group that is not there", fcntl(ends[0], F_SETOWN, -4000000));
    say("the smallest number", fcntl(ends[0], F_SETOWN, INT_MIN));
    owner = (struct f_owner_ex){7, getpid()};
    say("a type that is not there", fcntl(ends[0], F_SETOWN_EX, &owner));
    say("a bad pointer", fcntl(ends[0], F_SETOWN_EX, (void *)8));
    say("signal 65", fcntl(ends[0], F_SETSIG, 65));
    say("signal -1", fcntl(ends[0], F_SETSIG, -1));
    say("signal 40", fcntl(ends[0], F_SETSIG, 40));
    say("is", fcntl(ends[0], F_GETSIG));
    uid_t users[2] = {77, 77};
    CHECK(fcntl(ends[0], F_SETOWN, getpid()) == 0);
    CHECK(syscall(SYS_fcntl, ends[0], 17 /* F_GETOWNER_UIDS */, users) == 0);
    printf("users: %d\n", users[0] == getuid() && users[1] == geteuid());
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    CHECK(fcntl(ends[0], F_SETOWN, child) == 0);
    CHECK(waitpid(child, NULL, 0) == child);
    say("by one that has ended", fcntl(ends[0], F_GETOWN));
    int path = open("/tmp", O_PATH);
    say("O_PATH", fcntl(path, F_GETOWN));
    close(path);
    close(ends[0]);
    close(ends[1]);
}

static void pipes(void)
{
    int ends[2], on = 1, off = 0;
    char buf[65536];
    CHECK(pipe2(ends, O_NONBLOCK) == 0);
    async(ends[0], 1);
    CHECK(write(ends[1], "a", 1) == 1);
    print("without an owner");
    CHECK(fcntl(ends[0], F_SETOWN, getpid()) == 0);
    CHECK(write(ends[1], "b", 1) == 1);
    print("written");
    CHECK(fcntl(ends[0], F_SETSIG, SIGRTMIN + 3) == 0);
    CHECK(write(ends[1], "c", 1) == 1 && write(ends[1], "d", 1) == 1);
    print("twice, with a signal");
    CHECK(fcntl(ends[0], F_SETSIG, SIGIO) == 0);
    CHECK(write(ends[1], "e", 1) == 1);
    print("SIGIO with information");
    CHECK(read(ends[0], buf, sizeof buf) == 5);
    print("read");
    async(ends[0], 0);
    CHECK(write(ends[1], "f", 1) == 1);
    print("off");
    CHECK(ioctl(ends[0], FIOASYNC, &on) == 0);
    int other = fcntl(ends[0], F_DUPFD, 50);
    CHECK(write(ends[1], "g", 1) == 1);
    print("FIOASYNC, and a second descriptor");
    close(ends[0]);
    CHECK(write(ends[1], "h", 1) == 1);
    print("the first one closed");
    CHECK(ioctl(other, FIOASYNC, &off) == 0 && !(fcntl(other, F_GETFL) & O_ASYNC));
    CHECK(write(ends[1], "i", 1) == 1);
    print("FIOASYNC off");
    async(other, 1);
    close(ends[1]);
    print("the writer gone");
    close(other);

    CHECK(pipe2(ends, O_NONBLOCK) == 0);
    CHECK(fcntl(ends[1], F_SETOWN, getpid()) == 0 && fcntl(ends[1], F_SETSIG, SIGRTMIN) == 0);
    async(ends[1], 1);
    while (write(ends[1], buf, 4096) > 0)
        ;
    print("full");
    CHECK(read(ends[0], buf, sizeof buf) == sizeof buf);
    print("empty again");
    close(ends[0]);
    close(ends[1]);
    print("closed");
}

static void sockets(void)
{
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    int self = getpid();
    say("FIOSETOWN", ioctl(pair[0], FIOSETOWN, &self));
    int owner = 0;
    CHECK(ioctl(pair[0], SIOCGPGRP, &owner) == 0 && owner == self);
    CHECK(fcntl(pair[0], F_SETSIG, SIGRTMIN + 1) == 0);
    async(pair[0], 1);
    CHECK(write(pair[1], "x", 1) == 1);
    print("a socket's message");
    async(pair[0], 0);
    close(pair[0]);
    close(pair[1]);
    int ends[2];
    CHECK(pipe(ends) == 0);
    say("FIOSETOWN of a pipe", ioctl(ends[0], FIOSETOWN, &self));
    close(ends[0]);
    close(ends[1]);
}

static int cannot(int fd)
{
    int on = 1;
    int result = ioctl(fd, FIOASYNC, &on);
    return result == -1 ? errno : 0;
}

static void others(void)
{
    int queue = inotify_init1(IN_NONBLOCK);
    CHECK(inotify_add_watch(queue, ".", IN_CREATE) > 0);
    CHECK(fcntl(queue, F_SETOWN, getpid()) == 0 && fcntl(queue, F_SETSIG, SIGRTMIN + 2) == 0);
    async(queue, 1);
    close(creat("new", 0600));
    print("an instance of inotify");
    close(queue);
    unlink("new");

    int master = posix_openpt(O_RDWR | O_NOCTTY);
    CHECK(grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    CHECK(fcntl(slave, F_SETSIG, SIGRTMIN + 4) == 0);
    async(slave, 1);
    printf("a terminal without an owner is ours: %d\n", fcntl(slave, F_GETOWN) == getpid());
    CHECK(write(master, "line\n", 5) == 5);
    siginfo_t info;
    struct timespec some = {20, 0};
    CHECK(sigtimedwait(&all, &info, &some) == SIGRTMIN + 4 && info.si_code == POLL_IN && info.si_fd == slave);
    close(slave);
    close(master);

    int event = eventfd(0, 0), poll = epoll_create1(0), file = open("plain", O_RDWR | O_CREAT, 0600);
    printf("FIOASYNC of an eventfd %d, epoll %d, a file %d\n", cannot(event), cannot(poll), cannot(file));
    CHECK(fcntl(file, F_SETFL, O_ASYNC) == 0 && !(fcntl(file, F_GETFL) & O_ASYNC));
    close(event);
    close(poll);
    close(file);
}

static void *thread(void *at)
{
    int *fds = at;
    struct f_owner_ex owner = {F_OWNER_TID, gettid()};
    CHECK(fcntl(fds[0], F_SETOWN_EX, &owner) == 0);
    CHECK(write(fds[1], "x", 1) == 1);
    print("the thread");
    return NULL;
}

static void recipients(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    CHECK(fcntl(ends[0], F_SETSIG, SIGRTMIN + 5) == 0);
    async(ends[0], 1);
    pthread_t id;
    pthread_create(&id, NULL, thread, ends);
    pthread_join(id, NULL);
    print("and not the process");
    // A child in a group of its own.
    int ready[2];
    CHECK(pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        CHECK(write(ready[1], "", 1) == 1);
        siginfo_t info;
        struct timespec some = {60, 0};
        _exit(sigtimedwait(&all, &info, &some) - SIGRTMIN);
    }
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1);
    CHECK(fcntl(ends[0], F_SETOWN, -child) == 0);
    CHECK(write(ends[1], "x", 1) == 1);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    printf("the group's: RT+%d\n", WEXITSTATUS(status));
    close(ends[0]);
    close(ends[1]);
}

static void directories(void)
{
    CHECK(mkdir("dir", 0700) == 0 && mkdir("elsewhere", 0700) == 0);
    close(creat("dir/there", 0600));
    int dir = open("dir", O_RDONLY | O_DIRECTORY);
    CHECK(fcntl(dir, F_SETSIG, SIGRTMIN + 6) == 0);
    say("F_NOTIFY", fcntl(dir, F_NOTIFY, DN_CREATE | DN_DELETE | DN_MULTISHOT));
    printf("owned by us: %d\n", fcntl(dir, F_GETOWN) == getpid());
    int file = creat("dir/new", 0600);
    print("created");
    CHECK(write(file, "x", 1) == 1);
    print("modified, which is not asked for");
    CHECK(rename("dir/new", "elsewhere/new") == 0);
    print("moved away");
    CHECK(rename("elsewhere/new", "dir/new") == 0);
    print("moved back");
    CHECK(unlink("dir/new") == 0);
    print("deleted");
    CHECK(fcntl(dir, F_NOTIFY, 0) == 0);
    close(creat("dir/new", 0600));
    print("ended");
    CHECK(fcntl(dir, F_NOTIFY, DN_MODIFY | DN_ATTRIB) == 0);
    close(file);
    file = creat("elsewhere/other", 0600);
    CHECK(write(file, "x", 1) == 1);
    close(file);
    print("modified elsewhere");
    file = open("dir/there", O_WRONLY);
    CHECK(chmod("dir/there", 0644) == 0);
    print("attributes");
    CHECK(write(file, "x", 1) == 1);
    print("once only");
    CHECK(fcntl(dir, F_NOTIFY, DN_RENAME | DN_MULTISHOT) == 0);
    CHECK(rename("dir/new", "dir/newer") == 0);
    print("renamed");
    CHECK(rename("dir/newer", "elsewhere/newer") == 0);
    print("moved, which is no renaming");
    CHECK(fcntl(dir, F_NOTIFY, DN_ACCESS) == 0);
    CHECK(rename("elsewhere/newer", "dir/newer") == 0 && rename("dir/newer", "dir/newest") == 0);
    print("what was asked for before, too");
    int copy = dup(dir);
    close(copy);
    CHECK(rename("dir/newest", "dir/new") == 0);
    print("ended when any descriptor of it is closed");
    CHECK(fcntl(dir, F_NOTIFY, DN_CREATE | DN_MULTISHOT) == 0);
    CHECK(fcntl(dir, F_SETSIG, 0) == 0);
    CHECK(mkdir("dir/sub", 0700) == 0);
    print("a directory, by SIGIO");
    close(creat("dir/sub/deep", 0600));
    print("deeper down");
    say("of a file", fcntl(file, F_NOTIFY, DN_ACCESS));
    say("of a file, ended", fcntl(file, F_NOTIFY, 0));
    close(dir);
    CHECK(unlink("dir/sub/deep") == 0 && rmdir("dir/sub") == 0);
    close(creat("dir/last", 0600));
    print("closed");
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    char path[] = "/tmp/signal_drivenXXXXXX";
    CHECK(mkdtemp(path) && chdir(path) == 0);
    sigemptyset(&all);
    sigaddset(&all, SIGIO);
    for (int signal = SIGRTMIN; signal <= SIGRTMIN + 6; signal++)
        sigaddset(&all, signal);
    sigprocmask(SIG_BLOCK, &all, NULL);
    owners();
    pipes();
    sockets();
    others();
    recipients();
    directories();
    return FINISH();
}
