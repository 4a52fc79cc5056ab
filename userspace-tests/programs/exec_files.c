// Programs by descriptors, with and without a name: fexecve, memory files, what is removed or exchanged after its start;
// and what /proc/self/exe says of each, and leads to.
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char directory[] = "/tmp/exec-files-XXXXXX";

static int copy_to(int to)
{
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat of;
    CHECK(from != -1 && fstat(from, &of) == 0 && sendfile(to, from, 0, of.st_size) == of.st_size);
    return close(from);
}

// What the program that it has become says.
static int child(const char *what)
{
    char link[256] = "";
    struct stat exe, file;
    CHECK(readlink("/proc/self/exe", link, sizeof link - 1) > 0);
    CHECK(stat("/proc/self/exe", &exe) == 0 && S_ISREG(exe.st_mode));
    char *named = strstr(link, "exec-files-");
    printf("%s: %s, of its own file %d\n", what, named ? named + 17 : link, stat(link, &file) == 0 && file.st_ino == exe.st_ino);
    fflush(stdout);
    if (strcmp(what, "removed") == 0) {
        CHECK(unlink(link) == 0);
        char *arguments[] = {"again", "child", "again", 0};
        execv("/proc/self/exe", arguments);
        CHECK(!"executed");
    }
    return 0;
}

static int wait_for(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void by_descriptor(int fd, char *what)
{
    char *arguments[] = {"by descriptor", "child", what, 0};
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        fexecve(fd, arguments, environ);
        printf("%s: %s\n", what, strerror(errno));
        fflush(stdout);
        _exit(1);
    }
    printf("%s: %d\n", what, wait_for(pid));
}

int main(int argc, char **argv)
{
    if (argc > 2)
        return child(argv[2]);
    CHECK(mkdtemp(directory) != 0);
    char path[64];
    sprintf(path, "%s/program", directory);

    int to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    CHECK(to != -1 && copy_to(to) == 0 && close(to) == 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC), kept = open(path, O_PATH);
    by_descriptor(fd, "closed on exec");
    by_descriptor(kept, "path");
    by_descriptor(fd, "removed");
    by_descriptor(kept, "nameless");
    close(fd);
    close(kept);

    int memory = memfd_create("anonymous", MFD_CLOEXEC);
    CHECK(memory != -1 && copy_to(memory) == 0);
    by_descriptor(memory, "memory");
    CHECK(fchmod(memory, 0600) == 0);
    by_descriptor(memory, "not executable");
    close(memory);

    // A script is called by its descriptor, which must be there for its interpreter.
    int script = memfd_create("script", 0);
    dprintf(script, "#!/bin/sh -e\necho script \"$0\" \"$1\"\n");
    CHECK(dup3(script, 40, 0) == 40 && close(script) == 0);
    by_descriptor(40, "script");
    CHECK(fcntl(40, F_SETFD, FD_CLOEXEC) == 0);
    by_descriptor(40, "script, closed");
    CHECK(close(40) == 0 && symlink("/bin/true", path) == 0);
    int within = open(directory, O_PATH);
    char *arguments[] = {"program", 0};
    CHECK(syscall(SYS_execveat, within, "program", arguments, environ, AT_SYMLINK_NOFOLLOW) == -1 && errno == ELOOP);
    CHECK(syscall(SYS_execveat, AT_FDCWD, path, arguments, environ, AT_SYMLINK_NOFOLLOW) == -1 && errno == ELOOP);
    CHECK(close(within) == 0 && unlink(path) == 0);
    // It is not opened: for that somebody else would have to be waited for.
    CHECK(mkfifo(path, 0755) == 0 && execve(path, arguments, environ) == -1 && errno == EACCES && unlink(path) == 0);
    static char long_one[(128 << 10) + 1];
    memset(long_one, 'a', sizeof long_one - 1);
    arguments[0] = long_one;
    CHECK(execve("/bin/true", arguments, environ) == -1 && errno == E2BIG);
    CHECK(rmdir(directory) == 0);
    by_descriptor(-1, "none");
    return FINISH();
}
