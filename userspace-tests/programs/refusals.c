// Calls with arguments that make no sense: which error each gives. A thread's number stands for its process in kill(2).
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#define SHOW(call) \
    do { \
        errno = 0; \
        int result = call; \
        printf("%s: %d, %s\n", #call, result, strerrorname_np(errno)); \
    } while (0)
static void *thread(void *tid)
{
    *(pid_t *)tid = gettid();
    SHOW(kill(gettid(), 0));
    SHOW(kill(gettid(), SIGURG));
    return 0;
}
int main(void)
{
    struct sched_param parameter = {0};
    struct timespec slice;
    SHOW(sched_getparam(-1, &parameter));
    SHOW(sched_setparam(-1, &parameter));
    SHOW(sched_getscheduler(-1));
    SHOW(sched_setscheduler(-1, SCHED_OTHER, &parameter));
    SHOW(sched_rr_get_interval(-1, &slice));
    SHOW(sched_getscheduler(4000000));
    SHOW(getpriority(PRIO_PROCESS, -1));
    int ends[2], file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    pipe(ends);
    SHOW(sync_file_range(-1, 0, 0, 0));
    SHOW(sync_file_range(ends[0], 0, 0, 0));
    SHOW(sync_file_range(file, 0, 0, 8));
    SHOW(sync_file_range(file, -1, 1, 0));
    SHOW(sync_file_range(file, 0, -1, 0));
    SHOW(sync_file_range(file, 0, 1, SYNC_FILE_RANGE_WRITE));
    SHOW(kill(4000000, 0));
    pthread_t other;
    pid_t tid;
    pthread_create(&other, 0, thread, &tid);
    pthread_join(other, 0);
}
