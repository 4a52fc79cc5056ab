// A fork bomb: each process makes as many as it can, until there are as many as there may be. All are refused more with
// EAGAIN, none is killed for want of memory, and when the bomb is, there is room for another. How many there may be is
// the system's business, so that this is run in the guest only, where orphans are its first process' children.
// memory: 64M
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"
#include "memory_taken.h"

static struct shared {
    atomic_int made, refused, others;
} *shared;

// Of each process that is made, too.
static void bomb(void)
{
    // Counted before there is one, so that there are never more than that.
    do
        shared->made++;
    while (fork() >= 0);
    atomic_fetch_add(errno == EAGAIN ? &shared->refused : &shared->others, 1);
    shared->made--;
}

static long explode(void)
{
    *shared = (struct shared){0};
    pid_t first = fork();
    if (!first) {
        setpgid(0, 0);
        bomb();
        for (;;)
            pause();
    }
    // Until all that there are have been refused.
    while (shared->refused + shared->others != shared->made + 1)
        usleep(1000);
    // No more here, nor a program to do something about it.
    CHECK(fork() == -1 && errno == EAGAIN);
    CHECK(kill(-first, SIGKILL) == 0);
    while (wait(NULL) > 0)
        ;
    CHECK(errno == ECHILD);
    CHECK(shared->others == 0);
    return shared->made;
}

int main(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    long first = explode(), before = taken();
    printf("%s\n", first > 50 ? "many" : "few");
    // Two may be let in at the same time.
    for (int i = 0; i < 3; i++)
        CHECK(labs(explode() - first) < 8);
    // The kernel keeps some for the next; a child alone has 50.
    CHECK(taken() - before < 200);
    return FINISH();
}
