// What every file system that keeps files has to do: in a directory that is given, else in /tmp. `qemu/tests/volumes.rs` runs it on
// directories of the host and on volumes.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>
#include "check.h"

enum { LARGE = 3 << 20, MANY = 600 };

#define FAILS(call, error) CHECK((errno = 0, (call)) == -1 && errno == (error))

static struct stat status(const char *path)
{
    struct stat of = {0};
    CHECK(lstat(path, &of) == 0);
    return of;
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(close(fd) == 0);
}

static void holds(const char *path, const char *text)
{
    char buffer[200] = "";
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    CHECK(read(fd, buffer, sizeof buffer - 1) == (ssize_t)strlen(text));
    CHECK(strcmp(buffer, text) == 0);
    close(fd);
}

static void contents(void)
{
    put("file", "one\n");
    int fd = open("file", O_RDWR | O_APPEND);
    CHECK(write(fd, "two\n", 4) == 4 && lseek(fd, 0, SEEK_CUR) == 8);
    struct iovec parts[] = {{"th", 2}, {"ree\n", 4}};
    CHECK(writev(fd, parts, 2) == 6);
    close(fd);
    holds("file", "one\ntwo\nthree\n");
    CHECK(truncate("file", 6) == 0);
    CHECK(truncate("file", 8) == 0);
    char bytes[10];
    fd = open("file", O_RDWR);
    CHECK(read(fd, bytes, sizeof bytes) == 8 && memcmp(bytes, "one\ntw\0\0", 8) == 0);
    CHECK(pwrite(fd, "x", 1, 10000) == 1 && status("file").st_size == 10001);
    CHECK(pread(fd, bytes, 10, 9995) == 6 && memcmp(bytes, "\0\0\0\0\0x", 6) == 0);
    CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
    CHECK(lseek(fd, 0, SEEK_END) == 10001);
    close(fd);
    fd = open("file", O_RDWR | O_TRUNC);
    CHECK(status("file").st_size == 0);
    close(fd);

    unsigned char *data = malloc(LARGE), *back = malloc(LARGE);
    for (int i = 0; i < LARGE; i++) data[i] = i * 7 + (i >> 12);
    fd = open("large", O_CREAT | O_RDWR, 0600);
    CHECK(write(fd, data, LARGE) == LARGE);
    CHECK(pread(fd, back, LARGE, 0) == LARGE && memcmp(data, back, LARGE) == 0);
    close(fd);
    fd = open("large", O_RDONLY);
    long total = 0, part;
    while ((part = read(fd, back + total, 70000)) > 0) total += part;
    CHECK(total == LARGE && memcmp(data, back, LARGE) == 0);
    CHECK(pread(fd, back, 1000, 1 << 20) == 1000 && memcmp(back, data + (1 << 20), 1000) == 0);
    CHECK(pread(fd, back, 1000, LARGE) == 0);
    FAILS(write(fd, back, 1), EBADF);
    close(fd);
    free(data);
    free(back);
}

