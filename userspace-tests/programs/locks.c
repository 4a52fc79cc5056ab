// Locks of flock(2) and fcntl(2) exclude whom they should, are waited for, and end with what they belong to.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "check.h"

#define PATH "/tmp/locks.file"

static int again(int result)
{
    return result == -1 && errno == EAGAIN;
}

static int refused(int result, int error)
{
    return result == -1 && errno == error;
}

static int set(int fd, int command, int type, int whence, long start, long len)
{
    struct flock lock = {.l_type = type, .l_whence = whence, .l_start = start, .l_len = len};
    return fcntl(fd, command, &lock);
}

static int open_file(void)
{
    return open(PATH, O_RDWR | O_CREAT, 0600);
}

static void flocks(void)
{
    int one = open_file(), other = open_file(), copy = dup(one);
    CHECK(flock(one, LOCK_SH) == 0 && flock(other, LOCK_SH | LOCK_NB) == 0);
    CHECK(again(flock(one, LOCK_EX | LOCK_NB)));
    // What could not be converted is lost.
    CHECK(flock(other, LOCK_EX | LOCK_NB) == 0 && again(flock(one, LOCK_SH | LOCK_NB)));
    CHECK(flock(other, LOCK_EX) == 0 && flock(other, LOCK_UN) == 0 && flock(other, LOCK_UN) == 0);
    // A copy is the same open file; it is unlocked by either, or by the end of the last.
    CHECK(flock(one, LOCK_EX) == 0 && flock(copy, LOCK_EX | LOCK_NB) == 0);
    CHECK(close(one) == 0 && again(flock(other, LOCK_SH | LOCK_NB)));
    CHECK(close(copy) == 0 && flock(other, LOCK_EX | LOCK_NB) == 0);
    // They are on the file, not on the name, and any kind of open will do.
    int reader = open(PATH, O_RDONLY);
    CHECK(unlink(PATH) == 0 && again(flock(reader, LOCK_EX | LOCK_NB)));
    int fresh = open_file();
    CHECK(flock(fresh, LOCK_EX | LOCK_NB) == 0);
    CHECK(refused(flock(fresh, 0), EINVAL) && refused(flock(fresh, LOCK_SH | LOCK_EX), EINVAL));
    CHECK(refused(flock(-1, LOCK_SH), EBADF) && refused(flock(-1, 99 & ~32), EINVAL));
    int path = open(PATH, O_PATH);
    CHECK(refused(flock(path, LOCK_SH), EBADF));
    int ends[2], directory = open("/tmp", O_RDONLY);
    CHECK(pipe(ends) == 0 && flock(ends[0], LOCK_EX) == 0 && again(flock(ends[1], LOCK_EX | LOCK_NB)));
    CHECK(flock(directory, LOCK_EX | LOCK_NB) == 0);
    for (int fd = other; fd <= directory; fd++)
        close(fd);
}

