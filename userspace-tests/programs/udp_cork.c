// Datagrams put together and taken apart (udp(7)): MSG_MORE, UDP_CORK, UDP_SEGMENT as an option and for one datagram,
// UDP_GRO. And what /proc/net/snmp, netstat, sockstat count meanwhile.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "check.h"

static struct sockaddr_in bound(int *fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(bind(*fd, (struct sockaddr *)&address, length) == 0);
    CHECK(getsockname(*fd, (struct sockaddr *)&address, &length) == 0);
    return address;
}
// The datagram that is there, as text.
static const char *got(int fd)
{
    static char buf[3000];
    ssize_t len = recv(fd, buf, sizeof buf - 1, MSG_DONTWAIT);
    buf[len < 0 ? 0 : len] = 0;
    return len < 0 ? "nothing" : buf;
}
#define GOT(fd, text) CHECK(strcmp(got(fd), text) == 0)
static int set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}
static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;
    getsockopt(fd, level, name, &value, &length);
    return value;
}
static void corked(void)
{
    int to, other, fd;
    struct sockaddr_in address = bound(&to), elsewhere = bound(&other);
    static char large[40000];
    bound(&fd);
    CHECK(send(fd, "a", 1, MSG_MORE) == -1 && errno == EDESTADDRREQ);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(send(fd, "one ", 4, MSG_MORE) == 4);
    GOT(to, "nothing");
    // Where it goes was said with the first.
    CHECK(sendto(fd, "two ", 4, MSG_MORE, (struct sockaddr *)&elsewhere, sizeof elsewhere) == 4);
    CHECK(send(fd, "three", 5, 0) == 5);
    GOT(to, "one two three");
    GOT(other, "nothing");
    CHECK(option(fd, SOL_UDP, UDP_CORK) == 0 && set(fd, SOL_UDP, UDP_CORK, 1) == 0);
    CHECK(option(fd, SOL_UDP, UDP_CORK) == 1);
    CHECK(send(fd, "four ", 5, 0) == 5 && write(fd, "five", 4) == 4);
    GOT(to, "nothing");
    CHECK(set(fd, SOL_UDP, UDP_CORK, 0) == 0);
    GOT(to, "four five");
    CHECK(send(fd, "six", 3, 0) == 3);
    GOT(to, "six");
    // What becomes too large is gone.
    CHECK(send(fd, large, sizeof large, MSG_MORE) == sizeof large);
    CHECK(send(fd, large, sizeof large, 0) == -1 && errno == EMSGSIZE);
    CHECK(send(fd, "seven", 5, 0) == 5);
    GOT(to, "seven");
    CHECK(send(fd, "lost", 4, MSG_MORE) == 4 && close(fd) == 0);
    GOT(to, "nothing");
    close(to), close(other);
}
static void segmented(void)
{
    int to, fd, tcp = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = bound(&to);
    bound(&fd);
    CHECK(option(fd, SOL_UDP, UDP_SEGMENT) == 0);
    CHECK(set(fd, SOL_UDP, UDP_SEGMENT, 70000) == -1 && errno == EINVAL);
    CHECK(set(fd, SOL_UDP, UDP_SEGMENT, 4) == 0 && option(fd, SOL_UDP, UDP_SEGMENT) == 4);
    CHECK(sendto(fd, "abcdefghij", 10, 0, (struct sockaddr *)&address, sizeof address) == 10);
    GOT(to, "abcd");
    GOT(to, "efgh");
    GOT(to, "ij");
    GOT(to, "nothing");
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(send(fd, "abc", 3, 0) == 3);
    GOT(to, "abc");
    static char many[4 * 1000];
    CHECK(send(fd, many, sizeof many, 0) == -1 && errno == EINVAL);
    // Of one datagram.
    CHECK(set(fd, SOL_UDP, UDP_SEGMENT, 0) == 0);
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(uint16_t))];
    } control = {.header = {CMSG_LEN(sizeof(uint16_t)), SOL_UDP, UDP_SEGMENT}};
    uint16_t segment = 3;
    memcpy(CMSG_DATA(&control.header), &segment, sizeof segment);
    struct iovec data = {"12345", 5};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    CHECK(sendmsg(fd, &message, 0) == 5);
    GOT(to, "123");
    GOT(to, "45");
    CHECK(set(fd, SOL_UDP, UDP_GRO, 1) == 0 && option(fd, SOL_UDP, UDP_GRO) == 1);
    CHECK(set(tcp, SOL_UDP, UDP_CORK, 1) == -1 && errno == ENOPROTOOPT);
    close(fd), close(to), close(tcp);
}
// A count of a table: of the line with the names the place, of the next one with the same beginning the number.
static long counted(const char *path, const char *table, const char *name)
{
    static char lines[2][4096];
    FILE *file = fopen(path, "r");
    size_t length = strlen(table);
    int count = 0;
    long value = -1;
    while (file && count < 2 && fgets(lines[count], sizeof lines[0], file))
        count += strncmp(lines[count], table, length) == 0;
    if (count == 2) {
        char *names, *values, *one = strtok_r(lines[0], " \n", &names), *number = strtok_r(lines[1], " \n", &values);
        for (; one && number; one = strtok_r(0, " \n", &names), number = strtok_r(0, " \n", &values))
            if (strcmp(one, name) == 0)
                value = atol(number);
    }
    if (file)
        fclose(file);
    return value;
}
// A count after a word in a line that begins with another.
static long used(const char *path, const char *begin, const char *word)
{
    char line[200];
    FILE *file = fopen(path, "r");
    long value = -1;
    while (file && fgets(line, sizeof line, file)) {
        char *found = strncmp(line, begin, strlen(begin)) ? 0 : strstr(line, word);
        if (found)
            value = atol(found + strlen(word));
    }
    if (file)
        fclose(file);
    return value;
}
static void counts(void)
{
    const char *snmp = "/proc/net/snmp", *stat = "/proc/net/sockstat";
    long sent = counted(snmp, "Udp: ", "OutDatagrams"), came = counted(snmp, "Udp: ", "InDatagrams");
    long nobody = counted(snmp, "Udp: ", "NoPorts"), open = used(stat, "UDP: ", "inuse ");
    int to, fd, closed;
    struct sockaddr_in address = bound(&to), none = bound(&closed);
    bound(&fd), close(closed);
    CHECK(sent >= 0 && came >= 0 && nobody >= 0 && open >= 0);
    CHECK(used(stat, "UDP: ", "inuse ") == open + 2);
    CHECK(sendto(fd, "x", 1, 0, (struct sockaddr *)&none, sizeof none) == 1);
    CHECK(sendto(fd, "x", 1, 0, (struct sockaddr *)&address, sizeof address) == 1);
    GOT(to, "x");
    CHECK(counted(snmp, "Udp: ", "OutDatagrams") >= sent + 2 && counted(snmp, "Udp: ", "InDatagrams") > came);
    CHECK(counted(snmp, "Udp: ", "NoPorts") > nobody);
    CHECK(counted(snmp, "Ip: ", "DefaultTTL") == 64 && counted(snmp, "Tcp: ", "RtoMin") == 200);
    CHECK(counted(snmp, "Icmp: ", "InMsgs") >= 0 && counted(snmp, "Tcp: ", "CurrEstab") >= 0);
    CHECK(counted("/proc/net/netstat", "TcpExt: ", "ListenOverflows") >= 0);
    CHECK(counted("/proc/net/netstat", "IpExt: ", "InOctets") >= 0);
    CHECK(used(stat, "sockets: ", "used ") >= 2 && used(stat, "TCP: ", "tw ") >= 0);
    CHECK(used("/proc/net/sockstat6", "UDP6: ", "inuse ") >= 0);
    CHECK(used("/proc/net/snmp6", "Ip6InReceives", "Ip6InReceives") >= 0);
    close(fd), close(to);
}
int main(void)
{
    corked();
    segmented();
    counts();
    return FINISH();
}
