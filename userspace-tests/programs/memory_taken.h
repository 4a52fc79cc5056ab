// How much memory is in use, for programs that must not take more and more.
#pragma once
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include "check.h"

// Pages of memory in use: the program's, or all of a guest's, whose memory is this program's and the kernel's.
static long taken(void)
{
    struct utsname name;
    struct sysinfo system;
    if (!uname(&name) && strstr(name.release, "elfin") && !sysinfo(&system))
        return (long)((system.totalram - system.freeram) * system.mem_unit / 4096);
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(fscanf(file, "%ld", &pages) == 1);
    fclose(file);
    return pages;
}
