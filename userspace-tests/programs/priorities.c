// Nice values and priorities of input and output, of a process, of a group, of a user.
#include "check.h"
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WHO_PROCESS = 1, WHO_GROUP, WHO_USER };
enum { CLASS_SHIFT = 13, REAL_TIME = 1 << CLASS_SHIFT, BEST_EFFORT = 2 << CLASS_SHIFT, IDLE = 3 << CLASS_SHIFT };
#define IOPRIO_GET(which, who) syscall(SYS_ioprio_get, which, who)
#define IOPRIO_SET(which, who, value) syscall(SYS_ioprio_set, which, who, value)

static int nice_of(int which, id_t who)
{
    errno = 0;
    int value = getpriority(which, who);
    return errno ? 100 + errno : value;
}

// Sleeps until it is killed, in a group of its own, or another's.
static pid_t sleeper(pid_t group)
{
    int ready[2];
    char byte;
    CHECK(pipe(ready) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, group);
        close(ready[0]);
        close(ready[1]);
        pause();
        _exit(1);
    }
    close(ready[1]);
    CHECK(read(ready[0], &byte, 1) == 0);
    close(ready[0]);
    return pid;
}

int main(void)
{
    pid_t one = sleeper(0), two = sleeper(one);
    int own = nice_of(PRIO_PROCESS, 0);
    CHECK(setpriority(PRIO_PROCESS, one, 13) == 0 && setpriority(PRIO_PROCESS, two, 15) == 0);
    CHECK(nice_of(PRIO_PGRP, one) == 13 && nice_of(PRIO_PROCESS, two) == 15);
    CHECK(setpriority(PRIO_PGRP, one, 17) == 0);
    CHECK(nice_of(PRIO_PROCESS, one) == 17 && nice_of(PRIO_PROCESS, two) == 17 && nice_of(PRIO_PROCESS, 0) == own);
    CHECK(nice_of(PRIO_PGRP, 0) <= own && nice_of(PRIO_USER, 0) <= own);
    CHECK(nice_of(PRIO_PGRP, 0x7ffffff0) == 100 + ESRCH && nice_of(PRIO_USER, 54321) == 100 + ESRCH);
    CHECK(nice_of(3, 0) == 100 + EINVAL);

    CHECK(IOPRIO_GET(WHO_PROCESS, 0) == 0 && IOPRIO_SET(WHO_GROUP, one, BEST_EFFORT | 6) == 0);
    CHECK(IOPRIO_GET(WHO_PROCESS, one) == (BEST_EFFORT | 6) && IOPRIO_GET(WHO_PROCESS, two) == (BEST_EFFORT | 6));
    CHECK(IOPRIO_SET(WHO_PROCESS, two, REAL_TIME | 1) == 0 && IOPRIO_GET(WHO_GROUP, one) == (REAL_TIME | 1));
    CHECK(IOPRIO_SET(WHO_PROCESS, 0, IDLE) == 0);
    pid_t child = sleeper(0);
    CHECK(IOPRIO_GET(WHO_PROCESS, child) == IDLE);
    CHECK(IOPRIO_SET(WHO_PROCESS, 0, 4 << CLASS_SHIFT) == -1 && errno == EINVAL);
    CHECK(IOPRIO_GET(0, 0) == -1 && errno == EINVAL && IOPRIO_GET(4, 0) == -1 && errno == EINVAL);
    CHECK(IOPRIO_GET(WHO_PROCESS, 0x7ffffff0) == -1 && errno == ESRCH);
    for (pid_t *pid = (pid_t[]){one, two, child, 0}; *pid; pid++)
        CHECK(kill(*pid, SIGKILL) == 0 && waitpid(*pid, NULL, 0) == *pid);
    return FINISH();
}
