// The limit on descriptors holds when it is lowered and when it is raised.
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "check.h"

int main(void)
{
    // The host's limits may be others than the guest's.
    struct rlimit limit, now;
    CHECK(close_range(3, ~0U, 0) == 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= limit.rlim_max);
    limit.rlim_cur = 20;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0 && getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur == 20);
    CHECK(sysconf(_SC_OPEN_MAX) == 20);
    int fd, highest = -1;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        highest = fd;
    CHECK(errno == EMFILE && highest == 19);
    CHECK(dup2(0, 20) == -1 && errno == EBADF && dup2(0, 19) == 19);
    CHECK(fcntl(0, F_DUPFD, 20) == -1 && errno == EINVAL);
    int ends[2];
    close(19);
    CHECK(pipe(ends) == -1 && errno == EMFILE && dup(0) == 19);
    limit.rlim_cur = 3000;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int i = 20; i < 3000; i++)
        highest = open("/dev/null", O_RDONLY);
    CHECK(highest == 2999);
    CHECK(open("/dev/null", O_RDONLY) == -1 && errno == EMFILE);
    // Descriptors above a new limit stay open.
    limit.rlim_cur = 100;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0 && fcntl(2999, F_GETFD) == 0 && close(2999) == 0);
    CHECK(prlimit(0, RLIMIT_NOFILE, 0, &now) == 0 && now.rlim_cur == 100);
    limit.rlim_cur = limit.rlim_max + 1;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == -1 && errno == EINVAL);
    return FINISH();
}
