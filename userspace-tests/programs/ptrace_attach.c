// ptrace(2): a debugger that comes to a process which is not its child: all its threads, in whatever they wait; what wait(2) says to
// whom; the tracer's end; stops of the whole process under PTRACE_SEIZE; who may trace whom.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"
#include "tracee_status.h"

enum { THREADS = 3 };

static int go[2], answer[2];

static void await(pid_t pid, const char *what)
{
    status = 0;
    CHECK(waitpid(pid, &status, __WALL) == pid);
    say(what);
}

// A line of /proc/PID/status.
static void line(pid_t pid, const char *key, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    *text = 0;
    char *found = NULL;
    while (file && fgets(text, size, file) && !(found = strstr(text, key) == text ? text : NULL))
        ;
    if (file)
        fclose(file);
    if (!found)
        *text = 0;
}

static void *waiter(void *tid)
{
    *(pid_t *)tid = gettid();
    char byte;
    // To be made again after each stop.
    CHECK(read(go[0], &byte, 1) == 1);
    return NULL;
}

// Threads that wait in a pipe; says who they are, and ends with 0 when it gets a byte for each.
static void many_threads(void)
{
    pthread_t threads[THREADS];
    pid_t tids[THREADS] = {0};
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, waiter, &tids[i]);
    for (int i = 0; i < THREADS; i++)
        while (!((volatile pid_t *)tids)[i])
            sched_yield();
    CHECK(write(answer[1], tids, sizeof tids) == sizeof tids);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    _exit(check_failures);
}

static pid_t start(void (*run)(void))
{
    fflush(stdout);
    CHECK(pipe(go) == 0 && pipe(answer) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        run();
        _exit(0);
    }
    return pid;
}

static void release(int count)
{
    for (int i = 0; i < count; i++)
        CHECK(write(go[1], "", 1) == 1);
}

// A process that is not the parent attaches to all threads; the parent hears of the end after it.
static void others_child(void)
{
    pid_t pid = start(many_threads), tids[THREADS];
    CHECK(read(answer[0], tids, sizeof tids) == sizeof tids);
    pid_t debugger = fork();
    if (debugger == 0) {
        char text[256];
        CHECK(ptrace(PTRACE_PEEKDATA, pid, &status, 0) == -1 && errno == ESRCH);
        CHECK(ptrace(PTRACE_ATTACH, pid, 0, 0) == 0);
        CHECK(ptrace(PTRACE_ATTACH, pid, 0, 0) == -1 && errno == EPERM);
        await(pid, "main thread");
        for (int i = 0; i < THREADS; i++) {
            struct user_regs_struct regs;
            CHECK(ptrace(PTRACE_ATTACH, tids[i], 0, 0) == 0);
            await(tids[i], "thread");
            CHECK(ptrace(PTRACE_GETREGS, tids[i], 0, &regs) == 0);
            CHECK(regs.orig_rax == SYS_read && (int)regs.rdi == go[0]);
            siginfo_t info;
            CHECK(ptrace(PTRACE_GETSIGINFO, tids[i], 0, &info) == 0 && info.si_signo == SIGSTOP);
        }
        line(tids[0], "State", text, sizeof text);
        CHECK(strstr(text, "t (tracing stop)"));
        line(tids[0], "TracerPid", text, sizeof text);
        CHECK(atoi(text + sizeof "TracerPid:") == getpid());
        CHECK(waitpid(-1, &status, __WALL | WNOHANG) == 0);
        for (int i = 0; i < THREADS; i++)
            CHECK(ptrace(PTRACE_CONT, tids[i], 0, 0) == 0);
        CHECK(ptrace(PTRACE_CONT, pid, 0, 0) == 0);
        release(THREADS);
        int ended = 0;
        for (int i = 0; i < THREADS; i++)
            ended += waitpid(tids[i], &status, __WALL) == tids[i] && status == 0;
        printf("%d threads ended\n", ended);
        siginfo_t info = {0};
        CHECK(waitid(P_PID, pid, &info, WEXITED | WNOWAIT | __WALL) == 0);
        CHECK(info.si_code == CLD_EXITED && info.si_pid == pid);
        // Not its parent's before the tracer has heard.
        CHECK(write(answer[1], "", 1) == 1);
        char byte;
        CHECK(read(go[0], &byte, 1) == 1);
        await(pid, "tracee");
        CHECK(waitpid(pid, &status, __WALL) == -1 && errno == ECHILD);
        fflush(stdout);
        _exit(check_failures);
    }
    char byte;
    CHECK(read(answer[0], &byte, 1) == 1);
    CHECK(waitpid(pid, &status, WNOHANG) == 0);
    release(1);
    await(debugger, "debugger");
    await(pid, "child");
}

static void waits(void)
{
    char byte;
    CHECK(read(go[0], &byte, 1) == 1);
    _exit(3);
}

