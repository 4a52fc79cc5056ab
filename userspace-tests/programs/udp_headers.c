// What goes along with datagrams: hop limits, classes, where they were sent to and when they came; what comes back, by
// the error queue; UDP-Lite.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#ifndef IPPROTO_UDPLITE
#define IPPROTO_UDPLITE 136
#endif

static union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} to;
static socklen_t length;

static int bound(int family, int protocol) {
    int s = socket(family, SOCK_DGRAM, protocol);
    memset(&to, 0, sizeof to);
    to.any.sa_family = family;
    if (family == AF_INET)
        to.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        to.v6.sin6_addr = in6addr_loopback;
    length = family == AF_INET ? sizeof to.v4 : sizeof to.v6;
    if (bind(s, &to.any, length))
        perror("bind");
    getsockname(s, &to.any, &length);
    return s;
}

static void on(int s, int level, int name) {
    int one = 1;
    if (setsockopt(s, level, name, &one, sizeof one))
        printf("option %d %d: %s\n", level, name, strerror(errno));
}

static void receive(int s, int flags, size_t room) {
    char data[100] = "", control[512];
    struct iovec vector = {data, sizeof data};
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } from;
    struct msghdr message = {&from, sizeof from, &vector, 1, control, room, 0};
    ssize_t n = recvmsg(s, &message, flags);
    if (n < 0) {
        printf("recvmsg: %s\n", strerror(errno));
        return;
    }
    printf("'%.*s' flags %x from family %d\n", (int)n, data, message.msg_flags, from.any.sa_family);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        printf("  level %d type %d length %zu", c->cmsg_level, c->cmsg_type, c->cmsg_len);
        int number = 0;
        memcpy(&number, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0) < 4 ? c->cmsg_len - CMSG_LEN(0) : 4);
        if (c->cmsg_level == SOL_SOCKET) {
            struct timeval then;
            memcpy(&then, CMSG_DATA(c), sizeof then);
            printf(" age %d", (int)(time(0) - then.tv_sec) / 5);
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            printf(" interface %d %s", info.ipi_ifindex, inet_ntoa(info.ipi_addr));
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            char text[100];
            memcpy(&info, CMSG_DATA(c), sizeof info);
            printf(" interface %d %s", info.ipi6_ifindex, inet_ntop(AF_INET6, &info.ipi6_addr, text, sizeof text));
        } else if (c->cmsg_type == IP_RECVERR || c->cmsg_type == IPV6_RECVERR) {
            struct {
                struct sock_extended_err error;
                struct sockaddr_in6 by;
            } told;
            char text[100];
            size_t size = c->cmsg_len - CMSG_LEN(0);
            memcpy(&told, CMSG_DATA(c), size < sizeof told ? size : sizeof told);
            printf(" %s origin %d type %d code %d by family %d", strerror(told.error.ee_errno), told.error.ee_origin,
                   told.error.ee_type, told.error.ee_code, told.by.sin6_family);
            if (told.by.sin6_family == AF_INET6)
                printf(" %s", inet_ntop(AF_INET6, &told.by.sin6_addr, text, sizeof text));
        } else {
            printf(" value %d", number);
        }
        putchar('\n');
    }
}

static void send_with(int s, const char *data, int level, int type, const void *value, size_t size) {
    char control[200] = "";
    struct iovec vector = {(char *)data, strlen(data)};
    struct msghdr message = {&to, length, &vector, 1, control, CMSG_SPACE(size), 0};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = level, c->cmsg_type = type, c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), value, size);
    if (sendmsg(s, &message, 0) < 0)
        printf("sendmsg: %s\n", strerror(errno));
}

