// What is listed of sockets, by /proc/net and by sock_diag(7): who listens, both ends of a connection, datagrams, with
// a filter; and rtnetlink's answers about one link by its name, and about requests that are wrong.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "check.h"

static int ask(int protocol, void *request, unsigned len, void *answer, unsigned room)
{
    int fd = socket(AF_NETLINK, SOCK_RAW, protocol), got = -1;
    CHECK(fd >= 0);
    if (send(fd, request, len, 0) == (long)len)
        got = recv(fd, answer, room, MSG_DONTWAIT);
    close(fd);
    return got;
}

// Sockets at a port, by a dump: "state backlog ..." of each.
static void dump(const char *what, int protocol, int port, int by_filter)
{
    static char answer[1 << 16] __attribute__((aligned(8)));
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 body;
        struct rtattr attribute;
        struct inet_diag_bc_op ops[4];
    } request = {
        .header = {sizeof request, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 0, 0},
        .body = {AF_INET, protocol, .idiag_states = ~0, .idiag_ext = 1 << (INET_DIAG_INFO - 1)},
        .attribute = {sizeof request.attribute + sizeof request.ops, INET_DIAG_REQ_BYTECODE},
        .ops = {{INET_DIAG_BC_S_GE, 8, 20}, {.no = port}, {INET_DIAG_BC_S_LE, 8, 12}, {.no = port}},
    };
    if (!by_filter) {
        request.body.id.idiag_sport = htons(port);
        request.header.nlmsg_len -= sizeof request.attribute + sizeof request.ops;
    }
    int counts[16] = {0}, infos = 0, fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG), done = 0;
    CHECK(send(fd, &request, request.header.nlmsg_len, 0) == request.header.nlmsg_len);
    while (!done) {
        int got = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
        if (got <= 0) {
            CHECK(!"an end of the dump");
            break;
        }
        for (struct nlmsghdr *one = (void *)answer; NLMSG_OK(one, (unsigned)got); one = NLMSG_NEXT(one, got)) {
            struct inet_diag_msg *message = NLMSG_DATA(one);
            if (one->nlmsg_type == NLMSG_DONE || one->nlmsg_type == NLMSG_ERROR) {
                done = 1;
                break;
            }
            CHECK(message->id.idiag_sport == htons(port) && message->id.idiag_src[0] == htonl(INADDR_LOOPBACK));
            // One that was not accepted has none.
            CHECK(message->idiag_inode == 0 || message->idiag_uid == geteuid());
            counts[message->idiag_state & 15]++;
            if (message->idiag_state == 10)
                printf("%s: %u wait of %u\n", what, message->idiag_rqueue, message->idiag_wqueue);
            int len = one->nlmsg_len - NLMSG_LENGTH(sizeof *message);
            for (struct rtattr *attr = (void *)(message + 1); RTA_OK(attr, len); attr = RTA_NEXT(attr, len))
                infos += attr->rta_type == INET_DIAG_INFO && RTA_PAYLOAD(attr) >= 104;
        }
    }
    close(fd);
    printf("%s: %d established, %d listening, %d without; %d infos\n", what, counts[1], counts[10], counts[7], infos);
}

static int lines(const char *path, int port, int state)
{
    char line[512], local[16];
    int count = 0;
    FILE *file = fopen(path, "r");
    CHECK(file != 0);
    snprintf(local, sizeof local, ":%04X ", port);
    while (file && fgets(line, sizeof line, file)) {
        unsigned st = 0;
        char first[64] = "";
        if (sscanf(line, " %*d: %62s %*s %x", first, &st) == 2) {
            strcat(first, " ");
            count += strstr(first, local) && (int)st == state;
        }
    }
    if (file)
        fclose(file);
    return count;
}

// The error that a request of rtnetlink is answered with; 1 for an answer.
static int route(unsigned short type, unsigned short flags, const void *body, unsigned len)
{
    char request[256] __attribute__((aligned(8))) = {0}, answer[8192] __attribute__((aligned(8)));
    struct nlmsghdr *header = (void *)request;
    *header = (struct nlmsghdr){NLMSG_LENGTH(len), type, NLM_F_REQUEST | flags, 0, 0};
    memcpy(NLMSG_DATA(header), body, len);
    int got = ask(NETLINK_ROUTE, request, header->nlmsg_len, answer, sizeof answer);
    header = (void *)answer;
    if (got < (int)sizeof *header)
        return 2;
    return header->nlmsg_type == NLMSG_ERROR ? ((struct nlmsgerr *)NLMSG_DATA(header))->error : 1;
}

int main(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(!bind(listener, (struct sockaddr *)&name, len) && !getsockname(listener, (struct sockaddr *)&name, &len));
    int port = ntohs(name.sin_port);
    printf("bound: %d %d\n", lines("/proc/net/tcp", port, 7), lines("/proc/net/tcp", port, 10));
    CHECK(!listen(listener, 7));
    int ends[3];
    for (int i = 0; i < 3; i++) {
        ends[i] = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(!connect(ends[i], (struct sockaddr *)&name, len));
    }
    int accepted[2] = {accept(listener, 0, 0), accept(listener, 0, 0)};
    CHECK(accepted[0] >= 0 && accepted[1] >= 0);
    printf("/proc: %d listen, %d are connected\n", lines("/proc/net/tcp", port, 10), lines("/proc/net/tcp", port, 1));
    dump("by port", IPPROTO_TCP, port, 0);
    dump("by filter", IPPROTO_TCP, port, 1);

    int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    name.sin_port = 0;
    CHECK(!bind(datagrams, (struct sockaddr *)&name, len) && !getsockname(datagrams, (struct sockaddr *)&name, &len));
    printf("udp: %d\n", lines("/proc/net/udp", ntohs(name.sin_port), 7));
    dump("udp", IPPROTO_UDP, ntohs(name.sin_port), 1);

    struct {
        struct ifinfomsg body;
        struct rtattr attribute;
        char name[8];
    } link = {.attribute = {sizeof link.attribute + 3, IFLA_IFNAME}, .name = "lo"};
    printf("lo: %d\n", route(RTM_GETLINK, 0, &link, sizeof link));
    strcpy(link.name, "no");
    printf("no: %d\n", route(RTM_GETLINK, 0, &link, sizeof link));
    memset(&link, 0, sizeof link);
    link.body.ifi_index = 1;
    printf("1: %d\n", route(RTM_GETLINK, NLM_F_ACK, &link.body, sizeof link.body));
    link.body.ifi_index = 4711;
    printf("4711: %d\n", route(RTM_GETLINK, 0, &link.body, sizeof link.body));
    struct inet_diag_req_v2 body = {.sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .id.idiag_sport = htons(1)};
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 body;
    } request = {{sizeof request, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0}, body};
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[256];
    } answer;
    CHECK(ask(NETLINK_SOCK_DIAG, &request, sizeof request, &answer, sizeof answer) > 0);
    printf("nobody: %d\n", answer.error.error);
    request.header.nlmsg_len = NLMSG_LENGTH(4);
    CHECK(ask(NETLINK_SOCK_DIAG, &request, NLMSG_LENGTH(4), &answer, sizeof answer) > 0);
    printf("short: %d\n", answer.error.error);
    return FINISH();
}
