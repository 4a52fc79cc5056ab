// LeakSanitizer, whose tracer is a clone that shares memory, descriptors and directory with the program: it stops all
// threads by ptrace(2), looks for what nobody refers to, and lets them go. A program without leaks ends as it would.
// args:
// args: leaks
// exit: 0 1
// flags: -fsanitize=address -static-libasan
// stderr: any
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_barrier_t barrier;

// Holds a block by a local variable alone until the end.
static void *holder(void *unused)
{
    char *volatile held = malloc(50);
    (void)unused;
    strcpy(held, "held");
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    puts(held);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    char *block = malloc(100);
    (void)argv;
    strcpy(block, "block");
    puts(block);
    if (argc > 1)
        block = malloc(1);
    free(block);
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, holder, NULL);
    pthread_barrier_wait(&barrier);
    return 0;
}