static void headers(int family) {
    int receiver = bound(family, 0), sender = socket(family, SOCK_DGRAM, 0);
    printf("family %d\n", family);
    on(receiver, SOL_SOCKET, SO_TIMESTAMP);
    if (family == AF_INET) {
        on(receiver, IPPROTO_IP, IP_PKTINFO);
        on(receiver, IPPROTO_IP, IP_RECVTTL);
        on(receiver, IPPROTO_IP, IP_RECVTOS);
    } else {
        on(receiver, IPPROTO_IPV6, IPV6_RECVPKTINFO);
        on(receiver, IPPROTO_IPV6, IPV6_RECVHOPLIMIT);
        on(receiver, IPPROTO_IPV6, IPV6_RECVTCLASS);
    }
    sendto(sender, "plain", 5, 0, &to.any, length);
    receive(receiver, 0, 512);
    int value = 7, zero = 0, many = 256, class = 0x48;
    if (family == AF_INET) {
        send_with(sender, "hops", IPPROTO_IP, IP_TTL, &value, 4);
        receive(receiver, 0, 512);
        send_with(sender, "class", IPPROTO_IP, IP_TOS, &class, 4);
        receive(receiver, 0, 512);
        send_with(sender, "none", IPPROTO_IP, IP_TTL, &zero, 4);
        send_with(sender, "many", IPPROTO_IP, IP_TTL, &many, 4);
        struct in_pktinfo info = {.ipi_spec_dst = {htonl(INADDR_LOOPBACK + 5)}};
        send_with(sender, "source", IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
        receive(receiver, 0, 512);
        setsockopt(sender, IPPROTO_IP, IP_TTL, &value, 4);
        setsockopt(sender, IPPROTO_IP, IP_TOS, &class, 4);
    } else {
        send_with(sender, "hops", IPPROTO_IPV6, IPV6_HOPLIMIT, &value, 4);
        receive(receiver, 0, 512);
        send_with(sender, "class", IPPROTO_IPV6, IPV6_TCLASS, &class, 4);
        receive(receiver, 0, 512);
        send_with(sender, "many", IPPROTO_IPV6, IPV6_HOPLIMIT, &many, 4);
        setsockopt(sender, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &value, 4);
        setsockopt(sender, IPPROTO_IPV6, IPV6_TCLASS, &class, 4);
    }
    sendto(sender, "options", 7, 0, &to.any, length);
    receive(receiver, 0, 512);
    sendto(sender, "no room", 7, 0, &to.any, length);
    receive(receiver, 0, 40);
    close(receiver), close(sender);
}

static void failures(int family) {
    int gone = bound(family, 0), sender = socket(family, SOCK_DGRAM, 0);
    struct pollfd ready = {sender, POLLIN, 0};
    close(gone);
    printf("failures of family %d\n", family);
    receive(sender, MSG_ERRQUEUE, 512);
    sendto(sender, "nobody", 6, 0, &to.any, length);
    printf("poll %d", poll(&ready, 1, 0));
    printf(" %x\n", ready.revents);
    if (family == AF_INET)
        on(sender, IPPROTO_IP, IP_RECVERR);
    else
        on(sender, IPPROTO_IPV6, IPV6_RECVERR);
    sendto(sender, "asked", 5, 0, &to.any, length);
    printf("poll %d", poll(&ready, 1, 0));
    printf(" %x\n", ready.revents);
    if (sendto(sender, "again", 5, 0, &to.any, length) < 0)
        printf("sendto: %s\n", strerror(errno));
    receive(sender, MSG_ERRQUEUE, 512);
    receive(sender, MSG_ERRQUEUE, 512);
    printf("poll %d\n", poll(&ready, 1, 0));
    close(sender);
}

static void lite(int family) {
    int receiver = bound(family, IPPROTO_UDPLITE), udp = socket(family, SOCK_DGRAM, 0), protocol = 0;
    int sender = socket(family, SOCK_DGRAM, IPPROTO_UDPLITE);
    socklen_t size = sizeof protocol;
    getsockopt(sender, SOL_SOCKET, SO_PROTOCOL, &protocol, &size);
    printf("lite %d of %d\n", protocol, family);
    printf("another's port: %d\n", bind(udp, &to.any, length));
    sendto(sender, "lite", 4, 0, &to.any, length);
    receive(receiver, 0, 0);
    close(receiver), close(sender), close(udp);
}

/* Ancillary data of a level are read by sockets that it is meant for, and left alone by others. */
static void levels(void) {
    static const struct { int family, type; } kinds[] = {
        {AF_UNIX, SOCK_STREAM}, {AF_UNIX, SOCK_DGRAM}, {AF_INET, SOCK_DGRAM}, {AF_INET6, SOCK_DGRAM}};
    static const int named[][2] = {{IPPROTO_IP, IP_TTL}, {IPPROTO_IPV6, IPV6_HOPLIMIT}, {123, 1}, {SOL_SOCKET, 99}};
    for (unsigned kind = 0; kind < 4; kind++)
        for (unsigned name = 0; name < 4; name++) {
            struct sockaddr_in four = {AF_INET, htons(9), {htonl(INADDR_LOOPBACK)}, {0}};
            struct sockaddr_in6 six = {AF_INET6, htons(9), 0, IN6ADDR_LOOPBACK_INIT, 0};
            int ends[2], inet = kinds[kind].family != AF_UNIX, value = 4711;
            if (inet) {
                ends[0] = socket(kinds[kind].family, SOCK_DGRAM, 0);
                connect(ends[0], kind == 2 ? (void *)&four : (void *)&six, kind == 2 ? sizeof four : sizeof six);
            } else
                socketpair(AF_UNIX, kinds[kind].type, 0, ends);
            _Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof value)] = {0};
            struct msghdr message = {.msg_iov = &(struct iovec){"data", 4}, .msg_iovlen = 1,
                                     .msg_control = room, .msg_controllen = sizeof room};
            *CMSG_FIRSTHDR(&message) = (struct cmsghdr){CMSG_LEN(sizeof value), named[name][0], named[name][1]};
            memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &value, sizeof value);
            int result = sendmsg(ends[0], &message, 0);
            printf("%d %d, level %d: %d %s\n", kinds[kind].family, kinds[kind].type, named[name][0], result,
                   result < 0 ? strerror(errno) : "");
            close(ends[0]);
            if (!inet)
                close(ends[1]);
        }
}

int main(void) {
    levels();
    headers(AF_INET);
    headers(AF_INET6);
    failures(AF_INET);
    failures(AF_INET6);
    lite(AF_INET);
    lite(AF_INET6);
}
