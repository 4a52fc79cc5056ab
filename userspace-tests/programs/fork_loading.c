// fork(2) while other threads load and unload, at which glibc's ld.so fails at times: each child finds nothing half
// done, and can load by itself. Within a function that the dynamic linker calls fork is refused.
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int stop;

static void *load(void *arg)
{
    while (!stop) {
        void *libm = dlopen("libm.so.6", RTLD_NOW);
        assert(libm && dlsym(libm, "cos"));
        dlclose(libm);
    }
    return arg;
}

static void *add(void *sum)
{
    ++*(int *)sum;
    return NULL;
}

static int fork_within(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)info, (void)size, (void)arg;
    assert(fork() == -1 && errno == EAGAIN);
    return 1;
}

int main(void)
{
    assert(dl_iterate_phdr(fork_within, NULL) == 1);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert(pthread_create(&threads[i], NULL, load, NULL) == 0);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        assert(pid >= 0);
        if (pid == 0) {
            int sum = 1;
            pthread_t one;
            void *libm = dlopen("libm.so.6", RTLD_LAZY);
            assert(libm);
            double (*power)(double, double) = (double (*)(double, double))dlsym(libm, "pow");
            assert(power && power(2, 10) == 1024);
            assert(pthread_create(&one, NULL, add, &sum) == 0 && pthread_join(one, NULL) == 0);
            // No dlclose(3): another thread may have had libc's lock of FINI functions.
            _exit(sum);
        }
        int status;
        assert(waitpid(pid, &status, 0) == pid);
        assert(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    }
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    printf("done\n");
    return 0;
}
