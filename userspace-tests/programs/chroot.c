// linux: as root
// Another root: where paths begin and end then, names of what lies outside, what is kept open; and unshare, of what
// nobody else has.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void show(const char *what, long result)
{
    printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "done");
}
#define SHOW(call) show(#call, call)

static void make(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}
static void read_it(const char *path)
{
    char text[64] = "";
    int fd = open(path, O_RDONLY);
    if (fd >= 0)
        read(fd, text, sizeof text - 1);
    printf("%s: %s\n", path, fd < 0 ? strerrorname_np(errno) : text);
    close(fd);
}
static void where(void)
{
    char raw[256], text[256] = "";
    long len = syscall(SYS_getcwd, raw, sizeof raw);
    char *random = len < 0 ? 0 : strstr(raw, "chroot-");
    if (random)
        memset(random + 7, 'X', 6);
    printf("getcwd: %s\n", len < 0 ? strerrorname_np(errno) : raw);
    if (readlink("/proc/self/root", text, sizeof text - 1) > 0)
        printf("root: %s\n", text);
}

static void *not_alone(void *unused)
{
    (void)unused;
    SHOW(unshare(CLONE_SYSVSEM));
    SHOW(unshare(CLONE_VM));
    return 0;
}

int main(void)
{
    char directory[] = "/tmp/chroot-XXXXXX";
    mkdtemp(directory);
    chdir(directory);
    mkdir("jail", 0755), mkdir("jail/inner", 0755), mkdir("beside", 0755);
    make("outer", "outside"), make("jail/file", "inside"), make("beside/file", "beside");
    symlink("/file", "jail/absolute"), symlink("../../file", "jail/inner/up"), symlink("../outer", "jail/out");
    int top = open("/", O_RDONLY | O_DIRECTORY), here = open(".", O_RDONLY | O_DIRECTORY);
    int beside = open("beside", O_RDONLY | O_DIRECTORY), outer = open("outer", O_RDONLY);

    puts("before");
    SHOW(chroot("missing"));
    SHOW(chroot("outer"));
    SHOW(chroot(""));
    read_it("jail/out");

    puts("the root below the working directory");
    SHOW(chroot("jail"));
    where();
    read_it("/file");
    read_it("/absolute");
    read_it("/inner/up");
    read_it("/../../file");
    read_it("/out");
    read_it("outer");
    read_it("jail/file");
    read_it("beside/../outer");

    puts("in it");
    SHOW(chdir("/inner"));
    where();
    read_it("../../file");
    SHOW(chdir(".."));
    where();
    make("new", "made"), read_it("/new");
    SHOW(mkdir("/..", 0700));
    SHOW(rmdir("/"));
    struct stat root, up;
    stat("/", &root), stat("/..", &up);
    printf("/.. is /: %d\n", root.st_ino == up.st_ino);

    puts("what is open outside");
    char byte[8] = "";
    read(outer, byte, 7);
    printf("outer: %s\n", byte);
    SHOW(openat(beside, "file", O_RDONLY));
    SHOW(openat(beside, "../outer", O_RDONLY));
    SHOW(fchdir(beside));
    where();
    read_it("../outer");
    SHOW(chroot("."));
    where();
    read_it("/file");

    puts("out again");
    fchdir(top);
    SHOW(chroot("."));
    fchdir(here);
    const char *files[] = {"outer",         "jail/file", "jail/new",   "jail/absolute",
                           "jail/inner/up", "jail/out",  "beside/file"};
    const char *directories[] = {"jail/inner", "jail", "beside"};
    for (int i = 0; i < 7; i++)
        unlink(files[i]);
    for (int i = 0; i < 3; i++)
        rmdir(directories[i]);
    SHOW(rmdir(directory));

    puts("unshare");
    SHOW(unshare(0));
    SHOW(unshare(CLONE_FS | CLONE_FILES));
    SHOW(unshare(CLONE_VM | CLONE_SIGHAND));
    SHOW(unshare(1));
    SHOW(unshare(CLONE_SETTLS));
    pthread_t thread;
    pthread_create(&thread, 0, not_alone, 0);
    pthread_join(thread, 0);
    return 0;
}
