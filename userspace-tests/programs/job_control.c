// Job control: children that stop and go on, what their parent hears of it, terminals in the foreground and the background,
// sessions that lose their terminal.
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include "check.h"

static volatile sig_atomic_t children, code, status;

static void handler(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    children++;
    code = info->si_code;
    status = info->si_status;
}

static void catch(int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART | flags};
    CHECK(sigaction(SIGCHLD, &action, 0) == 0);
    children = 0;
}

static void say(const char *what, int word)
{
    if (WIFEXITED(word))
        printf("%s: exited with %d\n", what, WEXITSTATUS(word));
    else if (WIFSIGNALED(word))
        printf("%s: killed by %d\n", what, WTERMSIG(word));
    else if (WIFSTOPPED(word))
        printf("%s: stopped by %d\n", what, WSTOPSIG(word));
    else if (WIFCONTINUED(word))
        printf("%s: continued\n", what);
    fflush(stdout);
}

// The signal may come after what it is about can be seen.
static void hears(int times, int what, int about)
{
    while (children < times)
        usleep(1000);
    CHECK(children == times && code == what && status == about);
}

static int await(const char *what, pid_t child)
{
    int word;
    CHECK(waitpid(child, &word, WUNTRACED | WCONTINUED) == child);
    say(what, word);
    return word;
}

// Without its going on, which may have come and gone.
static void stopped(const char *what, pid_t child)
{
    int word;
    CHECK(waitpid(child, &word, WUNTRACED) == child);
    say(what, word);
}

static char state(pid_t pid)
{
    char path[50], text[200] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0 && close(fd) == 0);
    return strrchr(text, ')')[2];
}

static pid_t start(void (*body)(void))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        body();
        fflush(stdout);
        _exit(check_failures ? 99 : 7);
    }
    return child;
}

static void rest(void)
{
    for (;;)
        pause();
}

