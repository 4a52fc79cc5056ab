// Users, groups and capabilities: the rules of the setuid family, thread by thread and, by glibc, for all threads at once; who
// signals and files are from; and what root alone may do. What cannot be taken back is done in a thread.
// cpus: 2
// linux: as root
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

enum { USER = 1000, GROUP = 1001, OTHER = 1002, THREADS = 4 };

#define FAILS(call, error) CHECK((errno = 0, (call)) == -1 && errno == (error))

// The lines of status that begin with a name.
static void show(const char *name)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/status", gettid());
    FILE *status = fopen(path, "r");
    CHECK(status != 0);
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, name, strlen(name)))
            fputs(line, stdout);
    if (status)
        fclose(status);
}

static int has_ids(uid_t real, uid_t effective, uid_t saved)
{
    uid_t r, e, s;
    return getresuid(&r, &e, &s) == 0 && r == real && e == effective && s == saved && getuid() == real && geteuid() == effective;
}

static int has_groups(gid_t real, gid_t effective, gid_t saved)
{
    gid_t r, e, s;
    return getresgid(&r, &e, &s) == 0 && r == real && e == effective && s == saved && getgid() == real && getegid() == effective;
}

static unsigned long long capabilities(int set)
{
    struct { unsigned version; int pid; } header = {0x20080522, 0};
    unsigned data[6];
    CHECK(syscall(SYS_capget, &header, data) == 0);
    return data[set] | (unsigned long long)data[set + 3] << 32;
}

enum { EFFECTIVE, PERMITTED };

static long set_capabilities(unsigned long long effective, unsigned long long permitted)
{
    struct { unsigned version; int pid; } header = {0x20080522, 0};
    unsigned data[6] = {effective, permitted, 0, effective >> 32, permitted >> 32, 0};
    return syscall(SYS_capset, &header, data);
}

// Runs it in a thread, whose credentials end with it. The system calls below are the kernel's, not glibc's.
static void in_thread(void *(*function)(void *))
{
    pthread_t thread;
    CHECK(pthread_create(&thread, 0, function, 0) == 0 && pthread_join(thread, 0) == 0);
    CHECK(has_ids(0, 0, 0) && has_groups(0, 0, 0));
}

static void *ids(void *unused)
{
    FAILS(syscall(SYS_setuid, -1), EINVAL);
    FAILS(syscall(SYS_setgid, -1), EINVAL);
    // A new real id is saved as well, an effective one if it is not the real one.
    CHECK(syscall(SYS_setreuid, USER, -1) == 0 && has_ids(USER, 0, 0));
    CHECK(syscall(SYS_setreuid, 0, USER) == 0 && has_ids(0, USER, USER));
    FAILS(syscall(SYS_setresuid, OTHER, -1, -1), EPERM);
    CHECK(syscall(SYS_setreuid, -1, 0) == 0 && has_ids(0, 0, USER));
    CHECK(syscall(SYS_setregid, GROUP, OTHER) == 0 && has_groups(GROUP, OTHER, OTHER));
    CHECK(syscall(SYS_setresgid, -1, GROUP, 0) == 0 && has_groups(GROUP, GROUP, 0));
    CHECK(syscall(SYS_setresuid, USER, OTHER, 0) == 0 && has_ids(USER, OTHER, 0));
    CHECK(capabilities(EFFECTIVE) == 0 && capabilities(PERMITTED) != 0);
    show("Uid:");
    show("Gid:");
    show("CapEff:");
    // Ids can be exchanged, and no others be had.
    FAILS(syscall(SYS_setuid, 5), EPERM);
    FAILS(syscall(SYS_setuid, OTHER), EPERM);
    FAILS(syscall(SYS_setreuid, 0, -1), EPERM);
    FAILS(syscall(SYS_setgid, 5), EPERM);
    FAILS(syscall(SYS_setregid, 0, -1), EPERM);
    FAILS(syscall(SYS_setresgid, -1, -1, 5), EPERM);
    CHECK(setfsuid(5) == OTHER && setfsuid(USER) == OTHER && setfsuid(-1) == USER);
    CHECK(setfsgid(5) == GROUP && setfsgid(0) == GROUP && setfsgid(-1) == 0);
    show("Uid:");
    show("Gid:");
    CHECK(syscall(SYS_setregid, -1, 0) == 0 && has_groups(GROUP, 0, 0) && setfsgid(-1) == 0);
    CHECK(syscall(SYS_setresuid, OTHER, 0, -1) == 0 && has_ids(OTHER, 0, 0));
    CHECK(capabilities(EFFECTIVE) == capabilities(PERMITTED) && setfsuid(-1) == 0);
    // The capabilities for files go with the id for files.
    unsigned long long all = capabilities(EFFECTIVE);
    CHECK(setfsuid(USER) == 0 && capabilities(EFFECTIVE) != all && capabilities(EFFECTIVE) & 1 << 23);
    CHECK(!(capabilities(EFFECTIVE) & 1) && setfsuid(0) == USER && capabilities(EFFECTIVE) == all);
    // With CAP_SETUID all are set, and all that root has is gone.
    CHECK(syscall(SYS_setuid, USER) == 0 && has_ids(USER, USER, USER));
    CHECK(capabilities(EFFECTIVE) == 0 && capabilities(PERMITTED) == 0);
    FAILS(syscall(SYS_setuid, 0), EPERM);
    FAILS(syscall(SYS_setresuid, 0, 0, 0), EPERM);
    FAILS(set_capabilities(1, 1), EPERM);
    CHECK(set_capabilities(0, 0) == 0);
    return unused;
}

