// What waitid(2) leaves where it fails, an end that interrupts wait4(2), and what clone3(2) refuses.
#include "check.h"
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void nothing_found(void)
{
    siginfo_t info;
    memset(&info, 0x55, sizeof info);
    CHECK(waitid(P_ALL, 0, &info, WEXITED) == -1 && errno == ECHILD);
    CHECK(info.si_pid == 0 && info.si_signo == 0);
    memset(&info, 0x55, sizeof info);
    CHECK(waitid(P_ALL, 0, &info, 0) == -1 && errno == EINVAL && info.si_signo == 0);
    CHECK(syscall(SYS_waitid, P_ALL, 0, 8, WEXITED, NULL) == -1 && errno == EFAULT);
}

static void handle(int number)
{
    (void)number;
}

// Its SIGCHLD comes with the child's end, which is what is waited for.
static void interrupted(void)
{
    struct sigaction action = {.sa_handler = handle};
    CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
    for (int round = 0; round < 200; round++) {
        pid_t child = fork();
        if (!child)
            _exit(0);
        CHECK(waitpid(child, NULL, 0) == child);
    }
    signal(SIGCHLD, SIG_DFL);
}

static int refused(struct clone_args *arguments, size_t size)
{
    pid_t child = syscall(SYS_clone3, arguments, size);
    if (child == 0)
        _exit(0);
    if (child > 0)
        waitpid(child, NULL, __WALL);
    return child > 0 ? 0 : errno;
}

static void clone3(void)
{
    static char larger[8192];
    struct clone_args arguments = {.exit_signal = SIGCHLD};
    memcpy(larger, &arguments, sizeof arguments);
    CHECK(refused((void *)larger, 256) == 0 && refused((void *)larger, sizeof larger) == E2BIG);
    larger[200] = 1;
    CHECK(refused((void *)larger, 256) == E2BIG && refused((void *)larger, 63) == EINVAL);
    arguments.flags = CLONE_PARENT;
    CHECK(refused(&arguments, sizeof arguments) == EINVAL);
    arguments = (struct clone_args){.flags = CLONE_DETACHED};
    CHECK(refused(&arguments, sizeof arguments) == EINVAL);
    pid_t id = getpid();
    arguments = (struct clone_args){.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&id};
    CHECK(refused(&arguments, sizeof arguments) == EINVAL);
    arguments.set_tid_size = 40;
    CHECK(refused(&arguments, sizeof arguments) == EINVAL);
    arguments.set_tid_size = 1;
    int error = refused(&arguments, sizeof arguments);
    CHECK(error == EEXIST || error == EPERM);
}

int main(void)
{
    nothing_found();
    interrupted();
    clone3();
    return FINISH();
}
