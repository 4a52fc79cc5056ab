// Waiting until another thread of the process waits itself, so that what is to wake it finds it asleep.
#pragma once
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

// Returns when the thread, which must be about to wait for good, sleeps.
static void until_asleep(pid_t tid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    for (;;) {
        FILE *stat = fopen(path, "r");
        size_t length = stat ? fread(text, 1, sizeof text - 1, stat) : 0;
        if (stat)
            fclose(stat);
        text[length] = 0;
        char *name_end = strrchr(text, ')');
        if (name_end && name_end[1] && name_end[2] == 'S')
            return;
        sched_yield();
    }
}
