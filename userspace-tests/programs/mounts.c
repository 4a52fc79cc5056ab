// Mounts: tmpfs with limits, bind mounts of directories and files, flags and what they refuse, what is busy, `..` and names across
// them, what /proc says.
// linux: as root
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "check.h"

static char dir[] = "/tmp/mounts-XXXXXX";

static void put(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void show(const char *what, long result)
{
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "ok");
}

// The lines of a file of /proc that are about the directory, without numbers.
static void lines(const char *path, int fields)
{
    char line[1000];
    FILE *file = fopen(path, "r");
    CHECK(file != 0);
    while (fgets(line, sizeof line, file)) {
        char *at = strstr(line, dir);
        if (!at) continue;
        printf("%s:", path);
        int count = 0;
        for (char *word = strtok(at + strlen(dir), " "); word && count < fields; word = strtok(0, " "), count++)
            printf(" %s", word);
        printf("\n");
    }
    fclose(file);
}

static dev_t dev_of(const char *path)
{
    struct stat status;
    CHECK(stat(path, &status) == 0);
    return status.st_dev;
}

static void tmpfs(void)
{
    show("mount", mount("some", "m", "tmpfs", 0, "size=64k,mode=711"));
    CHECK(dev_of("m") != dev_of("."));
    struct stat status;
    CHECK(stat("m", &status) == 0);
    printf("mode %o, blocks of 4k:", status.st_mode);
    struct statfs of;
    CHECK(statfs("m", &of) == 0);
    printf(" %ld of %ld, type %lx\n", (long)of.f_bfree, (long)of.f_blocks, (long)of.f_type);
    static char page[4096];
    int fd = open("m/file", O_CREAT | O_RDWR, 0600);
    int pages = 0;
    while (write(fd, page, sizeof page) == sizeof page) pages++;
    printf("pages %d, then %s\n", pages, strerror(errno));
    CHECK(ftruncate(fd, 4096) == 0);
    CHECK(statfs("m", &of) == 0);
    printf("free then %ld\n", (long)of.f_bfree);
    show("unmount of what is in use", umount("m"));
    close(fd);
    show("rename to another file system", rename("m/file", "file"));
    show("link to another file system", link("m/file", "file"));
    show("remove a mount point", rmdir("m"));
    show("rename a mount point", rename("m", "n"));
    lines("/proc/mounts", 2);
    CHECK(chdir("m") == 0);
    char cwd[200];
    printf("cwd %s\n", getcwd(cwd, sizeof cwd) + strlen(dir));
    CHECK(chdir("..") == 0);
    printf("above %s\n", getcwd(cwd, sizeof cwd) + strlen(dir));
    struct inotify_event event;
    int watching = inotify_init1(IN_NONBLOCK), watch = inotify_add_watch(watching, "m/file", IN_OPEN);
    show("unmount", umount("m"));
    CHECK(read(watching, &event, sizeof event) == sizeof event && event.wd == watch && event.mask == IN_UNMOUNT);
    CHECK(read(watching, &event, sizeof event) == sizeof event && event.wd == watch && event.mask == IN_IGNORED);
    CHECK(inotify_rm_watch(watching, watch) == -1 && close(watching) == 0);
    show("unmount again", umount("m"));
    CHECK(access("m/file", F_OK) < 0);
}

