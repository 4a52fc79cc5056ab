// TCP within a machine, IPv4 and IPv6: ports, backlogs, refusals, ends of one direction, resets, linger, options, what poll says of each.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "check.h"

typedef union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} Address;

static socklen_t size(int family)
{
    return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static Address local(int family, int port)
{
    Address address = {};
    address.any.sa_family = family;
    if (family == AF_INET) {
        address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.v4.sin_port = htons(port);
    } else {
        address.v6.sin6_addr = in6addr_loopback;
        address.v6.sin6_port = htons(port);
    }
    return address;
}

static int listening(int family, Address *address)
{
    int listener = socket(family, SOCK_STREAM, 0);
    socklen_t length = size(family);
    *address = local(family, 0);
    CHECK(bind(listener, &address->any, length) == 0 && listen(listener, 8) == 0);
    CHECK(getsockname(listener, &address->any, &length) == 0 && length == size(family));
    int port = ntohs(family == AF_INET ? address->v4.sin_port : address->v6.sin6_port);
    CHECK(port >= 32768 && port <= 60999);
    return listener;
}

static void connected(int family, int pair[2])
{
    Address address, peer, name;
    socklen_t length = size(family);
    int listener = listening(family, &address);
    pair[0] = socket(family, SOCK_STREAM, 0);
    CHECK(connect(pair[0], &address.any, length) == 0);
    pair[1] = accept(listener, &peer.any, &length);
    CHECK(pair[1] >= 0 && length == size(family));
    CHECK(getsockname(pair[0], &name.any, &length) == 0 && !memcmp(&name, &peer, length));
    CHECK(getpeername(pair[0], &name.any, &length) == 0 && !memcmp(&name, &address, length));
    close(listener);
}

static int events(int socket)
{
    struct pollfd polled = {socket, POLLIN | POLLOUT | POLLRDHUP, 0};
    poll(&polled, 1, 0);
    return polled.revents;
}

static int pending(int socket)
{
    int error;
    socklen_t length = sizeof error;
    getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length);
    return error;
}

