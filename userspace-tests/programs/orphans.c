// Children of those that have ended are the first process': it is told of their end, and waits for them; of many that it does not
// wait for a few are kept.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

enum { MANY = 200, MOST = 64 };

static volatile int told;

static void count(int signal)
{
    told += signal == SIGCHLD;
}

// Makes an orphan that ends so when `gate` is closed.
static pid_t orphan(int status, int gate[2])
{
    int pids[2];
    CHECK(pipe(pids) == 0);
    pid_t child = fork();
    if (child == 0) {
        pid_t pid = fork();
        if (pid == 0) {
            char byte;
            close(gate[1]);
            ssize_t got = read(gate[0], &byte, 1);
            _exit(got == 0 ? status : 99);
        }
        CHECK(write(pids[1], &pid, sizeof pid) == sizeof pid);
        _exit(0);
    }
    pid_t pid = 0;
    CHECK(waitpid(child, 0, 0) == child && read(pids[0], &pid, sizeof pid) == sizeof pid);
    close(pids[0]);
    close(pids[1]);
    return pid;
}

static int zombies(void)
{
    int count = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; (entry = readdir(proc));) {
        char path[300], text[256] = "";
        if (atoi(entry->d_name) <= 1)
            continue;
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        FILE *stat = fopen(path, "r");
        if (stat && fgets(text, sizeof text, stat))
            count += strstr(text, ") Z ") != 0;
        if (stat)
            fclose(stat);
    }
    closedir(proc);
    return count;
}

int main(void)
{
    int gate[2], status;
    CHECK(getpid() == 1 && pipe(gate) == 0);
    pid_t one = orphan(7, gate);
    CHECK(waitpid(one, &status, WNOHANG) == 0 && kill(one, 0) == 0);
    signal(SIGCHLD, count);
    close(gate[1]);
    CHECK(waitpid(-1, &status, 0) == one && WEXITSTATUS(status) == 7 && told == 1);
    CHECK(waitpid(-1, &status, 0) == -1 && errno == ECHILD);
    signal(SIGCHLD, SIG_DFL);
    close(gate[0]);

    CHECK(pipe(gate) == 0);
    for (int i = 0; i < MANY; i++)
        orphan(i, gate);
    close(gate[1]);
    int count = 0;
    siginfo_t info = {0};
    CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0 && info.si_code == CLD_EXITED);
    // Some may be about to end.
    while (zombies() > MOST)
        usleep(1000);
    while (wait(&status) > 0)
        count++;
    CHECK(errno == ECHILD && count >= MOST && count <= MANY);
    CHECK(zombies() == 0);
    return FINISH();
}
