// What an operation costs where there is much else. Usage: growth mappings|watched|files|threads COUNT...
// The counts rise. For each the operation is done some times between two marks, which bench/count.c notices.

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MARK = 0x5e1f0000, PAGE = 4096, TIMES = 100, STACK = 16384 };

#define MARK_HERE(n) __asm__ volatile("nopl %c0(%%rax)" : : "i"(MARK + (n)) : "memory")

static void check(int good, const char *what)
{
    if (!good) {
        perror(what);
        _exit(1);
    }
}

// Every second one is of another protection, so that each is an area of its own.
static void map_to(int count)
{
    static int mapped;
    for (; mapped < count; mapped++) {
        int protection = mapped % 2 ? PROT_READ : PROT_READ | PROT_WRITE;
        check(mmap(NULL, PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED, "mmap");
    }
}

static void map_a_page(void)
{
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(page != MAP_FAILED, "mmap");
    *page = 1;
    munmap(page, PAGE);
}

static int epoll_fd, one;

static void watch_to(int count)
{
    static int watched;
    for (; watched < count; watched++) {
        int fd = eventfd(0, 0);
        struct epoll_event event = {.events = EPOLLIN};
        check(fd >= 0 && !epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event), "eventfd");
        one = fd;
    }
}

static void wait_for_one(void)
{
    struct epoll_event event;
    uint64_t value = 1;
    check(write(one, &value, 8) == 8 && epoll_wait(epoll_fd, &event, 1, -1) == 1 && read(one, &value, 8) == 8, "epoll");
}

static void make_files_to(int count)
{
    static int made;
    char name[32];
    for (; made < count; made++) {
        sprintf(name, "/tmp/growth/%d", made);
        int fd = open(name, O_CREAT | O_RDWR, 0600);
        check(fd >= 0, name);
        close(fd);
    }
}

static void open_a_file(void) { check(!close(open("/tmp/growth/7", O_RDONLY)), "open"); }

static int asleep;
static void *sleep_on(void *nothing)
{
    syscall(SYS_futex, &asleep, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
    return nothing;
}
static void *end(void *nothing) { return nothing; }

static pthread_attr_t small;

static void start_to(int count)
{
    static int started;
    pthread_t thread;
    for (; started < count; started++)
        check(!pthread_create(&thread, &small, sleep_on, NULL), "pthread_create");
}

static void create_and_join(void)
{
    pthread_t thread;
    check(!pthread_create(&thread, &small, end, NULL), "pthread_create");
    pthread_join(thread, NULL);
}

static const struct {
    const char *what;
    void (*grow_to)(int);
    void (*operation)(void);
} rows[] = {
    {"mappings", map_to, map_a_page},
    {"watched", watch_to, wait_for_one},
    {"files", make_files_to, open_a_file},
    {"threads", start_to, create_and_join},
};

int main(int argc, char **argv)
{
    struct rlimit limit = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_NOFILE, &limit);
    epoll_fd = epoll_create1(0);
    mkdir("/tmp/growth", 0700);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK);
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        for (int i = 2; i < argc && !strcmp(argv[1], rows[row].what); i++) {
            rows[row].grow_to(atoi(argv[i]));
            rows[row].operation();
            rows[row].operation();
            MARK_HERE(0);
            for (int time = 0; time < TIMES; time++)
                rows[row].operation();
            MARK_HERE(1);
        }
    }
    puts("done");
    fflush(stdout);
    _exit(0);
}
