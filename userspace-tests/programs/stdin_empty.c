// Without input, standard input is at its end at once.
#include <stdio.h>
#include <unistd.h>
int main(void)
{
    char byte;
    printf("%zd %d %d\n", read(0, &byte, 1), getchar(), isatty(0));
    return 0;
}
