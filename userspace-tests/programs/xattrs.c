// Extended attributes, in a directory that is given, else in /tmp: `xattrs [DIR]`. `qemu/tests/volumes.rs` runs it on directories of
// the host and on volumes.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "check.h"

#define FAILS(call, error) CHECK((errno = 0, (call)) == -1 && errno == (error))

static int has(const char *list, ssize_t len, const char *name)
{
    for (const char *at = list; at < list + len; at += strlen(at) + 1)
        if (strcmp(at, name) == 0) return 1;
    return 0;
}

static void files(const char *name)
{
    static char large[65537];
    char value[200] = "", long_name[300] = "user.";
    FAILS(getxattr(name, "user.one", value, sizeof value), ENODATA);
    CHECK(setxattr(name, "user.one", "first", 5, 0) == 0);
    CHECK(getxattr(name, "user.one", value, sizeof value) == 5 && memcmp(value, "first", 5) == 0);
    CHECK(getxattr(name, "user.one", 0, 0) == 5);
    FAILS(getxattr(name, "user.one", value, 4), ERANGE);
    FAILS(setxattr(name, "user.one", "x", 1, XATTR_CREATE), EEXIST);
    FAILS(setxattr(name, "user.two", "x", 1, XATTR_REPLACE), ENODATA);
    CHECK(setxattr(name, "user.one", "second value", 12, XATTR_REPLACE) == 0);
    CHECK(setxattr(name, "user.two", "\0\1\2", 3, XATTR_CREATE) == 0);
    CHECK(getxattr(name, "user.one", value, sizeof value) == 12 && memcmp(value, "second value", 12) == 0);
    CHECK(getxattr(name, "user.two", value, sizeof value) == 3 && memcmp(value, "\0\1\2", 3) == 0);
    ssize_t len = listxattr(name, value, sizeof value);
    CHECK(len > 0 && has(value, len, "user.one") && has(value, len, "user.two"));
    CHECK(listxattr(name, 0, 0) == len);
    FAILS(listxattr(name, value, 5), ERANGE);
    CHECK(removexattr(name, "user.two") == 0);
    FAILS(removexattr(name, "user.two"), ENODATA);
    FAILS(setxattr(name, "user.one", "x", 1, 4), EINVAL);
    FAILS(setxattr(name, "", "x", 1, 0), ERANGE);
    FAILS(setxattr(name, "user.", "x", 1, 0), EINVAL);
    FAILS(setxattr(name, "other.one", "x", 1, 0), EOPNOTSUPP);
    FAILS(getxattr(name, "other.one", value, sizeof value), EOPNOTSUPP);
    memset(long_name + 5, 'n', 251);
    FAILS(setxattr(name, long_name, "x", 1, 0), ERANGE);
    FAILS(setxattr(name, "user.large", large, sizeof large, 0), E2BIG);
    char *volatile nowhere = (char *)8;
    FAILS(setxattr(name, "user.one", nowhere, 1, 0), EFAULT);
    FAILS(getxattr("missing", "user.one", value, sizeof value), ENOENT);
}

int main(int count, char **arguments)
{
    char dir[] = "/tmp/xattrs-XXXXXX", value[100];
    CHECK(chdir(count > 1 ? arguments[1] : mkdtemp(dir)) == 0);
    int fd = open("file", O_CREAT | O_RDWR, 0644);
    CHECK(mkdir("directory", 0755) == 0 && symlink("file", "link") == 0);
    files("file");
    files("directory");
    // They are the file's, whatever its name is.
    CHECK(fgetxattr(fd, "user.one", value, sizeof value) == 12);
    CHECK(rename("file", "other") == 0 && unlink("link") == 0 && symlink("other", "link") == 0);
    CHECK(getxattr("link", "user.one", value, sizeof value) == 12);
    CHECK(fsetxattr(fd, "user.three", "3", 1, 0) == 0 && getxattr("other", "user.three", value, sizeof value) == 1);
    CHECK(fremovexattr(fd, "user.three") == 0);
    ssize_t len = flistxattr(fd, value, sizeof value);
    CHECK(has(value, len, "user.one") && !has(value, len, "user.three"));
    // A link has none of the users'.
    FAILS(lsetxattr("link", "user.one", "x", 1, 0), EPERM);
    FAILS(lgetxattr("link", "user.one", value, sizeof value), ENODATA);
    FAILS(lremovexattr("link", "user.one"), EPERM);
    int path = open("other", O_PATH);
    FAILS(fgetxattr(path, "user.one", value, sizeof value), EBADF);
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    FAILS(fsetxattr(pipes[0], "user.one", "x", 1, 0), EPERM);
    CHECK(unlink("other") == 0 && unlink("link") == 0 && rmdir("directory") == 0);
    return FINISH();
}
