// Files and directories: stdio, descriptors, offsets, truncation, links, renames, directory lists, status, permissions.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>
#include "check.h"

static char dir[] = "/tmp/files-XXXXXX";

static int by_text(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

static void list(const char *path)
{
    char *names[100];
    size_t count = 0;
    DIR *stream = opendir(path);
    CHECK(stream != 0);
    for (struct dirent *entry; (entry = readdir(stream));) {
        char text[300];
        const char *kind = entry->d_type == DT_DIR ? "/" : entry->d_type == DT_LNK ? "@" : "";
        snprintf(text, sizeof text, "%s%s", entry->d_name, kind);
        names[count++] = strdup(text);
    }
    closedir(stream);
    qsort(names, count, sizeof *names, by_text);
    printf("list:");
    for (size_t i = 0; i < count; i++) {
        printf(" %s", names[i]);
        free(names[i]);
    }
    puts("");
}

static void stdio(void)
{
    char line[100], word[20];
    int number;
    FILE *file = fopen("text", "w+");
    CHECK(file);
    CHECK(fprintf(file, "first line\nnumber %d\n%s", 42, "no newline") == 31);
    CHECK(ftell(file) == 31);
    rewind(file);
    CHECK(fgets(line, sizeof line, file) && !strcmp(line, "first line\n"));
    CHECK(fscanf(file, "%19s %d\n", word, &number) == 2 && number == 42);
    CHECK(fgetc(file) == 'n' && ungetc('N', file) == 'N' && fgetc(file) == 'N');
    CHECK(fseek(file, -7, SEEK_END) == 0 && fread(line, 1, 100, file) == 7 && feof(file));
    CHECK(!memcmp(line, "newline", 7));
    CHECK(fseek(file, 0, SEEK_SET) == 0 && fputs("FIRST", file) >= 0 && fclose(file) == 0);
    file = fopen("text", "a");
    CHECK(fputs(", more", file) >= 0 && fclose(file) == 0);
    char *whole = 0;
    size_t size = 0;
    file = fopen("text", "r");
    CHECK(getdelim(&whole, &size, 0, file) == 37);
    puts(whole);
    free(whole);
    CHECK(fputs("x", file) == EOF && errno == EBADF);
    fclose(file);
    CHECK(!fopen("text", "wx") && errno == EEXIST);
    CHECK(!fopen("none/text", "w") && errno == ENOENT);
    CHECK(!fopen("text/none", "r") && errno == ENOTDIR);
    CHECK(!fopen(".", "w") && errno == EISDIR);
    file = tmpfile();
    CHECK(file && fwrite("abc", 3, 1, file) == 1);
    fclose(file);
}

static void descriptors(void)
{
    char buffer[100] = "";
    struct stat status;
    int fd = open("data", O_RDWR | O_CREAT | O_EXCL, 0640);
    CHECK(fd >= 0);
    CHECK(open("data", O_RDWR | O_CREAT | O_EXCL, 0640) == -1 && errno == EEXIST);
    CHECK(write(fd, "0123456789", 10) == 10);
    CHECK(lseek(fd, 0, SEEK_CUR) == 10 && lseek(fd, -3, SEEK_END) == 7);
    CHECK(read(fd, buffer, 100) == 3 && !memcmp(buffer, "789", 3) && read(fd, buffer, 100) == 0);
    CHECK(lseek(fd, -1, SEEK_SET) == -1 && errno == EINVAL);
    CHECK(lseek(fd, 0, 99) == -1 && errno == EINVAL);
    CHECK(pwrite(fd, "AB", 2, 4) == 2 && pread(fd, buffer, 10, 0) == 10);
    CHECK(!memcmp(buffer, "0123AB6789", 10));
    CHECK(lseek(fd, 0, SEEK_CUR) == 10);
    // A hole.
    CHECK(pwrite(fd, "end", 3, 100000) == 3);
    CHECK(fstat(fd, &status) == 0 && status.st_size == 100003 && S_ISREG(status.st_mode));
    CHECK((status.st_mode & 07777) == 0640 && status.st_nlink == 1 && status.st_uid == geteuid());
    CHECK(pread(fd, buffer, 100, 50000) == 100 && !buffer[0] && !buffer[99]);
    CHECK(ftruncate(fd, 5) == 0 && fstat(fd, &status) == 0 && status.st_size == 5);
    CHECK(ftruncate(fd, 20) == 0 && pread(fd, buffer, 100, 0) == 20 && buffer[3] == '3' && buffer[5] == 0);
    CHECK(truncate("data", 8) == 0 && fstat(fd, &status) == 0 && status.st_size == 8);
    struct iovec parts[3] = {{"one", 3}, {"", 0}, {"three", 5}};
    lseek(fd, 0, SEEK_SET);
    CHECK(writev(fd, parts, 3) == 8);
    char a[4] = "", b[10] = "";
    struct iovec into[2] = {{a, 3}, {b, 9}};
    CHECK(preadv(fd, into, 2, 0) == 8 && !strcmp(a, "one") && !strcmp(b, "three"));
    int copy = dup(fd);
    CHECK(copy > fd && lseek(copy, 2, SEEK_SET) == 2 && lseek(fd, 0, SEEK_CUR) == 2);
    CHECK(dup2(fd, 77) == 77 && fcntl(77, F_GETFD) == 0);
    CHECK(dup3(fd, 77, O_CLOEXEC) == 77 && fcntl(77, F_GETFD) == FD_CLOEXEC);
    CHECK(dup3(fd, fd, 0) == -1 && errno == EINVAL);
    int high = fcntl(fd, F_DUPFD, 200);
    CHECK(high == 200);
    // O_LARGEFILE, which is 0 to a 64-bit program, is set all the same.
    CHECK(fcntl(fd, F_GETFL) == (O_RDWR | 0100000));
    CHECK(fcntl(fd, F_SETFL, O_APPEND) == 0 && (fcntl(fd, F_GETFL) & O_APPEND));
    CHECK(lseek(fd, 0, SEEK_SET) == 0 && write(fd, "!", 1) == 1 && lseek(fd, 0, SEEK_CUR) == 9);
    close(copy), close(77), close(high);
    CHECK(close(fd) == 0 && close(fd) == -1 && errno == EBADF);
    CHECK(read(fd, buffer, 1) == -1 && errno == EBADF);
    fd = open("data", O_RDONLY | O_CLOEXEC);
    CHECK(write(fd, "x", 1) == -1 && errno == EBADF);
    CHECK(fsync(fd) == 0);
    close(fd);
    fd = open("data", O_WRONLY | O_TRUNC);
    CHECK(read(fd, buffer, 1) == -1 && errno == EBADF && fstat(fd, &status) == 0 && status.st_size == 0);
    close(fd);
    fd = open(".", O_TMPFILE | O_RDWR, 0600);
    CHECK(fd >= 0 || errno == EOPNOTSUPP || errno == EISDIR);
    if (fd >= 0)
        close(fd);
    CHECK(open("", O_RDONLY) == -1 && errno == ENOENT);
    fd = open(".", O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0 && read(fd, buffer, 1) == -1 && errno == EISDIR);
    int child = openat(fd, "data", O_RDONLY);
    CHECK(child >= 0 && faccessat(fd, "data", R_OK, 0) == 0);
    close(child), close(fd);
    CHECK(open("data", O_RDONLY | O_DIRECTORY) == -1 && errno == ENOTDIR);
}

static void names(void)
{
    char target[100] = "", path[PATH_MAX];
    struct stat status, other;
    CHECK(mkdir("sub", 0755) == 0 && mkdir("sub", 0755) == -1 && errno == EEXIST);
    CHECK(mkdir("no/sub", 0755) == -1 && errno == ENOENT);
    close(creat("sub/a", 0600));
    close(creat("sub/b", 0600));
    CHECK(link("sub/a", "sub/hard") == 0 && stat("sub/a", &status) == 0 && status.st_nlink == 2);
    CHECK(stat("sub/hard", &other) == 0 && other.st_ino == status.st_ino);
    CHECK(symlink("a", "sub/soft") == 0 && symlink("nowhere", "sub/dangling") == 0);
    CHECK(readlink("sub/soft", target, sizeof target) == 1 && !strcmp(target, "a"));
    CHECK(readlink("sub/a", target, sizeof target) == -1 && errno == EINVAL);
    CHECK(lstat("sub/soft", &status) == 0 && S_ISLNK(status.st_mode) && status.st_size == 1);
    CHECK(stat("sub/dangling", &status) == -1 && errno == ENOENT);
    CHECK(symlink("loop", "loop") == 0 && open("loop", O_RDONLY) == -1 && errno == ELOOP);
    CHECK(open("sub/soft", O_RDONLY | O_NOFOLLOW) == -1 && errno == ELOOP);
    list("sub");
    CHECK(realpath("sub/../sub/./soft", path) && !strcmp(strrchr(path, '/'), "/a"));
    CHECK(rename("sub/b", "sub/c") == 0 && rename("sub/b", "x") == -1 && errno == ENOENT);
    CHECK(rename("sub/c", "sub/a") == 0 && stat("sub/hard", &status) == 0 && status.st_nlink == 1);
    CHECK(mkdir("empty", 0700) == 0 && mkdir("full", 0700) == 0 && mkdir("full/x", 0700) == 0);
    CHECK(rename("sub", "empty") == 0 && access("sub", F_OK) == -1);
    CHECK(rename("empty", "full") == -1 && (errno == ENOTEMPTY || errno == EEXIST));
    CHECK(rename("full", "full/x/y") == -1 && errno == EINVAL);
    CHECK(rename("empty", "text") == -1 && errno == ENOTDIR);
    CHECK(renameat2(AT_FDCWD, "text", AT_FDCWD, "data", 1) == -1 && errno == EEXIST);
    list("empty");
    CHECK(rmdir("full") == -1 && errno == ENOTEMPTY);
    CHECK(rmdir("text") == -1 && errno == ENOTDIR);
    CHECK(unlink("full") == -1 && errno == EISDIR);
    CHECK(rmdir("full/x") == 0 && rmdir("full") == 0 && rmdir("full") == -1 && errno == ENOENT);
    // Unlinked, but open.
    int fd = open("gone", O_RDWR | O_CREAT, 0600);
    CHECK(unlink("gone") == 0 && write(fd, "still", 5) == 5 && pread(fd, target, 9, 0) == 5);
    CHECK(fstat(fd, &status) == 0 && status.st_nlink == 0);
    close(fd);
    CHECK(chmod("text", 0604) == 0 && stat("text", &status) == 0 && (status.st_mode & 07777) == 0604);
    struct timespec times[2] = {{1000000000, 500}, {1234567890, 123456789}};
    CHECK(utimensat(AT_FDCWD, "text", times, 0) == 0 && stat("text", &status) == 0);
    CHECK(status.st_mtim.tv_sec == 1234567890 && status.st_mtim.tv_nsec == 123456789);
    CHECK(status.st_atim.tv_sec == 1000000000);
    CHECK(chdir("empty") == 0 && getcwd(path, sizeof path) && !strcmp(strrchr(path, '/'), "/empty"));
    CHECK(access("a", R_OK) == 0 && chdir("..") == 0 && chdir("text") == -1 && errno == ENOTDIR);
    char long_name[300];
    memset(long_name, 'n', 299);
    long_name[299] = 0;
    CHECK(open(long_name, O_CREAT | O_RDWR, 0600) == -1 && errno == ENAMETOOLONG);
    long_name[255] = 0;
    fd = open(long_name, O_CREAT | O_RDWR, 0600);
    CHECK(fd >= 0 && unlink(long_name) == 0);
    close(fd);
    struct statx extended;
    CHECK(statx(AT_FDCWD, "text", 0, STATX_BASIC_STATS, &extended) == 0 && extended.stx_size == 37);
    struct statfs system;
    CHECK(statfs(".", &system) == 0 && system.f_bsize > 0 && system.f_namelen == 255);
    mode_t mask = umask(027);
    close(open("masked", O_CREAT | O_RDWR, 0666));
    CHECK(stat("masked", &status) == 0 && (status.st_mode & 0777) == 0640 && umask(mask) == 027);
}

static void many(void)
{
    char name[30];
    CHECK(mkdir("many", 0700) == 0);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "many/file-%04d", i);
        close(open(name, O_CREAT | O_RDWR, 0600));
    }
    int count = 0;
    DIR *stream = opendir("many");
    while (readdir(stream))
        count++;
    rewinddir(stream);
    while (readdir(stream))
        count++;
    closedir(stream);
    printf("%d names in two passes\n", count);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "many/file-%04d", i);
        CHECK(unlink(name) == 0);
    }
    CHECK(rmdir("many") == 0);
}

