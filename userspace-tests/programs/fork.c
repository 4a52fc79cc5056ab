// fork(2): memory diverges or stays shared as it should, and a child goes on as if it were alone: libc, threads,
// signals, the dynamic linker.
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

static int data = 1;
static int zero;
static const char *constant = "constant";

static int wait_for(pid_t pid)
{
    int status = -1;
    assert(waitpid(pid, &status, 0) == pid);
    return status;
}

// Runs `body` in a child, and checks that it succeeds.
#define CHILD(body)                        \
    do {                                   \
        fflush(stdout);                    \
        pid_t pid_ = fork();               \
        assert(pid_ >= 0);                 \
        if (pid_ == 0) {                   \
            body;                          \
            _exit(0);                      \
        }                                  \
        assert(wait_for(pid_) == 0);       \
    } while (0)

static void *pages(int n, int flags)
{
    void *at = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
    assert(at != MAP_FAILED);
    return at;
}

static void private_memory(void)
{
    int local = 3, *heap = malloc(sizeof *heap), *touched = pages(64, MAP_PRIVATE);
    *heap = 4;
    for (int i = 0; i < 64; i++)
        touched[i * PAGE / 4] = i;
    CHILD({
        assert(data == 1 && zero == 0 && local == 3 && *heap == 4);
        for (int i = 0; i < 64; i++)
            assert(touched[i * PAGE / 4] == i);
        data = zero = local = *heap = 50;
        for (int i = 0; i < 64; i += 2)
            touched[i * PAGE / 4] = 100;
        free(heap);
        for (int i = 0; i < 64; i++)
            assert(touched[i * PAGE / 4] == (i % 2 ? i : 100));
    });
    assert(data == 1 && zero == 0 && local == 3 && *heap == 4);
    for (int i = 0; i < 64; i++) {
        assert(touched[i * PAGE / 4] == i);
        touched[i * PAGE / 4] = 7;
    }

    // The parent writes first.
    int go[2];
    assert(pipe(go) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        char c;
        assert(read(go[0], &c, 1) == 1);
        for (int i = 0; i < 64; i++)
            assert(touched[i * PAGE / 4] == 7);
        _exit(0);
    }
    for (int i = 0; i < 64; i++)
        touched[i * PAGE / 4] = -1;
    // What is protected and opened again is not shared after all.
    assert(mprotect(touched, 64 * PAGE, PROT_NONE) == 0);
    assert(mprotect(touched, 64 * PAGE, PROT_READ | PROT_WRITE) == 0);
    for (int i = 0; i < 64; i++)
        touched[i * PAGE / 4]--;
    assert(write(go[1], "", 1) == 1);
    assert(wait_for(pid) == 0);
    close(go[0]), close(go[1]);

    CHILD({
        assert(mprotect(touched, 64 * PAGE, PROT_READ) == 0);
        assert(mprotect(touched, 64 * PAGE, PROT_READ | PROT_WRITE) == 0);
        memset(touched, 0, 64 * PAGE);
    });
    for (int i = 0; i < 64; i++)
        assert(touched[i * PAGE / 4] == -2);
    munmap(touched, 64 * PAGE);
    free(heap);
    printf("private memory diverges\n");
}

static void shared_memory(void)
{
    volatile int *shared = pages(2, MAP_SHARED);
    shared[0] = 1;
    // The second page is touched by the child first.
    CHILD({
        assert(shared[0] == 1);
        shared[0] = 2;
        shared[PAGE / 4] = 3;
    });
    assert(shared[0] == 2 && shared[PAGE / 4] == 3);

    char name[] = "/tmp/fork-XXXXXX";
    int fd = mkstemp(name);
    assert(fd >= 0 && ftruncate(fd, 2 * PAGE) == 0 && pwrite(fd, "before", 6, 0) == 6);
    char *file = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *copy = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    assert(file != MAP_FAILED && copy != MAP_FAILED && strcmp(copy, "before") == 0);
    copy[PAGE] = 'p';
    CHILD({
        strcpy(file, "after!");
        strcpy(copy, "child");
        assert(copy[PAGE] == 'p');
        file[PAGE] = 's';
    });
    assert(strcmp(file, "after!") == 0 && strcmp(copy, "after!") == 0);
    assert(file[PAGE] == 's' && copy[PAGE] == 'p');
    unlink(name);

    // A semaphore in it wakes across processes.
    sem_t *there = pages(1, MAP_SHARED), *back = there + 1;
    assert(sem_init(there, 1, 0) == 0 && sem_init(back, 1, 0) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 100; i++) {
            sem_wait(there);
            shared[0]++;
            sem_post(back);
        }
        _exit(0);
    }
    for (int i = 0; i < 100; i++) {
        sem_post(there);
        sem_wait(back);
    }
    assert(wait_for(pid) == 0 && shared[0] == 102);
    printf("shared memory stays shared\n");
}

static void advised_memory(void)
{
    char *at = pages(3, MAP_PRIVATE);
    memset(at, 'x', 3 * PAGE);
    assert(madvise(at, PAGE, MADV_DONTFORK) == 0);
    assert(madvise(at + PAGE, PAGE, MADV_WIPEONFORK) == 0);
    CHILD({
        int fds[2];
        assert(pipe(fds) == 0);
        assert(write(fds[1], at, 1) == -1 && errno == EFAULT);
        assert(at[PAGE] == 0 && at[2 * PAGE - 1] == 0 && at[2 * PAGE] == 'x');
    });
    assert(at[0] == 'x' && at[PAGE] == 'x');
    munmap(at, 3 * PAGE);
    printf("advice is followed\n");
}

