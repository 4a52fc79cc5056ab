// For programs that do the same in rounds and say what they see: the first round's text is printed, the others' must be the
// same. Libraries of such a program have `say`, too, if it is linked with -rdynamic.
#pragma once
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

#ifdef ROUNDS
static char said[2][8192];
static size_t said_length;
static int round_number;

void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = said[round_number != 0] + said_length;
    said_length += (size_t)vsnprintf(text, sizeof *said - said_length, format, arguments);
    va_end(arguments);
    if (round_number == 0)
        fputs(text, stdout);
}

// Plays as many rounds as `count` says, a few if it is null; returns the program's exit status.
static int play_rounds(const char *count, void (*play)(void))
{
    int rounds = count ? atoi(count) : ROUNDS;
    for (; round_number < rounds; round_number++) {
        said_length = 0;
        play();
        if (round_number && strcmp(said[0], said[1])) {
            printf("but in round %d:\n%s", round_number, said[1]);
            return 1;
        }
    }
    return 0;
}
#endif