static void mappings(void)
{
    put("mapped", "0123456789");
    int fd = open("mapped", O_RDWR);
    CHECK(ftruncate(fd, 9000) == 0);
    char *one = mmap(0, 9000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(0, 9000, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(one != MAP_FAILED && private != MAP_FAILED);
    CHECK(memcmp(one, "0123456789\0", 11) == 0);
    memcpy(private, "private", 7);
    one[8999] = 'z';
    memcpy(one, "shared", 6);
    char bytes[11] = "";
    CHECK(pread(fd, bytes, 10, 0) == 10 && strcmp(bytes, "shared6789") == 0);
    CHECK(pwrite(fd, "by write", 8, 100) == 8 && memcmp(one + 100, "by write", 8) == 0);
    CHECK(msync(one, 9000, MS_SYNC) == 0);
    memcpy(one + 4096, "again", 5);
    CHECK(munmap(one, 9000) == 0 && munmap(private, 9000) == 0);
    close(fd);
    fd = open("mapped", O_RDONLY);
    CHECK(pread(fd, bytes, 5, 4096) == 5 && memcmp(bytes, "again", 5) == 0);
    FAILS(mmap(0, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0, EACCES);
    char *read_only = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(memcmp(read_only, "shared", 6) == 0);
    munmap(read_only, 4096);
    close(fd);
}

static void removed_while_open(void)
{
    int fd = open("open", O_CREAT | O_RDWR | O_EXCL, 0444);
    CHECK(fd >= 0 && write(fd, "read only", 9) == 9);
    FAILS(open("open", O_CREAT | O_EXCL | O_RDWR, 0600), EEXIST);
    CHECK(unlink("open") == 0);
    FAILS(access("open", F_OK), ENOENT);
    struct stat of;
    CHECK(fstat(fd, &of) == 0 && of.st_nlink == 0 && of.st_size == 9);
    char bytes[10] = "";
    CHECK(pwrite(fd, "WRITE", 5, 0) == 5 && pread(fd, bytes, 9, 0) == 9 && strcmp(bytes, "WRITEonly") == 0);
    CHECK(ftruncate(fd, 4) == 0 && fstat(fd, &of) == 0 && of.st_size == 4);
    CHECK(fchmod(fd, 0600) == 0 && fsync(fd) == 0);
    // Its directory can go before it.
    CHECK(mkdir("with", 0755) == 0);
    put("with/file", "inner");
    int inner = open("with/file", O_RDONLY);
    CHECK(unlink("with/file") == 0 && rmdir("with") == 0);
    CHECK(pread(inner, bytes, 5, 0) == 5 && memcmp(bytes, "inner", 5) == 0);
    close(inner);
    close(fd);
    put("old", "old");
    put("new", "new");
    fd = open("old", O_RDONLY);
    CHECK(rename("new", "old") == 0);
    holds("old", "new");
    CHECK(pread(fd, bytes, 3, 0) == 3 && memcmp(bytes, "old", 3) == 0);
    close(fd);
    FAILS(access("new", F_OK), ENOENT);
    CHECK(unlink("old") == 0);
}

static void names(void)
{
    FAILS(open("missing", O_RDONLY), ENOENT);
    FAILS(open("missing/file", O_CREAT | O_RDWR, 0600), ENOENT);
    put("missing", "is there");
    holds("missing", "is there");
    FAILS(mkdir("missing", 0755), EEXIST);
    FAILS(open("missing/file", O_RDONLY), ENOTDIR);
    FAILS(rmdir("missing"), ENOTDIR);
    CHECK(mkdir("d", 0750) == 0 && mkdir("d/e", 0700) == 0);
    CHECK((status("d").st_mode & 07777) == 0750 && S_ISDIR(status("d").st_mode));
    FAILS(unlink("d"), EISDIR);
    FAILS(rmdir("d"), ENOTEMPTY);
    put("d/e/file", "deep");
    CHECK(rename("d/e", "moved") == 0);
    holds("moved/file", "deep");
    FAILS(access("d/e/file", F_OK), ENOENT);
    FAILS(rename("moved", "moved/inside"), EINVAL);
    CHECK(link("moved/file", "second") == 0 && status("second").st_nlink == 2);
    CHECK(status("second").st_ino == status("moved/file").st_ino);
    put("second", "both");
    holds("moved/file", "both");
    CHECK(unlink("moved/file") == 0);
    holds("second", "both");
    CHECK(status("second").st_nlink == 1);
    CHECK(symlink("second", "link") == 0 && S_ISLNK(status("link").st_mode));
    holds("link", "both");
    char text[20] = "";
    CHECK(readlink("link", text, sizeof text) == 6 && strcmp(text, "second") == 0);
    CHECK(symlink("/proc/self/cwd/second", "far") == 0);
    holds("far", "both");
    FAILS(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK(rename("link", "link2") == 0 && unlink("link2") == 0 && unlink("far") == 0);
    CHECK(rmdir("moved") == 0 && rmdir("d") == 0 && unlink("missing") == 0 && unlink("second") == 0);
    const char *odd = "odd \t\"name\\\303\244\377;*";
    put(odd, "odd");
    holds(odd, "odd");
    CHECK(unlink(odd) == 0);
}

static void attributes(void)
{
    put("attributes", "");
    CHECK(chmod("attributes", 0640) == 0 && (status("attributes").st_mode & 07777) == 0640);
    struct timespec times[] = {{1000000000, 5000}, {1234567890, 123456000}};
    CHECK(utimensat(AT_FDCWD, "attributes", times, 0) == 0);
    struct stat of = status("attributes");
    CHECK(of.st_mtim.tv_sec == 1234567890 && of.st_mtim.tv_nsec == 123456000);
    CHECK(of.st_atim.tv_sec == 1000000000);
    put("attributes", "later");
    CHECK(status("attributes").st_mtim.tv_sec > 1234567890);
    CHECK(of.st_uid == geteuid());
    struct statfs fs;
    CHECK(statfs(".", &fs) == 0 && fs.f_bfree > 0 && fs.f_bfree <= fs.f_blocks && fs.f_namelen == 255);
    CHECK(unlink("attributes") == 0);
}

static void many(void)
{
    char name[50];
    CHECK(mkdir("many", 0755) == 0);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "many/a file with number %d", i);
        int fd = open(name, O_CREAT | O_WRONLY | O_EXCL, 0644);
        CHECK(fd >= 0);
        close(fd);
    }
    DIR *stream = opendir("many");
    char seen[MANY] = "";
    int count = 0, dots = 0;
    for (struct dirent *entry; (entry = readdir(stream)); count++) {
        int number;
        if (entry->d_name[0] == '.') dots++;
        else if (sscanf(entry->d_name, "a file with number %d", &number) == 1 && !seen[number]) seen[number] = 1;
        else CHECK(!"an unknown name, or one twice");
        CHECK(entry->d_ino != 0);
    }
    closedir(stream);
    CHECK(count == MANY + 2 && dots == 2);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "many/a file with number %d", i);
        CHECK(unlink(name) == 0);
    }
    CHECK(rmdir("many") == 0);
}

int main(int count, char **arguments)
{
    char dir[] = "/tmp/stored-XXXXXX";
    CHECK(chdir(count > 1 ? arguments[1] : mkdtemp(dir)) == 0);
    umask(022);
    contents();
    mappings();
    removed_while_open();
    names();
    attributes();
    many();
    put("left", "what stays\n");
    return FINISH();
}
