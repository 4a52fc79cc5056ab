// Memory that runs out: fork is refused before it is all in use, what processes had is there again when they have ended, and who
// asks for more than there is ends, alone.
// memory: 64M
// says: out of memory: /tests/process_memory
// says: is killed, which has
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int fork_all(void)
{
    int count = 0;
    for (;; count++) {
        pid_t pid = fork();
        if (pid == 0)
            for (;;)
                pause();
        if (pid < 0)
            break;
    }
    printf("%s\n", errno == EAGAIN || errno == ENOMEM ? "refused" : strerrorname_np(errno));
    kill(-1, SIGKILL);
    int left = count;
    while (wait(NULL) > 0)
        left--;
    printf("%d left\n", left);
    return count;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    int first = fork_all(), last = 0;
    for (int i = 0; i < 3; i++)
        last = fork_all();
    // The first time there may be more that is kept for later.
    printf("%s\n", last > 20 && last > first - 10 ? "as before" : "fewer");
    int status;
    pid_t pid = fork();
    if (pid == 0)
        for (;;) {
            char *some = malloc(1 << 20);
            if (some == NULL)
                _exit(1);
            memset(some, 1, 1 << 20);
        }
    waitpid(pid, &status, 0);
    printf("%s\n", WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? "killed" : "not killed");
    // By a system call alone: the program itself touches none of it.
    pid = fork();
    if (pid == 0) {
        int zero = open("/dev/zero", O_RDONLY);
        char *some = mmap(NULL, 1 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (some == MAP_FAILED)
            _exit(1);
        for (ssize_t count; (count = read(zero, some, 1 << 20)) >= 0;)
            some += count;
        _exit(2);
    }
    waitpid(pid, &status, 0);
    printf("%s\n", WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? "killed" : "not killed");
    pid = fork();
    if (pid == 0)
        _exit(7);
    waitpid(pid, &status, 0);
    printf("status %d\n", WEXITSTATUS(status));
}
