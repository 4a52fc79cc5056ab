// What a program is run as: set-user-ID and set-group-ID bits, capabilities of files, ambient ones, no_new_privs, nosuid mounts;
// and what then is not trusted.
// linux: as root
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "check.h"

enum { USER = 1000, GROUP = 1001 };
enum { PLAIN, NO_NEW_PRIVS, AMBIENT, EFFECTIVE_ONLY, BOUNDED };

static const char *variables[] = {"LD_LIBRARY_PATH", "TMPDIR", "MALLOC_TRACE", "MALLOC_CHECK_", "HOME"};

static unsigned long long capabilities(const char *name)
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

static void show_capabilities(const char *name)
{
    unsigned long long set = capabilities(name);
    if (set == capabilities("CapBnd"))
        printf(" %s all", name);
    else
        printf(" %s %llx", name, set);
}

// The program that is run: what it is.
static int show(void)
{
    uid_t r, e, s;
    gid_t gr, ge, gs;
    getresuid(&r, &e, &s);
    getresgid(&gr, &ge, &gs);
    printf("  uid %d %d %d gid %d %d %d", r, e, s, gr, ge, gs);
    printf(" aux %d %d %d %d", getauxval(AT_UID) == r, getauxval(AT_EUID) == e, getauxval(AT_GID) == gr, getauxval(AT_EGID) == ge);
    int signal = 0;
    prctl(PR_GET_PDEATHSIG, &signal);
    printf(" secure %lu dumpable %d death %d\n ", getauxval(AT_SECURE), prctl(PR_GET_DUMPABLE), signal);
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        printf(" %s", getenv(variables[i]) ? variables[i] : "-");
    printf(" %s\n ", secure_getenv("HOME") ? "trusted" : "not trusted");
    show_capabilities("CapInh");
    show_capabilities("CapPrm");
    show_capabilities("CapEff");
    show_capabilities("CapAmb");
    printf("\n");
    return 0;
}

static long set_capabilities(unsigned effective, unsigned permitted, unsigned inheritable)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{effective, permitted, inheritable}};
    return syscall(SYS_capset, &header, data);
}

// Runs `file` as a user that is not root.
static void run(const char *title, const char *file, int how)
{
    printf("%s\n", title);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (how == EFFECTIVE_ONLY) {
            CHECK(syscall(SYS_setresuid, -1, USER, -1) == 0);
        } else {
            if (how == BOUNDED)
                CHECK(prctl(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0) == 0 && prctl(PR_CAPBSET_READ, CAP_NET_RAW, 0, 0, 0) == 0);
            if (how == AMBIENT)
                CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
            CHECK(syscall(SYS_setresgid, GROUP, GROUP, GROUP) == 0 && syscall(SYS_setresuid, USER, USER, USER) == 0);
        }
        if (how == NO_NEW_PRIVS)
            CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
        if (how == AMBIENT) {
            unsigned raw = 1 << CAP_NET_RAW;
            CHECK(set_capabilities(raw, raw, raw) == 0);
            CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0) == -1 && errno == EPERM);
            CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0) == 0);
            CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0) == 1);
        }
        if (how == BOUNDED)
            CHECK(prctl(PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0) == -1 && errno == EPERM);
        CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
        char *args[] = {(char *)file, "show", 0};
        char *env[] = {"LD_LIBRARY_PATH=/nowhere", "TMPDIR=/x", "HOME=/", "MALLOC_TRACE=/x", "MALLOC_CHECK_=0", 0};
        execve(file, args, env);
        printf("  %s\n", strerrorname_np(errno));
        fflush(stdout);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void copy(const char *from, const char *to)
{
    static char buffer[1 << 16];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    CHECK(in >= 0 && out >= 0);
    for (ssize_t got; (got = read(in, buffer, sizeof buffer)) > 0;)
        CHECK(write(out, buffer, got) == got);
    close(in);
    close(out);
}

static mode_t mode_of(const char *path)
{
    struct stat stat_;
    return stat(path, &stat_) == 0 ? stat_.st_mode & 07777 : 0;
}

