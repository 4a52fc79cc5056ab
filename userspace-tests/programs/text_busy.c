// What runs is not written to, and what may be written to is not run: ETXTBSY, as long as either lasts.
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char directory[] = "/tmp/text-busy-XXXXXX";

static void copy_to(int to)
{
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat of;
    CHECK(from != -1 && fstat(from, &of) == 0 && sendfile(to, from, 0, of.st_size) == of.st_size);
    close(from);
}

// What a call that returns a descriptor, or 0, ends with.
static int error_of(int result)
{
    if (result > 0)
        close(result);
    return result < 0 ? errno : 0;
}

// Runs a program; with a pipe it ends when there is nothing left to read. What execve says, if it fails.
static int start(const char *path, int *input, pid_t *pid)
{
    int told[2], reads[2];
    CHECK(pipe2(told, O_CLOEXEC) == 0 && pipe2(reads, O_CLOEXEC) == 0);
    fflush(stdout);
    *pid = fork();
    if (*pid == 0) {
        dup2(reads[0], 0);
        char *arguments[] = {"text_busy", "child", 0};
        execve(path, arguments, environ);
        int error = errno;
        CHECK(write(told[1], &error, sizeof error) == sizeof error);
        _exit(0);
    }
    int error = 0;
    close(told[1]);
    close(reads[0]);
    CHECK(read(told[0], &error, sizeof error) != -1);
    close(told[0]);
    *input = reads[1];
    return error;
}

static void end(int input, pid_t pid)
{
    int status;
    close(input);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static int runs(const char *path)
{
    int input;
    pid_t pid;
    int error = start(path, &input, &pid);
    end(input, pid);
    return error;
}

static void what_runs(void)
{
    int input;
    pid_t pid;
    CHECK(start("program", &input, &pid) == 0);
    CHECK(error_of(open("program", O_WRONLY)) == ETXTBSY);
    CHECK(error_of(open("program", O_RDWR)) == ETXTBSY);
    CHECK(error_of(open("program", O_RDONLY | O_TRUNC)) == ETXTBSY);
    CHECK(error_of(open("program", O_RDWR | O_CREAT | O_TRUNC, 0777)) == ETXTBSY);
    CHECK(error_of(truncate("program", 0)) == ETXTBSY);
    CHECK(error_of(open("link", O_RDWR)) == ETXTBSY);
    CHECK(error_of(open("program", O_RDONLY)) == 0);
    CHECK(error_of(chmod("program", 0700)) == 0);
    // Neither does who runs it keep anybody from putting another in its place.
    CHECK(error_of(rename("program", "old")) == 0 && error_of(rename("old", "program")) == 0);
    // A second one that runs it.
    CHECK(runs("program") == 0 && error_of(open("program", O_RDWR)) == ETXTBSY);
    end(input, pid);
    CHECK(error_of(open("program", O_RDWR)) == 0);
    CHECK(error_of(open("/proc/self/exe", O_RDWR)) == ETXTBSY);
}

static void what_may_be_written(void)
{
    int writes = open("program", O_WRONLY | O_CLOEXEC);
    int again = dup(writes);
    CHECK(writes > 0 && runs("program") == ETXTBSY);
    close(writes);
    CHECK(runs("program") == ETXTBSY);
    close(again);
    CHECK(runs("program") == 0);
    // Who only truncates does not write any more.
    int reads = open("script", O_RDONLY | O_TRUNC | O_CLOEXEC);
    CHECK(reads > 0 && runs("script") == ENOEXEC);
    close(reads);
    // A mapping that is written to keeps it, a private one does not.
    int maps = open("program", O_RDWR | O_CLOEXEC);
    void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, maps, 0);
    CHECK(shared != MAP_FAILED && close(maps) == 0);
    CHECK(runs("program") == ETXTBSY);
    CHECK(munmap(shared, 4096) == 0);
    CHECK(runs("program") == 0);
    // What has no name was not opened.
    int memory = memfd_create("program", MFD_CLOEXEC);
    char path[64];
    copy_to(memory);
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    CHECK(runs(path) == 0);
}

// Once who waits hears of the end of a process, neither what it ran last is in use nor what it ran before.
static void what_has_ended(void)
{
    int input;
    pid_t pid;
    char path[64], text[64];
    siginfo_t info;
    CHECK(start("program", &input, &pid) == 0);
    close(input);
    CHECK(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0);
    CHECK(error_of(open("program", O_RDWR)) == 0);
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    CHECK(readlink(path, text, sizeof text) == -1 && errno == ENOENT);
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    int cmdline = open(path, O_RDONLY);
    CHECK(read(cmdline, text, sizeof text) == 0);
    close(cmdline);
    end(-1, pid);
    int other = open("other", O_WRONLY | O_CREAT | O_CLOEXEC, 0777);
    copy_to(other);
    close(other);
    for (int round = 0; round < 40; round++) {
        pid = fork();
        if (pid == 0) {
            execl("program", "text_busy", "onward", NULL);
            _exit(1);
        }
        end(-1, pid);
        CHECK(error_of(open("program", O_RDWR)) == 0 && error_of(open("other", O_RDWR)) == 0);
    }
    CHECK(unlink("other") == 0);
}

int main(int count, char **arguments)
{
    if (count > 1 && strcmp(arguments[1], "onward") == 0)
        execl("other", "text_busy", "end", NULL);
    if (count > 1 && strcmp(arguments[1], "end") == 0)
        return 0;
    if (count > 1 && strcmp(arguments[1], "child") == 0) {
        char byte;
        return read(0, &byte, 1) != 0;
    }
    CHECK(mkdtemp(directory) && chdir(directory) == 0);
    int program = open("program", O_WRONLY | O_CREAT, 0777), script = open("script", O_WRONLY | O_CREAT, 0777);
    copy_to(program);
    CHECK(close(program) == 0 && close(script) == 0 && link("program", "link") == 0);
    what_runs();
    what_may_be_written();
    what_has_ended();
    CHECK(unlink("program") == 0 && unlink("link") == 0 && unlink("script") == 0 && rmdir(directory) == 0);
    return FINISH();
}
