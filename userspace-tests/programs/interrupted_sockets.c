// Calls of sockets that wait are ended by a signal, whenever it comes: while the call looks whether it must wait, goes
// to sleep, or has moved a part of what it was given. The timer's next interval begins only when its signal is taken,
// so one that is lost is a call that never ends.
// cpus: 2
// soak: 20000
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <unistd.h>
#include "check.h"

static char data[1 << 20];
static volatile sig_atomic_t alarms;

static void handler(int number)
{
    (void)number;
    alarms++;
}
static void every(long us)
{
    // The first comes at another moment of each call, the others always some time later.
    struct itimerval timer = {.it_value = {.tv_usec = us}, .it_interval = {.tv_usec = us ? 400 : 0}};
    CHECK(setitimer(ITIMER_REAL, &timer, 0) == 0);
}
static int fill(int fd)
{
    while (send(fd, data, sizeof data, MSG_DONTWAIT) > 0)
        ;
    return errno == EAGAIN;
}
static int listener(struct sockaddr *address, socklen_t len)
{
    int fd = socket(address->sa_family, SOCK_STREAM, 0);
    CHECK(bind(fd, address, len) == 0 && listen(fd, 0) == 0);
    return fd;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 150;
    struct sigaction action = {.sa_handler = handler};
    CHECK(sigaction(SIGALRM, &action, 0) == 0);
    int stream[2], datagrams[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, stream) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams) == 0);
    CHECK(fill(stream[0]));
    while (send(datagrams[0], data, 1000, MSG_DONTWAIT) > 0)
        ;
    // TCP within the machine: a connection that is full, and a listener that nobody connects to.
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int tcp_listener = listener((struct sockaddr *)&any, sizeof any);
    socklen_t len = sizeof any;
    CHECK(getsockname(tcp_listener, (struct sockaddr *)&any, &len) == 0);
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(tcp, (struct sockaddr *)&any, len) == 0);
    int accepted = accept(tcp_listener, 0, 0);
    CHECK(accepted >= 0 && fill(tcp));
    // A listener of the other kind whose queue is full.
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0interrupted"};
    listener((struct sockaddr *)&name, sizeof name);
    int full = socket(AF_UNIX, SOCK_STREAM, 0), late = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(full, (struct sockaddr *)&name, sizeof name) == 0);

    char byte;
    for (int round = 0; round < rounds; round++) {
        struct msghdr message = {.msg_iov = &(struct iovec){data, sizeof data}, .msg_iovlen = 1};
        for (int call = 0; call < 10; call++) {
            int before = alarms;
            long result = -1;
            every(1 + (round * 7 + call * 3) % 150);
            errno = 0;
            switch (call) {
            case 0: result = send(stream[0], data, sizeof data, 0); break;
            case 1: result = sendmsg(stream[0], &message, 0); break;
            case 2: result = recv(stream[0], &byte, 1, 0); break;
            case 3: result = send(datagrams[0], data, 1000, 0); break;
            case 4:
                // Linux finds a little more room now and then.
                while ((result = send(tcp, data, sizeof data, 0)) > 0)
                    ;
                break;
            case 5: result = recv(tcp, &byte, 1, 0); break;
            case 6: result = recvmsg(tcp, &message, MSG_WAITALL); break;
            case 7: result = accept(tcp_listener, 0, 0); break;
            case 8: result = connect(late, (struct sockaddr *)&name, sizeof name); break;
            case 9: result = poll(&(struct pollfd){.fd = tcp, .events = POLLIN}, 1, -1); break;
            }
            int error = errno;
            every(0);
            if (result != -1 || error != EINTR || alarms == before) {
                printf("round %d, call %d: %ld, %s, %d signals\n", round, call, result, strerror(error),
                       alarms - before);
                check_failures++;
            }
        }
        // With a part of it gone before it waits: the part is told.
        CHECK(recv(stream[1], data, 60000, MSG_WAITALL) == 60000);
        every(1 + round % 150);
        long sent = send(stream[0], data, sizeof data, 0);
        every(0);
        CHECK(sent > 0 || (sent == -1 && errno == EINTR));
        fill(stream[0]);
    }
    return FINISH();
}
