// What user id 0 means to capabilities: securebits, PR_SET_KEEPCAPS and ambient capabilities, across setuid(2), fork(2)
// and execve(2). Whether a set is empty is told, as what root has is the machine's matter.
// linux: as root
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

enum { USER = 1000 };

static const char self[] = "/proc/self/exe";

static unsigned long long set(const char *name)
{
    char line[256];
    unsigned long long set = 0;
    FILE *status = fopen("/proc/thread-self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, name, strlen(name)))
            set = strtoull(line + strlen(name) + 1, 0, 16);
    if (status)
        fclose(status);
    return set;
}

static void show(const char *what)
{
    printf("%s: bits %#x keep %d", what, prctl(PR_GET_SECUREBITS), prctl(PR_GET_KEEPCAPS));
    for (const char *const *name = (const char *const[]){"CapPrm", "CapEff", "CapAmb", NULL}; *name; name++)
        printf(" %s %s", *name, set(*name) ? "some" : "none");
    printf(" ids %u %u\n", getuid(), geteuid());
    fflush(stdout);
}

static void change(unsigned inheritable, int effective)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    CHECK(syscall(SYS_capget, &header, data) == 0);
    data[0].inheritable = inheritable;
    for (int i = 0; i < 2; i++)
        data[i].effective = effective ? data[i].permitted : 0;
    CHECK(syscall(SYS_capset, &header, data) == 0);
}

static int bits(unsigned value)
{
    return prctl(PR_SET_SECUREBITS, value) == 0 ? 0 : errno;
}

static int ambient(int operation, int capability)
{
    int result = prctl(PR_CAP_AMBIENT, operation, capability, 0, 0);
    return result < 0 ? -errno : result;
}

static void run(const char *path)
{
    execl(path, path, "show", NULL);
    printf("not run: %s\n", strerror(errno));
    exit(1);
}

static void keep(void)
{
    CHECK(prctl(PR_SET_KEEPCAPS, 2) == -1 && errno == EINVAL);
    CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
    show("kept by prctl");
    CHECK(bits(0) == 0 && prctl(PR_GET_KEEPCAPS) == 0);
    CHECK(bits(SECBIT_KEEP_CAPS) == 0 && prctl(PR_GET_KEEPCAPS) == 1);
    CHECK(setuid(USER) == 0);
    show("user");
    change(0, 1);
    show("in effect");
    run(self);
}

static void keep_ambient(void)
{
    change(1 << CAP_CHOWN, 1);
    CHECK(ambient(PR_CAP_AMBIENT_RAISE, CAP_CHOWN) == 0 && ambient(PR_CAP_AMBIENT_IS_SET, CAP_CHOWN) == 1);
    CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && setuid(USER) == 0);
    show("ambient ones are not kept");
    change(1 << CAP_CHOWN, 1);
    CHECK(ambient(PR_CAP_AMBIENT_RAISE, CAP_NET_RAW) == -EPERM);
    CHECK(ambient(PR_CAP_AMBIENT_RAISE, CAP_CHOWN) == 0);
    show("raised again");
    run(self);
}

static void no_raise(void)
{
    change(1 << CAP_CHOWN | 1 << CAP_KILL, 1);
    CHECK(ambient(PR_CAP_AMBIENT_RAISE, CAP_CHOWN) == 0);
    CHECK(bits(SECBIT_NO_CAP_AMBIENT_RAISE) == 0);
    CHECK(ambient(PR_CAP_AMBIENT_RAISE, CAP_KILL) == -EPERM);
    show("one is ambient");
    CHECK(ambient(PR_CAP_AMBIENT_LOWER, CAP_CHOWN) == 0);
    show("and is not");
    CHECK(ambient(PR_CAP_AMBIENT_RAISE, CAP_CHOWN) == -EPERM);
}

static void no_fixup(void)
{
    CHECK(bits(SECBIT_NO_SETUID_FIXUP) == 0);
    CHECK(setfsuid(USER) == 0 && setfsuid(0) == USER);
    show("other files");
    CHECK(setresuid(-1, USER, 0) == 0);
    show("other effective id");
    int fd = open("secret", O_WRONLY | O_CREAT, 0);
    CHECK(fd >= 0 && close(fd) == 0);
    CHECK(access("secret", R_OK) == 0);
    change(0, 0);
    CHECK(access("secret", R_OK) == -1 && errno == EACCES);
    CHECK(setresuid(-1, 0, 0) == 0);
    show("root without effect");
    change(0, 1);
    CHECK(unlink("secret") == 0 && setuid(USER) == 0);
    show("user");
    run(self);
}

static void no_root(void)
{
    CHECK(bits(SECBIT_NOROOT | SECBIT_KEEP_CAPS) == 0);
    show("before");
    pid_t child = fork();
    if (!child)
        run(self);
    CHECK(waitpid(child, NULL, 0) == child);
    // Of a set-user-ID program's root there is no more than an id.
    CHECK(setuid(USER) == 0);
    run("./set-user-id");
}

static void locked(void)
{
    CHECK(bits(SECBIT_KEEP_CAPS_LOCKED) == 0);
    CHECK(prctl(PR_SET_KEEPCAPS, 1) == -1 && errno == EPERM);
    CHECK(prctl(PR_SET_KEEPCAPS, 0) == -1 && errno == EPERM);
    CHECK(bits(0) == EPERM && bits(SECBIT_KEEP_CAPS | SECBIT_KEEP_CAPS_LOCKED) == EPERM);
    CHECK(bits(SECBIT_KEEP_CAPS_LOCKED | 1 << 20) == EPERM);
    CHECK(bits(SECBIT_KEEP_CAPS_LOCKED | SECBIT_NOROOT | SECBIT_NOROOT_LOCKED) == 0);
    CHECK(bits(SECBIT_KEEP_CAPS_LOCKED | SECBIT_NOROOT_LOCKED) == EPERM);
    show("locked");
    change(0, 0);
    CHECK(bits(SECBIT_KEEP_CAPS_LOCKED | SECBIT_NOROOT | SECBIT_NOROOT_LOCKED) == EPERM);
    run(self);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        show("run");
        return 0;
    }
    show("first");
    CHECK((mkdir("/var/tmp/securebits", 0755) == 0 || errno == EEXIST) && chdir("/var/tmp/securebits") == 0);
    int to = open("set-user-id", O_WRONLY | O_CREAT | O_CLOEXEC, 0755), from = open(self, O_RDONLY);
    CHECK(sendfile(to, from, NULL, 1 << 24) > 0 && fchmod(to, 04755) == 0);
    CHECK(close(to) == 0 && close(from) == 0);
    void (*const parts[])(void) = {keep, keep_ambient, no_raise, no_fixup, no_root, locked};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        fflush(stdout);
        pid_t child = fork();
        if (!child) {
            parts[i]();
            exit(check_failures != 0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    CHECK(unlink("set-user-id") == 0 && rmdir("/var/tmp/securebits") == 0);
    return FINISH();
}