static void records(void)
{
    struct flock lock;
    int fd = open_file(), other = open_file();
    CHECK(ftruncate(fd, 1000) == 0 && lseek(fd, 100, SEEK_SET) == 100);
    CHECK(set(fd, F_SETLK, F_WRLCK, SEEK_CUR, -50, 100) == 0);          // 50 to 149
    CHECK(set(fd, F_SETLK, F_RDLCK, SEEK_END, -100, -100) == 0);        // 800 to 899
    CHECK(set(fd, F_SETLK, F_RDLCK, SEEK_SET, 900, 0) == 0);            // 800 on
    // Of the same process by another open file: no conflict.
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_pid = 77};
    CHECK(fcntl(other, F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK && lock.l_pid == 77 && lock.l_len == 0);
    CHECK(set(other, F_SETLK, F_WRLCK, SEEK_SET, 50, 10) == 0);
    // An open file's are another owner's.
    lock = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 120, .l_len = 10};
    CHECK(fcntl(other, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_WRLCK && lock.l_whence == SEEK_SET);
    CHECK(lock.l_start == 50 && lock.l_len == 100 && lock.l_pid == getpid());
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5000, .l_len = 10};
    CHECK(fcntl(other, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_RDLCK && lock.l_start == 800 && lock.l_len == 0);
    CHECK(again(set(other, F_OFD_SETLK, F_RDLCK, SEEK_SET, 149, 1)));
    CHECK(set(other, F_OFD_SETLK, F_RDLCK, SEEK_SET, 150, 1) == 0);
    CHECK(set(other, F_OFD_SETLK, F_RDLCK, SEEK_SET, 0, 50) == 0);
    CHECK(set(other, F_OFD_SETLK, F_RDLCK, SEEK_SET, 850, 1) == 0);
    CHECK(again(set(other, F_OFD_SETLK, F_WRLCK, SEEK_SET, 850, 1)));
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    CHECK(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_RDLCK && lock.l_pid == -1 && lock.l_len == 50);
    CHECK(set(fd, F_SETLK, F_RDLCK, SEEK_SET, 10, 10) == 0 && again(set(fd, F_SETLK, F_WRLCK, SEEK_SET, 10, 10)));
    // A hole in the middle.
    CHECK(set(fd, F_SETLK, F_UNLCK, SEEK_SET, 60, 10) == 0);
    CHECK(set(other, F_OFD_SETLK, F_WRLCK, SEEK_SET, 60, 10) == 0);
    CHECK(again(set(other, F_OFD_SETLK, F_WRLCK, SEEK_SET, 59, 1)));
    CHECK(again(set(other, F_OFD_SETLK, F_WRLCK, SEEK_SET, 70, 1)));
    // Any close of the file, but of a mere place, ends what the process has, and nothing of the open files'.
    int third = open(PATH, O_RDONLY);
    CHECK(again(set(third, F_OFD_SETLK, F_RDLCK, SEEK_SET, 130, 1)));
    CHECK(close(open(PATH, O_PATH)) == 0 && again(set(third, F_OFD_SETLK, F_RDLCK, SEEK_SET, 130, 1)));
    CHECK(close(open(PATH, O_RDONLY)) == 0 && set(third, F_OFD_SETLK, F_RDLCK, SEEK_SET, 130, 1) == 0);
    CHECK(again(set(fd, F_SETLK, F_WRLCK, SEEK_SET, 0, 10)));
    CHECK(set(fd, F_SETLK, F_WRLCK, SEEK_SET, 200, 10) == 0);
    CHECK(dup2(third, other) == other && set(fd, F_OFD_SETLK, F_WRLCK, SEEK_SET, 200, 10) == 0);
    CHECK(set(fd, F_SETLK, F_WRLCK, SEEK_SET, 0, 10) == 0);
    close(third);
    // flock's are of another world.
    CHECK(flock(other, LOCK_EX | LOCK_NB) == 0);
    close(other);
    close(fd);
}

static void arguments(void)
{
    int fd = open_file(), reader = open(PATH, O_RDONLY), writer = open(PATH, O_WRONLY);
    const long most = 0x7fffffffffffffff;
    CHECK(refused(set(fd, F_SETLK, 7, SEEK_SET, 0, 0), EINVAL) && refused(set(fd, F_SETLK, F_RDLCK, 9, 0, 0), EINVAL));
    CHECK(refused(set(fd, F_SETLK, F_RDLCK, SEEK_SET, -1, 0), EINVAL));
    CHECK(refused(set(fd, F_SETLK, F_RDLCK, SEEK_SET, 5, -6), EINVAL));
    CHECK(refused(set(fd, F_SETLK, F_RDLCK, SEEK_SET, 2, most), EOVERFLOW));
    CHECK(set(fd, F_SETLK, F_RDLCK, SEEK_SET, 1, most) == 0 && set(fd, F_SETLK, F_UNLCK, SEEK_SET, 0, most) == 0);
    CHECK(lseek(fd, 10, SEEK_SET) == 10 && refused(set(fd, F_SETLK, F_RDLCK, SEEK_CUR, most, 1), EOVERFLOW));
    CHECK(refused(set(reader, F_SETLK, F_WRLCK, SEEK_SET, 0, 0), EBADF));
    CHECK(refused(set(writer, F_SETLK, F_RDLCK, SEEK_SET, 0, 0), EBADF));
    CHECK(set(reader, F_SETLK, F_UNLCK, SEEK_SET, 0, 0) == 0 && set(reader, F_SETLK, F_RDLCK, SEEK_SET, 0, 0) == 0);
    CHECK(refused(set(fd, F_GETLK, F_UNLCK, SEEK_SET, 0, 0), EINVAL));
    CHECK(refused(fcntl(fd, F_SETLK, (void *)8), EFAULT) && refused(fcntl(fd, F_GETLK, (void *)8), EFAULT));
    struct flock lock = {.l_type = F_RDLCK, .l_pid = 1};
    CHECK(refused(fcntl(fd, F_OFD_SETLK, &lock), EINVAL) && refused(fcntl(fd, F_OFD_GETLK, &lock), EINVAL));
    CHECK(refused(set(-1, F_SETLK, F_RDLCK, SEEK_SET, 0, 0), EBADF));
    CHECK(lockf(fd, F_LOCK, 10) == 0 && lockf(fd, F_TEST, 10) == 0 && lockf(fd, F_ULOCK, 10) == 0);
    close(fd), close(reader), close(writer);
}

