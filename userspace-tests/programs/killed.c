// Signals whose default is to end the program; the status is 128 + the signal's number.
// args: null
// args: write
// args: execute
// args: abort
// args: kill
// args: term
// args: divide
// args: illegal
// args: trap
// args: sibling
// args: user
// exit: 139 139 139 134 137 143 136 132 133 139 138
// stderr: any
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static const char constant[] = "constant";

static void *crash(void *unused)
{
    *(volatile int *)unused = 1;
    return 0;
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    puts(how);
    fflush(stdout);
    puts("never seen: not flushed");
    if (!strcmp(how, "null")) {
        volatile int *nothing = 0;
        __asm__("" : "+r"(nothing));
        return *nothing;
    } else if (!strcmp(how, "write")) {
        char *text = (char *)constant;
        __asm__("" : "+r"(text));
        *text = 'C';
    } else if (!strcmp(how, "execute")) {
        void (*data)(void) = (void (*)(void))mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        *(unsigned char *)data = 0xc3;
        data();
    } else if (!strcmp(how, "abort")) {
        abort();
    } else if (!strcmp(how, "kill")) {
        kill(getpid(), SIGKILL);
    } else if (!strcmp(how, "term")) {
        raise(SIGTERM);
    } else if (!strcmp(how, "divide")) {
        volatile int zero = 0;
        __asm__ volatile("idivl %0" : : "m"(zero), "a"(1), "d"(0));
    } else if (!strcmp(how, "illegal")) {
        __asm__ volatile("ud2");
    } else if (!strcmp(how, "trap")) {
        __asm__ volatile("int3");
    } else if (!strcmp(how, "sibling")) {
        pthread_t thread;
        pthread_create(&thread, 0, crash, 0);
        pause();
    } else if (!strcmp(how, "user")) {
        raise(SIGUSR1);
        // SIGUSR1 is 10.
    }
    fflush(stdout);
    return 0;
}
