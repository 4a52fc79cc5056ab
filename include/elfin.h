/*
 * elfin.h: what Elfin's dynamic linker does for programs that ask for it.
 *
 * Link with -lelfin. The library, libelfin.so.1, is a few bytes that work on every x86-64 Linux, where each function
 * says ENOSYS; under Elfin the dynamic linker puts its own functions in their place. A program that must start where
 * the library is not installed asks for it at run time: dlopen("libelfin.so.1", RTLD_LAZY), dlsym.
 *
 * Functions return 0, or an error number as those of POSIX threads do; errno is left alone.
 */
#ifndef ELFIN_H
#define ELFIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * CODE THAT NO FILE CONTAINS
 *
 * A JIT compiler or a language runtime tells the dynamic linker where the code is that it has made. Until it says that
 * the code is gone, or the code's owner goes, everybody knows what lies there:
 *
 *   - C++ exceptions, backtrace(3), pthread_cancel(3) and other users of _dl_find_object pass through the code, by the
 *     unwind information given with it;
 *   - dladdr(3) and Elfin's crash reports name it;
 *   - dlopen(3), dlsym(3) and their like, called from it, act for the object that owns it;
 *   - elfin_code_find() tells a garbage collector or a profiler whose it is.
 *
 * All these look without a lock, at one consistent state: also in signal handlers, and while other threads register and
 * unregister.
 */

/* A registered code range. No number is used twice; 0 is none. */
typedef uint64_t elfin_code_t;

/* Who owns a code range: with its owner it is unregistered. */
enum elfin_code_owner {
    /* Nobody: the range stays until elfin_code_unregister(). */
    ELFIN_CODE_OF_NOBODY = 0,
    /*
     * The calling thread. The range goes when the thread ends, in whatever way. It is like a thread_local object that is
     * made by the first registration of this kind in the thread: its destructor unregisters.
     */
    ELFIN_CODE_OF_THREAD = 1,
    /* A loaded object. The range goes when the object is unloaded, after its destructors have run. */
    ELFIN_CODE_OF_OBJECT = 2
};

/* What elfin_code_register() is told. Members not needed, and `reserved`, must be 0. */
struct elfin_code {
    /* The range: any place and size, also odd ones and parts of pages. */
    const void *start;
    size_t size;
    /* What to call it, at most 4095 bytes; NULL: no name. It is copied. */
    const char *name;
    /* ELFIN_CODE_OF_OBJECT: the object's handle, or an address within it. */
    const void *owner;
    /* One of enum elfin_code_owner. */
    uint32_t owned_by;
    uint32_t reserved0;
    /*
     * Unwind information, as in the sections of these names, at most one of the two; it must stay where it is and as it
     * is for as long as the range is registered. With .eh_frame_hdr a function is found by the search table, if that has
     * the usual encoding (DW_EH_PE_datarel | DW_EH_PE_sdata4: within 2 GiB of the code). With .eh_frame, which must end
     * with four zero bytes, entries are tried one after the other. Without either nothing unwinds through the code.
     */
    const void *eh_frame_hdr;
    const void *eh_frame;
    uint64_t reserved[2];
};

/*
 * Registers a code range and stores its number in *id, unless id is NULL.
 *
 * Not async-signal-safe.
 *
 * ERRORS
 *   EEXIST  A part of the range is registered already, or belongs to a loaded object.
 *   EINVAL  The range is empty or not in the program's half of the address space; the name is too long; owned_by is
 *           unknown; no object is loaded at owner; eh_frame_hdr points to something else, or both are given; a reserved
 *           member is not 0.
 *   ENOMEM  There is no memory.
 *   ENOSYS  The program does not run under Elfin's dynamic linker.
 */
int elfin_code_register(const struct elfin_code *code, elfin_code_t *id);

/*
 * Unregisters a code range. Afterwards its memory is no code to anybody, and may be used for something else.
 *
 * Not async-signal-safe. Memory that is unmapped with registered code in it (munmap, mmap with MAP_FIXED, mremap): under
 * Elfin's kernel that unregisters every range that lies in it, even in part; where the dynamic linker runs on Linux
 * (elfin-hosted) it cannot know, and unregistering first is the program's duty. mprotect changes nothing: code may be
 * made writable to patch it.
 *
 * ERRORS
 *   ENOENT  No range has this number, or it was unregistered, perhaps with its owner.
 *   ENOSYS  The program does not run under Elfin's dynamic linker.
 */
int elfin_code_unregister(elfin_code_t id);

/* Length of a name in struct elfin_code_info, with its end. */
#define ELFIN_CODE_NAME 256

/* What elfin_code_find() tells. */
struct elfin_code_info {
    /* The registered range, or the executable segment of the object. */
    const void *start;
    size_t size;
    /* The range's number; 0: the code is an object's own. */
    elfin_code_t id;
    /* One of enum elfin_code_owner; ELFIN_CODE_OF_OBJECT for an object's own code. */
    uint32_t owned_by;
    uint32_t reserved0;
    /* ELFIN_CODE_OF_OBJECT: the object's handle, a struct link_map. */
    void *handle;
    /* Where .eh_frame_hdr is (made by the dynamic linker for .eh_frame); NULL: nowhere. */
    const void *eh_frame_hdr;
    uint64_t reserved[2];
    /* The range's name, the object's path; cut if it is longer. */
    char name[ELFIN_CODE_NAME];
};