static void *groups(void *unused)
{
    gid_t some[] = {OTHER, 7, GROUP}, list[4];
    CHECK(syscall(SYS_setgroups, 3, some) == 0 && getgroups(0, 0) == 3);
    FAILS(getgroups(2, list), EINVAL);
    FAILS(syscall(SYS_getgroups, -1, list), EINVAL);
    CHECK(getgroups(4, list) == 3);
    printf("groups %d %d %d\n", list[0], list[1], list[2]);
    show("Groups:");
    FAILS(syscall(SYS_setgroups, 65537, some), EINVAL);
    FAILS(syscall(SYS_setgroups, 1, 0), EFAULT);
    CHECK(syscall(SYS_setuid, USER) == 0);
    FAILS(syscall(SYS_setgroups, 0, 0), EPERM);
    CHECK(getgroups(4, list) == 3);
    return unused;
}

static void *kept(void *unused)
{
    CHECK(prctl(PR_GET_KEEPCAPS) == 0 && prctl(PR_SET_KEEPCAPS, 1) == 0 && prctl(PR_GET_KEEPCAPS) == 1);
    FAILS(prctl(PR_SET_KEEPCAPS, 2), EINVAL);
    unsigned long long all = capabilities(PERMITTED);
    CHECK(syscall(SYS_setuid, USER) == 0 && capabilities(EFFECTIVE) == 0 && capabilities(PERMITTED) == all);
    FAILS(syscall(SYS_setuid, OTHER), EPERM);
    enum { SETUID = 1 << 7 };
    CHECK(set_capabilities(SETUID, SETUID) == 0 && capabilities(PERMITTED) == SETUID);
    FAILS(set_capabilities(SETUID, all), EPERM);
    CHECK(syscall(SYS_setuid, OTHER) == 0 && has_ids(OTHER, OTHER, OTHER));
    return unused;
}

static char directory[] = "/tmp/credentials-XXXXXX";

static void owner(const char *name, int mode_too)
{
    struct stat status;
    CHECK(lstat(name, &status) == 0);
    printf("%s: %d %d", name, status.st_uid, status.st_gid);
    if (mode_too)
        printf(" %o", status.st_mode);
    puts("");
}

