// Local sockets with names: in the file system, abstract, chosen; listening and accepting, backlogs, who is at the other end, open files and
// credentials that are sent along, datagrams between sockets that are not a pair.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "check.h"

static struct sockaddr_un named(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    return address;
}

static struct sockaddr_un hidden(const char *name, socklen_t *length)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path + 1, name);
    *length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
    return address;
}

static void *echo(void *listener)
{
    int end = accept4((int)(long)listener, 0, 0, SOCK_CLOEXEC);
    char buffer[64];
    ssize_t count;
    while ((count = read(end, buffer, sizeof buffer)) > 0)
        CHECK(write(end, buffer, count) == count);
    close(end);
    return 0;
}

static void streams(int type, const char *path)
{
    struct sockaddr_un address = named(path), other;
    socklen_t length;
    struct stat status;
    char buffer[64];
    int number;
    unlink(path);
    int listener = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), client = socket(AF_UNIX, type, 0);
    CHECK(listen(listener, 5) == -1 && errno == EINVAL);
    CHECK(connect(client, (void *)&address, sizeof address) == -1 && errno == ENOENT);
    CHECK(bind(listener, (void *)&address, sizeof address) == 0);
    CHECK(bind(listener, (void *)&address, sizeof address) == -1 && errno == EADDRINUSE);
    CHECK(stat(path, &status) == 0 && S_ISSOCK(status.st_mode) && open(path, O_RDWR) == -1 && errno == ENXIO);
    CHECK(connect(client, (void *)&address, sizeof address) == -1 && errno == ECONNREFUSED);
    CHECK(accept(listener, 0, 0) == -1 && errno == EINVAL);
    CHECK(listen(listener, 5) == 0);
    length = sizeof number;
    CHECK(getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &number, &length) == 0 && number == 1);
    int wrong = socket(AF_UNIX, type == SOCK_STREAM ? SOCK_SEQPACKET : SOCK_STREAM, 0);
    CHECK(connect(wrong, (void *)&address, sizeof address) == -1 && errno == EPROTOTYPE);
    close(wrong);
    pthread_t thread;
    pthread_create(&thread, 0, echo, (void *)(long)listener);
    CHECK(connect(client, (void *)&address, sizeof address) == 0);
    CHECK(connect(client, (void *)&address, sizeof address) == -1 && errno == EISCONN);
    length = sizeof other;
    CHECK(getpeername(client, (void *)&other, &length) == 0 && !strcmp(other.sun_path, path));
    CHECK(length == offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
    length = sizeof other;
    CHECK(getsockname(client, (void *)&other, &length) == 0 && length == sizeof(sa_family_t));
    struct ucred peer;
    length = sizeof peer;
    CHECK(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid == getpid() && peer.uid == geteuid());
    CHECK(send(client, "hello", 5, 0) == 5 && recv(client, buffer, sizeof buffer, 0) == 5 && !memcmp(buffer, "hello", 5));
    shutdown(client, SHUT_WR);
    CHECK(recv(client, buffer, sizeof buffer, 0) == 0);
    pthread_join(thread, 0);
    close(client);

    // What waits to be accepted can be written to, and is reset with the listening socket.
    client = socket(AF_UNIX, type, 0);
    CHECK(connect(client, (void *)&address, sizeof address) == 0 && send(client, "x", 1, 0) == 1);
    struct pollfd polled = {listener, POLLIN, 0};
    CHECK(poll(&polled, 1, 0) == 1 && polled.revents == POLLIN);
    close(listener);
    CHECK(recv(client, buffer, 1, 0) == -1 && errno == ECONNRESET);
    CHECK(recv(client, buffer, 1, 0) == 0);
    CHECK(send(client, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    close(client);
    client = socket(AF_UNIX, type, 0);
    CHECK(connect(client, (void *)&address, sizeof address) == -1 && errno == ECONNREFUSED);
    CHECK(send(client, "x", 1, MSG_NOSIGNAL) == -1 && errno == ENOTCONN);
    close(client);
    CHECK(unlink(path) == 0);
}

// A full backlog: who does not want to wait is told so, who waits comes in when there is room.
static void *connect_later(void *name)
{
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(client, name, sizeof(struct sockaddr_un)) == 0);
    return (void *)(long)client;
}

static void backlog(void)
{
    struct sockaddr_un address = named("/tmp/backlog");
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), clients[3], i;
    unlink("/tmp/backlog");
    CHECK(bind(listener, (void *)&address, sizeof address) == 0 && listen(listener, 1) == 0);
    for (i = 0; i < 3; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(clients[i], (void *)&address, sizeof address))
            break;
    }
    CHECK(i == 2 && errno == EAGAIN);
    pthread_t thread;
    pthread_create(&thread, 0, connect_later, &address);
    int ends[3];
    for (i = 0; i < 3; i++)
        CHECK((ends[i] = accept(listener, 0, 0)) >= 0);
    void *last;
    pthread_join(thread, &last);
    CHECK(write((int)(long)last, "z", 1) == 1 && read(ends[2], &i, 1) == 1);
    unlink("/tmp/backlog");
}