static void statuses(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(42);
    int status = wait_for(pid);
    assert(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    pid = fork();
    if (pid == 0)
        raise(SIGALRM);
    status = wait_for(pid);
    assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
    pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    kill(pid, SIGTERM);
    status = wait_for(pid);
    assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert(waitpid(-1, &status, 0) == -1 && errno == ECHILD);
    printf("statuses arrive\n");
}

static int nest(int depth)
{
    if (depth == 0)
        return 0;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        assert(getppid() == parent && getpid() == (pid_t)syscall(SYS_gettid));
        _exit(nest(depth - 1) + 1);
    }
    int status = wait_for(pid);
    assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void pipes(void)
{
    // Each of a chain of processes adds one; descriptors are each one's own.
    int first[2], from;
    assert(pipe(first) == 0);
    from = first[0];
    for (int i = 0; i < 5; i++) {
        int next[2];
        assert(pipe(next) == 0);
        pid_t pid = fork();
        if (pid == 0) {
            int n;
            close(first[1]), close(next[0]);
            while (read(from, &n, sizeof n) == sizeof n) {
                n++;
                assert(write(next[1], &n, sizeof n) == sizeof n);
            }
            _exit(0);
        }
        close(from), close(next[1]);
        from = next[0];
    }
    int n = 10;
    assert(write(first[1], &n, sizeof n) == sizeof n);
    close(first[1]);
    assert(read(from, &n, sizeof n) == sizeof n && n == 15);
    assert(read(from, &n, sizeof n) == 0);
    close(from);
    for (int i = 0; i < 5; i++)
        assert(wait(NULL) > 0);
    printf("a pipeline runs\n");
}

static _Thread_local int own = 5;
static volatile int stop;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int prepared, in_parent, in_child;

static void prepare(void) { prepared++; }
static void parent(void) { in_parent++; }
static void child(void) { in_child++; }

static void *busy(void *arg)
{
    (void)arg;
    while (!stop) {
        pthread_mutex_lock(&mutex);
        free(malloc(100));
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void *add(void *sum)
{
    own++;
    return memcpy(sum, &own, sizeof own);
}

static void threads(void)
{
    pthread_t thread[3];
    pthread_atfork(prepare, parent, child);
    for (int i = 0; i < 3; i++)
        assert(pthread_create(&thread[i], NULL, busy, NULL) == 0);
    own = 6;
    for (int i = 0; i < 20; i++)
        CHILD({
            assert(own == 6 && in_child == 1);
            free(malloc(1000));
            // Alone: a thread of its own, and loads.
            int sum = 0;
            pthread_t one;
            void *libm = dlopen("libm.so.6", RTLD_LAZY);
            assert(libm);
            double (*power)(double, double) = dlsym(libm, "pow");
            assert(power(2, 10) == 1024);
            assert(pthread_create(&one, NULL, add, &sum) == 0);
            assert(pthread_join(one, NULL) == 0);
            assert(sum == 6 && own == 6);
            dlclose(libm);
        });
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    assert(prepared == 20 && in_parent == 20 && in_child == 0);
    printf("children of a process with threads are alone\n");
}

static void *fork_in_thread(void *arg)
{
    (void)arg;
    own = 77;
    CHILD({
        assert(own == 77);
        void *libm = dlopen("libm.so.6", RTLD_NOW);
        assert(libm && strcmp(constant, "constant") == 0);
    });
    return NULL;
}

static void linker(void)
{
    pthread_t thread;
    assert(pthread_create(&thread, NULL, fork_in_thread, NULL) == 0);
    pthread_join(thread, NULL);
    // Handles, error texts and names are the parent's, in the same place.
    void *self = dlopen(NULL, RTLD_NOW);
    assert(dlopen("no such file", RTLD_NOW) == NULL);
    CHILD({
        const char *error = dlerror();
        assert(error && strstr(error, "no such file"));
        assert(dlsym(self, "printf") == (void *)printf);
        Dl_info info;
        assert(dladdr((void *)printf, &info) && strstr(info.dli_fname, "libc.so"));
    });
    assert(dlerror() != NULL);
    printf("the dynamic linker goes on\n");
}

static volatile int got;
static void on_usr1(int signal) { got += signal; }

static void signals(void)
{
    sigset_t set, now;
    signal(SIGUSR1, on_usr1);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR2);
    CHILD({
        sigset_t pending;
        raise(SIGUSR1);
        assert(got == SIGUSR1);
        sigprocmask(SIG_SETMASK, NULL, &now);
        assert(sigismember(&now, SIGUSR2));
        // What is pending is not inherited.
        assert(sigpending(&pending) == 0 && !sigismember(&pending, SIGUSR2));
        signal(SIGUSR1, SIG_DFL);
    });
    raise(SIGUSR1);
    assert(got == SIGUSR1);
    signal(SIGUSR2, SIG_IGN);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    printf("signals are each one's own\n");
}

int main(void)
{
    private_memory();
    shared_memory();
    advised_memory();
    statuses();
    assert(nest(6) == 6);
    pipes();
    signals();
    linker();
    threads();
    printf("done\n");
    return 0;
}
