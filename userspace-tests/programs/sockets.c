// Pairs of sockets, who has made them, and boundaries that they keep: datagrams and packets whole, cut, looked at, empty, waiting and at the end.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>
#include "check.h"

enum { COUNT = 2000 };

static void *produce(void *end)
{
    char block[100];
    for (int i = 0; i < COUNT; i++) {
        memset(block, i, sizeof block);
        CHECK(send((int)(long)end, block, i % 100 + 1, 0) == i % 100 + 1);
    }
    return 0;
}

static void boundaries(int type)
{
    int pair[2], number;
    socklen_t length = sizeof number;
    char buffer[200], other[200];
    CHECK(socketpair(AF_UNIX, type, 0, pair) == 0);
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &number, &length) == 0 && number == type && length == sizeof number);
    CHECK(send(pair[0], "first", 5, 0) == 5 && write(pair[0], "second", 6) == 6 && send(pair[0], "third", 5, 0) == 5);
    CHECK(recv(pair[1], buffer, 2, MSG_PEEK) == 2 && recv(pair[1], buffer, 2, MSG_PEEK | MSG_TRUNC) == 5);
    CHECK(recv(pair[1], buffer, sizeof buffer, 0) == 5 && !memcmp(buffer, "first", 5));
    CHECK(recv(pair[1], buffer, 3, MSG_TRUNC) == 6 && !memcmp(buffer, "sec", 3));
    struct iovec parts[2] = {{buffer, 1}, {other, 2}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    CHECK(recvmsg(pair[1], &message, 0) == 3 && (message.msg_flags & MSG_TRUNC) && *buffer == 't' && !memcmp(other, "hi", 2));
    CHECK(recv(pair[1], buffer, sizeof buffer, MSG_DONTWAIT) == -1 && errno == EAGAIN);

    // One message of two parts; an empty message is one, too.
    memcpy(buffer, "one ", 4), memcpy(other, "two", 3);
    parts[0].iov_len = 4, parts[1].iov_len = 3;
    CHECK(sendmsg(pair[1], &message, 0) == 7 && send(pair[1], "", 0, 0) == 0);
    CHECK(read(pair[0], buffer, sizeof buffer) == 7 && !memcmp(buffer, "one two", 7));
    struct pollfd polled = {pair[0], POLLIN, 0};
    CHECK(poll(&polled, 1, 0) == 1 && recv(pair[0], buffer, 10, MSG_DONTWAIT) == 0 && poll(&polled, 1, 0) == 0);

    struct timeval soon = {0, 20000};
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0);
    CHECK(recv(pair[0], buffer, 1, 0) == -1 && errno == EAGAIN);

    // More than is kept at a time.
    pthread_t thread;
    pthread_create(&thread, 0, produce, (void *)(long)pair[0]);
    int wrong = 0;
    for (int i = 0; i < COUNT; i++) {
        wrong += recv(pair[1], buffer, sizeof buffer, 0) != i % 100 + 1;
        wrong += buffer[i % 100] != (char)i;
    }
    pthread_join(thread, 0);
    CHECK(wrong == 0);
    while (send(pair[0], buffer, 100, MSG_DONTWAIT) == 100)
        ;
    CHECK(errno == EAGAIN);

    CHECK(send(pair[1], "last", 4, 0) == 4);
    close(pair[1]);
    // What was not read yet makes it a reset, the first time.
    if (type == SOCK_SEQPACKET)
        send(pair[0], "x", 1, MSG_NOSIGNAL);
    CHECK(send(pair[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == (type == SOCK_DGRAM ? ECONNREFUSED : EPIPE));
    close(pair[0]);
}

// SO_SNDBUF: twice what was asked for, no less than 4608 bytes, and what does not fit waits.
static void send_buffer(int type)
{
    int pair[2], size;
    socklen_t length = sizeof size;
    static char block[16384];
    socketpair(AF_UNIX, type, 0, pair);
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 && size == 212992);
    size = 3000;
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 && size == 6000);
    size = 1;
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 && size == 4608);
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, 3) == -1 && errno == EINVAL);
    if (type == SOCK_STREAM)
        CHECK(send(pair[0], block, sizeof block, MSG_DONTWAIT) < (ssize_t)sizeof block);
    else
        CHECK(send(pair[0], block, sizeof block, MSG_DONTWAIT) == -1 && errno == EMSGSIZE);
    CHECK(send(pair[1], block, sizeof block, MSG_DONTWAIT) == sizeof block);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    send_buffer(SOCK_STREAM);
    send_buffer(SOCK_DGRAM);
    int pair[2];
    char buffer[10];
    signal(SIGPIPE, SIG_IGN);
    boundaries(SOCK_DGRAM);
    boundaries(SOCK_SEQPACKET);

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK(send(pair[0], "end", 3, 0) == 3 && shutdown(pair[0], SHUT_WR) == 0);
    CHECK(recv(pair[1], buffer, 10, 0) == 3 && recv(pair[1], buffer, 10, 0) == 0);
    CHECK(send(pair[1], "back", 4, 0) == 4 && recv(pair[0], buffer, 10, 0) == 4);
    close(pair[0]), close(pair[1]);

    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK(send(pair[0], "stream", 6, 0) == 6 && recv(pair[1], buffer, 3, MSG_PEEK) == 3);
    CHECK(recv(pair[1], buffer, 10, MSG_PEEK) == 6 && recv(pair[1], buffer, 10, 0) == 6);
    CHECK(send(pair[0], "12345", 5, 0) == 5 && send(pair[0], "67890", 5, 0) == 5);
    CHECK(recv(pair[1], buffer, 10, MSG_WAITALL) == 10 && !memcmp(buffer, "1234567890", 10));
    struct ucred maker;
    socklen_t size = sizeof maker;
    CHECK(getsockopt(pair[1], SOL_SOCKET, SO_PEERCRED, &maker, &size) == 0 && size == sizeof maker);
    CHECK(maker.pid == getpid() && maker.uid == geteuid() && maker.gid == getegid());
    // Whoever it has become since: it was made by who it was.
    if (geteuid() == 0 && seteuid(1234) == 0) {
        CHECK(getsockopt(pair[1], SOL_SOCKET, SO_PEERCRED, &maker, &size) == 0 && maker.uid == 0);
        close(pair[0]), close(pair[1]);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
        CHECK(getsockopt(pair[1], SOL_SOCKET, SO_PEERCRED, &maker, &size) == 0 && maker.uid == 1234);
        CHECK(seteuid(0) == 0);
    }
    close(pair[0]), close(pair[1]);
    CHECK(socketpair(AF_INET, SOCK_STREAM, 0, pair) == -1);
    CHECK(socketpair(AF_UNIX, SOCK_RDM, 0, pair) == -1 && errno == ESOCKTNOSUPPORT);
    CHECK(send(1, "x", 1, 0) == -1 && errno == ENOTSOCK);
    return FINISH();
}
