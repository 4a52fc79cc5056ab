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

int elfin_session_open(const char *const shared[], elfin_namespace_t *session)
{
    (void)shared, (void)session;
    return ENOSYS;
}

void *elfin_session_load(elfin_namespace_t session, const char *file, int mode)
{
    (void)session, (void)file, (void)mode;
    return NULL;
}

void *elfin_session_symbol(elfin_namespace_t session, const char *name)
{
    (void)session, (void)name;
    return NULL;
}

int elfin_session_duplicates(elfin_namespace_t session, int (*visit)(const struct elfin_duplicate *, void *), void *data)
{
    (void)session, (void)visit, (void)data;
    return ENOSYS;
}

int elfin_session_bind(elfin_namespace_t session)
{
    (void)session;
    return ENOSYS;
}

int elfin_session_close(elfin_namespace_t session)
{
    (void)session;
    return ENOSYS;
}

int elfin_symbols(elfin_namespace_t ns, void *handle, int (*visit)(const struct elfin_symbol *, void *), void *data)
{
    (void)ns, (void)handle, (void)visit, (void)data;
    return ENOSYS;
}

int dl_iterate_ns_phdr(elfin_namespace_t ns, int (*callback)(struct dl_phdr_info *, size_t, void *), void *data)
{
    (void)ns, (void)callback, (void)data;
    return 0;
}
