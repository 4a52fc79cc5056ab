// Pseudo-terminals from both sides, without job control: the line discipline, sizes, packets, ends.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include "check.h"

static int master, slave;

static void put(int fd, const char *text)
{
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void show(const char *what, const char *bytes, ssize_t len)
{
    printf("%s: %zd ", what, len);
    for (ssize_t i = 0; i < len; i++)
        if (bytes[i] >= 32 && bytes[i] < 127)
            putchar(bytes[i]);
        else
            printf("<%d>", (unsigned char)bytes[i]);
    putchar('\n');
}

// What can be read. Linux hands on what is typed in its own time, so what is to come is waited for.
static void get(const char *what, int fd, size_t most)
{
    char bytes[9000];
    ssize_t len = read(fd, bytes, most);
    if (len < 0)
        printf("%s: %s\n", what, strerror(errno));
    else if (len > 200)
        printf("%s: %zd bytes\n", what, len);
    else
        show(what, bytes, len);
}

// Waits until so much can be read.
static void await(int fd, int expected)
{
    int count = -1;
    while (ioctl(fd, FIONREAD, &count) == 0 && count < expected)
        usleep(1000);
    CHECK(count == expected);
}

static void nothing(int fd)
{
    struct pollfd ready = {fd, POLLIN, 0};
    CHECK(poll(&ready, 1, 0) == 0);
}

// Types something of which so much is shown, and that the program can read.
static void type(const char *text, int shown)
{
    put(master, text);
    get("program", slave, 4096);
    if (shown) {
        await(master, shown);
        get("master", master, 4096);
    }
    nothing(master);
    nothing(slave);
}

static void set(tcflag_t input, tcflag_t output, tcflag_t local, int least, int time)
{
    struct termios settings;
    CHECK(tcgetattr(slave, &settings) == 0);
    settings.c_iflag = input;
    settings.c_oflag = output;
    settings.c_lflag = local;
    settings.c_cc[VMIN] = least;
    settings.c_cc[VTIME] = time;
    CHECK(tcsetattr(slave, TCSANOW, &settings) == 0);
}

int main(void)
{
    struct stat status;
    struct termios initial;
    struct winsize size = {24, 80, 1, 2}, seen;
    char name[100];
    int number, yes = 1, no = 0;

    CHECK((master = posix_openpt(O_RDWR | O_NOCTTY)) >= 0);
    CHECK(ioctl(master, TIOCGPTN, &number) == 0);
    CHECK(ptsname_r(master, name, sizeof name) == 0);
    CHECK(open(name, O_RDWR | O_NOCTTY) == -1 && errno == EIO);
    CHECK(grantpt(master) == 0 && unlockpt(master) == 0);
    CHECK((slave = open(name, O_RDWR | O_NOCTTY)) >= 0);
    CHECK(isatty(master) && isatty(slave) && strcmp(ttyname(slave), name) == 0);
    CHECK(fstat(slave, &status) == 0 && S_ISCHR(status.st_mode) && (status.st_rdev >> 8) == 136);
    CHECK(tcgetattr(slave, &initial) == 0 && tcgetattr(master, &initial) == 0);
    printf("flags %x %x %x %x\n", initial.c_iflag, initial.c_oflag, initial.c_cflag, initial.c_lflag);
    for (int i = 0; i < 17; i++)
        printf("%d ", initial.c_cc[i]);
    printf("speeds %d\n", cfgetospeed(&initial) == B38400);

    CHECK(ioctl(slave, TIOCGWINSZ, &seen) == 0 && seen.ws_row == 0);
    CHECK(ioctl(master, TIOCSWINSZ, &size) == 0 && ioctl(slave, TIOCGWINSZ, &seen) == 0);
    CHECK(memcmp(&size, &seen, sizeof size) == 0);

    // Lines.
    type("one\n", 5);
    type("a\177b\tc\177\177d\r", 20);
    type("two words\027here\n", 30);
    type("killed\025kept\n", 30);
    type("\026\003x\n", 7);
    type("redo\022\n", 14);
    type("\004", 0);
    type("end\004", 3);
    put(master, "a\nb\n");
    await(slave, 4);
    get("first line", slave, 4096);
    get("second line", slave, 4096);
    await(master, 6);
    get("both", master, 4096);
    put(master, "abcdef\n");
    get("part", slave, 4);
    get("rest", slave, 4);
    await(master, 8);
    get("all", master, 4096);
    put(slave, "out\n\tput\r");
    get("output", master, 4096);

    // Without echo, and with newline only.
    set(ICRNL, OPOST | ONLCR, ICANON | ISIG, 1, 0);
    type("quiet\r", 0);
    set(ICRNL, OPOST | ONLCR, ICANON | ECHONL, 1, 0);
    type("newline\r", 2);
    set(IGNCR, OPOST | OCRNL, ICANON | ECHO, 1, 0);
    type("a\rb\003\n", 4);
    put(slave, "x\ry\n");
    get("output", master, 4096);
    set(INLCR, 0, ICANON | ECHO, 1, 0);
    put(master, "a\nb\r");
    await(master, 4);
    get("echo", master, 4096);
    nothing(slave);
    type("\004", 0);

    // Characters as they come.
    set(0, 0, 0, 1, 0);
    type("raw\003\004\r\n", 0);
    set(0, 0, 0, 4, 0);
    put(master, "abc");
    await(slave, 3);
    nothing(slave);
    type("d", 0);
    set(0, 0, 0, 0, 0);
    CHECK(read(slave, name, 10) == 0);
    set(0, 0, 0, 0, 1);
    CHECK(read(slave, name, 10) == 0);
    set(0, 0, 0, 10, 1);
    put(master, "abc");
    await(slave, 3);
    CHECK(read(slave, name, 10) == 3);
    // What was typed as characters is there as a line, and the other way round.
    put(master, "typed");
    await(slave, 5);
    set(ICRNL, 0, ICANON, 1, 0);
    get("to lines", slave, 4096);
    put(master, "begun");
    nothing(slave);
    set(0, 0, 0, 1, 0);
    await(slave, 5);
    get("to characters", slave, 4096);

    // Stopping.
    CHECK(ioctl(slave, TCXONC, TCOOFF) == 0 && fcntl(slave, F_SETFL, O_NONBLOCK) == 0);
    CHECK(write(slave, "x", 1) == -1 && errno == EAGAIN);
    struct pollfd stopped = {slave, POLLOUT, 0};
    CHECK(ioctl(slave, TCXONC, TCOON) == 0 && poll(&stopped, 1, -1) == 1 && write(slave, "x", 1) == 1);
    get("started", master, 4096);
    CHECK(read(slave, name, 1) == -1 && errno == EAGAIN && fcntl(slave, F_SETFL, 0) == 0);

    // Forgetting.
    put(master, "input");
    await(slave, 5);
    CHECK(tcflush(slave, TCIFLUSH) == 0);
    nothing(slave);

    // Packets.
    CHECK(ioctl(master, TIOCPKT, &yes) == 0);
    put(slave, "packet");
    get("packet", master, 100);
    CHECK(tcflush(slave, TCIFLUSH) == 0);
    get("flush", master, 100);
    set(IXON, 0, 0, 1, 0);
    get("settings", master, 100);
    CHECK(ioctl(master, TIOCPKT, &no) == 0);

    // A long line loses its end, and a program that does not read stops the master.
    set(ICRNL, 0, ICANON, 1, 0);
    for (int i = 0; i < 60; i++)
        put(master, "----------------------------------------------------------------------------------------------------");
    put(master, "\n");
    get("long", slave, 9000);

    int peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    CHECK(peer >= 0 && strcmp(ttyname(peer), ttyname(slave)) == 0 && close(peer) == 0);

    // The ends.
    put(slave, "last");
    CHECK(close(slave) == 0);
    struct pollfd ready = {master, POLLIN, 0};
    CHECK(poll(&ready, 1, -1) == 1 && ready.revents == (POLLIN | POLLHUP));
    get("last", master, 100);
    CHECK(read(master, name, 10) == -1 && errno == EIO);
    CHECK((slave = open(ptsname(master), O_RDWR | O_NOCTTY)) >= 0);
    ready.revents = 0;
    CHECK(poll(&ready, 1, 0) == 0);
    strcpy(name, ptsname(master));
    CHECK(close(master) == 0);
    CHECK(read(slave, name + 50, 10) == 0);
    CHECK(write(slave, "x", 1) == -1 && errno == EIO);
    CHECK(tcgetattr(slave, &initial) == -1 && errno == EIO);
    ready = (struct pollfd){slave, POLLIN | POLLOUT, 0};
    CHECK(poll(&ready, 1, 0) == 1 && ready.revents == (POLLIN | POLLOUT | POLLERR | POLLHUP));
    CHECK(access(name, F_OK) == -1 && errno == ENOENT);
    return FINISH();
}