static void special(void)
{
    char buffer[64];
    memset(buffer, 1, sizeof buffer);
    int fd = open("/dev/zero", O_RDONLY);
    CHECK(read(fd, buffer, 64) == 64 && !buffer[0] && !buffer[63]);
    close(fd);
    fd = open("/dev/null", O_RDWR);
    CHECK(write(fd, buffer, 64) == 64 && read(fd, buffer, 64) == 0);
    close(fd);
    fd = open("/dev/urandom", O_RDONLY);
    CHECK(read(fd, buffer, 64) == 64);
    close(fd);
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps);
    int lines = 0;
    unsigned long from, to, last = 0;
    char access_[5], line[4200];
    while (maps && fgets(line, sizeof line, maps)) {
        CHECK(sscanf(line, "%lx-%lx %4s", &from, &to, access_) == 3 && from >= last && to > from);
        last = to;
        lines++;
    }
    CHECK(lines > 5);
    if (maps)
        fclose(maps);
}

int main(void)
{
    CHECK(mkdtemp(dir) && chdir(dir) == 0);
    stdio();
    descriptors();
    names();
    many();
    special();
    list(".");
    char command[100];
    const char *rest[] = {"empty/a", "empty/hard", "empty/soft", "empty/dangling", "text", "data", "loop", "masked"};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        CHECK(unlink(rest[i]) == 0);
    snprintf(command, sizeof command, "%s/empty", dir);
    CHECK(rmdir(command) == 0 && rmdir(dir) == 0);
    return FINISH();
}
