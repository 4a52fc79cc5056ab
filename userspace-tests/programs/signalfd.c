// Signals read from a descriptor: what is pending, with values, in blocks and waiting, beside poll and epoll.
#include <errno.h>
#include <pthread.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "check.h"

static void *send_late(void *unused)
{
    usleep(20000);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    return unused;
}

int main(void)
{
    struct signalfd_siginfo records[4];
    union sigval number = {.sival_int = 42};
    sigset_t set, both;
    pthread_t thread;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    both = set;
    sigaddset(&both, SIGRTMIN + 1);
    CHECK(pthread_sigmask(SIG_BLOCK, &both, 0) == 0);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(fd >= 0 && read(fd, records, sizeof *records) == -1 && errno == EAGAIN);
    CHECK(read(fd, records, sizeof *records - 1) == -1 && errno == EINVAL);
    CHECK(signalfd(0, &set, 0) == -1 && errno == EINVAL);
    CHECK(signalfd(-1, &set, 1) == -1 && errno == EINVAL);

    struct pollfd polled = {fd, POLLIN, 0};
    CHECK(poll(&polled, 1, 0) == 0 && kill(getpid(), SIGUSR1) == 0 && poll(&polled, 1, 0) == 1);
    memset(records, 1, sizeof records);
    CHECK(read(fd, records, sizeof records) == sizeof *records && poll(&polled, 1, 0) == 0);
    CHECK(records[0].ssi_signo == SIGUSR1 && records[0].ssi_code == SI_USER && records[0].ssi_errno == 0);
    CHECK(records[0].ssi_pid == (unsigned)getpid() && records[0].ssi_uid == getuid());

    // A signal outside of the set stays where it is until the set is changed.
    CHECK(sigqueue(getpid(), SIGRTMIN + 1, number) == 0 && poll(&polled, 1, 0) == 0);
    CHECK(signalfd(fd, &both, 0) == fd && poll(&polled, 1, 0) == 1);
    number.sival_int = 43;
    CHECK(sigqueue(getpid(), SIGRTMIN + 1, number) == 0 && raise(SIGUSR1) == 0);
    CHECK(read(fd, records, sizeof records) == 3 * sizeof *records);
    CHECK(records[0].ssi_signo == SIGUSR1 && records[1].ssi_signo == (unsigned)SIGRTMIN + 1);
    CHECK(records[0].ssi_code == SI_TKILL && records[1].ssi_code == SI_QUEUE);
    CHECK(records[1].ssi_int == 42 && records[2].ssi_int == 43);

    int epoll = epoll_create1(0);
    struct epoll_event event = {EPOLLIN, {.fd = fd}};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 && epoll_wait(epoll, &event, 1, 0) == 0);
    pthread_create(&thread, 0, send_late, 0);
    CHECK(epoll_wait(epoll, &event, 1, 10000) == 1 && event.data.fd == fd);
    pthread_join(thread, 0);
    CHECK(read(fd, records, sizeof records) == sizeof *records);

    int waiting = signalfd(-1, &set, 0);
    pthread_create(&thread, 0, send_late, 0);
    CHECK(read(waiting, records, sizeof records) == sizeof *records && records[0].ssi_signo == SIGUSR1);
    pthread_join(thread, 0);
    return FINISH();
}
