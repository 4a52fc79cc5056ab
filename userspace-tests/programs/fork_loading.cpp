// fork(2) while eight other threads load, unload, bind and throw, at which glibc's ld.so fails at times: each child finds
// nothing half done, and can load, bind, throw and start a thread by itself. Within a function that the dynamic linker calls
// fork is refused. The argument is the number of children.
// shared: fork_loading-one.so -DLIBRARY -fno-builtin -Wl,-z,lazy
// shared: fork_loading-two.so -DLIBRARY -fno-builtin -Wl,-z,lazy
// args: 20
// soak: 10000
#ifdef LIBRARY
#include <stdlib.h>
#include <string.h>

static int compare(const void *one, const void *two) { return *(const char *)one - *(const char *)two; }

// What it calls is bound at the first call.
extern "C" int work(const char *digits)
{
    char *copy = strdup(digits);
    qsort(copy, strlen(copy), 1, compare);
    int number = (int)strtol(copy, nullptr, 10);
    free(copy);
    return number;
}

extern "C" void toss(int value) { throw value; }
#else
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile bool stop;

static void *load(const char *path)
{
    void *library = dlopen(path, RTLD_LAZY);
    assert(library);
    auto work = reinterpret_cast<int (*)(const char *)>(dlsym(library, "work"));
    auto toss = reinterpret_cast<void (*)(int)>(dlsym(library, "toss"));
    assert(work && toss && work("321") == 123);
    int caught = 0;
    try {
        toss(5);
    } catch (int value) {
        caught = value;
    }
    assert(caught == 5);
    return library;
}

static void *load_on(void *path)
{
    while (!stop)
        dlclose(load(static_cast<const char *>(path)));
    return nullptr;
}

static void *add(void *sum)
{
    ++*static_cast<int *>(sum);
    return nullptr;
}

static int fork_within(struct dl_phdr_info *, size_t, void *)
{
    assert(fork() == -1 && errno == EAGAIN);
    return 1;
}

int main(int count, char **arguments)
{
    assert(count == 2 && dl_iterate_phdr(fork_within, nullptr) == 1);
    static char paths[][32] = {"./fork_loading-one.so", "./fork_loading-two.so"};
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        assert(pthread_create(&threads[i], nullptr, load_on, paths[i % 2]) == 0);
    for (int i = atoi(arguments[1]); i > 0; i--) {
        pid_t pid = fork();
        assert(pid >= 0);
        if (pid == 0) {
            int sum = 1;
            pthread_t one;
            load(paths[0]);
            load(paths[1]);
            assert(pthread_create(&one, nullptr, add, &sum) == 0 && pthread_join(one, nullptr) == 0);
            // No dlclose(3): another thread may have had libc's lock of FINI functions.
            _exit(sum);
        }
        int status;
        assert(waitpid(pid, &status, 0) == pid);
        assert(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    }
    stop = true;
    for (pthread_t thread : threads)
        pthread_join(thread, nullptr);
    printf("done\n");
    return 0;
}
#endif