// Lines of a file with this text, and our file's number.
static int lines(const char *file, const char *text, ino_t ino)
{
    char line[256], number[32];
    int count = 0;
    snprintf(number, sizeof number, ":%lu ", (unsigned long)ino);
    FILE *locks = fopen(file, "r");
    while (locks && fgets(line, sizeof line, locks))
        count += strstr(line, text) && strstr(line, number);
    if (locks)
        fclose(locks);
    return count;
}

struct attempt {
    int fd, command, result, error;
    volatile int done;
};

static void *attempt(void *argument)
{
    struct attempt *mine = argument;
    if (mine->command == LOCK_EX)
        mine->result = flock(mine->fd, LOCK_EX);
    else
        mine->result = set(mine->fd, mine->command, F_WRLCK, SEEK_SET, 0, 0);
    mine->error = errno;
    mine->done = 1;
    return 0;
}

// Starts it, and returns when it is asleep.
static pthread_t start(struct attempt *mine, ino_t ino, const char *text)
{
    pthread_t thread;
    pthread_create(&thread, 0, attempt, mine);
    while (!lines("/proc/locks", text, ino) && !mine->done)
        usleep(1000);
    CHECK(!mine->done);
    return thread;
}

static volatile int handled;

static void handler(int signal)
{
    handled = signal;
}

static void waiting(void)
{
    int fd = open_file(), other = open_file();
    struct stat status;
    fstat(fd, &status);
    struct attempt mine = {.fd = other, .command = LOCK_EX};
    CHECK(flock(fd, LOCK_SH) == 0);
    CHECK(lines("/proc/locks", "FLOCK  ADVISORY  READ ", status.st_ino) == 1);
    pthread_t thread = start(&mine, status.st_ino, "-> FLOCK  ADVISORY  WRITE ");
    CHECK(close(fd) == 0 && pthread_join(thread, 0) == 0 && mine.result == 0);
    CHECK(lines("/proc/locks", "FLOCK  ADVISORY  WRITE ", status.st_ino) == 1);
    // Handlers end the wait, or it goes on.
    fd = open_file();
    CHECK(set(fd, F_SETLK, F_RDLCK, SEEK_SET, 10, 1) == 0);
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
    CHECK(lines(name, "POSIX  ADVISORY  READ ", status.st_ino) == 1 && lines(name, " 10 10\n", status.st_ino) == 1);
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, 0);
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR2, &action, 0);
    mine = (struct attempt){.fd = other, .command = F_OFD_SETLKW};
    thread = start(&mine, status.st_ino, "-> OFDLCK ADVISORY  WRITE -1 ");
    pthread_kill(thread, SIGUSR1);
    CHECK(pthread_join(thread, 0) == 0 && mine.result == -1 && mine.error == EINTR && handled == SIGUSR1);
    CHECK(lines("/proc/locks", "-> ", status.st_ino) == 0);
    mine = (struct attempt){.fd = other, .command = F_OFD_SETLKW};
    thread = start(&mine, status.st_ino, "-> OFDLCK");
    pthread_kill(thread, SIGUSR2);
    while (handled != SIGUSR2)
        usleep(1000);
    CHECK(set(fd, F_SETLK, F_UNLCK, SEEK_SET, 0, 0) == 0);
    CHECK(pthread_join(thread, 0) == 0 && mine.result == 0);
    // The process waits for its own open file: that is nobody's fault.
    mine = (struct attempt){.fd = fd, .command = F_SETLKW};
    thread = start(&mine, status.st_ino, "-> POSIX  ADVISORY  WRITE ");
    CHECK(set(other, F_OFD_SETLK, F_UNLCK, SEEK_SET, 5, 0) == 0 && !mine.done);
    CHECK(close(other) == 0 && pthread_join(thread, 0) == 0 && mine.result == 0);
    CHECK(close(fd) == 0 && lines("/proc/locks", "", status.st_ino) == 0);
}

int main(void)
{
    flocks();
    records();
    arguments();
    waiting();
    unlink(PATH);
    return FINISH();
}
