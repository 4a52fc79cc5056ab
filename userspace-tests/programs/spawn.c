// Processes by vfork and posix_spawn: what they inherit, what becomes of them, what their parent is told.
// exit: 42
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *self;
static volatile sig_atomic_t told, code, status_told;

static void on_child(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    told++;
    code = info->si_code;
    status_told = info->si_status;
}

// What the child says: arguments, environment, descriptors, signals, and that it is somebody else.
static int child(char **argv)
{
    struct sigaction usr1, usr2;
    sigset_t mask;
    sigaction(SIGUSR1, 0, &usr1);
    sigaction(SIGUSR2, 0, &usr2);
    sigprocmask(SIG_BLOCK, 0, &mask);
    printf("child %s X=%s kept %d closed %d handler %d ignored %d blocked %d pid %d\n", argv[2],
        getenv("X") ? getenv("X") : "-", fcntl(100, F_GETFD), fcntl(101, F_GETFD), usr1.sa_handler != SIG_DFL,
        usr2.sa_handler == SIG_IGN, sigismember(&mask, SIGHUP), getpid() != getppid());
    if (!strcmp(argv[2], "4"))
        printf("leads %d\n", getpgrp() == getpid());
    return atoi(argv[2]);
}

static pid_t spawn(char *argument, char **environment)
{
    char *arguments[] = {self, "child", argument, 0};
    pid_t pid = -1;
    fflush(stdout);
    CHECK(posix_spawn(&pid, self, 0, 0, arguments, environment) == 0);
    return pid;
}

static void show(pid_t pid, int options)
{
    int status = 0;
    pid_t found = waitpid(pid, &status, options);
    if (found == -1)
        printf("waitpid: %s\n", strerror(errno));
    else if (WIFEXITED(status))
        printf("%d exited %d\n", found == pid || pid < 1, WEXITSTATUS(status));
    else
        printf("%d killed by %d\n", found == pid || pid < 1, WTERMSIG(status));
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return child(argv);
    self = realpath("/proc/self/exe", 0);
    struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(sigaction(SIGCHLD, &action, 0) == 0);
    CHECK(sigaction(SIGUSR1, &action, 0) == 0);
    signal(SIGUSR2, SIG_IGN);
    sigset_t hup;
    sigemptyset(&hup);
    sigaddset(&hup, SIGHUP);
    sigprocmask(SIG_BLOCK, &hup, 0);
    CHECK(dup2(1, 100) == 100 && dup3(1, 101, O_CLOEXEC) == 101);

    // The parent waits until the child is another program, and sees what it has done before.
    volatile int seen = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        seen = 1;
        fcntl(101, F_SETFD, 0);
        execl(self, self, "child", "7", (char *)0);
        _exit(99);
    }
    show(pid, 0);
    printf("seen %d told %d code %d status %d own 101 %d\n", seen, told, code, status_told, fcntl(101, F_GETFD));

    char *environment[] = {"X=y", 0};
    spawn("3", environment);
    show(-1, 0);
    show(-1, 0);

    // Attributes and actions of posix_spawn.
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    sigset_t none, usr2;
    sigemptyset(&none);
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &usr2);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, 1, 101);
    char *arguments[] = {self, "child", "4", 0};
    CHECK(posix_spawn(&pid, self, &actions, &attributes, arguments, environ) == 0);
    show(0, WNOHANG);
    show(pid, 0);

    // Errors leave the caller as it is.
    char *missing[] = {"/nonexistent", 0};
    printf("missing: %s\n", strerror(posix_spawn(&pid, missing[0], 0, 0, missing, environ)));
    printf("directory: %s\n", strerror(posix_spawn(&pid, "/tmp", 0, 0, missing, environ)));
    int file = open("/tmp/spawn-text", O_CREAT | O_TRUNC | O_WRONLY, 0755);
    CHECK(write(file, "text\n", 5) == 5 && close(file) == 0);
    execl("/tmp/spawn-text", "text", (char *)0);
    printf("no program: %s\n", strerror(errno));
    file = open("/tmp/spawn-text", O_CREAT | O_TRUNC | O_WRONLY, 0755);
    CHECK(write(file, "#!/nonexistent\n", 15) == 15 && close(file) == 0);
    execl("/tmp/spawn-text", "text", (char *)0);
    printf("no interpreter: %s\n", strerror(errno));
    unlink("/tmp/spawn-text");

    // Ends: by itself, by a signal, reported without being taken.
    pid = vfork();
    if (pid == 0)
        _exit(5);
    siginfo_t info;
    memset(&info, 0, sizeof info);
    CHECK(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0);
    printf("waitid %d code %d status %d\n", info.si_pid == pid, info.si_code, info.si_status);
    show(pid, 0);
    show(pid, 0);
    pid = vfork();
    if (pid == 0) {
        kill(getpid(), SIGKILL);
        _exit(1);
    }
    struct rusage usage;
    int status;
    CHECK(wait4(pid, &status, 0, &usage) == pid);
    printf("killed %d by %d, code %d status %d\n", WIFSIGNALED(status), WTERMSIG(status), code, status_told);

    // Who ignores SIGCHLD has no zombies.
    signal(SIGCHLD, SIG_IGN);
    spawn("6", environ);
    show(-1, 0);
    signal(SIGCHLD, SIG_DFL);

    // One's own program, with what is pending and how it is called.
    raise(SIGHUP);
    fflush(stdout);
    execl(self, "another name", "child", "42", (char *)0);
    return 1;
}
