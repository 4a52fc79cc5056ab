// What the programs share: assertions that say what failed and go on, and a status for the end.
#pragma once
#include <stdio.h>

static int check_failures;

#define CHECK(condition)                                                  \
    do {                                                                  \
        if (!(condition)) {                                               \
            __atomic_add_fetch(&check_failures, 1, __ATOMIC_RELAXED);     \
            printf("%s:%d: not so: %s\n", __func__, __LINE__, #condition); \
        }                                                                 \
    } while (0)

#define FINISH()                                                          \
    (check_failures ? (puts("failed"), 1) : (puts("passed"), 0))
