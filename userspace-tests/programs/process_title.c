// Arguments and environment follow each other in memory, as programs want it that write titles there, and /proc shows
// what was written, of other processes, too: PostgreSQL, nginx, setproctitle.
// args: one two
// env: TITLE=there is room for what is longer
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

extern char **environ;
static char text[1 << 16];

static int shown(pid_t pid, const char *what)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    memset(text, 0, sizeof text);
    int len = (int)read(fd, text, sizeof text);
    close(fd);
    return len;
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    char *start = argv[0], *end = start;
    for (int i = 0; i < argc; i++) {
        CHECK(argv[i] == end);
        end += strlen(argv[i]) + 1;
    }
    char *first = end;
    for (char **setting = environ; *setting; setting++) {
        CHECK(*setting == end);
        end += strlen(*setting) + 1;
    }
    int length = (int)(first - start);
    CHECK(shown(getpid(), "cmdline") == length && !memcmp(text, start, length));
    CHECK(shown(getpid(), "environ") == end - first && !memcmp(text, first, end - first));

    // Shorter than the arguments: all of them are shown, with what is in between.
    int pipes[2];
    char byte = 0;
    CHECK(!pipe(pipes));
    pid_t child = fork();
    if (!child) {
        close(pipes[1]);
        memset(start, 0, length);
        strcpy(start, "short");
        _exit(read(pipes[0], &byte, 1) != 0);
    }
    close(pipes[0]);
    for (int tries = 0; tries < 1000 && (shown(child, "cmdline") != length || strcmp(text, "short")); tries++)
        usleep(10000);
    CHECK(shown(child, "cmdline") == length && !strcmp(text, "short") && text[length - 1] == 0);
    // Ours are what they were.
    CHECK(shown(getpid(), "cmdline") == length && !memcmp(text, argv[0], length));
    close(pipes[1]);
    int status;
    siginfo_t info;
    CHECK(!waitid(P_PID, child, &info, WEXITED | WNOWAIT) && shown(child, "cmdline") == 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);

    // Longer: it goes on in the environment.
    int room = (int)(end - start);
    CHECK(room > length + 8);
    memset(start, 't', length + 4);
    start[length + 4] = 0;
    CHECK(shown(getpid(), "cmdline") == length + 5 && text[0] == 't' && text[length + 3] == 't');
    return FINISH();
}