static void *files(void *unused)
{
    gid_t other = OTHER;
    struct stat status;
    CHECK(chdir(directory) == 0 && chmod(".", 0777) == 0);
    CHECK(mkdir("handed-down", 0777) == 0 && chown("handed-down", 0, OTHER) == 0 && chmod("handed-down", 02777) == 0);
    CHECK(close(creat("roots", 0666)) == 0);
    CHECK(syscall(SYS_setgroups, 1, &other) == 0 && syscall(SYS_setresgid, 0, GROUP, 0) == 0);
    // The owner is who it is to files, not the effective user.
    setfsuid(USER);
    CHECK(close(creat("file", 0644)) == 0 && mkdir("directory", 0755) == 0 && symlink("file", "link") == 0);
    CHECK(mkfifo("fifo", 0644) == 0 && mkdir("handed-down/directory", 0755) == 0);
    CHECK(close(creat("handed-down/file", 0644)) == 0);
    int fd = open(".", O_TMPFILE | O_RDWR, 0600), memory = memfd_create("m", 0);
    CHECK(fstat(fd, &status) == 0 && status.st_uid == USER && status.st_gid == GROUP && close(fd) == 0);
    CHECK(fstat(memory, &status) == 0 && status.st_uid == USER && status.st_gid == GROUP && close(memory) == 0);
    CHECK(syscall(SYS_setuid, USER) == 0);
    for (int i = 0; i < 4; i++)
        owner((const char *[]){"file", "directory", "link", "fifo"}[i], 0);
    owner("handed-down/directory", 1);
    owner("handed-down/file", 1);
    // An owner can give the file to groups it is in, and nobody else's.
    FAILS(chown("roots", USER, -1), EPERM);
    FAILS(chown("roots", 0, 0), EPERM);
    FAILS(chmod("roots", 0666), EPERM);
    FAILS(chown("file", 0, -1), EPERM);
    FAILS(chown("file", -1, 77), EPERM);
    CHECK(chown("roots", -1, -1) == 0 && chown("file", USER, OTHER) == 0 && chmod("file", 0600) == 0);
    owner("file", 1);
    CHECK(chdir("/") == 0);
    return unused;
}

static void *root_only(void *unused)
{
    struct sched_param none = {0}, one = {1};
    struct rlimit limit;
    cpu_set_t all;
    CHECK(setrlimit(RLIMIT_RTPRIO, &(struct rlimit){0, 0}) == 0 && setrlimit(RLIMIT_NICE, &(struct rlimit){0, 0}) == 0);
    CHECK(getrlimit(RLIMIT_CORE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max = 1000;
    CHECK(setrlimit(RLIMIT_CORE, &limit) == 0);
    CHECK(sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none) == 0);
    CHECK(syscall(SYS_setuid, USER) == 0);
    limit.rlim_max = 1001;
    FAILS(setrlimit(RLIMIT_CORE, &limit), EPERM);
    FAILS(prlimit(0, RLIMIT_CORE, &limit, 0), EPERM);
    limit.rlim_cur = limit.rlim_max = 999;
    CHECK(setrlimit(RLIMIT_CORE, &limit) == 0);
    FAILS(sethostname("x", 1), EPERM);
    FAILS(syscall(SYS_sethostname, "x", 1000), EPERM);
    FAILS(setdomainname("x", 1), EPERM);
    FAILS(sched_setscheduler(0, SCHED_OTHER, &none), EPERM);
    FAILS(sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &one), EPERM);
    CHECK(sched_setscheduler(0, SCHED_IDLE | SCHED_RESET_ON_FORK, &none) == 0);
    FAILS(sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none), EPERM);
    FAILS(mq_open("/long", O_CREAT | O_RDWR, 0600, &(struct mq_attr){.mq_maxmsg = 60000, .mq_msgsize = 1}), EINVAL);
    // The other threads are root's still.
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0 && sched_setaffinity(0, sizeof all, &all) == 0);
    FAILS(sched_setaffinity(getpid(), sizeof all, &all), EPERM);
    FAILS(sched_setscheduler(getpid(), SCHED_BATCH, &none), EPERM);
    FAILS(setpriority(PRIO_PROCESS, getpid(), 19), EPERM);
    CHECK(setpriority(PRIO_PROCESS, 0, 19) == 0);
    FAILS(setpriority(PRIO_PROCESS, 0, 18), EACCES);
    FAILS(setpriority(PRIO_PROCESS, 0, -1), EACCES);
    return unused;
}

