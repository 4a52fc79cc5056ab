// Names that are swapped, kept, or left behind as nothing by renameat2(2), files that get a name after they were made, and what
// statx(2) says of them. `renameat2 [DIR]`: in a directory that is given, else in /tmp. `qemu/tests/volumes.rs` runs it on volumes.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

#define FAILS(call, error) CHECK((errno = 0, (call)) == -1 && errno == (error))
#define MOVE(from, to, flags) renameat2(AT_FDCWD, from, AT_FDCWD, to, flags)

static void put(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static int holds(const char *path, const char *text)
{
    char buffer[100] = "";
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, buffer, sizeof buffer - 1) < 0) return 0;
    close(fd);
    return strcmp(buffer, text) == 0;
}

static int links(const char *path)
{
    struct stat of;
    return lstat(path, &of) ? -1 : (int)of.st_nlink;
}

static void swapped(void)
{
    put("one", "first");
    put("two", "second");
    FAILS(MOVE("one", "two", RENAME_NOREPLACE), EEXIST);
    CHECK(MOVE("one", "three", RENAME_NOREPLACE) == 0 && holds("three", "first") && access("one", F_OK) == -1);
    CHECK(MOVE("three", "two", RENAME_EXCHANGE) == 0 && holds("three", "second") && holds("two", "first"));
    FAILS(MOVE("three", "missing", RENAME_EXCHANGE), ENOENT);
    FAILS(MOVE("missing", "three", RENAME_EXCHANGE), ENOENT);
    FAILS(MOVE("two", "three", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
    FAILS(MOVE("two", "three", RENAME_EXCHANGE | RENAME_WHITEOUT), EINVAL);
    FAILS(MOVE("two", "three", 8), EINVAL);
    CHECK(link("two", "same") == 0 && MOVE("two", "same", RENAME_EXCHANGE) == 0 && unlink("same") == 0);
    // A file and a directory with something in it, in different directories.
    CHECK(mkdir("left", 0755) == 0 && mkdir("right", 0755) == 0 && mkdir("left/deep", 0755) == 0);
    put("left/deep/inside", "inside");
    put("right/file", "file");
    CHECK(links("left") == 3 && links("right") == 2);
    CHECK(MOVE("left/deep", "right/file", RENAME_EXCHANGE) == 0);
    CHECK(holds("left/deep", "file") && holds("right/file/inside", "inside"));
    CHECK(links("left") == 2 && links("right") == 3);
    struct stat above, up;
    CHECK(stat("right", &above) == 0 && stat("right/file/..", &up) == 0 && above.st_ino == up.st_ino);
    FAILS(MOVE("right", "right/file", RENAME_EXCHANGE), EINVAL);
    CHECK(unlink("right/file/inside") == 0 && rmdir("right/file") == 0 && rmdir("right") == 0);
    CHECK(unlink("left/deep") == 0 && rmdir("left") == 0);
}

static void whited_out(void)
{
    struct stat of;
    CHECK(MOVE("two", "moved", RENAME_WHITEOUT) == 0 && holds("moved", "first"));
    CHECK(lstat("two", &of) == 0 && S_ISCHR(of.st_mode) && of.st_rdev == 0 && of.st_nlink == 1);
    FAILS(MOVE("moved", "two", RENAME_WHITEOUT | RENAME_NOREPLACE), EEXIST);
    CHECK(unlink("two") == 0 && rename("moved", "two") == 0);
}

static int unnamed(void)
{
    int fd = open(".", O_TMPFILE | O_RDWR, 0640);
    if (fd < 0 && errno == EOPNOTSUPP) return 0;
    CHECK(fd >= 0);
    struct stat of;
    CHECK(write(fd, "unnamed", 7) == 7 && fstat(fd, &of) == 0 && of.st_nlink == 0 && of.st_size == 7);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    put("taken", "taken");
    FAILS(linkat(AT_FDCWD, path, AT_FDCWD, "taken", AT_SYMLINK_FOLLOW), EEXIST);
    CHECK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0 && holds("named", "unnamed"));
    CHECK(fstat(fd, &of) == 0 && of.st_nlink == 1 && (of.st_mode & 07777) == 0640);
    CHECK(linkat(AT_FDCWD, path, AT_FDCWD, "again", AT_SYMLINK_FOLLOW) == 0 && links("named") == 2);
    CHECK(pwrite(fd, "N", 1, 2) == 1 && fsync(fd) == 0 && holds("again", "unNamed"));
    close(fd);
    CHECK(unlink("again") == 0 && unlink("named") == 0 && unlink("taken") == 0);
    // Some that nobody names.
    for (int i = 0; i < 3; i++) CHECK((fd = open(".", O_TMPFILE | O_RDWR, 0600)) >= 0 && write(fd, "gone", 4) == 4);
    FAILS(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
    FAILS(open("two", O_TMPFILE | O_RDWR, 0600), ENOTDIR);
    return 1;
}

int main(int count, char **arguments)
{
    if (count > 1) CHECK(chdir(arguments[1]) == 0);
    else CHECK(chdir("/tmp") == 0);
    swapped();
    whited_out();
    CHECK(unnamed());
    CHECK(unlink("two") == 0 && unlink("three") == 0);
    return FINISH();
}
