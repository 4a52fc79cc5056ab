// Who may read, write, execute and search what: each call that names a file, by a user who is neither root nor in its
// group, by one of a group, and by one whose real ids are root's.
// cpus: 1
// linux: as root
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

enum { USER = 1000, GROUP = 1001, OTHER = 1002, TEAM = 1003 };

static const char *error(long result)
{
    return result == -1 ? strerrorname_np(errno) : "ok";
}

#define SHOW(call) (errno = 0, printf("  %-52s %s\n", #call, error(call)))

static void make(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    CHECK(fd >= 0 && write(fd, "#!/bin/true\n", 12) == 12);
    CHECK(!close(fd) && !chown(path, uid, gid) && !chmod(path, mode));
}

static void make_directory(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    CHECK(!mkdir(path, 0700) && !chown(path, uid, gid) && !chmod(path, mode));
}

static long opens(const char *path, int flags)
{
    int fd = open(path, flags, 0644);
    if (fd >= 0)
        close(fd);
    return fd;
}

static long connects(const char *path)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    strcpy(name.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    long result = connect(fd, (struct sockaddr *)&name, sizeof name);
    int saved = errno;
    close(fd);
    errno = saved;
    return result;
}

static long binds(const char *path)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    strcpy(name.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    long result = bind(fd, (struct sockaddr *)&name, sizeof name);
    if (!result)
        listen(fd, 1); // It stays.
    return result;
}

// In a fresh tree of files of everybody's kinds.
static void tree(void)
{
    make_directory("tree", 0755, 0, 0);
    CHECK(!chdir("tree"));
    make("public", 0644, 0, 0);
    make("private", 0600, 0, 0);
    make("mine", 0600, USER, GROUP);
    make("not-even-mine", 0077, USER, GROUP);
    make("team", 0060, 0, TEAM);
    make("blind", 0111, 0, 0);
    make("writable", 0222, 0, 0);
    make_directory("closed", 0700, 0, 0);
    make("closed/file", 0666, 0, 0);
    make_directory("listed", 0744, 0, 0);
    make("listed/file", 0666, 0, 0);
    make_directory("passage", 0711, 0, 0);
    make("passage/file", 0666, 0, 0);
    make_directory("drop", 0733, 0, 0);
    make_directory("sticky", 01777, 0, 0);
    make("sticky/theirs", 0666, OTHER, OTHER);
    make("sticky/mine", 0666, USER, GROUP);
    make_directory("own", 0700, USER, GROUP);
    make("own/theirs", 0600, OTHER, OTHER);
    make_directory("own/inner", 0755, 0, 0);
    make_directory("own/moves", 0755, USER, GROUP);
    CHECK(!symlink("closed/file", "link"));
    CHECK(!binds("socket") && !chmod("socket", 0755));
    CHECK(!binds("open-socket") && !chmod("open-socket", 0777));
}

