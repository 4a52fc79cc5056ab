// There is one process: fork is refused with an error that programs understand, and everything goes on. Linux would do
// it, so that this is run in the guest only.
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
extern char **environ;
int main(void)
{
    pid_t child;
    char *arguments[] = {"true", 0};
    printf("fork %s\n", fork() == -1 ? "refused" : "done");
    printf("posix_spawn %s\n", posix_spawn(&child, "/bin/true", 0, 0, arguments, environ) ? "refused" : "done");
    printf("popen %s\n", popen("true", "r") ? "done" : "refused");
    // As if the shell had not been found (system(3)).
    int status = system("true");
    printf("system %s\n", WIFEXITED(status) && WEXITSTATUS(status) == 127 ? "refused" : "done");
    return 0;
}