static void conversation(int family)
{
    int pair[2], count;
    char buffer[100];
    connected(family, pair);
    CHECK(events(pair[0]) == POLLOUT);
    CHECK(send(pair[0], "hello ", 6, 0) == 6 && write(pair[0], "world", 5) == 5);
    CHECK(events(pair[1]) == (POLLIN | POLLOUT) && ioctl(pair[1], FIONREAD, &count) == 0 && count == 11);
    CHECK(recv(pair[1], buffer, 3, MSG_PEEK) == 3 && recv(pair[1], buffer, 100, 0) == 11 && !memcmp(buffer, "hello world", 11));
    CHECK(recv(pair[1], buffer, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    // The end of one direction.
    CHECK(shutdown(pair[0], SHUT_WR) == 0 && events(pair[1]) == (POLLIN | POLLOUT | POLLRDHUP));
    CHECK(recv(pair[1], buffer, 1, 0) == 0 && recv(pair[1], buffer, 1, 0) == 0);
    CHECK(send(pair[1], "back", 4, 0) == 4 && recv(pair[0], buffer, 100, 0) == 4);
    CHECK(send(pair[0], "x", 1, 0) == -1 && errno == EPIPE);
    CHECK(shutdown(pair[1], SHUT_WR) == 0 && events(pair[1]) == (POLLIN | POLLOUT | POLLHUP | POLLRDHUP));
    CHECK(recv(pair[0], buffer, 1, 0) == 0);
    close(pair[0]), close(pair[1]);

    // Nothing that is sent to who has closed has no consequence; something has.
    connected(family, pair);
    close(pair[0]);
    CHECK(send(pair[1], "", 0, 0) == 0 && send(pair[1], "", 0, 0) == 0);
    CHECK(send(pair[1], "x", 1, 0) == 1);
    CHECK(send(pair[1], "", 0, 0) == -1 && errno == EPIPE);
    close(pair[1]);

    // Closed: what is sent then comes back as a reset.
    connected(family, pair);
    CHECK(send(pair[0], "last", 4, 0) == 4);
    close(pair[0]);
    CHECK(recv(pair[1], buffer, 100, 0) == 4 && recv(pair[1], buffer, 100, 0) == 0);
    CHECK(send(pair[1], "x", 1, 0) == 1 && send(pair[1], "x", 1, 0) == -1 && errno == EPIPE);
    CHECK(recv(pair[1], buffer, 1, 0) == 0);
    close(pair[1]);

    // Closed with bytes that nobody has read, and by SO_LINGER.
    for (int linger = 0; linger < 2; linger++) {
        connected(family, pair);
        struct linger now = {1, 0};
        if (linger)
            CHECK(setsockopt(pair[0], SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
        else
            CHECK(send(pair[1], "unread", 6, 0) == 6);
        CHECK(send(pair[0], "sent", 4, 0) == 4);
        close(pair[0]);
        int polled = events(pair[1]);
        CHECK((polled & (POLLERR | POLLHUP | POLLIN)) == (POLLERR | POLLHUP | POLLIN));
        CHECK(pending(pair[1]) == ECONNRESET && pending(pair[1]) == 0);
        CHECK(send(pair[1], "x", 1, 0) == -1 && errno == EPIPE);
        CHECK(getpeername(pair[1], (void *)buffer, &(socklen_t){100}) == -1 && errno == ENOTCONN);
        close(pair[1]);
    }
    connected(family, pair);
    CHECK(send(pair[1], "unread", 6, 0) == 6);
    close(pair[0]);
    CHECK(recv(pair[1], buffer, 10, 0) == -1 && errno == ECONNRESET && recv(pair[1], buffer, 10, 0) == 0);
    close(pair[1]);

    connected(family, pair);
    struct timeval soon = {0, 10000};
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0);
    CHECK(recv(pair[0], buffer, 1, 0) == -1 && errno == EAGAIN);
    CHECK(shutdown(pair[0], SHUT_RD) == 0 && recv(pair[0], buffer, 1, 0) == 0);
    CHECK(send(pair[1], "x", 1, 0) == 1);
    close(pair[0]), close(pair[1]);
}

enum { MANY = 8 << 20 };

static void *produce(void *socket)
{
    char *block = malloc(MANY);
    for (int i = 0; i < MANY; i++)
        block[i] = i * 7 + (i >> 8);
    CHECK(send((int)(long)socket, block, MANY, 0) == MANY);
    close((int)(long)socket);
    free(block);
    return 0;
}

static void much(int family)
{
    int pair[2], total = 0, wrong = 0;
    char buffer[5000];
    connected(family, pair);
    pthread_t thread;
    pthread_create(&thread, 0, produce, (void *)(long)pair[0]);
    ssize_t count;
    while ((count = recv(pair[1], buffer, sizeof buffer, 0)) > 0)
        for (int i = 0; i < count; i++, total++)
            wrong += buffer[i] != (char)(total * 7 + (total >> 8));
    CHECK(count == 0 && total == MANY && wrong == 0);
    pthread_join(thread, 0);
    close(pair[1]);

    // A writer that does not wait is told when there is room again.
    connected(family, pair);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    memset(buffer, 1, sizeof buffer);
    long sent = 0, received = 0;
    while ((count = write(pair[0], buffer, sizeof buffer)) > 0)
        sent += count;
    CHECK(count == -1 && errno == EAGAIN && sent > 100000 && !(events(pair[0]) & POLLOUT));
    while (received < sent)
        received += read(pair[1], buffer, sizeof buffer);
    CHECK(events(pair[0]) & POLLOUT);
    close(pair[0]), close(pair[1]);
}

static void refused(int family)
{
    Address address;
    socklen_t length = size(family);
    int listener = listening(family, &address), client = socket(family, SOCK_STREAM, 0), other = socket(family, SOCK_STREAM, 0);
    CHECK(events(client) == (POLLOUT | POLLHUP));
    CHECK(bind(other, &address.any, length) == -1 && errno == EADDRINUSE);
    CHECK(accept4(listener, 0, 0, 12345) == -1 && errno == EINVAL);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    CHECK(accept(listener, 0, 0) == -1 && errno == EAGAIN && !events(listener));
    CHECK(connect(client, &address.any, length) == 0 && events(listener) == POLLIN);
    CHECK(connect(client, &address.any, length) == -1 && errno == EISCONN);
    close(listener);
    char byte;
    CHECK(recv(client, &byte, 1, 0) == -1 && errno == ECONNRESET);
    close(client);
    client = socket(family, SOCK_STREAM, 0);
    CHECK(connect(client, &address.any, length) == -1 && errno == ECONNREFUSED);
    CHECK(send(client, "x", 1, 0) == -1 && errno == EPIPE);
    CHECK(recv(client, &byte, 1, 0) == -1 && errno == ENOTCONN);
    CHECK(getpeername(client, &address.any, &length) == -1 && errno == ENOTCONN);
    CHECK(shutdown(client, SHUT_RDWR) == -1 && errno == ENOTCONN);
    CHECK(accept(client, 0, 0) == -1 && errno == EINVAL);
    close(client), close(other);
}

// Who does not wait for a connection hears later what has become of it, even within a machine.
static void without_waiting(int family)
{
    Address address;
    socklen_t length = size(family);
    int listener = listening(family, &address), client = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(connect(client, &address.any, length) == -1 && errno == EINPROGRESS);
    CHECK(events(client) == POLLOUT && pending(client) == 0);
    CHECK(connect(client, &address.any, length) == 0);
    CHECK(connect(client, &address.any, length) == -1 && errno == EISCONN);
    close(client);
    // A call that waits finds it made.
    client = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(connect(client, &address.any, length) == -1 && errno == EINPROGRESS);
    fcntl(client, F_SETFL, 0);
    CHECK(connect(client, &address.any, length) == 0);
    CHECK(connect(client, &address.any, length) == -1 && errno == EISCONN);
    close(client), close(listener);
    char byte;
    client = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(connect(client, &address.any, length) == -1 && errno == EINPROGRESS);
    CHECK(events(client) == (POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP));
    CHECK(listen(client, 1) == -1 && errno == EINVAL);
    CHECK(pending(client) == ECONNREFUSED && pending(client) == 0);
    CHECK(events(client) == (POLLIN | POLLOUT | POLLHUP | POLLRDHUP));
    CHECK(recv(client, &byte, 1, 0) == 0 && send(client, "x", 1, 0) == -1 && errno == EPIPE);
    CHECK(connect(client, &address.any, length) == -1 && errno == ECONNABORTED);
    CHECK(events(client) == (POLLOUT | POLLHUP));
    CHECK(connect(client, &address.any, length) == -1 && errno == EINPROGRESS);
    CHECK(connect(client, &address.any, length) == -1 && errno == ECONNREFUSED);
    CHECK(events(client) == (POLLOUT | POLLHUP));
    close(client);
}

static void options(int family)
{
    int pair[2], value, on = 1;
    socklen_t length = sizeof value;
    connected(family, pair);
#define GET(level, name) (length = sizeof value, getsockopt(pair[0], level, name, &value, &length) ? -errno : value)
#define SET(level, name, number) (value = (number), setsockopt(pair[0], level, name, &value, sizeof value) ? -errno : 0)
    CHECK(GET(SOL_SOCKET, SO_TYPE) == SOCK_STREAM && GET(SOL_SOCKET, SO_DOMAIN) == family);
    CHECK(GET(SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP && GET(SOL_SOCKET, SO_ERROR) == 0);
    CHECK(GET(SOL_SOCKET, SO_ACCEPTCONN) == 0 && GET(SOL_SOCKET, SO_REUSEADDR) == 0);
    CHECK(SET(SOL_SOCKET, SO_REUSEADDR, 5) == 0 && GET(SOL_SOCKET, SO_REUSEADDR) == 1);
    CHECK(SET(SOL_SOCKET, SO_KEEPALIVE, 1) == 0 && GET(SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(GET(IPPROTO_TCP, TCP_NODELAY) == 0 && SET(IPPROTO_TCP, TCP_NODELAY, 1) == 0 && GET(IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(SET(IPPROTO_TCP, TCP_KEEPIDLE, 30) == 0 && GET(IPPROTO_TCP, TCP_KEEPIDLE) == 30);
    CHECK(SET(IPPROTO_TCP, TCP_KEEPIDLE, 0) == -EINVAL && SET(IPPROTO_TCP, TCP_KEEPINTVL, 40000) == -EINVAL);
    CHECK(SET(IPPROTO_TCP, TCP_USER_TIMEOUT, 1000) == 0 && GET(IPPROTO_TCP, TCP_USER_TIMEOUT) == 1000);
    CHECK(SET(IPPROTO_TCP, TCP_CORK, 1) == 0 && SET(IPPROTO_TCP, TCP_CORK, 0) == 0);
    CHECK(SET(IPPROTO_TCP, 9999, 1) == -ENOPROTOOPT && GET(IPPROTO_TCP, 9999) == -ENOPROTOOPT);
    // None, in no bytes: sshd throws out who has some.
    CHECK(GET(IPPROTO_IP, IP_OPTIONS) != -1 && length == 0 && setsockopt(pair[0], IPPROTO_IP, IP_OPTIONS, NULL, 0) == 0);
    CHECK(GET(IPPROTO_IP, IP_TTL) == 64 && GET(IPPROTO_IP, IP_TOS) == 0);
    struct tcp_info info;
    length = sizeof info;
    CHECK(getsockopt(pair[0], IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_state == TCP_ESTABLISHED);
    CHECK(GET(IPPROTO_TCP, TCP_MAXSEG) == (int)info.tcpi_snd_mss);
    CHECK(SET(IPPROTO_TCP, TCP_MAXSEG, 40) == -EINVAL && SET(IPPROTO_TCP, TCP_MAXSEG, 40000) == -EINVAL);
    struct linger linger;
    length = sizeof linger;
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_LINGER, &linger, &length) == 0 && linger.l_onoff == 0);
    if (family == AF_INET6)
        CHECK(GET(IPPROTO_IPV6, IPV6_V6ONLY) == 0);
    // An accepted socket has its listening one's.
    Address address;
    int listener = listening(family, &address), client = socket(family, SOCK_STREAM, 0);
    length = sizeof value;
    CHECK(getsockopt(client, IPPROTO_TCP, TCP_MAXSEG, &value, &length) == 0 && value == 536);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    CHECK(connect(client, &address.any, size(family)) == 0);
    close(pair[0]);
    pair[0] = accept(listener, 0, 0);
    CHECK(GET(IPPROTO_TCP, TCP_NODELAY) == 1);
    close(listener), close(client), close(pair[0]), close(pair[1]);
}

static void sharing(void)
{
    int one = socket(AF_INET, SOCK_STREAM, 0), two = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    Address address = local(AF_INET, 0);
    socklen_t length = size(AF_INET);
    setsockopt(one, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    CHECK(bind(one, &address.any, length) == 0 && getsockname(one, &address.any, &length) == 0 && listen(one, 1) == 0);
    CHECK(bind(two, &address.any, length) == -1 && errno == EADDRINUSE);
    setsockopt(two, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    CHECK(bind(two, &address.any, length) == 0 && listen(two, 1) == 0);
    close(one), close(two);
    // All of IPv4 and IPv6 by one socket.
    one = socket(AF_INET6, SOCK_STREAM, 0);
    Address all = {.v6 = {.sin6_family = AF_INET6}};
    length = size(AF_INET6);
    CHECK(bind(one, &all.any, length) == 0 && listen(one, 1) == 0 && getsockname(one, &all.any, &length) == 0);
    address.v4.sin_port = all.v6.sin6_port;
    two = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(two, &address.any, size(AF_INET)) == 0);
    Address peer;
    length = sizeof peer;
    int end = accept(one, &peer.any, &length);
    CHECK(end >= 0 && length == size(AF_INET6) && IN6_IS_ADDR_V4MAPPED(&peer.v6.sin6_addr));
    close(two);
    two = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(two, &address.any, size(AF_INET)) == -1 && errno == EADDRINUSE);
    close(one), close(two), close(end);
    one = socket(AF_INET, SOCK_STREAM, 0);
    address.v4.sin_addr.s_addr = htonl(0x01020304);
    CHECK(bind(one, &address.any, size(AF_INET)) == -1 && errno == EADDRNOTAVAIL);
    CHECK(bind(one, &all.any, size(AF_INET6)) == -1 && errno == EAFNOSUPPORT);
    CHECK(bind(one, &address.any, 8) == -1 && errno == EINVAL);
    close(one);
}

static void whole_file(void)
{
    int pair[2], file = open("/tmp/tcp-file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char block[1000], buffer[4000];
    memset(block, 'f', sizeof block);
    CHECK(write(file, block, 1000) == 1000 && write(file, block, 1000) == 1000);
    connected(AF_INET, pair);
    off_t at = 500;
    CHECK(sendfile(pair[0], file, &at, 10000) == 1500 && at == 2000);
    CHECK(recv(pair[1], buffer, 1500, MSG_WAITALL) == 1500 && buffer[1499] == 'f');
    close(pair[0]), close(pair[1]), close(file);
    unlink("/tmp/tcp-file");
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    int families[] = {AF_INET, AF_INET6};
    for (int i = 0; i < 2; i++) {
        conversation(families[i]);
        much(families[i]);
        refused(families[i]);
        without_waiting(families[i]);
        options(families[i]);
    }
    sharing();
    whole_file();
    CHECK(socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){}) == -1 && errno == EOPNOTSUPP);
    CHECK(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP) == -1 && errno == EPROTONOSUPPORT);
    return FINISH();
}