static void calls(void)
{
    struct stat st;
    struct statfs fs;
    char text[64];
    struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
    struct timespec omit[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };
    struct timespec then[2] = { { 1, 0 }, { 1, 0 } };

    puts(" open");
    SHOW(opens("public", O_RDONLY));
    SHOW(opens("public", O_WRONLY));
    SHOW(opens("public", O_RDWR));
    SHOW(opens("public", O_RDONLY | O_TRUNC));
    SHOW(opens("public", O_RDONLY | O_NOATIME));
    SHOW(opens("mine", O_RDWR | O_NOATIME));
    SHOW(opens("private", O_RDONLY));
    SHOW(opens("private", O_PATH));
    SHOW(opens("not-even-mine", O_RDONLY));
    SHOW(opens("team", O_RDWR));
    SHOW(opens("writable", O_WRONLY));
    SHOW(opens("writable", O_RDONLY));
    SHOW(opens("writable", O_CREAT | O_RDONLY));
    SHOW(opens("closed", O_RDONLY | O_DIRECTORY));
    SHOW(opens("closed", O_PATH));
    SHOW(opens("closed/file", O_RDONLY));
    SHOW(opens("closed/none", O_RDONLY));
    SHOW(opens("listed", O_RDONLY | O_DIRECTORY));
    SHOW(opens("listed/file", O_RDONLY));
    SHOW(opens("passage", O_RDONLY | O_DIRECTORY));
    SHOW(opens("passage/file", O_RDWR));
    SHOW(opens("passage/../public", O_RDONLY));
    SHOW(opens("listed/../public", O_RDONLY));
    SHOW(opens("link", O_RDONLY));
    SHOW(opens("new", O_CREAT | O_WRONLY));
    SHOW(opens("drop/new", O_CREAT | O_WRONLY | O_EXCL));
    SHOW(opens("drop/new", O_CREAT | O_WRONLY | O_EXCL));
    SHOW(opens("passage/new", O_CREAT | O_RDWR));
    SHOW(opens("own/read-only", O_CREAT | O_WRONLY | O_EXCL));
    SHOW(opens(".", O_TMPFILE | O_RDWR));

    puts(" names");
    SHOW(mkdir("d", 0755));
    SHOW(mkdir("closed", 0755));
    SHOW(mkdir("closed/d", 0755));
    SHOW(mkdir("drop/d", 0755));
    SHOW(rmdir("closed"));
    SHOW(rmdir("own/inner"));
    SHOW(unlink("public"));
    SHOW(unlink("none"));
    SHOW(unlink("closed/none"));
    SHOW(unlink("sticky/theirs"));
    SHOW(rename("sticky/theirs", "sticky/else"));
    SHOW(rename("sticky/mine", "sticky/theirs"));
    SHOW(rename("sticky/mine", "sticky/renamed"));
    SHOW(unlink("sticky/renamed"));
    SHOW(unlink("own/theirs"));
    SHOW(rename("own/moves", "drop/moves"));
    SHOW(rename("public", "own/public"));
    SHOW(rename("public", "public"));
    SHOW(link("passage/file", "hard"));
    SHOW(link("passage/file", "own/hard"));
    SHOW(symlink("x", "soft"));
    SHOW(symlink("x", "own/soft"));
    SHOW(mkfifo("fifo", 0644));
    SHOW(mkfifo("own/fifo", 0644));

    puts(" attributes");
    SHOW(stat("closed/file", &st));
    SHOW(lstat("link", &st));
    SHOW(stat("private", &st));
    SHOW(statfs("closed/file", &fs));
    SHOW(readlink("link", text, sizeof text));
    SHOW(readlink("closed/link", text, sizeof text));
    SHOW(chmod("public", 0666));
    SHOW(chmod("mine", 0644));
    SHOW(chown("mine", OTHER, -1));
    SHOW(truncate("public", 1));
    SHOW(truncate("mine", 1));
    SHOW(truncate("passage/file", 1));
    SHOW(truncate("closed", 1));
    SHOW(utimensat(AT_FDCWD, "public", 0, 0));
    SHOW(utimensat(AT_FDCWD, "public", now, 0));
    SHOW(utimensat(AT_FDCWD, "public", omit, 0));
    SHOW(utimensat(AT_FDCWD, "public", then, 0));
    SHOW(utimensat(AT_FDCWD, "writable", 0, 0));
    SHOW(utimensat(AT_FDCWD, "writable", then, 0));
    SHOW(utimensat(AT_FDCWD, "mine", then, 0));

    puts(" access");
    SHOW(access("public", R_OK));
    SHOW(access("public", W_OK));
    SHOW(access("public", X_OK));
    SHOW(access("blind", X_OK));
    SHOW(access("private", F_OK));
    SHOW(access("private", R_OK));
    SHOW(access("closed", X_OK));
    SHOW(access("closed/file", F_OK));
    SHOW(access("listed", R_OK | X_OK));
    SHOW(access("not-even-mine", R_OK));
    SHOW(faccessat(AT_FDCWD, "private", R_OK, AT_EACCESS));
    SHOW(faccessat(AT_FDCWD, "closed/file", R_OK, AT_EACCESS));
    SHOW(faccessat(AT_FDCWD, "mine", R_OK | W_OK, AT_EACCESS));

    // Who may read a file may watch it.
    static const char *const watched[] = { "public", "blind", "private", "closed/file", "listed", "not-even-mine", "mine" };
    int instance = inotify_init();
    for (size_t i = 0; i < sizeof watched / sizeof *watched; i++) {
        int fd = open(watched[i], O_RDONLY);
        int error = errno, watch = inotify_add_watch(instance, watched[i], IN_OPEN);
        CHECK((fd >= 0) == (watch >= 0) && (fd >= 0 || errno == error));
        close(fd);
    }
    close(instance);

    puts(" the rest");
    SHOW(chdir("closed"));
    SHOW(chdir("listed"));
    SHOW(chdir("public"));
    SHOW(chdir("passage") || chdir(".."));
    SHOW(connects("socket"));
    SHOW(connects("open-socket"));
    SHOW(binds("nowhere"));
    SHOW(binds("own/bound"));
    char *arguments[] = { "x", 0 };
    SHOW(execv("public", arguments));
    SHOW(execv("closed/file", arguments));
    SHOW(opens("/proc/self/fd", O_RDONLY | O_DIRECTORY));
    SHOW(opens("/proc/self/status", O_RDONLY));
    SHOW(opens("/proc/self/comm", O_WRONLY));
    SHOW(opens("/dev/null", O_RDWR));
}

static int forget(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

int main(void)
{
    umask(022);
    char base[] = "/tmp/permissions-XXXXXX";
    CHECK(mkdtemp(base) && !chmod(base, 0755));
    struct { const char *name; uid_t real, effective; gid_t gid; gid_t team; } who[] = {
        { "somebody", USER, USER, GROUP, OTHER },
        { "one of the team", OTHER, OTHER, OTHER, TEAM },
        { "one whose real user is root", 0, USER, GROUP, OTHER },
        { "root", 0, 0, 0, 0 },
    };
    for (size_t i = 0; i < sizeof who / sizeof *who; i++) {
        CHECK(!chdir(base));
        tree();
        puts(who[i].name);
        CHECK(!syscall(SYS_setgroups, 1, &who[i].team));
        CHECK(!syscall(SYS_setresgid, who[i].gid, who[i].gid, 0));
        CHECK(!syscall(SYS_setresuid, who[i].real, who[i].effective, 0));
        calls();
        CHECK(!syscall(SYS_setresuid, 0, 0, 0) && !syscall(SYS_setresgid, 0, 0, 0));
        char gone[64];
        snprintf(gone, sizeof gone, "%s/gone%zu", base, i);
        CHECK(!chdir(base) && !rename("tree", gone));
    }
    CHECK(!chdir("/") && !nftw(base, forget, 16, FTW_DEPTH | FTW_PHYS));
    return FINISH();
}
