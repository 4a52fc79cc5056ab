// splice, tee, vmsplice; pipes of other sizes; flags of preadv2 and pwritev2.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "check.h"

static const char *status(long result)
{
    static char text[4][32];
    static int next;
    char *mine = text[next++ % 4];
    if (result == -1)
        return strerrorname_np(errno);
    snprintf(mine, sizeof text[0], "%ld", result);
    return mine;
}

static void moves(void)
{
    int one[2], other[2], file = memfd_create("file", 0);
    char text[64] = "";
    loff_t at = 2;
    CHECK(pipe(one) == 0 && pipe(other) == 0 && write(file, "0123456789", 10) == 10);
    printf("file to pipe: %s", status(splice(file, &at, one[1], 0, 5, 0)));
    printf(", at %ld, position %ld\n", (long)at, (long)lseek(file, 0, SEEK_CUR));
    printf("end of file: %s\n", status(splice(file, 0, one[1], 0, 5, 0)));
    printf("tee: %s %s\n", status(tee(one[0], other[1], 3, 0)), status(tee(one[0], other[1], 100, 0)));
    printf("pipe to pipe: %s\n", status(splice(one[0], 0, other[1], 0, 100, 0)));
    printf("then: %s\n", status(splice(one[0], 0, other[1], 0, 100, SPLICE_F_NONBLOCK)));
    at = 8;
    printf("pipe to file: %s", status(splice(other[0], 0, file, &at, 100, SPLICE_F_MORE)));
    printf(", at %ld", (long)at);
    printf(", %s\n", status(pread(file, text, 63, 0)));
    puts(text);
    struct iovec parts[2] = {{"gather", 6}, {"ed", 2}}, into = {text, 63};
    printf("vmsplice: %s", status(vmsplice(one[1], parts, 2, 0)));
    memset(text, 0, sizeof text);
    printf(" %s %s", status(vmsplice(one[0], &into, 1, 0)), text);
    printf(" %s\n", status(vmsplice(file, parts, 2, 0)));
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && write(one[1], "socket", 6) == 6);
    printf("socket: %s", status(splice(one[0], 0, pair[0], 0, 100, 0)));
    printf(" %s", status(splice(pair[1], 0, one[1], 0, 100, 0)));
    printf(" %s\n", status(read(one[0], text, 63)));
    // Errors.
    at = 0;
    printf("length 0: %s, flags: %s", status(splice(-1, 0, -1, 0, 0, 0)), status(splice(-1, 0, -1, 0, 0, 16)));
    printf(", descriptor: %s, files: %s", status(splice(-1, 0, one[1], 0, 1, 0)),
           status(splice(file, 0, file, 0, 1, 0)));
    printf(", same pipe: %s", status(splice(one[0], 0, one[1], 0, 1, 0)));
    printf(", offset: %s %s\n", status(splice(one[0], &at, file, 0, 1, 0)),
           status(splice(file, 0, one[1], &at, 1, 0)));
    printf("wrong ends: %s %s", status(splice(one[1], 0, file, 0, 1, 0)), status(splice(file, 0, one[0], 0, 1, 0)));
    printf(", tee: %s %s %s", status(tee(file, one[1], 1, 0)), status(tee(one[0], one[1], 1, 0)),
           status(tee(one[0], file, 1, 0)));
    fcntl(file, F_SETFL, O_APPEND);
    printf(", append: %s\n", status(splice(one[0], 0, file, 0, 1, 0)));
    signal(SIGPIPE, SIG_IGN);
    close(other[0]);
    lseek(file, 0, SEEK_SET);
    printf("no reader: %s", status(splice(file, 0, other[1], 0, 1, 0)));
    close(one[1]);
    printf(", no writer: %s\n", status(splice(one[0], 0, other[1], 0, 1, 0)));
    close(one[0]), close(other[1]), close(file), close(pair[0]), close(pair[1]);
}

static void sizes(void)
{
    int ends[2];
    static char bytes[1 << 17];
    CHECK(pipe2(ends, O_NONBLOCK) == 0);
    printf("size: %s", status(fcntl(ends[0], F_GETPIPE_SZ)));
    static const long wanted[] = {0, 1, 4096, 4097, 100000, 131072, -1, 1l << 31};
    for (unsigned index = 0; index < sizeof wanted / sizeof *wanted; index++)
        printf(", %ld: %s", wanted[index],
           status(fcntl(ends[1], F_SETPIPE_SZ, wanted[index] == 1l << 31 ? 8192 : wanted[index])));
    printf("\nfilled: %s", status(fcntl(ends[0], F_SETPIPE_SZ, 131072)));
    printf(" %s", status(write(ends[1], bytes, sizeof bytes)));
    printf(" %s, smaller: %s", status(write(ends[1], bytes, 1)), status(fcntl(ends[0], F_SETPIPE_SZ, 65536)));
    printf(", read: %s", status(read(ends[0], bytes, 100000)));
    printf(", smaller: %s %s\n", status(fcntl(ends[0], F_SETPIPE_SZ, 65536)),
           status(read(ends[0], bytes, sizeof bytes)));
    int file = memfd_create("file", 0);
    printf("file: %s\n", status(fcntl(file, F_GETPIPE_SZ)));
    close(ends[0]), close(ends[1]), close(file);
}

static void positions(void)
{
    int file = memfd_create("file", 0), ends[2];
    char text[16] = "";
    struct iovec part = {"ab", 2}, into = {text, 15};
    CHECK(pipe(ends) == 0);
    for (int flags = 0; flags < 0x20; flags++) {
        // Not every file of every Linux can promise not to wait.
        if (flags & RWF_NOWAIT)
            continue;
        printf("flags %#x: %s %s", flags, status(pwritev2(file, &part, 1, 0, flags)),
           status(preadv2(file, &into, 1, 0, flags)));
        printf(" %s\n", status(pwritev2(file, &part, 1, -1, flags)));
    }
    printf("%s %s %s", status(pwritev2(file, &part, 1, -2, 0)), status(preadv2(file, &into, 1, 0, 1 << 20)),
           status(preadv2(ends[0], &into, 1, 0, 0)));
    printf(" %s\n", status(preadv2(ends[0], &into, 1, -1, RWF_NOWAIT)));
    close(file), close(ends[0]), close(ends[1]);
}

static void *fills(void *ends)
{
    char bytes[1000];
    memset(bytes, 7, sizeof bytes);
    for (int round = 0; round < 300; round++)
        CHECK(write(((int *)ends)[1], bytes, sizeof bytes) == sizeof bytes);
    close(((int *)ends)[1]);
    return 0;
}

// Waits for bytes and for room.
static void streams(void)
{
    int one[2], other[2];
    static char bytes[4096];
    long sum = 0, moved, len;
    pthread_t thread;
    CHECK(pipe(one) == 0 && pipe(other) == 0);
    pthread_create(&thread, 0, fills, one);
    while ((moved = splice(one[0], 0, other[1], 0, 1 << 20, 0)) > 0)
        for (long left = moved; left > 0; left -= len) {
            len = read(other[0], bytes, left < 4096 ? left : 4096);
            for (long index = 0; index < len; index++)
                sum += bytes[index];
        }
    pthread_join(thread, 0);
    CHECK(moved == 0 && sum == 7 * 300 * 1000);
    close(one[0]), close(other[0]), close(other[1]);
}

int main(void)
{
    moves();
    sizes();
    positions();
    streams();
    return FINISH();
}