// What becomes of tracees whose tracer ends: they go on, or are killed if it has said so.
static void tracers_end(void)
{
    for (int kill = 0; kill < 2; kill++) {
        pid_t pid = start(waits);
        pid_t debugger = fork();
        if (debugger == 0) {
            CHECK(ptrace(PTRACE_ATTACH, pid, 0, 0) == 0);
            await(pid, "attached");
            CHECK(ptrace(PTRACE_SETOPTIONS, pid, 0, kill ? PTRACE_O_EXITKILL : 0) == 0);
            fflush(stdout);
            _exit(check_failures);
        }
        await(debugger, "debugger");
        release(1);
        await(pid, "left behind");
    }
}

static volatile long rounds;

static void runs(void)
{
    CHECK(write(answer[1], "", 1) == 1);
    for (;;)
        rounds++;
}

// Stops of the whole process, of which who has seized it is told apart from signals.
static void seized(void)
{
    pid_t pid = start(runs);
    char byte;
    CHECK(read(answer[0], &byte, 1) == 1);
    CHECK(ptrace(PTRACE_SEIZE, pid, 0, 0x80000000) == -1 && errno == EIO);
    CHECK(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0);
    CHECK(waitpid(pid, &status, __WALL | WNOHANG) == 0);
    CHECK(ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0);
    await(pid, "interrupted");
    CHECK(ptrace(PTRACE_LISTEN, pid, 0, 0) == 0);
    CHECK(ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0);
    await(pid, "interrupted while it listens");
    CHECK(ptrace(PTRACE_CONT, pid, 0, 0) == 0);
    kill(pid, SIGSTOP);
    await(pid, "the signal");
    CHECK(ptrace(PTRACE_CONT, pid, 0, SIGSTOP) == 0);
    await(pid, "the stop");
    CHECK(ptrace(PTRACE_LISTEN, pid, 0, 0) == 0);
    CHECK(ptrace(PTRACE_PEEKDATA, pid, &rounds, 0) == -1 && errno == ESRCH);
    kill(pid, SIGCONT);
    await(pid, "told of its end");
    CHECK(ptrace(PTRACE_CONT, pid, 0, 0) == 0);
    await(pid, "SIGCONT");
    CHECK(ptrace(PTRACE_CONT, pid, 0, SIGCONT) == 0);
    // Two looks at a counter: it runs.
    CHECK(ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0);
    await(pid, "interrupted again");
    long before = ptrace(PTRACE_PEEKDATA, pid, &rounds, 0), after = before;
    for (int i = 0; i < 100 && before == after; i++) {
        CHECK(ptrace(PTRACE_CONT, pid, 0, 0) == 0);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        CHECK(ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0);
        CHECK(waitpid(pid, &status, __WALL) == pid);
        after = ptrace(PTRACE_PEEKDATA, pid, &rounds, 0);
    }
    CHECK(after > before);
    CHECK(ptrace(PTRACE_DETACH, pid, 0, 0) == 0);
    kill(pid, SIGKILL);
    await(pid, "killed");
}

// Another process' memory in one call, which protection holds for as for that one itself.
static void memory(void)
{
    static const char constant[] = "constant";
    char text[8] = "", both[4];
    pid_t pid = start(waits);
    rounds = 0x1234;
    struct iovec local = {text, 4}, far[2] = {{(void *)&rounds, 4}, {(void *)constant, 4}};
    struct iovec two = {both, sizeof both};
    CHECK(process_vm_writev(pid, &local, 1, far, 1, 0) == 4);
    memcpy(text, "abc", 4);
    CHECK(process_vm_writev(pid, &local, 1, far, 1, 0) == 4);
    CHECK(process_vm_readv(pid, &two, 1, far, 1, 0) == 4 && memcmp(both, "abc", 4) == 0);
    CHECK(rounds == 0x1234);
    local.iov_len = 8;
    CHECK(process_vm_readv(pid, &local, 1, far, 2, 0) == 8 && memcmp(text, "abc\0cons", 8) == 0);
    CHECK(process_vm_writev(pid, &local, 1, far + 1, 1, 0) == -1 && errno == EFAULT);
    far[1].iov_base = (void *)16;
    CHECK(process_vm_readv(pid, &local, 1, far, 2, 0) == 4);
    CHECK(process_vm_readv(pid, &local, 1, far + 1, 1, 0) == -1 && errno == EFAULT);
    // As a file, for debuggers.
    char path[64];
    for (int task = 0; task < 2; task++) {
        snprintf(path, sizeof path, task ? "/proc/%d/task/%d/mem" : "/proc/%d/mem", pid, pid);
        int file = open(path, O_RDWR | O_CLOEXEC);
        CHECK(file >= 0);
        CHECK(pread(file, text, 4, (off_t)&rounds) == 4 && memcmp(text, "abc", 4) == 0);
        CHECK(pwrite(file, "C", 1, (off_t)constant) == 1 && constant[0] == 'c');
        CHECK(pread(file, text, 8, (off_t)constant) == 8 && memcmp(text, "Constant", 8) == 0);
        CHECK(pread(file, text, 1, 16) == -1 && errno == EIO);
        CHECK(pwrite(file, text, 1, 16) == -1 && errno == EIO);
        close(file);
    }
    release(1);
    CHECK(waitpid(pid, &status, 0) == pid);
}

