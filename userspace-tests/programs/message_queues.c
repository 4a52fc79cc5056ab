// POSIX message queues: order, limits, blocking with and without deadlines, notification, polling, errors.
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

#define NAME "/elfin-message-queues"
#define FAILS(error, call) CHECK((errno = 0, (call) == -1 && errno == (error)))

static mqd_t open_it(int flags, long messages, long size)
{
    struct mq_attr attributes = {.mq_maxmsg = messages, .mq_msgsize = size};
    return mq_open(NAME, flags, 0600, &attributes);
}

static struct timespec in(long nanoseconds)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    time.tv_nsec += nanoseconds;
    time.tv_sec += time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}

static void receive(mqd_t queue, const char *text, unsigned priority)
{
    char buffer[16] = "";
    unsigned its;
    CHECK(mq_receive(queue, buffer, sizeof buffer, &its) == (ssize_t)strlen(text));
    CHECK(strcmp(buffer, text) == 0 && its == priority);
}

static void order_and_attributes(void)
{
    mqd_t queue = open_it(O_RDWR | O_CREAT | O_EXCL, 4, 16);
    CHECK(queue != -1);
    FAILS(EEXIST, open_it(O_RDWR | O_CREAT | O_EXCL, 4, 16));
    CHECK(fcntl(queue, F_GETFD) == FD_CLOEXEC);
    mq_send(queue, "low", 3, 1);
    mq_send(queue, "first", 5, 7);
    mq_send(queue, "second", 6, 7);
    mq_send(queue, "", 0, 0);
    struct mq_attr attributes, nonblocking = {.mq_flags = O_NONBLOCK};
    CHECK(mq_setattr(queue, &nonblocking, &attributes) == 0 && attributes.mq_flags == 0);
    CHECK(mq_getattr(queue, &attributes) == 0 && attributes.mq_flags == O_NONBLOCK);
    CHECK(attributes.mq_maxmsg == 4 && attributes.mq_msgsize == 16 && attributes.mq_curmsgs == 4);
    FAILS(EAGAIN, mq_send(queue, "x", 1, 0));
    struct pollfd poll_it = {queue, POLLIN | POLLOUT, 0};
    CHECK(poll(&poll_it, 1, 0) == 1 && poll_it.revents == POLLIN);
    char status[100] = "";
    CHECK(pread(queue, status, sizeof status - 1, 0) > 0);
    CHECK(strcmp(status, "QSIZE:14         NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n") == 0);
    receive(queue, "first", 7);
    CHECK(poll(&poll_it, 1, 0) == 1 && poll_it.revents == (POLLIN | POLLOUT));
    receive(queue, "second", 7);
    receive(queue, "low", 1);
    receive(queue, "", 0);
    char buffer[16];
    FAILS(EAGAIN, mq_receive(queue, buffer, 16, 0));
    CHECK(poll(&poll_it, 1, 0) == 1 && poll_it.revents == POLLOUT);

    FAILS(EMSGSIZE, mq_send(queue, "12345678901234567", 17, 0));
    FAILS(EMSGSIZE, mq_receive(queue, buffer, 15, 0));
    FAILS(EINVAL, mq_send(queue, "x", 1, 32768));
    struct timespec wrong = {0, 1000000000};
    FAILS(EINVAL, mq_timedsend(queue, "x", 1, 0, &wrong));
    mqd_t reader = mq_open(NAME, O_RDONLY), writer = mq_open(NAME, O_WRONLY);
    FAILS(EBADF, mq_send(reader, "x", 1, 0));
    FAILS(EBADF, mq_receive(writer, buffer, 16, 0));
    FAILS(EBADF, mq_send(STDOUT_FILENO, "x", 1, 0));
    mq_send(writer, "x", 1, 3);
    receive(reader, "x", 3);

    // A queue without a name is there until it is closed.
    CHECK(mq_unlink(NAME) == 0);
    FAILS(ENOENT, mq_unlink(NAME));
    FAILS(ENOENT, mq_open(NAME, O_RDWR));
    mq_send(writer, "y", 1, 4);
    receive(queue, "y", 4);
    CHECK(mq_close(reader) == 0 && mq_close(writer) == 0 && mq_close(queue) == 0);
    FAILS(EBADF, mq_close(queue));
}

static void refusals(void)
{
    FAILS(EINVAL, open_it(O_RDWR | O_CREAT, 0, 16));
    FAILS(EINVAL, open_it(O_RDWR | O_CREAT, 4, -1));
    FAILS(EINVAL, mq_open("no-slash", O_RDWR | O_CREAT, 0600, NULL));
    FAILS(EACCES, mq_open("/a/b", O_RDWR | O_CREAT, 0600, NULL));
    FAILS(ENOENT, mq_open("/", O_RDWR | O_CREAT, 0600, NULL));
    char name[300] = "/";
    memset(name + 1, 'n', 256);
    FAILS(ENAMETOOLONG, mq_open(name, O_RDWR | O_CREAT, 0600, NULL));
    struct rlimit limit = {0}, before;
    getrlimit(RLIMIT_MSGQUEUE, &before);
    limit.rlim_cur = 1000;
    limit.rlim_max = before.rlim_max;
    CHECK(setrlimit(RLIMIT_MSGQUEUE, &limit) == 0);
    FAILS(EMFILE, open_it(O_RDWR | O_CREAT, 4, 1000));
    setrlimit(RLIMIT_MSGQUEUE, &before);
    FAILS(ENOENT, mq_unlink(NAME));
}

static void *send_three(void *queue)
{
    for (int number = 0; number < 3; number++)
        CHECK(mq_send(*(mqd_t *)queue, "abc" + number, 1, 0) == 0);
    return 0;
}

static void interrupted(int signal) { (void)signal; }