static void abstract(void)
{
    socklen_t length, other_length;
    struct sockaddr_un address = hidden("elfin-test", &length), other;
    int one = socket(AF_UNIX, SOCK_STREAM, 0), two = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(one, (void *)&address, length) == 0);
    CHECK(bind(two, (void *)&address, length) == -1 && errno == EADDRINUSE);
    // The length is part of the name.
    CHECK(bind(two, (void *)&address, length + 1) == 0);
    close(two);
    CHECK(listen(one, 1) == 0);
    two = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(two, (void *)&address, length) == 0);
    other_length = sizeof other;
    int end = accept(one, (void *)&other, &other_length);
    CHECK(end >= 0 && other_length == sizeof(sa_family_t));
    close(one), close(two), close(end);
    one = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(one, (void *)&address, length) == 0);
    close(one);
    // A name that nobody asked for.
    one = socket(AF_UNIX, SOCK_DGRAM, 0);
    other.sun_family = AF_UNIX;
    CHECK(bind(one, (void *)&other, sizeof(sa_family_t)) == 0);
    other_length = sizeof other;
    CHECK(getsockname(one, (void *)&other, &other_length) == 0 && other_length == sizeof(sa_family_t) + 6 && other.sun_path[0] == 0);
    close(one);
    CHECK((one = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0 && bind(one, (void *)&address, 1) == -1 && errno == EINVAL);
    address.sun_family = AF_INET;
    CHECK(bind(one, (void *)&address, length) == -1 && errno == EINVAL);
    close(one);
}

static ssize_t send_along(int to, const char *text, int level, int type, const void *data, size_t length)
{
    union {
        char bytes[CMSG_SPACE(64)];
        struct cmsghdr header;
    } control = {};
    struct iovec part = {(void *)text, strlen(text)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(length)};
    control.header = (struct cmsghdr){.cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(length)};
    memcpy(CMSG_DATA(&control.header), data, length);
    return sendmsg(to, &message, 0);
}

static struct msghdr got;
static char got_text[64];
static union {
    char bytes[256];
    struct cmsghdr header;
} got_control;

static ssize_t receive_along(int from, size_t room, int flags)
{
    static struct iovec part;
    part = (struct iovec){got_text, sizeof got_text};
    got = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1, .msg_control = &got_control, .msg_controllen = room};
    return recvmsg(from, &got, flags);
}

static void rights(int type)
{
    int pair[2], pipes[2], received[2];
    char byte;
    CHECK(socketpair(AF_UNIX, type, 0, pair) == 0 && pipe(pipes) == 0);
    CHECK(send(pair[0], "before", 6, 0) == 6);
    CHECK(send_along(pair[0], "fds", SOL_SOCKET, SCM_RIGHTS, pipes, sizeof pipes) == 3);
    CHECK(send(pair[0], "after", 5, 0) == 5);
    close(pipes[0]), close(pipes[1]);
    // Of a stream, what comes before is received together with it, and what comes after is not.
    ssize_t first = receive_along(pair[1], sizeof got_control, MSG_CMSG_CLOEXEC);
    if (type == SOCK_STREAM) {
        CHECK(first == 9);
    } else {
        CHECK(first == 6 && got.msg_controllen == 0);
        CHECK(receive_along(pair[1], sizeof got_control, MSG_CMSG_CLOEXEC) == 3);
    }
    CHECK(got.msg_controllen == CMSG_SPACE(8) && got_control.header.cmsg_len == CMSG_LEN(8));
    CHECK(got_control.header.cmsg_type == SCM_RIGHTS && !(got.msg_flags & MSG_CTRUNC));
    memcpy(received, CMSG_DATA(&got_control.header), sizeof received);
    CHECK(fcntl(received[0], F_GETFD) == FD_CLOEXEC);
    CHECK(write(received[1], "p", 1) == 1 && read(received[0], &byte, 1) == 1 && byte == 'p');
    CHECK(receive_along(pair[1], sizeof got_control, 0) == 5);
    // With no room for the second.
    CHECK(send_along(pair[0], "two", SOL_SOCKET, SCM_RIGHTS, received, sizeof received) == 3);
    CHECK(receive_along(pair[1], CMSG_LEN(4), 0) == 3 && (got.msg_flags & MSG_CTRUNC) && got_control.header.cmsg_len == CMSG_LEN(4));
    int only;
    memcpy(&only, CMSG_DATA(&got_control.header), 4);
    CHECK(fcntl(only, F_GETFD) == 0);
    close(only), close(received[1]);
    // The pipe's last writer is in a message that is not read; it ends with the socket.
    CHECK(read(received[0], &byte, 1) == 0);
    only = -1;
    CHECK(send_along(pair[0], "bad", SOL_SOCKET, SCM_RIGHTS, &only, 4) == -1 && errno == EBADF);
    // Read without asking, they are closed.
    CHECK(pipe(pipes) == 0 && send_along(pair[0], "gone", SOL_SOCKET, SCM_RIGHTS, pipes + 1, 4) == 4);
    close(pipes[1]);
    CHECK(read(pair[1], got_text, 10) == 4 && read(pipes[0], &byte, 1) == 0);
    close(pipes[0]), close(received[0]), close(pair[0]), close(pair[1]);
}