// A process that is stopped already: the tracer has it go on although it is, and it stays stopped when it is let go.
static void stopped(void)
{
    pid_t pid = start(waits);
    kill(pid, SIGSTOP);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid);
    say("by its parent");
    CHECK(ptrace(PTRACE_SEIZE, pid, 0, 0) == 0);
    await(pid, "seized");
    CHECK(ptrace(PTRACE_CONT, pid, 0, 0) == 0);
    CHECK(ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0);
    await(pid, "interrupted");
    CHECK(ptrace(PTRACE_DETACH, pid, 0, 0) == 0);
    release(1);
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    CHECK(waitpid(pid, &status, WNOHANG) == 0);
    kill(pid, SIGCONT);
    await(pid, "goes on");
    // SIGKILL ends what is stopped for its tracer.
    pid = start(waits);
    CHECK(ptrace(PTRACE_ATTACH, pid, 0, 0) == 0);
    await(pid, "attached");
    kill(pid, SIGKILL);
    await(pid, "killed while it is stopped");
    CHECK(ptrace(PTRACE_CONT, pid, 0, 0) == -1 && errno == ESRCH);
}

static volatile sig_atomic_t told, told_code, told_status;

static void on_child(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    told++;
    told_code = info->si_code;
    told_status = info->si_status;
}

// SIGCHLD tells of stops.
static void notices(void)
{
    struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART}, old;
    sigaction(SIGCHLD, &action, &old);
    pid_t pid = start(waits);
    CHECK(ptrace(PTRACE_ATTACH, pid, 0, 0) == 0);
    siginfo_t info = {0};
    CHECK(waitid(P_PID, pid, &info, WSTOPPED | WNOWAIT) == 0);
    CHECK(info.si_code == CLD_TRAPPED && info.si_status == SIGSTOP && info.si_pid == pid);
    printf("told %d times, code %d, status %d\n", told, told_code, told_status);
    await(pid, "attached");
    CHECK(ptrace(PTRACE_DETACH, pid, 0, SIGTERM) == 0);
    await(pid, "detached with a signal");
    printf("told %d times, code %d, status %d\n", told, told_code, told_status);
    sigaction(SIGCHLD, &old, NULL);
}

static void *attach_to_self(void *tid)
{
    CHECK(ptrace(PTRACE_ATTACH, *(pid_t *)tid, 0, 0) == -1 && errno == EPERM);
    return NULL;
}

// Who cannot be traced, and what is not there.
static void refused(void)
{
    pthread_t thread;
    pid_t self = getpid();
    pthread_create(&thread, NULL, attach_to_self, &self);
    pthread_join(thread, NULL);
    CHECK(ptrace(PTRACE_ATTACH, 0, 0, 0) == -1 && errno == ESRCH);
    CHECK(ptrace(PTRACE_ATTACH, 4000000, 0, 0) == -1 && errno == ESRCH);
    CHECK(ptrace(PTRACE_CONT, self, 0, 0) == -1 && errno == ESRCH);
    pid_t pid = start(waits);
    CHECK(ptrace(PTRACE_SETOPTIONS, pid, 0, 0) == -1 && errno == ESRCH);
    CHECK(ptrace(PTRACE_ATTACH, pid, 0, 0) == 0);
    await(pid, "attached");
    CHECK(ptrace(PTRACE_INTERRUPT, pid, 0, 0) == -1 && errno == EIO);
    CHECK(ptrace(PTRACE_LISTEN, pid, 0, 0) == -1 && errno == EIO);
    CHECK(ptrace(PTRACE_SETOPTIONS, pid, 0, 1 << 30) == -1 && errno == EINVAL);
    CHECK(ptrace(PTRACE_CONT, pid, 0, 65) == -1 && errno == EIO);
    CHECK(ptrace(9999, pid, 0, 0) == -1 && errno == EIO);
    CHECK(ptrace(PTRACE_DETACH, pid, 0, SIGKILL) == 0);
    await(pid, "ended");
    if (getuid() == 0) {
        pid = start(waits);
        pid_t other = fork();
        if (other == 0) {
            CHECK(setuid(12345) == 0);
            CHECK(ptrace(PTRACE_ATTACH, pid, 0, 0) == -1 && errno == EPERM);
            _exit(check_failures);
        }
        CHECK(waitpid(other, &status, 0) == other && status == 0);
        release(1);
        CHECK(waitpid(pid, &status, 0) == pid);
    }
}

int main(void)
{
    others_child();
    tracers_end();
    seized();
    stopped();
    notices();
    memory();
    refused();
    return FINISH();
}