static void *interrupt(void *thread)
{
    nanosleep(&(struct timespec){0, 50000000}, 0);
    pthread_kill(*(pthread_t *)thread, SIGUSR1);
    return 0;
}

static void waiting(void)
{
    mqd_t queue = open_it(O_RDWR | O_CREAT, 1, 16);
    pthread_t thread, self = pthread_self();
    // The queue has room for one: the sender waits for the receiver and the other way round.
    pthread_create(&thread, 0, send_three, &queue);
    receive(queue, "a", 0);
    receive(queue, "b", 0);
    receive(queue, "c", 0);
    pthread_join(thread, 0);

    char buffer[16];
    struct timespec soon = in(20000000);
    FAILS(ETIMEDOUT, mq_timedreceive(queue, buffer, 16, 0, &soon));
    mq_send(queue, "x", 1, 0);
    soon = in(20000000);
    FAILS(ETIMEDOUT, mq_timedsend(queue, "x", 1, 0, &soon));
    receive(queue, "x", 0);

    struct sigaction action = {.sa_handler = interrupted};
    sigaction(SIGUSR1, &action, 0);
    pthread_create(&thread, 0, interrupt, &self);
    FAILS(EINTR, mq_receive(queue, buffer, 16, 0));
    pthread_join(thread, 0);
    mq_close(queue);
    mq_unlink(NAME);
}

static volatile sig_atomic_t notified;

static void notice(int signal, siginfo_t *info, void *context)
{
    (void)context;
    notified += signal == SIGUSR2 && info->si_code == SI_MESGQ && info->si_value.sival_int == 42 && info->si_pid == getpid();
}

static void notification(void)
{
    mqd_t queue = open_it(O_RDWR | O_CREAT, 4, 16);
    struct sigaction action = {.sa_sigaction = notice, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR2, &action, 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2, .sigev_value.sival_int = 42};
    CHECK(mq_notify(queue, &event) == 0);
    FAILS(EBUSY, mq_notify(queue, &event));
    mq_send(queue, "a", 1, 0);
    CHECK(notified == 1);
    // Once, and only when the queue was empty.
    mq_send(queue, "b", 1, 0);
    CHECK(notified == 1 && mq_notify(queue, &event) == 0);
    mq_send(queue, "c", 1, 0);
    CHECK(notified == 1);
    receive(queue, "a", 0);
    receive(queue, "b", 0);
    receive(queue, "c", 0);
    mq_send(queue, "d", 1, 0);
    CHECK(notified == 2);
    receive(queue, "d", 0);
    CHECK(mq_notify(queue, &event) == 0 && mq_notify(queue, NULL) == 0);
    mq_send(queue, "e", 1, 0);
    CHECK(notified == 2);
    event.sigev_notify = 77;
    FAILS(EINVAL, mq_notify(queue, &event));
    mq_close(queue);
    mq_unlink(NAME);
}

static sem_t called;
static int told;

static void function(union sigval value)
{
    told = value.sival_int;
    sem_post(&called);
}

// SIGEV_THREAD: the C library has its thread told over a netlink socket.
static void threads(void)
{
    mqd_t queue = open_it(O_RDWR | O_CREAT, 4, 16);
    sem_init(&called, 0, 0);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = function};
    for (int i = 1; i <= 3; i++) {
        event.sigev_value.sival_int = i;
        CHECK(mq_notify(queue, &event) == 0);
        FAILS(EBUSY, mq_notify(queue, &event));
        mq_send(queue, "a", 1, 0);
        sem_wait(&called);
        CHECK(told == i);
        receive(queue, "a", 0);
    }
    CHECK(mq_notify(queue, &event) == 0 && mq_notify(queue, NULL) == 0);
    mq_send(queue, "b", 1, 0);
    receive(queue, "b", 0);

    // What the system call itself takes and sends.
    char cookie[32] = "cookie", said[40];
    int socket_ = socket(AF_NETLINK, SOCK_RAW, 0), other = socket(AF_UNIX, SOCK_STREAM, 0), file = open("/dev/null", O_RDONLY);
    event = (struct sigevent){.sigev_notify = SIGEV_THREAD, .sigev_signo = 999, .sigev_value.sival_ptr = cookie};
    FAILS(EBADF, syscall(SYS_mq_notify, queue, &event));
    event.sigev_signo = file;
    FAILS(ENOTSOCK, syscall(SYS_mq_notify, queue, &event));
    event.sigev_signo = other;
    FAILS(EINVAL, syscall(SYS_mq_notify, queue, &event));
    event.sigev_signo = socket_;
    event.sigev_value.sival_ptr = (void *)8;
    FAILS(EFAULT, syscall(SYS_mq_notify, queue, &event));
    event.sigev_value.sival_ptr = cookie;
    CHECK(syscall(SYS_mq_notify, queue, &event) == 0);
    mq_send(queue, "c", 1, 0);
    CHECK(recv(socket_, said, 40, 0) == 32 && !strcmp(said, "cookie") && said[31] == 1);
    receive(queue, "c", 0);
    CHECK(syscall(SYS_mq_notify, queue, &event) == 0 && mq_notify(queue, NULL) == 0);
    CHECK(recv(socket_, said, 40, 0) == 32 && !strcmp(said, "cookie") && said[31] == 2);
    // So does closing the queue.
    CHECK(syscall(SYS_mq_notify, queue, &event) == 0);
    mq_close(queue);
    CHECK(recv(socket_, said, 40, 0) == 32 && said[31] == 2);
    close(socket_), close(other), close(file);
    mq_unlink(NAME);
}

int main(void)
{
    mq_unlink(NAME);
    order_and_attributes();
    refusals();
    waiting();
    notification();
    threads();
    return FINISH();
}
