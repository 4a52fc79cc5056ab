/*
 * libelfin.so.1 as it is where Elfin's dynamic linker is not: every function says so. Under Elfin each of these
 * definitions is replaced when it is looked up (loader/src/gates.rs). Needs no other library.
 */
#include "elfin.h"

#include <errno.h>

int elfin_code_register(const struct elfin_code *code, elfin_code_t *id)
{
    (void)code, (void)id;
    return ENOSYS;
}

int elfin_code_unregister(elfin_code_t id)
{
    (void)id;
    return ENOSYS;
}

int elfin_code_find(const void *address, struct elfin_code_info *info)
{
    (void)address, (void)info;
    return ENOSYS;
}

size_t elfin_code_count(void)
{
    return 0;
}
