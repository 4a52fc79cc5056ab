// A dynamically linked program starts, prints to both streams and ends.
// args:
// args: one two three
#include <stdio.h>

int main(int argc, char **argv)
{
    printf("hello from %s\n", argv[0]);
    for (int i = 1; i < argc; i++)
        printf("%d: %s\n", i, argv[i]);
    fprintf(stderr, "%d arguments, the list %s\n", argc - 1, argv[argc] ? "goes on" : "ends");
    return 0;
}
