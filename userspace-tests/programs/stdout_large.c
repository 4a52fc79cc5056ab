// One MiB to standard output and as much to standard error, in pieces of many sizes, arrives whole.
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

int main(void)
{
    static char line[70000];
    for (int i = 0; i < 10000; i++)
        printf("line %06d of standard output ----------------------------------------\n", i);
    fflush(stdout);
    size_t written = 0;
    for (size_t size = 1; written < 400000; size = size * 3 % 69997 + 1) {
        memset(line, 'a' + size % 26, size);
        line[size - 1] = '\n';
        for (size_t at = 0; at < size;) {
            ssize_t count = write(1, line + at, size - at);
            if (count <= 0)
                return 1;
            at += count;
        }
        written += size;
    }
    struct iovec parts[] = {{"one ", 4}, {"two ", 4}, {"three\n", 6}};
    if (writev(1, parts, 3) != 14)
        return 2;
    for (int i = 0; i < 20000; i++)
        fprintf(stderr, "line %06d of standard error\n", i);
    return 0;
}