static void *senders(void *unused)
{
    siginfo_t info;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(syscall(SYS_setresuid, USER, OTHER, 0) == 0);
    CHECK(kill(getpid(), SIGUSR1) == 0 && sigwaitinfo(&set, &info) == SIGUSR1);
    CHECK(info.si_code == SI_USER && info.si_pid == getpid() && info.si_uid == USER);
    CHECK(tgkill(getpid(), gettid(), SIGUSR1) == 0 && sigwaitinfo(&set, &info) == SIGUSR1);
    CHECK(info.si_pid == getpid() && info.si_uid == USER);
    // Threads of the process can always send one another signals.
    CHECK(syscall(SYS_setuid, USER) == 0 && tgkill(getpid(), getpid(), 0) == 0);
    return unused;
}

static void *tells_ids(void *unused)
{
    CHECK(has_ids(USER, USER, USER) && has_groups(0, OTHER, 0) && capabilities(EFFECTIVE) == 0);
    return unused;
}

static void *inherits(void *unused)
{
    pthread_t thread;
    CHECK(syscall(SYS_setregid, -1, OTHER) == 0 && syscall(SYS_setresgid, -1, -1, 0) == 0 && syscall(SYS_setuid, USER) == 0);
    CHECK(pthread_create(&thread, 0, tells_ids, 0) == 0 && pthread_join(thread, 0) == 0);
    return unused;
}

static pthread_barrier_t barrier;
static sem_t never;

// Sees what another thread sets: while it computes, and in a system call that is interrupted and goes on.
static void *follows(void *waits)
{
    for (int round = 0; round < 50; round++) {
        pthread_barrier_wait(&barrier);
        if (waits)
            sem_wait(&never);
        else
            while (geteuid() != USER)
                ;
        CHECK(has_ids(0, USER, 0) && has_groups(GROUP, GROUP, GROUP));
        pthread_barrier_wait(&barrier);
        pthread_barrier_wait(&barrier);
        CHECK(has_ids(0, 0, 0) && has_groups(0, 0, 0));
    }
    return 0;
}

// glibc sends every thread a signal, in whose handler it makes the same system call.
static void everywhere(void)
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, 0, THREADS + 1);
    sem_init(&never, 0, 0);
    for (long i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], 0, follows, (void *)(i % 2)) == 0);
    for (int round = 0; round < 50; round++) {
        pthread_barrier_wait(&barrier);
        // The groups first: who computes goes on when it sees the user.
        CHECK(setresgid(GROUP, GROUP, GROUP) == 0 && seteuid(USER) == 0);
        for (int i = 0; i < THREADS / 2; i++)
            sem_post(&never);
        pthread_barrier_wait(&barrier);
        CHECK(has_ids(0, USER, 0) && seteuid(0) == 0 && setuid(0) == 0 && setresgid(0, 0, 0) == 0);
        pthread_barrier_wait(&barrier);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], 0) == 0);
    // An error is one for all.
    CHECK(seteuid(USER) == 0);
    FAILS(setgroups(0, 0), EPERM);
    FAILS(setresuid(OTHER, -1, -1), EPERM);
    CHECK(seteuid(0) == 0 && setgroups(0, 0) == 0 && has_ids(0, 0, 0));
}

// A message queue has an owner and a mode, and who has asked for its notification alone can do without.
static void queues(void)
{
    const char *name = "/elfin-credentials-queue";
    struct stat st;
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0640, 0);
    CHECK(queue != -1 && fstat(queue, &st) == 0 && st.st_uid == 0 && st.st_gid == 0 && st.st_mode == (S_IFREG | 0640));
    CHECK(mq_notify(queue, &event) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        CHECK(mq_notify(queue, 0) == 0);
        FAILS(mq_notify(queue, &event), EBUSY);
        CHECK(mq_close(queue) == 0 && setregid(GROUP, GROUP) == 0 && setreuid(USER, USER) == 0);
        FAILS(mq_open(name, O_RDONLY), EACCES);
        FAILS(mq_open(name, O_RDWR | O_CREAT, 0600, 0), EACCES);
        FAILS(mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, 0), EEXIST);
        // The call says EPERM; glibc makes of it what POSIX says.
        FAILS(mq_unlink(name), EACCES);
        CHECK(syscall(SYS_mq_unlink, name + 1) == -1 && errno == EPERM);
        CHECK((queue = mq_open("/elfin-credentials-own", O_RDWR | O_CREAT | O_EXCL, 0400, 0)) != -1);
        CHECK(fstat(queue, &st) == 0 && st.st_uid == USER && st.st_gid == GROUP);
        CHECK(mq_open("/elfin-credentials-own", O_RDONLY) != -1);
        FAILS(mq_open("/elfin-credentials-own", O_WRONLY), EACCES);
        CHECK(mq_unlink("/elfin-credentials-own") == 0);
        exit(check_failures);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    // The child's closing was not about this process' notification; its own is.
    FAILS(mq_notify(queue, &event), EBUSY);
    int other = dup(queue);
    CHECK(close(other) == 0 && mq_notify(queue, &event) == 0);
    CHECK(mq_close(queue) == 0 && mq_unlink(name) == 0);
}

