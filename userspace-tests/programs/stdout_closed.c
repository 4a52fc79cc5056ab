// A program that closes its standard output gets EBADF from then on, and reports it; standard error still works.
// exit: 3
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    puts("before");
    fflush(stdout);
    close(1);
    puts("after");
    int result = fflush(stdout), error = errno;
    fprintf(stderr, "fflush: %d %s\n", result, strerror(error));
    int again = dup(2);
    dprintf(again, "descriptor %d is free for another\n", again);
    return 3;
}
