// What /proc/self says of memory in use and of bytes read and written; the main thread's stack ends in memory that is
// not mapped.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

// The number after a name in a file, of the mapping that begins at `at` or of all.
static long number(const char *file, const char *name, void *at)
{
    char line[512], start[32];
    long found = -1;
    int here = at == 0;
    snprintf(start, sizeof start, "%lx-", (unsigned long)at);
    FILE *text = fopen(file, "r");
    while (text && fgets(line, sizeof line, text)) {
        if (at && strncmp(line, start, strlen(start)) == 0)
            here = 1;
        if (here && found == -1 && strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            found = atol(line + strlen(name) + 1);
    }
    if (text)
        fclose(text);
    return found;
}

static void memory(void)
{
    char *at = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    // A page between it and its neighbours.
    CHECK(mprotect(at, 4096, PROT_NONE) == 0 && mprotect(at + (1 << 20) - 4096, 4096, PROT_NONE) == 0);
    at += 4096;
    memset(at, 1, 10 * 4096);
    CHECK(number("/proc/self/smaps", "Size", at) == 1024 - 8 && number("/proc/self/smaps", "Rss", at) == 40);
    CHECK(number("/proc/self/smaps", "Pss", at) == 40 && number("/proc/self/smaps", "Private_Dirty", at) == 40);
    CHECK(number("/proc/self/smaps", "Anonymous", at) == 40 && number("/proc/self/smaps", "Swap", at) == 0);
    CHECK(number("/proc/self/smaps", "KernelPageSize", at) == 4 && number("/proc/self/smaps", "Shared_Clean", at) == 0);
    long rss = number("/proc/self/smaps_rollup", "Rss", 0);
    CHECK(rss >= 40 && number("/proc/self/smaps_rollup", "Pss", 0) > 0);
    memset(at, 1, 100 * 4096);
    CHECK(number("/proc/self/smaps_rollup", "Rss", 0) >= rss + 300);
}

static char maps[1 << 18], smaps[1 << 20];

static void slurp(const char *file, char *to, size_t size)
{
    size_t done = 0;
    ssize_t len;
    int fd = open(file, O_RDONLY);
    while ((len = read(fd, to + done, size - 1 - done)) > 0)
        done += len;
    to[done] = 0;
    CHECK(len == 0 && close(fd) == 0);
}

// What psutil sums up, and the lines' names that it looks for.
enum { SIZE, RSS, PSS, SHARED_CLEAN, SHARED_DIRTY, PRIVATE_CLEAN, PRIVATE_DIRTY, REFERENCED, ANONYMOUS, SWAP, NAMES };
static const char *const names[NAMES] = {
    "Size",          "Rss",           "Pss",        "Shared_Clean", "Shared_Dirty",
    "Private_Clean", "Private_Dirty", "Referenced", "Anonymous",    "Swap",
};

static void consistent(const long *of, const char *where)
{
    long parts = of[SHARED_CLEAN] + of[SHARED_DIRTY] + of[PRIVATE_CLEAN] + of[PRIVATE_DIRTY];
    int is_good = of[RSS] == parts && of[PSS] <= of[RSS] && of[ANONYMOUS] <= of[RSS] && of[REFERENCED] <= of[RSS];
    for (int i = RSS; i < NAMES; i++)
        is_good = is_good && of[i] >= 0;
    if (!is_good)
        printf("%s\n", where);
    CHECK(is_good);
}

// Of smaps, the lines of mappings are those of maps, and what it says of each adds up.
static void every_mapping(void)
{
    // The first time, pages of the buffers come in.
    for (int round = 0; round < 2; round++) {
        slurp("/proc/self/smaps", smaps, sizeof smaps);
        slurp("/proc/self/maps", maps, sizeof maps);
    }
    CHECK(strlen(maps) > 0 && strlen(smaps) < sizeof smaps - 1);
    char *expected = maps, *next;
    long of[NAMES];
    for (char *line = smaps; *line; line = next) {
        next = strchr(line, '\n') + 1;
        size_t len = strcspn(line, " ");
        if (line[len - 1] != ':') {
            size_t size = next - line;
            CHECK(strncmp(line, expected, size) == 0);
            expected += size;
            memset(of, -1, sizeof of);
            continue;
        }
        for (int i = 0; i < NAMES; i++)
            if (strlen(names[i]) == len - 1 && strncmp(names[i], line, len - 1) == 0)
                of[i] = atol(line + len);
        if (strncmp(line, "VmFlags:", 8) == 0) {
            consistent(of, line);
            CHECK(of[RSS] <= of[SIZE]);
        }
    }
    CHECK(*expected == 0);
    slurp("/proc/self/smaps_rollup", smaps, sizeof smaps);
    CHECK(strncmp(maps, smaps, strcspn(maps, "-") + 1) == 0 && strstr(smaps, " ---p 00000000 00:00 0 "));
    CHECK(strstr(smaps, "[rollup]\n") != 0);
    for (int i = RSS; i < NAMES; i++)
        of[i] = number("/proc/self/smaps_rollup", names[i], 0);
    consistent(of, "rollup");
}

static void transfers(void)
{
    static char bytes[5000];
    int ends[2];
    CHECK(pipe(ends) == 0);
    long read_before = number("/proc/self/io", "rchar", 0), written_before = number("/proc/self/io", "wchar", 0);
    long calls = number("/proc/self/io", "syscw", 0);
    CHECK(write(ends[1], bytes, 5000) == 5000 && read(ends[0], bytes, 5000) == 5000 && write(-1, bytes, 1) == -1);
    CHECK(number("/proc/self/io", "wchar", 0) == written_before + 5000);
    CHECK(number("/proc/self/io", "syscw", 0) == calls + 1);
    CHECK(number("/proc/self/io", "rchar", 0) >= read_before + 5000 && number("/proc/self/io", "read_bytes", 0) >= 0);
    CHECK(number("/proc/self/io", "cancelled_write_bytes", 0) == 0 && access("/proc/diskstats", R_OK) == 0);
    CHECK(access("/proc/vmstat", R_OK) == 0);
    // lscpu takes it for granted that who lists a node's CPUs has them as a mask, too.
    CHECK(access("/sys/devices/system/node/node0/cpulist", R_OK) == access("/sys/devices/system/node/node0/cpumap", R_OK));
    // Those of children count once they are waited for.
    pid_t child = vfork();
    if (child == 0)
        _exit(write(ends[1], bytes, 100) != 100);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(number("/proc/self/io", "wchar", 0) == written_before + 5100);
    CHECK(number("/proc/self/io", "syscw", 0) == calls + 2);
    CHECK(number("/proc/self/status", "NoNewPrivs", 0) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(number("/proc/self/status", "NoNewPrivs", 0) == 1);
}

static sigjmp_buf back;
static int code;

static void handler(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    code = info->si_code;
    siglongjmp(back, 1);
}

static int deeper(volatile char *above)
{
    volatile char here[4096];
    here[0] = above[0];
    return here[0] == 7 ? 0 : deeper(here) + here[0];
}

int main(void)
{
    static char stack[1 << 16];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    memory();
    every_mapping();
    transfers();
    CHECK(sigaltstack(&alternate, 0) == 0 && sigaction(SIGSEGV, &action, 0) == 0);
    if (sigsetjmp(back, 1) == 0)
        deeper(stack);
    CHECK(code == SEGV_MAPERR);
    return FINISH();
}
