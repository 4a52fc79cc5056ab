// What users have to do with processes: kill(-1), and how many of them, and of threads, a user may have.
// linux: as root
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define USER 54321

static pid_t sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    return pid;
}

static void ends(pid_t pid)
{
    int status;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        printf("killed by %s\n", sigabbrev_np(WTERMSIG(status)));
    else
        printf("status %d\n", WEXITSTATUS(status));
}

// Signals all that a user has but the caller.
static void all(void)
{
    if (setresuid(USER, USER, USER) != 0)
        exit(1);
    pid_t one = sleeper(), other = sleeper();
    printf("kill: %d\n", kill(-1, SIGTERM));
    ends(one);
    ends(other);
}

static void *wait_for_ever(void *unused)
{
    pause();
    return unused;
}

static void count(void)
{
    struct rlimit limit = {.rlim_cur = 3, .rlim_max = 3};
    setrlimit(RLIMIT_NPROC, &limit);
    pid_t pids[3];
    for (int i = 0; i < 3; i++)
        pids[i] = sleeper();
    // Root may have as many as it likes.
    for (int i = 0; i < 3; i++)
        kill(pids[i], SIGKILL), ends(pids[i]);
    if (setresuid(USER, USER, USER) != 0)
        exit(1);
    for (int i = 0; i < 3; i++) {
        pids[i] = sleeper();
        printf("%s\n", pids[i] > 0 ? "made" : strerrorname_np(errno));
    }
    for (int i = 0; i < 2; i++)
        kill(pids[i], SIGKILL), ends(pids[i]);
    pids[0] = sleeper();
    printf("again %s\n", pids[0] > 0 ? "made" : strerrorname_np(errno));
    kill(pids[0], SIGKILL);
    ends(pids[0]);
    // Threads count, of whichever process, and so does what is run by posix_spawn.
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        int error = pthread_create(&thread, NULL, wait_for_ever, NULL);
        printf("thread %s\n", error == 0 ? "made" : strerrorname_np(error));
    }
    printf("fork: %s\n", sleeper() == -1 ? strerrorname_np(errno) : "made");
    char *arguments[] = {"true", NULL};
    int error = posix_spawn(pids, "/proc/self/exe", NULL, NULL, arguments, NULL);
    printf("spawn: %s\n", strerrorname_np(error));
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    void (*parts[])(void) = {all, count};
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            parts[i]();
            _exit(0);
        }
        ends(pid);
    }
}
