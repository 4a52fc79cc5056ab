// UDP within a machine, and what getifaddrs, if_nameindex, getaddrinfo and ioctls find out about the loopback.
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "check.h"

static struct sockaddr_in local(int port)
{
    return (struct sockaddr_in){AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {}};
}

static void datagrams(void)
{
    int one = socket(AF_INET, SOCK_DGRAM, 0), two = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    struct sockaddr_in a = local(0), from;
    socklen_t length = sizeof a;
    char buffer[100];
    CHECK(bind(one, (void *)&a, length) == 0 && getsockname(one, (void *)&a, &length) == 0 && a.sin_port != 0);
    CHECK(bind(two, (void *)&a, length) == -1 && errno == EADDRINUSE);
    CHECK(sendto(two, "first", 5, 0, (void *)&a, length) == 5 && sendto(two, "", 0, 0, (void *)&a, length) == 0);
    struct pollfd polled = {one, POLLIN | POLLOUT, 0};
    CHECK(poll(&polled, 1, 0) == 1 && polled.revents == (POLLIN | POLLOUT));
    CHECK(recvfrom(one, buffer, 3, MSG_TRUNC, (void *)&from, &length) == 5 && from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    CHECK(recv(one, buffer, 100, 0) == 0 && recv(one, buffer, 100, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    CHECK(send(two, "x", 1, 0) == -1 && errno == EDESTADDRREQ);
    CHECK(connect(one, (void *)&from, length) == 0 && send(one, "reply", 5, 0) == 5);
    CHECK(recvfrom(two, buffer, 100, 0, (void *)&from, &length) == 5 && from.sin_port == a.sin_port);

    // Where it was sent to.
    CHECK(setsockopt(two, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0 && send(one, "info", 4, 0) == 4);
    union {
        char bytes[100];
        struct cmsghdr header;
    } control;
    struct iovec part = {buffer, sizeof buffer};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    CHECK(recvmsg(two, &message, 0) == 4 && control.header.cmsg_type == IP_PKTINFO);
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(&control.header), sizeof info);
    CHECK(info.ipi_addr.s_addr == htonl(INADDR_LOOPBACK) && info.ipi_ifindex == (int)if_nametoindex("lo"));

    // Nobody there: who is connected learns of it.
    close(two);
    CHECK(send(one, "lost", 4, 0) == 4 && recv(one, buffer, 100, 0) == -1 && errno == ECONNREFUSED);
    from.sin_family = AF_UNSPEC;
    CHECK(connect(one, (void *)&from, sizeof from) == 0 && send(one, "x", 1, 0) == -1 && errno == EDESTADDRREQ);
    static char large[70000];
    CHECK(sendto(one, large, sizeof large, 0, (void *)&a, length) == -1 && errno == EMSGSIZE);
    CHECK(shutdown(one, SHUT_RD) == -1 && errno == ENOTCONN);
    close(one);
}

static void interfaces(void)
{
    struct ifaddrs *all, *each;
    int v4 = 0, packets = 0;
    CHECK(getifaddrs(&all) == 0);
    for (each = all; each; each = each->ifa_next) {
        if (strcmp(each->ifa_name, "lo"))
            continue;
        CHECK((each->ifa_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING)) == (IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
        if (each->ifa_addr && each->ifa_addr->sa_family == AF_INET) {
            struct sockaddr_in *address = (void *)each->ifa_addr, *mask = (void *)each->ifa_netmask;
            v4 += address->sin_addr.s_addr == htonl(INADDR_LOOPBACK) && mask->sin_addr.s_addr == htonl(0xff000000);
        } else if (each->ifa_addr && each->ifa_addr->sa_family == AF_PACKET) {
            packets++;
        }
    }
    CHECK(v4 == 1 && packets == 1);
    freeifaddrs(all);
    struct if_nameindex *names = if_nameindex();
    CHECK(names && !strcmp(names[0].if_name, "lo") && names[0].if_index == if_nametoindex("lo"));
    if_freenameindex(names);

    int any = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = {};
    strcpy(request.ifr_name, "lo");
    CHECK(ioctl(any, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_LOOPBACK));
    CHECK(ioctl(any, SIOCGIFADDR, &request) == 0);
    CHECK(((struct sockaddr_in *)&request.ifr_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    CHECK(ioctl(any, SIOCGIFMTU, &request) == 0 && request.ifr_mtu == 65536);
    strcpy(request.ifr_name, "none0");
    CHECK(ioctl(any, SIOCGIFFLAGS, &request) == -1 && errno == ENODEV);
    struct ifreq found[8];
    struct ifconf list = {sizeof found, {(void *)found}};
    CHECK(ioctl(any, SIOCGIFCONF, &list) == 0 && list.ifc_len >= (int)sizeof *found && !strcmp(found[0].ifr_name, "lo"));
    close(any);
}

// Asks for routes: the way to this machine itself, and which tables there are.
static void routes(void)
{
    struct {
        struct nlmsghdr head;
        struct rtmsg route;
        struct rtattr attribute;
        struct in_addr to;
    } request = {{sizeof request, RTM_GETROUTE, NLM_F_REQUEST, 1, 0}, {.rtm_family = AF_INET, .rtm_dst_len = 32},
                 {RTA_LENGTH(4), RTA_DST}, {htonl(INADDR_LOOPBACK)}};
    char answer[8192];
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), tables = 0;
    CHECK(send(fd, &request, sizeof request, 0) == sizeof request);
    int len = recv(fd, answer, sizeof answer, 0);
    struct nlmsghdr *head = (void *)answer;
    CHECK(NLMSG_OK(head, len) && head->nlmsg_type == RTM_NEWROUTE);
    struct rtmsg *route = NLMSG_DATA(head);
    int left = RTM_PAYLOAD(head);
    printf("route: family %d, bits %d, type %d, table %d\n", route->rtm_family, route->rtm_dst_len, route->rtm_type, route->rtm_table);
    CHECK(route->rtm_flags == (RTM_F_CLONED | 1u << 31 /* RTCF_LOCAL */));
    // Some readers take no notice of the last one.
    int last = 0;
    for (struct rtattr *each = RTM_RTA(route); RTA_OK(each, left); each = RTA_NEXT(each, left))
        last = each->rta_type;
    CHECK(last == RTA_CACHEINFO);
    left = RTM_PAYLOAD(head);
    for (struct rtattr *each = RTM_RTA(route); RTA_OK(each, left); each = RTA_NEXT(each, left))
        if (each->rta_type == RTA_OIF)
            printf("route: by lo: %d\n", *(int *)RTA_DATA(each) == (int)if_nametoindex("lo"));
        else if (each->rta_type == RTA_PREFSRC || each->rta_type == RTA_DST)
            printf("route: %d %s\n", each->rta_type, inet_ntoa(*(struct in_addr *)RTA_DATA(each)));
    request.head = (struct nlmsghdr){NLMSG_LENGTH(sizeof request.route), RTM_GETRULE, NLM_F_REQUEST | NLM_F_DUMP, 2, 0};
    CHECK(send(fd, &request, request.head.nlmsg_len, 0) == (int)request.head.nlmsg_len);
    for (int done = 0; !done;) {
        len = recv(fd, answer, sizeof answer, 0);
        CHECK(len > 0);
        for (head = (void *)answer; NLMSG_OK(head, len) && !done; head = NLMSG_NEXT(head, len))
            if ((done = head->nlmsg_type == NLMSG_DONE || head->nlmsg_type == NLMSG_ERROR) == 0)
                tables |= 1 << (255 - ((struct rtmsg *)NLMSG_DATA(head))->rtm_table);
    }
    CHECK((tables & 7) == 7);
    close(fd);
}

static void names(void)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *result;
    CHECK(getaddrinfo("127.0.0.1", "80", &hints, &result) == 0 && ((struct sockaddr_in *)result->ai_addr)->sin_port == htons(80));
    freeaddrinfo(result);
    hints.ai_flags |= AI_PASSIVE;
    CHECK(getaddrinfo(0, "80", &hints, &result) == 0);
    freeaddrinfo(result);
}

int main(void)
{
    datagrams();
    interfaces();
    routes();
    names();
    return FINISH();
}
