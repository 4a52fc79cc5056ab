// What single operations cost: each is done some times between two marks, which bench/count.c notices. Prints, for each
// operation, its number, how often it is done between its marks, and its name.
// As process 1 of a Linux guest it ends by switching the machine off.

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MARK = 0x5e1f0000, PAGE = 4096 };

static void check(int good, const char *what)
{
    if (!good) {
        perror(what);
        _exit(1);
    }
}

static int null_fd, file_fd, event_fd, epoll_fd, there[2], back[2];
static char buffer[1 << 16];
static _Atomic int turn;
static volatile int handled;

static void futex(int op, int value) { syscall(SYS_futex, &turn, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0); }

static void *echo(void *nothing)
{
    char byte;
    while (read(there[0], &byte, 1) == 1)
        check(write(back[1], &byte, 1) == 1, "write");
    return nothing;
}

static void *take_turns(void *nothing)
{
    for (;;) {
        while (turn == 0)
            futex(FUTEX_WAIT, 0);
        if (turn == 2)
            return nothing;
        turn = 0;
        futex(FUTEX_WAKE, 1);
    }
}

static void *end(void *nothing) { return nothing; }
static void handler(int signal) { handled += signal != 0; }

static void getppid_(void) { syscall(SYS_getppid); }
static void unknown(void) { syscall(500); }

static void clock_gettime_(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
}

static void gettimeofday_(void)
{
    struct timeval now;
    gettimeofday(&now, NULL);
}

static void map_a_page(void)
{
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(page != MAP_FAILED, "mmap");
    *page = 1;
    munmap(page, PAGE);
}

static void create_and_join(void)
{
    pthread_t thread;
    check(!pthread_create(&thread, NULL, end, NULL), "pthread_create");
    pthread_join(thread, NULL);
}

static void pipe_round_trip(void)
{
    char byte = 0;
    check(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "pipe");
}

static void futex_round_trip(void)
{
    turn = 1;
    futex(FUTEX_WAKE, 1);
    while (turn == 1)
        futex(FUTEX_WAIT, 1);
}

static void open_and_close(void)
{
    struct stat status;
    int fd = open("/tmp/operations", O_RDONLY);
    check(fd >= 0 && !fstat(fd, &status), "open");
    close(fd);
}

static void read_a_byte(void) { check(pread(file_fd, buffer, 1, 0) == 1, "pread"); }
static void read_64k(void) { check(pread(file_fd, buffer, sizeof buffer, 0) == sizeof buffer, "pread"); }
static void write_to_null(void) { check(write(null_fd, buffer, 1) == 1, "write"); }

static void wait_for_events(void)
{
    struct epoll_event event;
    check(epoll_wait(epoll_fd, &event, 1, -1) == 1, "epoll_wait");
}

static void use_eventfd(void)
{
    uint64_t value = 1;
    check(write(event_fd, &value, 8) == 8 && read(event_fd, &value, 8) == 8, "eventfd");
}

static void raise_(void) { raise(SIGUSR1); }

// Faults of so many pages each.
enum { PAGES = 512 };

static void touch(char *start)
{
    check(start != MAP_FAILED, "mmap");
    for (int page = 0; page < PAGES; page++)
        (void)*(volatile char *)(start + page * PAGE);
    munmap(start, PAGES * PAGE);
}

static void touch_memory(void)
{
    char *start = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(start != MAP_FAILED, "mmap");
    for (int page = 0; page < PAGES; page++)
        start[page * PAGE] = 1;
    munmap(start, PAGES * PAGE);
}

static void touch_file(void) { touch(mmap(NULL, PAGES * PAGE, PROT_READ, MAP_PRIVATE, file_fd, 0)); }

static const char *self;

static void wait_for(pid_t child)
{
    int status;
    check(child > 0 && waitpid(child, &status, 0) == child && !status, "a child");
}

static void fork_and_exit(void)
{
    pid_t child = fork();
    if (!child)
        _exit(0);
    wait_for(child);
}

static void vfork_and_exec(void)
{
    pid_t child = vfork();
    if (!child) {
        execl(self, self, "end", NULL);
        _exit(1);
    }
    wait_for(child);
}

static const struct {
    const char *name;
    void (*once)(void);
    int times;
    // Into how many parts that are alike the cost is divided.
    int parts;
} operations[] = {
    {"getppid", getppid_, 1000, 1},
    {"call that is not there", unknown, 1000, 1},
    {"clock_gettime", clock_gettime_, 1000, 1},
    {"gettimeofday", gettimeofday_, 1000, 1},
    {"mmap, touch, munmap of a page", map_a_page, 500, 1},
    {"pthread_create and join", create_and_join, 200, 1},
    {"round trip through two pipes", pipe_round_trip, 300, 1},
    {"futex, from wake to run", futex_round_trip, 300, 2},
    {"open, fstat, close", open_and_close, 500, 1},
    {"pread of 1 byte", read_a_byte, 1000, 1},
    {"pread of 64 KiB", read_64k, 50, 1},
    {"write to /dev/null", write_to_null, 1000, 1},
    {"epoll_wait with one ready", wait_for_events, 1000, 1},
    {"eventfd, write and read", use_eventfd, 1000, 1},
    {"raise, with a handler", raise_, 500, 1},
    {"page fault, anonymous", touch_memory, 5, PAGES},
    {"page fault, file", touch_file, 5, PAGES},
    {"fork, exit, wait", fork_and_exit, 100, 1},
    {"vfork, exec, wait", vfork_and_exec, 20, 1},
};

#define MARK_HERE(n) __asm__ volatile("nopl %c0(%%rax)" : : "i"(MARK + (n)) : "memory")

int main(int count, char **arguments)
{
    // What vfork_and_exec starts.
    if (count > 1)
        return 0;
    self = arguments[0];
    if (getpid() == 1)
        mkdir("/tmp", 0777), mkdir("/dev", 0777), mknod("/dev/null", S_IFCHR | 0666, 1 << 8 | 3);
    null_fd = open("/dev/null", O_WRONLY);
    file_fd = open("/tmp/operations", O_RDWR | O_CREAT | O_TRUNC, 0666);
    event_fd = eventfd(0, 0);
    epoll_fd = epoll_create1(0);
    check(null_fd >= 0 && file_fd >= 0 && event_fd >= 0 && epoll_fd >= 0, "open");
    for (size_t at = 0; at < PAGES * PAGE; at += sizeof buffer)
        check(write(file_fd, buffer, sizeof buffer) == sizeof buffer, "write");
    check(!pipe(there) && !pipe(back), "pipe");
    int ready[2];
    struct epoll_event event = {.events = EPOLLIN};
    check(!pipe(ready) && write(ready[1], "", 1) == 1, "pipe");
    check(!epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ready[0], &event), "epoll_ctl");
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    pthread_t echoes, turns;
    check(!pthread_create(&echoes, NULL, echo, NULL), "pthread_create");
    check(!pthread_create(&turns, NULL, take_turns, NULL), "pthread_create");
    for (int number = 0; number < (int)(sizeof operations / sizeof *operations); number++) {
        operations[number].once();
        operations[number].once();
        MARK_HERE(0);
        for (int i = 0; i < operations[number].times; i++)
            operations[number].once();
        MARK_HERE(1);
        printf("%d %s\n", operations[number].times * operations[number].parts, operations[number].name);
    }
    turn = 2;
    futex(FUTEX_WAKE, 1);
    pthread_join(turns, NULL);
    close(there[1]);
    pthread_join(echoes, NULL);
    fflush(stdout);
    if (getpid() == 1 && access("/proc", F_OK))
        reboot(RB_POWER_OFF);
    return 0;
}
