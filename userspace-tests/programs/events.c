// Waiting for events: poll, select, epoll (level and edge, one-shot), eventfd, timerfd, with and without time limits.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "asleep.h"
#include "check.h"

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void *wake(void *event)
{
    uint64_t one = 1;
    until_asleep(getpid());
    CHECK(write((int)(long)event, &one, 8) == 8);
    return 0;
}

int main(void)
{
    int ends[2];
    char byte;
    uint64_t value;
    pthread_t thread;
    double begin;
    CHECK(pipe(ends) == 0);

    struct pollfd polled[3] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}, {-1, POLLIN, 0}};
    CHECK(poll(polled, 3, -1) == 1 && polled[0].revents == 0 && polled[1].revents == POLLOUT && polled[2].revents == 0);
    begin = now();
    CHECK(poll(polled, 1, 20) == 0 && now() - begin >= 0.02);
    CHECK(poll(0, 0, 1) == 0);
    CHECK(write(ends[1], "x", 1) == 1 && poll(polled, 1, 0) == 1 && polled[0].revents == POLLIN);
    polled[2].fd = 500;
    CHECK(poll(polled + 2, 1, 0) == 1 && polled[2].revents == POLLNVAL);
    fd_set readable, writable;
    struct timeval soon = {0, 10000};
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(ends[0], &readable);
    FD_SET(ends[1], &writable);
    CHECK(select(ends[1] + 1, &readable, &writable, 0, 0) == 2 && FD_ISSET(ends[0], &readable) && FD_ISSET(ends[1], &writable));
    CHECK(read(ends[0], &byte, 1) == 1);
    FD_ZERO(&readable);
    FD_SET(ends[0], &readable);
    CHECK(select(ends[0] + 1, &readable, 0, 0, &soon) == 0 && !FD_ISSET(ends[0], &readable));

    int event = eventfd(3, EFD_NONBLOCK);
    CHECK(read(event, &value, 8) == 8 && value == 3 && read(event, &value, 8) == -1 && errno == EAGAIN);
    value = 5;
    CHECK(write(event, &value, 8) == 8 && write(event, &value, 8) == 8 && read(event, &value, 8) == 8 && value == 10);
    value = UINT64_MAX;
    CHECK(write(event, &value, 8) == -1 && errno == EINVAL && read(event, &value, 4) == -1 && errno == EINVAL);
    close(event);
    event = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    CHECK(read(event, &value, 8) == 8 && value == 1 && read(event, &value, 8) == 8 && read(event, &value, 8) == -1);

    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[8], interest = {EPOLLIN, {.u64 = 0x123456789abcdef0}};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &interest) == 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &interest) == -1 && errno == EEXIST);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_DEL, event, 0) == -1 && errno == ENOENT);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &interest) == -1 && errno == EINVAL);
    CHECK(epoll_wait(epoll, events, 8, 0) == 0);
    CHECK(write(ends[1], "ab", 2) == 2);
    // By level it is there each time; by edge only once per arrival.
    CHECK(epoll_wait(epoll, events, 8, -1) == 1 && events[0].events == EPOLLIN && events[0].data.u64 == 0x123456789abcdef0);
    CHECK(epoll_wait(epoll, events, 8, 0) == 1);
    interest.events = EPOLLIN | EPOLLET;
    CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &interest) == 0);
    CHECK(epoll_wait(epoll, events, 8, 0) == 1 && epoll_wait(epoll, events, 8, 0) == 0);
    CHECK(write(ends[1], "c", 1) == 1 && epoll_wait(epoll, events, 8, 0) == 1);
    // Taking something away is no arrival.
    CHECK(read(ends[0], &byte, 1) == 1 && epoll_wait(epoll, events, 8, 0) == 0 && write(ends[1], "a", 1) == 1);
    interest.events = EPOLLIN | EPOLLONESHOT;
    CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &interest) == 0);
    CHECK(epoll_wait(epoll, events, 8, 0) == 1 && write(ends[1], "d", 1) == 1 && epoll_wait(epoll, events, 8, 0) == 0);
    interest.events = EPOLLIN;
    interest.data.fd = event;
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &interest) == 0);
    pthread_create(&thread, 0, wake, (void *)(long)event);
    CHECK(epoll_wait(epoll, events, 8, 5000) == 1 && events[0].data.fd == event);
    pthread_join(thread, 0);
    CHECK(read(event, &value, 8) == 8);
    begin = now();
    CHECK(epoll_wait(epoll, events, 8, 20) == 0 && now() - begin >= 0.02);
    // A closed descriptor is no longer watched; an epoll can be watched, too.
    close(event);
    struct pollfd outer = {epoll, POLLIN, 0};
    CHECK(poll(&outer, 1, 0) == 0);
    close(ends[1]);
    interest.events = EPOLLIN;
    CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &interest) == 0);
    CHECK(poll(&outer, 1, 0) == 1);
    CHECK(epoll_wait(epoll, events, 8, 0) == 1 && events[0].events == (EPOLLIN | EPOLLHUP));

    // When more is ready than a call takes, all have their turn: by level again and again, by edge and one-shot once.
    enum { COUNT = 5 };
    int several[COUNT], seen[COUNT] = {0};
    epoll = epoll_create1(0);
    for (int i = 0; i < COUNT; i++) {
        interest = (struct epoll_event){EPOLLIN, {.u32 = i}};
        several[i] = eventfd(1, EFD_NONBLOCK);
        CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, several[i], &interest) == 0);
    }
    for (int i = 0; i < COUNT; i++) {
        CHECK(epoll_wait(epoll, events, 2, 0) == 2);
        seen[events[0].data.u32]++;
        seen[events[1].data.u32]++;
    }
    for (int i = 0; i < COUNT; i++)
        CHECK(seen[i] == 2);
    for (int i = 0; i < COUNT; i++) {
        interest = (struct epoll_event){EPOLLIN | (i % 2 ? EPOLLET : EPOLLONESHOT), {.u32 = i}};
        CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, several[i], &interest) == 0);
    }
    for (int i = 0; i < COUNT; i++) {
        CHECK(epoll_wait(epoll, events, 1, 0) == 1);
        seen[events[0].data.u32]++;
    }
    CHECK(epoll_wait(epoll, events, 1, 0) == 0);
    for (int i = 0; i < COUNT; i++)
        CHECK(seen[i] == 3);
    // What goes away meanwhile takes nobody's turn.
    interest.events = EPOLLIN;
    for (int i = 0; i < COUNT; i++)
        CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, several[i], &interest) == 0);
    CHECK(epoll_wait(epoll, events, 3, 0) == 3);
    close(several[2]);
    close(several[4]);
    CHECK(epoll_wait(epoll, events, 8, 0) == 3);

    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec setting = {{0, 5000000}, {0, 20000000}}, left;
    begin = now();
    CHECK(read(timer, &value, 8) == -1 && errno == EAGAIN);
    CHECK(timerfd_settime(timer, 0, &setting, 0) == 0);
    CHECK(timerfd_gettime(timer, &left) == 0 && left.it_interval.tv_nsec == 5000000 && left.it_value.tv_nsec > 0);
    outer.fd = timer;
    CHECK(poll(&outer, 1, 5000) == 1 && now() - begin >= 0.02 && read(timer, &value, 8) == 8 && value >= 1);
    // Five more.
    while (now() - begin < 0.05)
        poll(0, 0, 1);
    CHECK(read(timer, &value, 8) == 8 && value >= 5);
    setting.it_value.tv_nsec = setting.it_interval.tv_nsec = 0;
    CHECK(timerfd_settime(timer, 0, &setting, 0) == 0 && poll(&outer, 1, 15) == 0);
    return FINISH();
}
