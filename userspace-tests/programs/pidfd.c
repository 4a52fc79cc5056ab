// pidfd_open(2), CLONE_PIDFD, what they tell of a process, and who hears of a parent's end: PR_SET_PDEATHSIG,
// PR_SET_CHILD_SUBREAPER.
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(c)                                                                                                       \
    do {                                                                                                               \
        if (!(c)) {                                                                                                    \
            printf("line %d: %s (errno %s)\n", __LINE__, #c, strerrorname_np(errno));                                  \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static int fails(long result) { return result == -1 ? errno : 0; }
static int pidfd_open(pid_t pid, unsigned flags) { return (int)syscall(SYS_pidfd_open, pid, flags); }
static int send_to(int fd, int signal, siginfo_t *info, unsigned flags)
{
    return (int)syscall(SYS_pidfd_send_signal, fd, signal, info, flags);
}

static int is_ready(int fd, int timeout)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, timeout) == 1 && (one.revents & POLLIN);
}

static pid_t sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    CHECK(pid > 0);
    return pid;
}

static void opened(void)
{
    pid_t pid = sleeper();
    int fd = pidfd_open(pid, 0);
    CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK(!is_ready(fd, 0));
    char byte;
    CHECK(fails(read(fd, &byte, 1)) == EINVAL && fails(write(fd, &byte, 1)) == EINVAL);
    CHECK(send_to(fd, 0, NULL, 0) == 0);
    CHECK(fails(send_to(fd, 65, NULL, 0)) == EINVAL && fails(send_to(fd, 0, NULL, 1 << 20)) == EINVAL);
    CHECK(fails(send_to(0, SIGTERM, NULL, 0)) == EBADF && fails(send_to(-1, SIGTERM, NULL, 0)) == EBADF);
    // Signals are sent to a directory in /proc, too, but not to one of a thread, nor when it was opened as a path.
    char name[64];
    sprintf(name, "/proc/%d", pid);
    int directory = open(name, O_RDONLY | O_DIRECTORY), path = open(name, O_PATH);
    sprintf(name, "/proc/%d/task/%d", pid, pid);
    int task = open(name, O_RDONLY | O_DIRECTORY), other = open("/proc", O_RDONLY | O_DIRECTORY);
    CHECK(send_to(directory, 0, NULL, 0) == 0 && fails(send_to(path, 0, NULL, 0)) == EBADF);
    CHECK(fails(send_to(task, 0, NULL, 0)) == EBADF && fails(send_to(other, 0, NULL, 0)) == EBADF);
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
    CHECK(fails(send_to(fd, SIGTERM, &info, 0)) == EINVAL);
    info.si_code = SI_USER;
    CHECK(fails(send_to(fd, SIGUSR1, &info, 0)) == EPERM);

    int poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET}, got;
    CHECK(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) == 0 && epoll_wait(poller, &got, 1, 0) == 0);
    int quick = pidfd_open(pid, O_NONBLOCK);
    CHECK(fails(waitid(P_PIDFD, quick, &info, WEXITED)) == EAGAIN);
    info.si_pid = 1;
    CHECK(waitid(P_PIDFD, fd, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0);

    CHECK(send_to(fd, SIGTERM, NULL, 0) == 0);
    CHECK(epoll_wait(poller, &got, 1, -1) == 1 && is_ready(fd, -1));
    // A zombie takes signals.
    CHECK(send_to(fd, SIGTERM, NULL, 0) == 0);
    CHECK(waitid(P_PIDFD, fd, &info, WEXITED | WNOWAIT) == 0 && info.si_pid == pid && info.si_status == SIGTERM);
    CHECK(waitid(P_PIDFD, fd, &info, WEXITED) == 0 && info.si_code == CLD_KILLED);
    CHECK(is_ready(fd, 0));
    CHECK(fails(waitid(P_PIDFD, fd, &info, WEXITED)) == ECHILD && fails(send_to(fd, 0, NULL, 0)) == ESRCH);
    CHECK(fails(waitid(P_PIDFD, 0, &info, WEXITED)) == EBADF);
    CHECK(fails(pidfd_open(pid, 0)) == ESRCH);
    CHECK(fails(pidfd_open(0, 0)) == EINVAL && fails(pidfd_open(-1, 0)) == EINVAL);
    CHECK(fails(pidfd_open(getpid(), 1)) == EINVAL);
    close(poller), close(quick), close(fd);
    puts("opened");
}