int main(int argc, char **)
{
    if (argc > 1)
        return show();
    char path[64], script[80], interpreter[128];
    CHECK(mkdir("/var/tmp/secure_exec", 0755) == 0 || errno == EEXIST);
    snprintf(path, sizeof path, "/var/tmp/secure_exec/program");
    snprintf(script, sizeof script, "/var/tmp/secure_exec/script");
    copy("/proc/self/exe", path);

    run("no bits", path, PLAIN);
    CHECK(chmod(path, 04755) == 0);
    run("set-user-ID", path, PLAIN);
    run("set-user-ID, without new privileges", path, NO_NEW_PRIVS);
    CHECK(chmod(path, 02755) == 0);
    run("set-group-ID", path, PLAIN);
    CHECK(chmod(path, 02745) == 0);
    run("set-group-ID, not for the group to run", path, PLAIN);
    CHECK(chown(path, 7, 8) == 0 && chmod(path, 06755) == 0);
    run("both, somebody else's", path, PLAIN);
    run("the same, with another effective id", path, EFFECTIVE_ONLY);

    FILE *file = fopen(script, "w");
    snprintf(interpreter, sizeof interpreter, "#!%s\n", path);
    CHECK(file && fputs(interpreter, file) >= 0 && fclose(file) == 0);
    CHECK(chmod(script, 04755) == 0 && chmod(path, 0755) == 0);
    run("a script's bits", script, PLAIN);
    CHECK(chmod(path, 04755) == 0 && chmod(script, 0755) == 0);
    run("an interpreter's bits", script, PLAIN);
    CHECK(chmod(path, 04711) == 0);
    run("not readable", path, PLAIN);
    CHECK(chmod(path, 0711) == 0);
    run("no bits, not readable", path, PLAIN);
    CHECK(chmod(path, 0755) == 0);
    run("another effective id, no bits", path, EFFECTIVE_ONLY);
    run("ambient capabilities", path, AMBIENT);
    CHECK(chown(path, 0, 0) == 0 && chmod(path, 04755) == 0);
    run("ambient capabilities, set-user-ID", path, AMBIENT);

    struct vfs_cap_data cap = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE};
    cap.data[0].permitted = 1 << CAP_NET_RAW;
    CHECK(setxattr(path, "security.capability", &cap, sizeof cap, 0) == 0);
    run("capabilities and set-user-ID", path, PLAIN);
    CHECK(chmod(path, 0755) == 0);
    run("capabilities", path, PLAIN);
    run("capabilities, without new privileges", path, NO_NEW_PRIVS);
    cap.magic_etc = VFS_CAP_REVISION_2;
    CHECK(setxattr(path, "security.capability", &cap, sizeof cap, 0) == 0);
    run("capabilities that nobody may have", path, BOUNDED);
    run("capabilities, not effective", path, PLAIN);
    CHECK(removexattr(path, "security.capability") == 0 && chmod(path, 04755) == 0);

    CHECK(mount("/var/tmp/secure_exec", "/var/tmp/secure_exec", 0, MS_BIND, 0) == 0);
    CHECK(mount(0, "/var/tmp/secure_exec", 0, MS_REMOUNT | MS_BIND | MS_NOSUID, 0) == 0);
    run("nosuid", path, PLAIN);
    CHECK(umount("/var/tmp/secure_exec") == 0);

    // Who writes to a file takes the bits away, unless it may give them.
    CHECK(chmod(path, 06777) == 0);
    int fd = open(path, O_WRONLY);
    CHECK(pwrite(fd, "\x7f", 1, 0) == 1 && mode_of(path) == 06777);
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(setresuid(USER, USER, USER) == 0 && pwrite(fd, "\x7f", 1, 0) == 1);
        _exit(0);
    }
    waitpid(pid, 0, 0);
    printf("written: %o\n", mode_of(path));
    CHECK(chmod(path, 06777) == 0);
    pid = fork();
    if (pid == 0) {
        CHECK(setresuid(USER, USER, USER) == 0 && ftruncate(fd, 1 << 20) == 0);
        _exit(0);
    }
    waitpid(pid, 0, 0);
    printf("truncated: %o\n", mode_of(path));
    unlink(path);
    unlink(script);
    rmdir("/var/tmp/secure_exec");
    return FINISH();
}