static void stops(void)
{
    catch(0);
    pid_t child = start(rest);
    CHECK(setpgid(child, child) == 0);
    int signals[] = {SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
    for (int i = 0; i < 4; i++) {
        children = 0;
        CHECK(kill(child, signals[i]) == 0);
        await("child", child);
        hears(1, CLD_STOPPED, signals[i]);
        CHECK(state(child) == 'T');
        CHECK(waitpid(child, 0, WUNTRACED | WNOHANG) == 0);
        CHECK(kill(child, SIGCONT) == 0);
        await("child", child);
        hears(2, CLD_CONTINUED, SIGCONT);
        CHECK(state(child) != 'T');
    }
    siginfo_t info = {0};
    CHECK(kill(child, SIGSTOP) == 0 && waitid(P_PID, child, &info, WSTOPPED | WNOWAIT) == 0);
    CHECK(info.si_code == CLD_STOPPED && info.si_status == SIGSTOP && info.si_pid == child);
    CHECK(waitid(P_PID, child, &info, WSTOPPED) == 0 && info.si_code == CLD_STOPPED);
    // It does not run, and dies all the same.
    CHECK(kill(child, SIGTERM) == 0 && waitpid(child, 0, WNOHANG) == 0);
    CHECK(kill(child, SIGKILL) == 0);
    await("stopped", child);

    catch(SA_NOCLDSTOP);
    child = start(rest);
    CHECK(kill(child, SIGSTOP) == 0);
    await("silent", child);
    CHECK(children == 0 && kill(child, SIGKILL) == 0);
    await("silent", child);
    hears(1, CLD_KILLED, SIGKILL);
    signal(SIGCHLD, SIG_DFL);
}

static int master;

static void type(const char *text)
{
    CHECK(write(master, text, strlen(text)) == (ssize_t)strlen(text));
}

static void background(void)
{
    char byte;
    setpgid(0, 0);
    // Nobody can go on in the background: reading stops, and goes on in the foreground.
    CHECK(read(0, &byte, 1) == 1 && byte == 'x');
    struct termios settings;
    CHECK(tcgetattr(0, &settings) == 0);
    signal(SIGTTOU, SIG_IGN);
    CHECK(tcsetattr(0, TCSANOW, &settings) == 0);
}

static void writes(void)
{
    setpgid(0, 0);
    CHECK(write(0, "through\n", 8) == 8);
    struct termios settings;
    CHECK(tcgetattr(0, &settings) == 0);
    settings.c_lflag |= TOSTOP;
    CHECK(tcsetattr(0, TCSANOW, &settings) == 0);
    // The parent has put this into the background again.
    raise(SIGSTOP);
    CHECK(write(0, "stopped\n", 8) == 8);
}

static void ignores(void)
{
    char byte;
    setpgid(0, 0);
    signal(SIGTTIN, SIG_IGN);
    CHECK(read(0, &byte, 1) == -1 && errno == EIO);
}

// The leader of a session with a terminal, as a shell.
static void leads(void)
{
    int own = getpid();
    CHECK(getsid(0) == own && tcgetpgrp(0) == own && tcgetsid(0) == own);
    int tty = open("/dev/tty", O_RDWR);
    CHECK(tty >= 0 && isatty(tty) && close(tty) == 0);
    signal(SIGTTOU, SIG_IGN);
    CHECK(tcsetpgrp(0, own + 100000) == -1 && errno == ESRCH);

    // Keys go to the foreground.
    signal(SIGTTOU, SIG_DFL);
    pid_t child = start(rest);
    signal(SIGTTOU, SIG_IGN);
    CHECK(setpgid(child, child) == 0 && tcsetpgrp(0, child) == 0 && tcgetpgrp(0) == child);
    CHECK(write(2, "1", 1) == 1);
    await("Ctrl-Z", child);
    CHECK(kill(-child, SIGCONT) == 0);
    await("fg", child);
    CHECK(write(2, "2", 1) == 1);
    await("Ctrl-C", child);
    CHECK(tcsetpgrp(0, own) == 0);

    signal(SIGTTOU, SIG_DFL);
    child = start(background);
    signal(SIGTTOU, SIG_IGN);
    await("reads", child);
    CHECK(tcsetpgrp(0, child) == 0 && kill(-child, SIGCONT) == 0);
    await("reads", child);
    CHECK(write(2, "3", 1) == 1);
    await("reads", child);
    CHECK(tcsetpgrp(0, own) == 0);

    signal(SIGTTOU, SIG_DFL);
    child = start(writes);
    signal(SIGTTOU, SIG_IGN);
    stopped("sets", child);
    CHECK(tcsetpgrp(0, child) == 0 && kill(-child, SIGCONT) == 0);
    stopped("sets", child);
    CHECK(tcsetpgrp(0, own) == 0 && kill(-child, SIGCONT) == 0);
    stopped("writes", child);
    CHECK(tcsetpgrp(0, child) == 0 && kill(-child, SIGCONT) == 0);
    stopped("writes", child);
    CHECK(tcsetpgrp(0, own) == 0);

    child = start(ignores);
    await("ignores", child);
    fflush(stdout);
}

static void resized(int number)
{
    CHECK(number == SIGWINCH);
    struct winsize size;
    CHECK(ioctl(0, TIOCGWINSZ, &size) == 0);
    if (write(2, size.ws_col == 90 ? "y" : "n", 1) != 1)
        _exit(1);
}

static void sizes(void)
{
    signal(SIGWINCH, resized);
    signal(SIGHUP, SIG_DFL);
    CHECK(write(2, "4", 1) == 1);
    rest();
}

// Runs a leader on a terminal; types what it asks for on its standard error, one key at a time.
static void session(void (*body)(void), const char *name)
{
    int slave, asks[2];
    char key;
    CHECK(openpty(&master, &slave, 0, 0, 0) == 0 && pipe(asks) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        close(master);
        close(asks[0]);
        CHECK(open("/dev/tty", O_RDWR) == -1 || setsid() > 0);
        if (getsid(0) != getpid())
            setsid();
        CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO);
        CHECK(tcgetpgrp(slave) == -1 && errno == ENOTTY);
        CHECK(ioctl(slave, TIOCSCTTY, 0) == 0);
        dup2(slave, 0);
        dup2(asks[1], 2);
        // Standard output stays: the order of what is said is this program's business.
        close(slave);
        close(asks[1]);
        body();
        fflush(stdout);
        _exit(check_failures ? 99 : 7);
    }
    close(asks[1]);
    close(slave);
    while (read(asks[0], &key, 1) == 1)
        switch (key) {
        case '1':
            type("\032");
            break;
        case '2':
            type("\003");
            break;
        case '3':
            type("x\n");
            break;
        case '4': {
            struct winsize size = {30, 90, 0, 0};
            CHECK(ioctl(master, TIOCSWINSZ, &size) == 0);
            break;
        }
        case 'y':
            // Hanging up kills it.
            CHECK(close(master) == 0);
            break;
        default:
            printf("key %c\n", key);
        }
    await(name, child);
    if (fcntl(master, F_GETFD) == 0)
        close(master);
    close(asks[0]);
}

static int ends[2];

static void hung_up(int number)
{
    CHECK(number == SIGHUP && write(ends[1], "h", 1) == 1);
}

// Stopped in a group that its parent's end leaves without anybody who could let it go on.
static void orphan(void)
{
    setpgid(0, 0);
    signal(SIGHUP, hung_up);
    raise(SIGSTOP);
    // Now nobody could: these do nothing.
    raise(SIGTSTP);
    raise(SIGTTIN);
    if (write(ends[1], "o", 1) != 1)
        _exit(1);
}

static void abandons(void)
{
    setsid();
    pid_t child = start(orphan);
    int word;
    CHECK(waitpid(child, &word, WUNTRACED) == child && WIFSTOPPED(word));
}

int main(void)
{
    stops();
    session(leads, "shell");
    session(sizes, "hung up");
    CHECK(pipe(ends) == 0);
    pid_t child = start(abandons);
    await("parent", child);
    close(ends[1]);
    char told[3] = "";
    CHECK(read(ends[0], told, 1) == 1 && read(ends[0], told + 1, 1) == 1 && strcmp(told, "ho") == 0);
    return FINISH();
}
