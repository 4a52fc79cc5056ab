// Asynchronous transfers, io_submit(2): of files, pipes and vectors, with events that are waited for, and by eventfd.
// flags: -pthread
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FAILS(call, error) CHECK((call) == -1 && errno == (error))

enum { PAGE = 4096 };

static aio_context_t context;
static char data[4 * PAGE];

static long setup(unsigned room, aio_context_t *to) { return syscall(SYS_io_setup, room, to); }
static long destroy(aio_context_t which) { return syscall(SYS_io_destroy, which); }
static long events(long least, long most, struct io_event *to, struct timespec *timeout)
{
    return syscall(SYS_io_getevents, context, least, most, to, timeout);
}

static struct iocb request(int command, int fd, void *buf, size_t len, long long offset)
{
    return (struct iocb){ .aio_data = 7, .aio_lio_opcode = command, .aio_fildes = fd, .aio_buf = (uintptr_t)buf,
                          .aio_nbytes = len, .aio_offset = offset };
}

static long submit(struct iocb *one) { return syscall(SYS_io_submit, context, 1, &one); }

// The result of one request.
static long long done(struct iocb one)
{
    struct io_event event = { 0 };
    one.aio_key = 5;
    if (submit(&one) != 1)
        return -1000 - errno;
    CHECK(events(1, 1, &event, NULL) == 1 && event.data == 7 && event.obj == (uintptr_t)&one && event.res2 == 0);
    CHECK(one.aio_key == 0);
    return event.res;
}

static void contexts(void)
{
    aio_context_t other = 1;
    FAILS(setup(1, &other), EINVAL);
    other = 0;
    FAILS(setup(0, &other), EINVAL);
    FAILS(setup(0x7fffffff, &other), EINVAL);
    FAILS(setup(1, (void *)8), EFAULT);
    CHECK(setup(4, &other) == 0 && other != 0 && other != context && destroy(other) == 0);
    FAILS(destroy(other), EINVAL);
    FAILS(destroy(0), EINVAL);
    FAILS(syscall(SYS_io_submit, other, 0, NULL), EINVAL);
    FAILS(syscall(SYS_io_getevents, other, 0, 0, NULL, NULL), EINVAL);
    FAILS(syscall(SYS_io_submit, context, -1L, NULL), EINVAL);
    CHECK(syscall(SYS_io_submit, context, 0, NULL) == 0);
    FAILS(syscall(SYS_io_submit, context, 1, (void *)8), EFAULT);
    struct iocb *bad = (void *)8;
    FAILS(syscall(SYS_io_submit, context, 1, &bad), EFAULT);
    FAILS(events(2, 1, NULL, NULL), EINVAL);
    FAILS(events(-1, 1, NULL, NULL), EINVAL);
    FAILS(events(0, -1, NULL, NULL), EINVAL);
    CHECK(events(0, 1, NULL, NULL) == 0);
    struct timespec soon = { .tv_nsec = 1000000 };
    CHECK(events(1, 1, (struct io_event[1]){ { 0 } }, &soon) == 0);
}

