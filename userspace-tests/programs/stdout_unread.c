// When nobody reads standard output any more, SIGPIPE ends the program; if that is ignored, writing is EPIPE.
// args:
// args: ignore
// exit: 141 4
// stdout: closed after 10000
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    if (argc > 1 && argv)
        signal(SIGPIPE, SIG_IGN);
    char line[100] = "line";
    // Buffers between us and the reader hold some, but not this much.
    for (int i = 0; i < 1000000; i++) {
        if (write(1, line, sizeof line) == -1) {
            fprintf(stderr, "%s\n", errno == EPIPE ? "EPIPE" : "another error");
            return 4;
        }
    }
    return 0;
}
