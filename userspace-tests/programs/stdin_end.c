// Standard input is read to its end, by stdio and by read, all of it and in order.
// args: stdio
// args: read
// args: poll
// stdin: 20000 x the quick brown fox jumps over the lazy dog\n
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    char block[3000];
    long bytes = 0, lines = 0;
    uint32_t sum = 1;
    if (!strcmp(how, "stdio")) {
        while (fgets(block, sizeof block, stdin)) {
            lines++;
            for (char *at = block; *at; at++, bytes++)
                sum = sum * 31 + (unsigned char)*at;
        }
        printf("end %d, error %d\n", feof(stdin) != 0, ferror(stdin));
    } else {
        struct pollfd wait = {0, POLLIN, 0};
        for (;;) {
            if (!strcmp(how, "poll") && poll(&wait, 1, -1) != 1)
                return 1;
            ssize_t count = read(0, block, sizeof block);
            if (count <= 0)
                break;
            bytes += count;
            for (ssize_t i = 0; i < count; i++) {
                sum = sum * 31 + (unsigned char)block[i];
                lines += block[i] == '\n';
            }
        }
        printf("again %zd\n", read(0, block, sizeof block));
    }
    printf("%ld bytes, %ld lines, %08x\n", bytes, lines, sum);
    return 0;
}