static void flags(void)
{
    show("mount", mount("none", "m", "tmpfs", MS_NOSUID | MS_NODEV, 0));
    put("m/file", "text");
    CHECK(mkdir("m/dir", 0755) == 0);
    show("remount", mount("none", "m", "tmpfs", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOEXEC, 0));
    show("open to read", open("m/file", O_RDONLY));
    show("open to write", open("m/file", O_WRONLY));
    show("make a file", open("m/new", O_CREAT | O_WRONLY, 0600));
    show("open what is there to make", open("m/file", O_CREAT | O_RDONLY, 0600));
    show("make a directory", mkdir("m/new", 0700));
    show("make one that is there", mkdir("m/dir", 0700));
    show("unlink", unlink("m/file"));
    show("rmdir", rmdir("m/dir"));
    show("rename", rename("m/file", "m/new"));
    show("link", link("m/file", "m/new"));
    show("symlink", symlink("x", "m/new"));
    show("chmod", chmod("m/file", 0600));
    show("chown", chown("m/file", 1, 1));
    show("times", utimensat(AT_FDCWD, "m/file", 0, 0));
    show("truncate", truncate("m/file", 0));
    show("access to write", access("m/file", W_OK));
    show("access to read", access("m/file", R_OK));
    int fd = open("m/file", O_RDONLY);
    void *at = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    printf("map to execute: %s\n", at == MAP_FAILED ? strerror(errno) : "ok");
    at = mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(at != MAP_FAILED);
    show("protect to execute", mprotect(at, 4096, PROT_READ | PROT_EXEC));
    munmap(at, 4096);
    show("fchmod", fchmod(fd, 0600));
    close(fd);
    struct statvfs of;
    CHECK(statvfs("m", &of) == 0);
    printf("flags %lx\n", of.f_flag & (ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC));
    lines("/proc/self/mountinfo", 2);
}

static void binds(void)
{
    CHECK(mkdir("a", 0755) == 0 && mkdir("a/sub", 0755) == 0 && mkdir("b", 0755) == 0);
    put("a/sub/file", "bound");
    show("bind", mount("a", "b", 0, MS_BIND, 0));
    CHECK(dev_of("a") == dev_of("b"));
    put("b/sub/other", "x");
    show("seen in the other", access("a/sub/other", F_OK));
    CHECK(chdir("b/sub") == 0);
    char cwd[200];
    printf("cwd %s\n", getcwd(cwd, sizeof cwd) + strlen(dir));
    CHECK(chdir("../..") == 0);
    printf("above %s\n", getcwd(cwd, sizeof cwd) + strlen(dir));
    show("rename between them", rename("a/sub/file", "b/sub/file"));
    show("link between them", link("a/sub/file", "b/sub/link"));
    put("onto", "covered");
    show("bind a file", mount("a/sub/file", "onto", 0, MS_BIND, 0));
    char text[20] = "";
    int fd = open("onto", O_RDONLY);
    CHECK(read(fd, text, sizeof text) > 0);
    close(fd);
    printf("reads as %s\n", text);
    show("remove it", unlink("onto"));
    show("replace it", rename("a/sub/other", "onto"));
    show("a file on a directory", mount("a/sub/file", "b", 0, MS_BIND, 0));
    show("a directory on a file", mount("a", "a/sub/file", 0, MS_BIND, 0));
    show("read only", mount(0, "b", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0));
    show("write in the bound", open("b/sub/file", O_WRONLY));
    show("write in the other", open("a/sub/file", O_WRONLY));
    lines("/proc/mounts", 0);
    show("unmount the file", umount("onto"));
    show("a mount on top", mount("none", "b", "tmpfs", 0, 0));
    show("not to be seen", access("b/sub", F_OK));
    show("unmount", umount("b"));
    show("seen again", access("b/sub", F_OK));
    show("unmount", umount2("b", MNT_DETACH));
}

static void errors(void)
{
    show("no such type", mount("none", "m", "nosuchfs", 0, 0));
    show("no such place", mount("none", "nothing", "tmpfs", 0, 0));
    show("on a file", mount("none", "file", "tmpfs", 0, 0));
    show("no such option", mount("none", "m", "tmpfs", 0, "frobnicate=1"));
    show("unmount of no mount", umount("a"));
    show("unmount of nothing", umount("nothing"));
    show("unmount with bad flags", umount2("a", 0x100));
    show("remount of no mount", mount("none", "a", "tmpfs", MS_REMOUNT, 0));
}

int main(void)
{
    // A namespace of its own where there are any.
    if (unshare(CLONE_NEWNS) == 0) mount("none", "/", 0, MS_REC | MS_PRIVATE, 0);
    CHECK(mkdtemp(dir) != 0 && chdir(dir) == 0);
    CHECK(mkdir("m", 0755) == 0);
    put("file", "plain");
    CHECK(unlink("file") == 0);
    tmpfs();
    flags();
    umount2("m", MNT_DETACH);
    binds();
    put("file", "plain");
    errors();
    return 0;
}
