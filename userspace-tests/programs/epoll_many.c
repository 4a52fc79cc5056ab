// epoll with many descriptors of which few are ready: what is reported, in what order and how often; entries that vanish with
// their descriptors; instances within instances; several threads that wait.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "check.h"

enum { MANY = 400 };

static int add(int set, int descriptor, unsigned events)
{
    struct epoll_event event = {events, {.u32 = descriptor}};
    return epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event);
}

static void levels_and_edges(void)
{
    int set = epoll_create1(0), counters[MANY];
    struct epoll_event found[MANY];
    for (int i = 0; i < MANY; i++) {
        counters[i] = eventfd(0, EFD_NONBLOCK);
        CHECK(add(set, counters[i], i % 2 ? EPOLLIN : EPOLLIN | EPOLLET) == 0);
    }
    CHECK(epoll_wait(set, found, MANY, 0) == 0);
    eventfd_write(counters[7], 1), eventfd_write(counters[8], 1);
    CHECK(epoll_wait(set, found, MANY, -1) == 2);
    // The level is still there, the edge is not, until there is another.
    CHECK(epoll_wait(set, found, MANY, 0) == 1 && (int)found[0].data.u32 == counters[7]);
    eventfd_write(counters[8], 1);
    CHECK(epoll_wait(set, found, MANY, 0) == 2);
    eventfd_t value;
    eventfd_read(counters[7], &value);
    CHECK(epoll_wait(set, found, MANY, 0) == 0);
    // One at a time, all have their turn.
    int seen[MANY] = {}, different = 0;
    for (int i = 1; i < MANY; i += 2)
        eventfd_write(counters[i], 1);
    for (int i = 0; i < MANY / 2; i++) {
        CHECK(epoll_wait(set, found, 1, 0) == 1);
        for (int j = 0; j < MANY; j++)
            if ((int)found[0].data.u32 == counters[j] && !seen[j]++)
                different++;
    }
    CHECK(different == MANY / 2);
    // Closed descriptors are not reported, and neither are those that were taken out.
    for (int i = 1; i < MANY; i += 4)
        close(counters[i]);
    for (int i = 3; i < MANY; i += 8)
        CHECK(epoll_ctl(set, EPOLL_CTL_DEL, counters[i], 0) == 0);
    CHECK(epoll_wait(set, found, MANY, 0) == MANY / 8);
    CHECK(epoll_ctl(set, EPOLL_CTL_DEL, counters[3], 0) == -1 && errno == ENOENT);
    // Once, until it is asked for again.
    struct epoll_event once = {EPOLLIN | EPOLLONESHOT, {.u32 = 1}};
    CHECK(epoll_ctl(set, EPOLL_CTL_MOD, counters[7], &once) == 0);
    CHECK(epoll_wait(set, found, MANY, 0) == MANY / 8 && epoll_wait(set, found, MANY, 0) == MANY / 8 - 1);
    CHECK(epoll_ctl(set, EPOLL_CTL_MOD, counters[7], &once) == 0 && epoll_wait(set, found, MANY, 0) == MANY / 8);
    close(set);
    for (int i = 0; i < MANY; i++)
        if (i % 4 != 1)
            close(counters[i]);
}

static void nested(void)
{
    int inner = epoll_create1(0), outer = epoll_create1(0), pair[2];
    struct epoll_event found[2];
    char byte;
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    CHECK(add(inner, pair[0], EPOLLIN) == 0 && add(outer, inner, EPOLLIN) == 0);
    CHECK(add(inner, outer, EPOLLIN) == -1 && errno == ELOOP);
    struct pollfd polled = {outer, POLLIN, 0};
    CHECK(epoll_wait(outer, found, 2, 0) == 0 && poll(&polled, 1, 0) == 0);
    CHECK(write(pair[1], "x", 1) == 1);
    CHECK(poll(&polled, 1, 0) == 1 && epoll_wait(outer, found, 2, 0) == 1 && (int)found[0].data.u32 == inner);
    CHECK(epoll_wait(inner, found, 2, 0) == 1 && read(pair[0], &byte, 1) == 1);
    CHECK(epoll_wait(outer, found, 2, 0) == 0 && poll(&polled, 1, 0) == 0);
    close(pair[1]);
    CHECK(epoll_wait(outer, found, 2, -1) == 1);
    close(inner), close(outer), close(pair[0]);
}

// A descriptor number that is used again is another entry.
static void again(void)
{
    int set = epoll_create1(0);
    struct epoll_event found[2];
    for (int i = 0; i < 1000; i++) {
        int counter = eventfd(1, 0);
        CHECK(add(set, counter, EPOLLIN) == 0);
        CHECK(epoll_wait(set, found, 2, 0) == 1);
        close(counter);
    }
    CHECK(epoll_wait(set, found, 2, 0) == 0);
    close(set);
}

enum { THREADS = 4, ROUNDS = 500 };
static int shared, taken[THREADS], counter;

static void *take(void *which)
{
    struct epoll_event found;
    eventfd_t value;
    for (;;) {
        if (epoll_wait(shared, &found, 1, -1) != 1 || found.data.u32 != (unsigned)counter)
            return 0;
        if (eventfd_read(counter, &value) == 0)
            taken[(long)which]++;
    }
}

static void threads(void)
{
    pthread_t all[THREADS];
    int total = 0, end = eventfd(0, 0);
    shared = epoll_create1(0);
    counter = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK);
    CHECK(add(shared, counter, EPOLLIN) == 0 && add(shared, end, EPOLLIN) == 0);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&all[i], 0, take, (void *)i);
    for (int i = 0; i < ROUNDS; i++)
        eventfd_write(counter, 1);
    struct pollfd polled = {counter, POLLIN, 0};
    while (poll(&polled, 1, 0) == 1)
        usleep(1000);
    eventfd_write(end, 1);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(all[i], 0);
        total += taken[i];
    }
    CHECK(total == ROUNDS);
}

int main(void)
{
    levels_and_edges();
    nested();
    again();
    threads();
    return FINISH();
}
