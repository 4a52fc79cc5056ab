// Exit statuses: from main, from exit() in a thread, _exit without flushing, quick_exit, the low eight bits only.
// args: 0
// args: 1
// args: 7
// args: 255
// args: 256
// args: -1
// args: 42 thread
// args: 43 raw
// args: 44 quick
// args: 45 last-thread
// exit: 0 1 7 255 0 255 42 43 44 0
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void at_exit(void) { puts("atexit"); }
static void at_quick_exit_(void) { puts("at_quick_exit"); fflush(stdout); }
static void *leave(void *status) { exit(atoi(status)); }
static void *outlive(void *unused)
{
    usleep(20000);
    puts("main is gone");
    return unused;
}

int main(int argc, char **argv)
{
    const char *how = argc > 2 ? argv[2] : "";
    pthread_t thread;
    atexit(at_exit);
    at_quick_exit(at_quick_exit_);
    puts("main");
    if (!strcmp(how, "thread")) {
        pthread_create(&thread, 0, leave, argv[1]);
        pause();
    } else if (!strcmp(how, "raw")) {
        _exit(atoi(argv[1]));
    } else if (!strcmp(how, "quick")) {
        quick_exit(atoi(argv[1]));
    } else if (!strcmp(how, "last-thread")) {
        // The process goes on until its last thread ends, then with status 0.
        pthread_create(&thread, 0, outlive, 0);
        pthread_exit(0);
    }
    return atoi(argv[1]);
}