/*
 * Says whether there is code at an address, and whose. Data of objects is not code.
 *
 * Async-signal-safe: takes no lock and allocates nothing.
 *
 * ERRORS
 *   ENOENT  There is no code that is loaded or registered. Nothing is stored.
 *   ENOSYS  The program does not run under Elfin's dynamic linker.
 */
int elfin_code_find(const void *address, struct elfin_code_info *info);

/* Returns how many code ranges are registered; 0 without Elfin's dynamic linker. Async-signal-safe. */
size_t elfin_code_count(void);

/*
 * NAMESPACES AND SESSIONS
 *
 * A namespace is a set of loaded objects with names and scopes of its own, as dlmopen(3) makes them. A session is one for
 * interactive systems, plug-in hosts and JITs: what is loaded later is found first, a path means the file that is there
 * now, and everything goes when the session is closed. docs/namespaces.md tells more.
 *
 * Functions that return an error number, and those that return NULL, leave a text for dlerror(3).
 * None of them is async-signal-safe but elfin_session_bind().
 */

/* A namespace: an Lmid_t. 0 is the program's. */
typedef long elfin_namespace_t;

/*
 * In the mode of elfin_session_load(): INIT functions run on a thread that is made for it by pthread_create(3), and for
 * which the caller waits. That thread and those it starts see the new objects meanwhile.
 */
#define ELFIN_INIT_ON_WORKER 0x10000

/*
 * Opens a session and stores its number in *session. It shares with the program's namespace the objects that `shared`
 * names, an array that ends with a null pointer; NULL: none. A name is what dlopen(3) takes; "" stands for the program
 * and everything else that is global there. What is not loaded yet is loaded, and what is shared is never unloaded. The
 * C library is shared in any case.
 *
 * ERRORS
 *   ENOENT, ENOEXEC, ...  An object that is to be shared cannot be loaded.
 *   ENOSYS                The program does not run under Elfin's dynamic linker.
 */
int elfin_session_open(const char *const shared[], elfin_namespace_t *session);

/*
 * Loads an object and what it needs into a session, as dlopen(3) does, and returns its handle, which dlsym(3), dlclose(3)
 * and dlinfo(3) take. NULL: it cannot be loaded, and nothing has changed.
 */
void *elfin_session_load(elfin_namespace_t session, const char *file, int mode);

/*
 * Finds a symbol in a session: the newest definition, or else what is shared. NULL: there is none.
 */
void *elfin_session_symbol(elfin_namespace_t session, const char *name);

/* Two definitions of one name in a session. */
struct elfin_duplicate {
    const char *symbol;
    /* The file whose definition is found, and the one whose is not. */
    const char *newer;
    const char *older;
};

/*
 * Calls `visit` for each symbol that more than one of the session's own objects define, in the order of their names, until
 * it returns something else than 0. Weak definitions do not count: they are made to be there more than once.
 *
 * ERRORS
 *   EINVAL  There is no such session.
 *   ENOSYS  The program does not run under Elfin's dynamic linker.
 */
int elfin_session_duplicates(elfin_namespace_t session, int (*visit)(const struct elfin_duplicate *, void *), void *data);

/*
 * Binds the calling thread to a session; 0: to none. Until then, plain dlopen(3), and dlsym(3) with RTLD_DEFAULT, act in
 * the session when they are called by code of the program's namespace on this thread or on one it starts from now on.
 *
 * ERRORS
 *   EINVAL  There is no such session.
 *   ENOSYS  The program does not run under Elfin's dynamic linker.
 */
int elfin_session_bind(elfin_namespace_t session);

/*
 * Closes a session: runs the FINI functions of its objects and unloads them. What may not go (RTLD_NODELETE, thread-local
 * destructors that have not run yet) stays mapped until it may. Do not return into code of a session that is closed.
 *
 * ERRORS
 *   EINVAL  There is no such session.
 *   ENOSYS  The program does not run under Elfin's dynamic linker.
 */
int elfin_session_close(elfin_namespace_t session);

/* A definition, as elfin_symbols() shows it. */
struct elfin_symbol {
    const char *name;
    /* Its version; NULL: it has none. */
    const char *version;
    /* Where it is; of a thread-local symbol (STT_TLS), the offset in its block; of STT_GNU_IFUNC, the resolver. */
    void *address;
    size_t size;
    /* The object that defines it. */
    const char *file;
    void *handle;
    /* STT_... and STB_... of <elf.h>. */
    uint32_t type;
    uint32_t binding;
};

/*
 * Calls `visit` for each symbol that a namespace's objects provide, or one of them, by its handle, until it returns
 * something else than 0. What a namespace has through proxies is listed, too.
 *
 * ERRORS
 *   EINVAL  There is no such namespace, or no such handle in it.
 *   ENOSYS  The program does not run under Elfin's dynamic linker.
 */
int elfin_symbols(elfin_namespace_t ns, void *handle, int (*visit)(const struct elfin_symbol *, void *), void *data);

/*
 * dl_iterate_phdr(3) for a given namespace: its objects, and the objects it has proxies of. Returns what the last call of
 * `callback` returned, 0 if there was none.
 */
struct dl_phdr_info;
int dl_iterate_ns_phdr(elfin_namespace_t ns, int (*callback)(struct dl_phdr_info *, size_t, void *), void *data);

#ifdef __cplusplus
}
#endif

#endif