static void transfers(void)
{
    static char back[sizeof data];
    int fd = open("/tmp/aio.tmp", O_RDWR | O_CREAT | O_TRUNC, 0600), reader = open("/tmp/aio.tmp", O_RDONLY), ends[2];
    CHECK(fd >= 0 && reader >= 0 && pipe(ends) == 0);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = i * 7 + i / PAGE;
    CHECK(done(request(IOCB_CMD_PWRITE, fd, data, sizeof data, 100)) == sizeof data);
    CHECK(lseek(fd, 0, SEEK_CUR) == 0 && lseek(fd, 0, SEEK_END) == (off_t)sizeof data + 100);
    CHECK(done(request(IOCB_CMD_PREAD, reader, back, sizeof back, 100)) == sizeof back);
    CHECK(memcmp(data, back, sizeof data) == 0);
    CHECK(done(request(IOCB_CMD_PREAD, fd, back, 1000, sizeof data)) == 100);
    CHECK(done(request(IOCB_CMD_PREAD, fd, back, 1000, 1 << 20)) == 0);
    struct iovec parts[2] = { { back, 10 }, { back + 20, 30 } };
    memset(back, 0, sizeof back);
    CHECK(done(request(IOCB_CMD_PREADV, fd, parts, 2, 100)) == 40 && memcmp(back + 20, data + 10, 30) == 0);
    CHECK(done(request(IOCB_CMD_PWRITEV, fd, parts, 2, 0)) == 40);
    CHECK(done(request(IOCB_CMD_FSYNC, fd, NULL, 0, 0)) == 0 && done(request(IOCB_CMD_FDSYNC, fd, NULL, 0, 0)) == 0);
    CHECK(done(request(IOCB_CMD_PWRITE, ends[1], "pipe", 4, 0)) == 4);
    CHECK(done(request(IOCB_CMD_PREAD, ends[0], back, 10, 0)) == 4 && memcmp(back, "pipe", 4) == 0);
    void *none = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(done(request(IOCB_CMD_PREAD, fd, none, 10, 0)) == -EFAULT);
    // What is refused at once.
    CHECK(done(request(IOCB_CMD_PREAD, 99, back, 10, 0)) == -1000 - EBADF);
    CHECK(done(request(IOCB_CMD_PWRITE, reader, back, 10, 0)) == -1000 - EBADF);
    CHECK(done(request(IOCB_CMD_PREAD, fd, back, 10, -1)) == -1000 - EINVAL);
    CHECK(done(request(IOCB_CMD_PREAD, fd, (void *)-4096L, 10, 0)) == -1000 - EFAULT);
    CHECK(done(request(IOCB_CMD_NOOP, fd, back, 10, 0)) == -1000 - EINVAL);
    CHECK(done(request(99, fd, back, 10, 0)) == -1000 - EINVAL);
    CHECK(done(request(IOCB_CMD_FSYNC, fd, back, 10, 0)) == -1000 - EINVAL);
    struct iocb odd = request(IOCB_CMD_PREAD, fd, back, 10, 0);
    odd.aio_rw_flags = 1 << 30;
    CHECK(done(odd) == -1000 - EOPNOTSUPP);
    odd = request(IOCB_CMD_PREAD, fd, back, 10, 0);
    odd.aio_reserved2 = 1;
    CHECK(done(odd) == -1000 - EINVAL);
    odd = request(IOCB_CMD_PREAD, fd, back, 10, 0);
    odd.aio_flags = IOCB_FLAG_RESFD, odd.aio_resfd = fd;
    CHECK(done(odd) == -1000 - EINVAL);
    // Those before a refused one are taken.
    struct iocb good = request(IOCB_CMD_PREAD, fd, back, 10, 0), *both[2] = { &good, &odd };
    struct io_event event[2];
    CHECK(syscall(SYS_io_submit, context, 2, both) == 1 && events(1, 2, event, NULL) == 1 && event[0].res == 10);
    FAILS(syscall(SYS_io_cancel, context, &good, event), EINVAL);
    int counter = eventfd(0, EFD_NONBLOCK);
    uint64_t count = 0;
    for (int i = 0; i < 3; i++) {
        good.aio_flags = IOCB_FLAG_RESFD, good.aio_resfd = counter;
        CHECK(submit(&good) == 1);
    }
    CHECK(events(3, 3, (struct io_event[3]){ { 0 } }, NULL) == 3);
    CHECK(read(counter, &count, sizeof count) == sizeof count && count == 3);
    // Nobody takes them: there is room for so many only.
    int many = 0;
    good.aio_flags = 0;
    while (many < 100000 && submit(&good) == 1)
        many++;
    CHECK(many >= 8 && many < 100000 && errno == EAGAIN);
    static struct io_event all[100000];
    CHECK(events(many, many, all, NULL) == many && events(0, 1, all, NULL) == 0);
    close(fd), close(reader), close(counter);
    unlink("/tmp/aio.tmp");
}

static void *submit_later(void *ends)
{
    usleep(20000);
    struct iocb one = request(IOCB_CMD_PWRITE, ((int *)ends)[1], "x", 1, 0);
    CHECK(submit(&one) == 1);
    return NULL;
}

static void ignore(int signal) { (void)signal; }

static void waiting(void)
{
    int ends[2];
    pthread_t thread;
    struct io_event event;
    CHECK(pipe(ends) == 0 && pthread_create(&thread, NULL, submit_later, ends) == 0);
    CHECK(events(1, 1, &event, NULL) == 1 && event.res == 1 && pthread_join(thread, NULL) == 0);
    struct sigaction action = { .sa_handler = ignore };
    struct timespec late = { .tv_sec = 60 };
    sigaction(SIGALRM, &action, NULL);
    ualarm(20000, 0);
    FAILS(events(1, 1, &event, &late), EINTR);
    // A child has none of its parent's.
    pid_t child = fork();
    if (child == 0)
        _exit(events(0, 1, &event, NULL) == -1 && errno == EINVAL ? 0 : 1);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(void)
{
    CHECK(setup(8, &context) == 0 && context != 0);
    contexts();
    transfers();
    waiting();
    CHECK(destroy(context) == 0);
    return FINISH();
}
