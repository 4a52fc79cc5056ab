// Who keeps a file of /proc open, and reads it from the beginning again, sees what has become of it.
#include "check.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char text[1 << 16];

static const char *read_from(int fd, long offset)
{
    ssize_t length = pread(fd, text, sizeof text - 1, offset);
    CHECK(length >= 0);
    text[length > 0 ? length : 0] = 0;
    return text;
}

static int is_stopped(int status)
{
    const char *state = strstr(read_from(status, 0), "State:");
    return state && state[7] == 'T';
}

int main(void)
{
    pid_t child = fork();
    if (child == 0) {
        for (;;)
            pause();
    }
    char path[64], again[64];
    snprintf(path, sizeof path, "/proc/%d/status", child);
    int status = open(path, O_RDONLY), maps = open("/proc/self/maps", O_RDONLY);
    CHECK(!is_stopped(status) && kill(child, SIGSTOP) == 0 && waitpid(child, NULL, WUNTRACED) == child);
    CHECK(is_stopped(status));
    CHECK(kill(child, SIGCONT) == 0 && waitpid(child, NULL, WCONTINUED) == child && !is_stopped(status));
    // What is read on from where it was left belongs to what was read before.
    char *pages = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    snprintf(again, sizeof again, "%lx-%lx r--p", (long)pages, (long)pages + 4096);
    CHECK(mprotect(pages + 4096, 4096, PROT_NONE) == 0 && strstr(read_from(maps, 0), again));
    CHECK(mprotect(pages + 4096, 4096, PROT_READ) == 0 && !strstr(read_from(maps, 0), again));
    FILE *stream = fdopen(status, "r");
    CHECK(fgets(text, sizeof text, stream) && strncmp(text, "Name:", 5) == 0);
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    return FINISH();
}
