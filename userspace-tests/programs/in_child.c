// What has the main function of a program that it is preloaded for run in a child of fork(2), whose status becomes the
// program's. Other programs say `forked: too` to be run in this way; this one is run so anyway.
// env: LD_PRELOAD=./in_child.so
// shared: in_child.so -DLIBRARY
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int (*main_function)(int, char **, char **);

#ifdef LIBRARY
static main_function program;

static int in_child(int count, char **arguments, char **environment)
{
    // For nobody else.
    unsetenv("LD_PRELOAD");
    int status;
    pid_t child = fork();
    if (child == -1) {
        perror("fork");
        _exit(125);
    }
    if (!child)
        return program(count, arguments, environment);
    while (waitpid(child, &status, 0) != child)
        ;
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    _exit(WEXITSTATUS(status));
}

int __libc_start_main(main_function main, int count, char **arguments, void (*init)(void), void (*fini)(void),
                      void (*ld_fini)(void), void *stack_end)
{
    int (*real)(main_function, int, char **, void (*)(void), void (*)(void), void (*)(void), void *) =
        (int (*)(main_function, int, char **, void (*)(void), void (*)(void), void (*)(void), void *))dlsym(
            RTLD_NEXT, "__libc_start_main");
    program = main;
    return real(in_child, count, arguments, init, fini, ld_fini, stack_end);
}
#else
#include "check.h"

// At the start of the program, in the process that does not run its main function.
static pid_t first;

__attribute__((constructor)) static void note(void)
{
    first = getpid();
}

int main(void)
{
    CHECK(getppid() == first);
    return FINISH();
}
#endif
