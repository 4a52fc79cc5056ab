// What tests of tracers share: what wait(2) says of a tracee.
#pragma once
#include <stdio.h>
#include <sys/wait.h>

// As the last wait gave it.
static int status;

static void say(const char *what)
{
    if (WIFSTOPPED(status))
        printf("%s: stopped by %d, event %d\n", what, WSTOPSIG(status), status >> 16);
    else if (WIFEXITED(status))
        printf("%s: exited with %d\n", what, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        printf("%s: killed by %d\n", what, WTERMSIG(status));
    else
        printf("%s: %#x\n", what, status);
}