static void credentials(void)
{
    int pair[2], on = 1;
    struct ucred claimed = {getpid(), getuid(), getgid()}, told;
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    CHECK(send(pair[0], "plain", 5, 0) == 5 && receive_along(pair[1], sizeof got_control, 0) == 5 && got.msg_controllen == 0);
    CHECK(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    CHECK(send(pair[0], "by itself", 9, 0) == 9 && receive_along(pair[1], sizeof got_control, 0) == 9);
    CHECK(got_control.header.cmsg_type == SCM_CREDENTIALS && got_control.header.cmsg_len == CMSG_LEN(sizeof told));
    memcpy(&told, CMSG_DATA(&got_control.header), sizeof told);
    CHECK(told.pid == getpid() && told.uid == getuid());
    CHECK(send_along(pair[0], "own", SOL_SOCKET, SCM_CREDENTIALS, &claimed, sizeof claimed) == 3);
    CHECK(receive_along(pair[1], sizeof got_control, 0) == 3);
    close(pair[0]), close(pair[1]);
}

static void datagrams(void)
{
    socklen_t length_a, length_b, length;
    struct sockaddr_un a = hidden("elfin-a", &length_a), b = hidden("elfin-b", &length_b), from;
    int one = socket(AF_UNIX, SOCK_DGRAM, 0), two = socket(AF_UNIX, SOCK_DGRAM, 0), three = socket(AF_UNIX, SOCK_DGRAM, 0);
    char buffer[64];
    CHECK(bind(one, (void *)&a, length_a) == 0 && bind(two, (void *)&b, length_b) == 0);
    CHECK(sendto(two, "to a", 4, 0, (void *)&a, length_a) == 4);
    length = sizeof from;
    CHECK(recvfrom(one, buffer, sizeof buffer, 0, (void *)&from, &length) == 4 && length == length_b && !memcmp(&from, &b, length_b));
    CHECK(send(two, "x", 1, 0) == -1 && errno == ENOTCONN);
    CHECK(connect(two, (void *)&a, length_a) == 0 && send(two, "again", 5, 0) == 5 && recv(one, buffer, 10, 0) == 5);
    // Who is connected takes from its peer only.
    CHECK(sendto(three, "x", 1, 0, (void *)&b, length_b) == -1 && errno == EPERM);
    int count = 0;
    while (sendto(three, "x", 1, MSG_DONTWAIT, (void *)&a, length_a) == 1)
        count++;
    printf("%d datagrams wait\n", count);
    CHECK(errno == EAGAIN && listen(one, 1) == -1 && errno == EOPNOTSUPP);
    struct pollfd polled = {two, POLLOUT, 0};
    CHECK(poll(&polled, 1, 0) == 0);
    while (recv(one, buffer, 10, MSG_DONTWAIT) >= 0)
        ;
    CHECK(poll(&polled, 1, 0) == 1 && polled.revents == POLLOUT);
    struct mmsghdr several[3] = {};
    struct iovec parts[3] = {{"1", 1}, {"22", 2}, {"333", 3}};
    for (int i = 0; i < 3; i++)
        several[i].msg_hdr.msg_iov = &parts[i], several[i].msg_hdr.msg_iovlen = 1;
    CHECK(sendmmsg(two, several, 3, 0) == 3 && several[2].msg_len == 3);
    for (int i = 0; i < 3; i++)
        parts[i] = (struct iovec){buffer + 10 * i, 10};
    CHECK(recvmmsg(one, several, 3, MSG_DONTWAIT, 0) == 3 && several[1].msg_len == 2 && !memcmp(buffer + 20, "333", 3));
    CHECK(recvmmsg(one, several, 3, MSG_DONTWAIT, 0) == -1 && errno == EAGAIN);
    close(one);
    CHECK(send(two, "x", 1, 0) == -1 && errno == ECONNREFUSED);
    close(two), close(three);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    streams(SOCK_STREAM, "/tmp/stream-socket");
    streams(SOCK_SEQPACKET, "/tmp/packet-socket");
    backlog();
    abstract();
    rights(SOCK_STREAM);
    rights(SOCK_DGRAM);
    rights(SOCK_SEQPACKET);
    credentials();
    datagrams();
    CHECK(socket(AF_UNIX, SOCK_STREAM, 9) == -1 && errno == EPROTONOSUPPORT);
    CHECK(socket(77, SOCK_STREAM, 0) == -1 && errno == EAFNOSUPPORT);
    return FINISH();
}
