// Options of sockets: what is told of them first, what is taken and refused, as socket(7), ip(7) and tcp(7) have it.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "check.h"

static int get(int socket, int level, int name)
{
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(socket, level, name, &value, &length) ? -errno : value;
}

static int set(int socket, int level, int name, int value)
{
    return setsockopt(socket, level, name, &value, sizeof value) ? -errno : 0;
}

static void any(int s)
{
    char byte = 1;
    static const int names[] = {SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN, SO_ATTACH_FILTER};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        CHECK(setsockopt(s, SOL_SOCKET, names[i], &byte, 1) == -1 && errno == EINVAL);
    static const int flags[] = {SO_NO_CHECK, SO_WIFI_STATUS, SO_NOFCS, SO_SELECT_ERR_QUEUE};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++)
        CHECK(get(s, SOL_SOCKET, flags[i]) == 0 && set(s, SOL_SOCKET, flags[i], 5) == 0 && get(s, SOL_SOCKET, flags[i]) == 1);
    int inet = get(s, SOL_SOCKET, SO_DOMAIN) != AF_UNIX;
    CHECK(set(s, SOL_SOCKET, SO_ZEROCOPY, 2) == (inet ? -EINVAL : -EOPNOTSUPP));
    CHECK(get(s, SOL_SOCKET, SO_BPF_EXTENSIONS) == 64 && get(s, SOL_SOCKET, SO_INCOMING_NAPI_ID) == 0);
    CHECK(set(s, SOL_SOCKET, SO_BSDCOMPAT, 1) == 0 && get(s, SOL_SOCKET, SO_BSDCOMPAT) == 0);
    CHECK(set(s, SOL_SOCKET, SO_ATTACH_FILTER, 1) == -EINVAL);
    CHECK(setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, "elfin7", 6) == -1 && errno == ENODEV);
    CHECK(setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, "", 1) == 0);
    unsigned memory[9] = {1};
    socklen_t length = sizeof memory;
    CHECK(getsockopt(s, SOL_SOCKET, SO_MEMINFO, memory, &length) == 0 && length == sizeof memory);
    CHECK(memory[0] == 0 && (int)memory[1] == get(s, SOL_SOCKET, SO_RCVBUF) && (int)memory[3] == get(s, SOL_SOCKET, SO_SNDBUF));
}

int main(void)
{
    int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
    int udp6 = socket(AF_INET6, SOCK_DGRAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);
    any(tcp), any(udp), any(udp6), any(local);

    CHECK(set(udp, IPPROTO_IP, IP_TOS, 0x1b9) == 0 && get(udp, IPPROTO_IP, IP_TOS) == 0xb9);
    CHECK(set(tcp, IPPROTO_IP, IP_TOS, 0x1b9) == 0 && get(tcp, IPPROTO_IP, IP_TOS) == 0xb8);
    CHECK(set(udp, IPPROTO_IP, IP_MULTICAST_ALL, 2) == -EINVAL && set(udp, IPPROTO_IP, IP_MULTICAST_ALL, 0) == 0);
    static const int names[] = {TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_NO_COOKIE, TCP_THIN_LINEAR_TIMEOUTS};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        CHECK(get(tcp, IPPROTO_TCP, names[i]) == 0 && set(tcp, IPPROTO_TCP, names[i], 2) == -EINVAL);

    // The way to the other end, once there is one.
    CHECK(get(udp, IPPROTO_IP, IP_MTU) == -ENOTCONN && get(tcp, IPPROTO_IP, IP_MTU) == -ENOTCONN);
    CHECK(get(udp6, IPPROTO_IPV6, IPV6_MTU) == -ENOTCONN);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in6 to6 = {AF_INET6, htons(9), 0, IN6ADDR_LOOPBACK_INIT, 0};
    CHECK(connect(udp, (void *)&to, sizeof to) == 0 && get(udp, IPPROTO_IP, IP_MTU) >= 1500);
    CHECK(connect(udp6, (void *)&to6, sizeof to6) == 0 && get(udp6, IPPROTO_IPV6, IPV6_MTU) >= 1500);
    close(tcp), close(udp), close(udp6), close(local);
    return FINISH();
}
