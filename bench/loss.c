// Usage: loss serve BYTES | loss fetch ADDRESS BYTES
//
// The first sends so many bytes to who connects, and takes as many; the other one does the opposite, checks each byte, and
// prints how fast it was both ways.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static unsigned char wanted[65536], got[65536];

static void fill(long at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        wanted[i] = (unsigned char)((unsigned)(at + (long)i) * 2654435761u >> 13);
}
static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}
static void fail(const char *what, long at)
{
    printf("%s at byte %ld\n", what, at);
    exit(1);
}
static void put(int fd, long total)
{
    for (long done = 0; done < total;) {
        size_t len = total - done < (long)sizeof wanted ? (size_t)(total - done) : sizeof wanted;
        fill(done, len);
        for (size_t at = 0; at < len;) {
            ssize_t sent = send(fd, wanted + at, len - at, 0);
            if (sent < 0)
                fail("sending failed", done);
            at += (size_t)sent;
        }
        done += (long)len;
    }
}
static void get(int fd, long total)
{
    for (long done = 0; done < total;) {
        ssize_t len = recv(fd, got, sizeof got, 0);
        if (len <= 0)
            fail("the stream ends", done);
        fill(done, (size_t)len);
        if (memcmp(got, wanted, (size_t)len))
            fail("the stream differs", done);
        done += len;
    }
}

int main(int count, char **arguments)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(7)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (count == 3) {
        if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 5))
            fail("bind fails", 0);
        int end = accept(fd, 0, 0);
        long total = atol(arguments[2]);
        put(end, total);
        get(end, total);
        send(end, "", 1, 0);
        pause();
    }
    inet_aton(arguments[2], &address.sin_addr);
    while (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        sleep(1);
        fd = socket(AF_INET, SOCK_STREAM, 0);
    }
    long total = atol(arguments[3]);
    double start = now();
    get(fd, total);
    double between = now();
    put(fd, total);
    if (recv(fd, got, 1, 0) != 1)
        fail("the end is not confirmed", total);
    double end = now();
    printf("fetched %.0f sent %.0f\n", (double)total / (between - start) / 1000, (double)total / (end - between) / 1000);
    return 0;
}