static void made(void)
{
    int fd = -1;
    struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (unsigned long)&fd, .exit_signal = SIGCHLD};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(fcntl(fd, F_GETFD) == -1 ? 9 : 8);
    CHECK(pid > 0 && fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
    siginfo_t info;
    CHECK(is_ready(fd, -1) && waitid(P_PIDFD, fd, &info, WEXITED) == 0 && info.si_pid == pid);
    CHECK(info.si_status == 8 || info.si_status == 9);
    close(fd);
    fd = -1;
    pid = (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &fd, 0, 0);
    if (pid == 0)
        _exit(0);
    CHECK(pid > 0 && fd >= 0 && is_ready(fd, -1) && waitpid(pid, NULL, 0) == pid);
    close(fd);
    CHECK(fails(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, &fd, 0, 0)) == EINVAL);

    int to[2];
    CHECK(pipe(to) == 0);
    pid = sleeper();
    close(to[0]);
    fd = pidfd_open(pid, 0);
    // The child has it still.
    int got = (int)syscall(SYS_pidfd_getfd, fd, to[0], 0);
    char text[4] = "";
    CHECK(got >= 0 && fcntl(got, F_GETFD) == FD_CLOEXEC);
    CHECK(write(to[1], "abc", 3) == 3 && read(got, text, 3) == 3 && strcmp(text, "abc") == 0);
    CHECK(fails(syscall(SYS_pidfd_getfd, fd, 1000, 0)) == EBADF);
    CHECK(fails(syscall(SYS_pidfd_getfd, fd, 0, 1)) == EINVAL);
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, NULL, 0) == pid);
    close(got), close(to[1]), close(fd);
    puts("made");
}

// A grandchild writes what it hears.
static int report[2];

static void say(char what) { CHECK(write(report[1], &what, 1) == 1); }
static char hear(void)
{
    char what = '-';
    CHECK(read(report[0], &what, 1) == 1);
    return what;
}

static void on_usr1(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    say(info->si_code == SI_USER ? 'd' : '?');
    _exit(0);
}

static void wants_signal(void)
{
    struct sigaction action = {.sa_sigaction = on_usr1, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
    say('r');
    for (;;)
        pause();
}

static void *fork_and_end(void *arg)
{
    (void)arg;
    if (fork() == 0)
        wants_signal();
    CHECK(hear() == 'r');
    return NULL;
}

static void parents_end(void)
{
    CHECK(pipe(report) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0)
            wants_signal();
        CHECK(hear() == 'r');
        _exit(0);
    }
    CHECK(waitpid(pid, NULL, 0) == pid && hear() == 'd');
    // The parent is the thread that has forked.
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fork_and_end, NULL) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(hear() == 'd' && wait(NULL) > 0);
    // It is not inherited.
    CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
    pid = fork();
    if (pid == 0) {
        int signal = -1;
        prctl(PR_GET_PDEATHSIG, &signal);
        _exit(signal);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    prctl(PR_SET_PDEATHSIG, 0);
    puts("parents' ends");
}

static void orphans(void)
{
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    int inherited = -1, hold[2];
    CHECK(pipe(hold) == 0);
    pid_t middle = fork();
    if (middle == 0) {
        prctl(PR_GET_CHILD_SUBREAPER, &inherited);
        CHECK(inherited == 0);
        for (int i = 0; i < 2; i++)
            if (fork() == 0) {
                close(hold[1]);
                char byte;
                // One ends before its parent, the other after it.
                if (i == 1)
                    CHECK(read(hold[0], &byte, 1) == 0);
                _exit(20 + i);
            }
        siginfo_t info;
        CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0 && info.si_status == 20);
        _exit(5);
    }
    int status, sum = 0;
    CHECK(waitpid(middle, &status, 0) == middle && WEXITSTATUS(status) == 5);
    close(hold[1]);
    for (int i = 0; i < 2; i++) {
        CHECK(wait(&status) > 0);
        sum += WEXITSTATUS(status);
    }
    CHECK(sum == 41 && fails(wait(NULL)) == ECHILD);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    puts("orphans");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    // The first process of a machine gets all orphans, so it is not the one that is tested.
    int status;
    pid_t tested = fork();
    if (tested) {
        CHECK(tested > 0 && waitpid(tested, &status, 0) == tested && WIFEXITED(status));
        return WEXITSTATUS(status);
    }
    opened();
    made();
    parents_end();
    orphans();
}
