// Urgent data of TCP (tcp(7), sockatmark(3)): what recv(2) gives with MSG_OOB and without, marks, SO_OOBINLINE,
// SIGURG, POLLPRI, and who refuses them.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>
#include "check.h"

static volatile sig_atomic_t signals;

static void urgent(int number)
{
    signals += number == SIGURG;
}
static struct sockaddr_in here(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}
static void connected(int pair[2])
{
    struct sockaddr_in address = here(0);
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(pair[0], (struct sockaddr *)&address, length) == 0);
    pair[1] = accept(listener, 0, 0);
    CHECK(pair[1] >= 0);
    close(listener);
}
static void closed(int pair[2])
{
    close(pair[0]), close(pair[1]);
}
// What is there to be read, with what has come by now.
static const char *reads(int fd, int flags)
{
    static char buf[100];
    ssize_t len = recv(fd, buf, sizeof buf - 1, flags | MSG_DONTWAIT);
    if (len < 0)
        return strerrorname_np(errno);
    buf[len] = 0;
    return buf;
}
#define READS(fd, flags, text) CHECK(strcmp(reads(fd, flags), text) == 0)
static int events(int fd)
{
    struct pollfd one = {fd, POLLIN | POLLPRI, 0};
    poll(&one, 1, 0);
    return one.revents;
}
static int inq(int fd)
{
    int bytes = -1;
    ioctl(fd, FIONREAD, &bytes);
    return bytes;
}
static void apart(void)
{
    int pair[2];
    connected(pair);
    READS(pair[1], MSG_OOB, "EINVAL");
    CHECK(sockatmark(pair[1]) == 0);
    CHECK(send(pair[0], "ab!", 3, MSG_OOB) == 3);
    CHECK(send(pair[0], "cd", 2, 0) == 2);
    CHECK(events(pair[1]) == (POLLIN | POLLPRI) && inq(pair[1]) == 2 && sockatmark(pair[1]) == 0);
    // The mark ends what one call reads.
    READS(pair[1], MSG_PEEK, "ab");
    READS(pair[1], 0, "ab");
    CHECK(sockatmark(pair[1]) == 1 && inq(pair[1]) == 0);
    READS(pair[1], MSG_OOB | MSG_PEEK, "!");
    READS(pair[1], MSG_OOB, "!");
    READS(pair[1], MSG_OOB, "EINVAL");
    CHECK(events(pair[1]) == POLLIN && sockatmark(pair[1]) == 1);
    READS(pair[1], MSG_PEEK, "cd");
    READS(pair[1], 0, "cd");
    CHECK(sockatmark(pair[1]) == 0 && events(pair[1]) == 0);
    READS(pair[1], 0, "EAGAIN");
    READS(pair[1], MSG_OOB, "EINVAL");

    // With nothing after it there is nothing to read, and reading goes past it.
    CHECK(send(pair[0], "?", 1, MSG_OOB) == 1);
    CHECK(events(pair[1]) == POLLPRI && sockatmark(pair[1]) == 1 && inq(pair[1]) == 0);
    READS(pair[1], 0, "EAGAIN");
    CHECK(sockatmark(pair[1]) == 0 && events(pair[1]) == 0);
    READS(pair[1], MSG_OOB, "EINVAL");

    // A read that asks for more than there is before the mark waits for no more.
    char buf[8] = "";
    CHECK(send(pair[0], "1234!5678", 5, MSG_OOB) == 5 && send(pair[0], "5678", 4, 0) == 4);
    CHECK(recv(pair[1], buf, 8, MSG_WAITALL) == 4 && memcmp(buf, "1234", 4) == 0);
    CHECK(recv(pair[1], buf, 4, MSG_WAITALL) == 4 && memcmp(buf, "5678", 4) == 0);

    // Of two the later counts; the first stays where it was sent unless it would be read next.
    CHECK(send(pair[0], "x1", 2, MSG_OOB) == 2 && send(pair[0], "y2", 2, MSG_OOB) == 2);
    READS(pair[1], MSG_OOB, "2");
    READS(pair[1], 0, "x1y");
    READS(pair[1], 0, "EAGAIN");
    CHECK(send(pair[0], "3", 1, MSG_OOB) == 1 && send(pair[0], "z4", 2, MSG_OOB) == 2);
    READS(pair[1], 0, "z");
    READS(pair[1], MSG_OOB, "4");
    closed(pair);
}
static void in_line(void)
{
    int pair[2], on = 1;
    connected(pair);
    CHECK(setsockopt(pair[1], SOL_SOCKET, SO_OOBINLINE, &on, sizeof on) == 0);
    CHECK(send(pair[0], "ab!", 3, MSG_OOB) == 3 && send(pair[0], "cd", 2, 0) == 2);
    CHECK(inq(pair[1]) == 5 && events(pair[1]) == (POLLIN | POLLPRI));
    READS(pair[1], MSG_OOB, "EINVAL");
    READS(pair[1], 0, "ab");
    CHECK(sockatmark(pair[1]) == 1);
    READS(pair[1], 0, "!cd");
    CHECK(sockatmark(pair[1]) == 0 && events(pair[1]) == 0);
    // One that came before it was asked for.
    on = 0;
    CHECK(setsockopt(pair[1], SOL_SOCKET, SO_OOBINLINE, &on, sizeof on) == 0);
    CHECK(send(pair[0], "!", 1, MSG_OOB) == 1 && events(pair[1]) == POLLPRI);
    on = 1;
    CHECK(setsockopt(pair[1], SOL_SOCKET, SO_OOBINLINE, &on, sizeof on) == 0);
    CHECK(events(pair[1]) == (POLLIN | POLLPRI));
    READS(pair[1], 0, "!");
    closed(pair);
}
static void told(void)
{
    int pair[2];
    struct msghdr message = {};
    char byte = 0, more[4] = "";
    struct iovec one = {&byte, 1};
    fd_set exceptional;
    struct timeval none = {0, 0};
    connected(pair);
    signal(SIGURG, urgent);
    CHECK(send(pair[0], "!", 1, MSG_OOB) == 1 && signals == 0);
    CHECK(fcntl(pair[1], F_SETOWN, getpid()) == 0);
    CHECK(send(pair[0], "no", 2, 0) == 2 && signals == 0);
    CHECK(send(pair[0], "?", 1, MSG_OOB) == 1 && signals == 1);
    FD_ZERO(&exceptional);
    FD_SET(pair[1], &exceptional);
    CHECK(select(pair[1] + 1, 0, 0, &exceptional, &none) == 1 && FD_ISSET(pair[1], &exceptional));
    message.msg_iov = &one, message.msg_iovlen = 1;
    CHECK(recvmsg(pair[1], &message, MSG_OOB) == 1 && byte == '?' && message.msg_flags & MSG_OOB);
    CHECK(recvmsg(pair[1], &message, 0) == 1 && !(message.msg_flags & MSG_OOB));
    // The other end is gone, and what is left can still be read.
    CHECK(send(pair[0], "ab!", 3, MSG_OOB) == 3 && signals == 2);
    close(pair[0]);
    READS(pair[1], MSG_OOB, "!");
    CHECK(recv(pair[1], more, 4, 0) > 0);
    close(pair[1]);
}
static void refused(void)
{
    int pair[2], udp = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in address = here(9);
    ssize_t sent = sendto(udp, "!", 1, MSG_OOB, (struct sockaddr *)&address, sizeof address);
    CHECK(sent == -1 && errno == EOPNOTSUPP);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    CHECK(send(pair[0], "!", 1, MSG_OOB) == -1 && errno == EOPNOTSUPP);
    READS(pair[1], MSG_OOB, "EOPNOTSUPP");
    closed(pair), close(udp);
    int fresh = socket(AF_INET, SOCK_STREAM, 0);
    READS(fresh, MSG_OOB, "EINVAL");
    CHECK(send(fresh, "!", 1, MSG_OOB | MSG_NOSIGNAL) == -1 && errno == EPIPE);
    close(fresh);
}
int main(void)
{
    apart();
    in_line();
    told();
    refused();
    return FINISH();
}