static void as_sender(uid_t real, uid_t effective, int allowed, pid_t target)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int error = allowed ? 0 : EPERM, own = pidfd_open(getpid(), 0), pidfd = pidfd_open(target, 0);
        union sigval none = {0};
        CHECK(own != -1 && pidfd != -1 && setresuid(real, effective, effective) == 0);
        CHECK((kill(target, 0) == -1 ? errno : 0) == error);
        CHECK((kill(target, SIGURG) == -1 ? errno : 0) == error);
        CHECK((kill(-target, SIGURG) == -1 ? errno : 0) == error);
        CHECK((tgkill(target, target, SIGURG) == -1 ? errno : 0) == error);
        CHECK((syscall(SYS_tkill, target, 0) == -1 ? errno : 0) == error);
        CHECK((sigqueue(target, SIGURG, none) == -1 ? errno : 0) == error);
        CHECK((syscall(SYS_pidfd_send_signal, pidfd, SIGURG, 0, 0) == -1 ? errno : 0) == error);
        // All of a session can be let go on, and everybody sends to himself.
        CHECK(kill(target, SIGCONT) == 0 && kill(getpid(), 0) == 0);
        CHECK(syscall(SYS_pidfd_send_signal, own, 0, 0, 0) == 0);
        fflush(stdout);
        _exit(check_failures != 0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

// Who may send signals to a process: its real and its saved user, and root.
static void targets(void)
{
    int ends[2], status;
    char byte;
    CHECK(pipe(ends) == 0);
    pid_t target = fork();
    if (target == 0) {
        if (setpgid(0, 0) || setresuid(USER, OTHER, GROUP) || write(ends[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    CHECK(read(ends[0], &byte, 1) == 1);
    as_sender(USER, USER, 1, target);
    as_sender(GROUP, GROUP, 1, target);
    as_sender(OTHER, USER, 1, target);
    as_sender(USER, OTHER, 1, target);
    as_sender(OTHER, OTHER, 0, target);
    as_sender(OTHER, 0, 1, target);
    as_sender(0, OTHER, 0, target);
    CHECK(kill(target, SIGKILL) == 0);
    siginfo_t info;
    CHECK(waitid(P_PID, target, &info, WEXITED | WNOWAIT) == 0);
    CHECK(kill(target, 0) == 0 && waitpid(target, &status, 0) == target && WTERMSIG(status) == SIGKILL);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, 0) == 0);
    CHECK(setgroups(0, 0) == 0 && mkdtemp(directory) && has_ids(0, 0, 0) && has_groups(0, 0, 0));
    show("Uid:");
    show("Gid:");
    show("Groups:");
    in_thread(ids);
    in_thread(groups);
    in_thread(kept);
    in_thread(files);
    in_thread(senders);
    in_thread(inherits);
    everywhere();
    queues();
    targets();
    in_thread(root_only);
    CHECK(chdir(directory) == 0);
    for (int i = 0; i < 5; i++)
        CHECK(unlink((const char *[]){"file", "link", "fifo", "roots", "handed-down/file"}[i]) == 0);
    CHECK(rmdir("directory") == 0 && rmdir("handed-down/directory") == 0 && rmdir("handed-down") == 0 && rmdir(directory) == 0);
    return FINISH();
}
