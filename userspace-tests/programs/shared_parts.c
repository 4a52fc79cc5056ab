// Processes that share descriptors, working directory or dispositions (CLONE_FILES, CLONE_FS, CLONE_SIGHAND): each sees
// what another does to them. A program that one of them runs gets descriptors and dispositions of its own, and goes on
// sharing the directory. What is shared again can be left again, as often as one likes.
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/kcmp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static const char *self;

static pid_t copy(unsigned long flags)
{
    return syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
}

static void end(pid_t child, int expected)
{
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == expected);
}

static int is_open(int fd)
{
    return fcntl(fd, F_GETFD) != -1;
}

static void run(const char *part)
{
    execl("/proc/self/exe", self, part, NULL);
    _exit(8);
}

// Shares with a child, which leaves; and then leaves itself what another child has.
static void again(int generation)
{
    pid_t child = copy(CLONE_FILES | CLONE_FS);
    if (!child) {
        dup2(0, 110);
        CHECK(unshare(CLONE_FILES | CLONE_FS) == 0);
        CHECK(close(110) == 0 && chdir("/proc") == 0);
        umask(0);
        if (generation < 3)
            again(generation + 1);
        _exit(check_failures ? 1 : 7);
    }
    end(child, 7);
    char path[64];
    CHECK(is_open(110) && !strcmp(getcwd(path, sizeof path), generation ? "/proc" : "/"));
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    child = copy(CLONE_FILES | CLONE_FS);
    if (!child) {
        char byte;
        CHECK(read(pipes[0], &byte, 1) == 1);
        CHECK(is_open(110) && !strcmp(getcwd(path, sizeof path), generation ? "/proc" : "/"));
        _exit(check_failures ? 1 : 7);
    }
    CHECK(syscall(SYS_kcmp, getpid(), child, KCMP_FILES, 0, 0) == 0);
    CHECK(syscall(SYS_kcmp, getpid(), child, KCMP_FS, 0, 0) == 0);
    CHECK(syscall(SYS_close_range, 110, 110, CLOSE_RANGE_UNSHARE) == 0 && unshare(CLONE_FS) == 0);
    CHECK(syscall(SYS_kcmp, getpid(), child, KCMP_FILES, 0, 0) > 0);
    CHECK(syscall(SYS_kcmp, getpid(), child, KCMP_FS, 0, 0) > 0);
    CHECK(!is_open(110) && chdir("/dev") == 0 && write(pipes[1], "", 1) == 1);
    end(child, 7);
    CHECK(chdir(generation ? "/proc" : "/") == 0 && close(pipes[0]) == 0 && close(pipes[1]) == 0);
}

static int program(const char *part)
{
    struct sigaction action;
    if (!strncmp(part, "again", 5)) {
        again(0);
        // Its descriptors are what it has taken by being run; the next takes its own from these.
        pid_t child = part[5] ? copy(CLONE_FILES) : 0;
        if (part[5] && !child)
            run(part[5] == '2' ? "again1" : "again");
        if (child)
            end(child, 7);
        return check_failures ? 1 : 7;
    }
    if (!strcmp(part, "files")) {
        CHECK(is_open(100) && !is_open(101));
        CHECK(dup2(0, 102) == 102 && close(100) == 0);
    } else if (!strcmp(part, "directory")) {
        CHECK(chdir("/dev") == 0);
    } else if (!strcmp(part, "dispositions")) {
        CHECK(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
        CHECK(signal(SIGUSR2, SIG_IGN) == SIG_DFL);
    }
    return check_failures ? 1 : 7;
}

static void files(void)
{
    pid_t child = copy(CLONE_FILES);
    if (!child) {
        dup2(0, 100);
        dup3(0, 101, O_CLOEXEC);
        _exit(7);
    }
    end(child, 7);
    CHECK(is_open(100) && is_open(101));
    child = copy(CLONE_FILES);
    if (!child)
        run("files");
    end(child, 7);
    CHECK(is_open(100) && is_open(101) && !is_open(102));
    // Twice, and by those that share with whoever has shared.
    for (int i = 0; i < 2; i++) {
        child = copy(CLONE_FILES);
        if (!child) {
            pid_t other = copy(CLONE_FILES);
            if (!other)
                run("files");
            end(other, 7);
            dup2(0, 103);
            run("files");
        }
        end(child, 7);
        CHECK(is_open(100) && is_open(101) && !is_open(102) && is_open(103));
    }
    child = copy(CLONE_FILES);
    if (!child) {
        CHECK(unshare(CLONE_FILES) == 0);
        CHECK(is_open(100) && close(100) == 0 && dup2(0, 104) == 104);
        _exit(check_failures ? 1 : 7);
    }
    end(child, 7);
    CHECK(is_open(100) && !is_open(104));
}

static void directory(void)
{
    char path[64];
    CHECK(chdir("/") == 0);
    pid_t child = copy(CLONE_FS);
    if (!child)
        _exit(chdir("/proc") == 0 ? 7 : 8);
    end(child, 7);
    CHECK(!strcmp(getcwd(path, sizeof path), "/proc"));
    child = copy(CLONE_FS);
    if (!child)
        run("directory");
    end(child, 7);
    CHECK(!strcmp(getcwd(path, sizeof path), "/dev"));
}

static void handler(int number)
{
    (void)number;
}

static int handles(void *part)
{
    signal(SIGUSR1, handler);
    if (part)
        run(part);
    _exit(7);
}

static void dispositions(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    struct sigaction action;
    int flags = CLONE_VM | CLONE_SIGHAND | SIGCHLD;
    char *parts[] = {NULL, "dispositions"};
    for (int i = 0; i < 2; i++) {
        signal(SIGUSR1, SIG_DFL);
        end(clone(handles, stack + sizeof stack, flags, parts[i]), 7);
        CHECK(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == handler);
        CHECK(sigaction(SIGUSR2, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    }
    end(clone(handles, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL), 7);
}

static void refused(void)
{
    CHECK(copy(CLONE_SIGHAND) == -1 && errno == EINVAL);
    CHECK(copy(CLONE_VM | CLONE_THREAD) == -1 && errno == EINVAL);
    struct clone_args arguments = {.flags = CLONE_VM | CLONE_SIGHAND | CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD};
    CHECK(syscall(SYS_clone3, &arguments, sizeof arguments) == -1 && errno == EINVAL);
}

static pid_t again_by(const char *part)
{
    pid_t child = copy(CLONE_FILES | CLONE_FS);
    if (!child)
        run(part);
    return child;
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc > 1)
        return program(argv[1]);
    refused();
    files();
    directory();
    dispositions();
    CHECK(chdir("/") == 0);
    end(again_by("again2"), 7);
    return FINISH();
}
