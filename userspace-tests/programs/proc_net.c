// /proc/net and /sys/class/net: a listening socket is in the table of its family, and each interface has its files.
#include <arpa/inet.h>
#include <dirent.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "check.h"

static int listens(struct sockaddr *name, socklen_t len)
{
    int fd = socket(name->sa_family, SOCK_STREAM, 0);
    CHECK(fd >= 0 && !bind(fd, name, len) && !listen(fd, 5));
    return fd;
}

// The number of lines of a table that have a word.
static int lines(const char *path, const char *word)
{
    char line[512];
    int count = 0;
    FILE *file = fopen(path, "r");
    CHECK(file != 0);
    while (file && fgets(line, sizeof line, file))
        count += strstr(line, word) != 0;
    if (file)
        fclose(file);
    return count;
}

int main(void)
{
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct sockaddr_un local = { .sun_family = AF_UNIX, .sun_path = "\0proc-net" };
    socklen_t len = sizeof four;
    int fd = listens((struct sockaddr *)&four, sizeof four);
    CHECK(!getsockname(fd, (struct sockaddr *)&four, &len));
    char port[16];
    snprintf(port, sizeof port, ":%04X ", ntohs(four.sin_port));
    printf("tcp %d\n", lines("/proc/net/tcp", port));
    fd = listens((struct sockaddr *)&six, sizeof six);
    len = sizeof six;
    CHECK(!getsockname(fd, (struct sockaddr *)&six, &len));
    snprintf(port, sizeof port, ":%04X ", ntohs(six.sin6_port));
    printf("tcp6 %d\n", lines("/proc/net/tcp6", port));
    listens((struct sockaddr *)&local, 3 + strlen("proc-net"));
    printf("unix %d\n", lines("/proc/net/unix", "@proc-net"));
    printf("dev %d\n", lines("/proc/net/dev", "lo:"));

    struct if_nameindex *all = if_nameindex();
    CHECK(all != 0);
    for (struct if_nameindex *one = all; one && one->if_index; one++) {
        char path[128], index[16];
        snprintf(path, sizeof path, "/sys/class/net/%s/ifindex", one->if_name);
        snprintf(index, sizeof index, "%u\n", one->if_index);
        CHECK(lines(path, index) == 1);
        snprintf(path, sizeof path, "/sys/class/net/%s/statistics/rx_bytes", one->if_name);
        CHECK(!access(path, R_OK));
    }
    if_freenameindex(all);
    printf("somaxconn %d\n", lines("/proc/sys/net/core/somaxconn", "4096"));
    return FINISH();
}
