// Pipes and socket pairs: blocking, limits, non-blocking ends, end of file, SIGPIPE and EPIPE, message boundaries.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "asleep.h"
#include "check.h"

enum { AMOUNT = 1 << 20 };
static int signals;
static void count(int number) { signals += number == SIGPIPE; }

static void *produce(void *end)
{
    char block[1000];
    for (int sent = 0; sent < AMOUNT;) {
        int size = AMOUNT - sent < 1000 ? AMOUNT - sent : 1000;
        for (int i = 0; i < size; i++)
            block[i] = (char)((sent + i) * 7);
        CHECK(write((int)(long)end, block, size) == size);
        sent += size;
    }
    close((int)(long)end);
    return 0;
}

static void drain(const char *what, int end)
{
    char block[4096];
    int got = 0, wrong = 0;
    for (ssize_t size; (size = read(end, block, sizeof block)) > 0; got += size)
        for (int i = 0; i < size; i++)
            wrong += block[i] != (char)((got + i) * 7);
    printf("%s: %d bytes, %d wrong\n", what, got, wrong);
}

static void *write_late(void *end)
{
    until_asleep(getpid());
    CHECK(write((int)(long)end, "late", 4) == 4);
    return 0;
}

int main(void)
{
    int ends[2], pair[2], waiting;
    char buffer[70000] = "";
    pthread_t thread;
    signal(SIGPIPE, count);

    CHECK(pipe(ends) == 0);
    pthread_create(&thread, 0, produce, (void *)(long)ends[1]);
    drain("pipe", ends[0]);
    pthread_join(thread, 0);
    close(ends[0]);

    CHECK(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
    CHECK(fcntl(ends[0], F_GETFD) == FD_CLOEXEC && (fcntl(ends[0], F_GETFL) & O_NONBLOCK));
    CHECK(read(ends[0], buffer, 1) == -1 && errno == EAGAIN);
    int total = 0;
    for (ssize_t size; (size = write(ends[1], buffer, 4096)) > 0;)
        total += size;
    CHECK(errno == EAGAIN);
    printf("a pipe takes %d bytes, %d asked\n", total, fcntl(ends[1], F_GETPIPE_SZ));
    CHECK(ioctl(ends[0], FIONREAD, &waiting) == 0 && waiting == 65536);
    CHECK(read(ends[0], buffer, sizeof buffer) == 65536);
    close(ends[0]);
    CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE && signals == 1);
    close(ends[1]);

    CHECK(pipe(ends) == 0);
    pthread_create(&thread, 0, write_late, (void *)(long)ends[1]);
    CHECK(read(ends[0], buffer, 100) == 4 && !memcmp(buffer, "late", 4));
    pthread_join(thread, 0);
    CHECK(write(ends[1], "rest", 4) == 4 && close(ends[1]) == 0);
    CHECK(read(ends[0], buffer, 2) == 2 && read(ends[0], buffer, 100) == 2 && read(ends[0], buffer, 100) == 0);
    CHECK(lseek(ends[0], 0, SEEK_SET) == -1 && errno == ESPIPE);
    close(ends[0]);

    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    pthread_create(&thread, 0, produce, (void *)(long)pair[0]);
    drain("stream", pair[1]);
    pthread_join(thread, 0);
    CHECK(send(pair[1], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE && signals == 1);
    close(pair[1]);

    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK(write(pair[0], "to one", 6) == 6 && write(pair[1], "to zero", 7) == 7);
    CHECK(read(pair[0], buffer, 100) == 7 && read(pair[1], buffer, 100) == 6);
    CHECK(recv(pair[0], buffer, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    CHECK(shutdown(pair[0], SHUT_WR) == 0 && read(pair[1], buffer, 1) == 0);
    CHECK(write(pair[1], "still", 5) == 5 && read(pair[0], buffer, 9) == 5);
    close(pair[0]), close(pair[1]);

    CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair) == 0);
    CHECK(send(pair[0], "first", 5, 0) == 5 && send(pair[0], "second", 6, 0) == 6);
    CHECK(recv(pair[1], buffer, 3, 0) == 3 && recv(pair[1], buffer, 100, 0) == 6 && !memcmp(buffer, "second", 6));
    CHECK(recv(pair[1], buffer, 100, 0) == -1 && errno == EAGAIN);
    close(pair[0]), close(pair[1]);
    return FINISH();
}
