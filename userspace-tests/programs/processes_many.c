// Children, one after the other: by fork, and by vfork and exec. However many there have been, they leave no memory and no
// process. Its arguments are how many of each.
// args: 300 40
// soak: 100000 0
// soak: 0 100000
#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"
#include "memory_taken.h"

static void wait_for(pid_t child, int expected)
{
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == expected);
}

static void by_fork(void)
{
    static volatile int mine;
    pid_t child = fork();
    if (!child) {
        mine++;
        _exit(mine == 1 ? 7 : 8);
    }
    wait_for(child, 7);
}

static void by_exec(void)
{
    pid_t child = vfork();
    if (!child) {
        execl("/proc/self/exe", "end", (char *)NULL);
        _exit(8);
    }
    wait_for(child, 0);
}

// Memory is what it is when a tenth of them have been: whatever is kept is there by then.
static void many(const char *what, void (*once)(void), long rounds)
{
    long before = 0;
    for (long i = 0; i < rounds; i++) {
        if (i == rounds / 10)
            before = taken();
        once();
    }
    long more = rounds ? taken() - before : 0;
    CHECK(more < 24 || (printf("%s: %ld pages more\n", what, more), 0));
    printf("%s: %ld\n", what, rounds);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 0;
    many("fork", by_fork, atol(argv[1]));
    many("vfork, exec", by_exec, atol(argv[2]));
    CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    return FINISH();
}
