// Functions made at run time, with their unwind information, for tests of what unwinders and others know of them.
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "check.h"
#include "../../include/elfin.h"

// int call(int (*function)(int), int value) { return function(value) + 1; }
static const unsigned char jit_call_bytes[] = {
    0x55,             // push %rbp
    0x48, 0x89, 0xe5, // mov %rsp, %rbp
    0x48, 0x89, 0xf8, // mov %rdi, %rax
    0x89, 0xf7,       // mov %esi, %edi
    0xff, 0xd0,       // call *%rax
    0x83, 0xc0, 0x01, // add $1, %eax
    0x5d,             // pop %rbp
    0xc3,             // ret
};
typedef int jit_call(int (*function)(int), int value);

// void *find(void *(*dlsym)(void *, const char *), const char *name) { return dlsym(RTLD_DEFAULT, name); }
static const unsigned char jit_find_bytes[] = {
    0x55,             // push %rbp
    0x48, 0x89, 0xe5, // mov %rsp, %rbp
    0x48, 0x89, 0xf8, // mov %rdi, %rax
    0x31, 0xff,       // xor %edi, %edi
    0xff, 0xd0,       // call *%rax
    0x90, 0x90, 0x90, // nop
    0x5d,             // pop %rbp
    0xc3,             // ret
};
typedef void *jit_find(void *(*dlsym)(void *, const char *), const char *name);

enum { JIT_SIZE = sizeof jit_call_bytes };

// Room for functions and what goes with them.
static inline char *jit_pages(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    return (char *)pages;
}

// One of the functions above, at any address.
static inline const char *jit_make(char *at, const unsigned char *bytes)
{
    memcpy(at, bytes, JIT_SIZE);
    return at;
}

static inline char *jit_word(char *at, uint64_t value, size_t size)
{
    memcpy(at, &value, size);
    return at + size;
}

enum { JIT_FRAMES = 88, JIT_HEADER = 24 };

// An .eh_frame section of one function of JIT_SIZE bytes: as both functions above push and pop.
static inline const char *jit_frames(char *at, const void *function)
{
    static const char common[] = "\0\0\0\0\1zR\0\1\x78\x10\1\0\x0c\7\x08\x90\1\0\0";
    static const char rules[] = "\0\x41\x0e\x10\x86\2\x43\x0d\6\x4b\x0c\7\x08\0\0\0";
    char *next = jit_word(at, 20, 4);
    memcpy(next, common, 20);
    char *description = next + 20;
    next = jit_word(description, 36, 4);
    next = jit_word(next, description + 4 - at, 4);
    next = jit_word(next, (uintptr_t)function, 8);
    next = jit_word(next, JIT_SIZE, 8);
    memcpy(next, rules, 16);
    jit_word(next + 16, 0, 4);
    return at;
}

// An .eh_frame_hdr section with a search table of this one entry; all must lie within 2 GiB.
static inline const char *jit_header(char *at, const char *frames, const void *function)
{
    char *next = jit_word(at, 0x3b031b01, 4);
    next = jit_word(next, frames - next, 4);
    next = jit_word(next, 1, 4);
    next = jit_word(next, (const char *)function - at, 4);
    jit_word(next, frames + 24 - at, 4);
    return at;
}

static inline struct elfin_code jit_code(const void *start, const char *name)
{
    struct elfin_code code;
    memset(&code, 0, sizeof code);
    code.start = start;
    code.size = JIT_SIZE;
    code.name = name;
    return code;
}

// What elfin_code_find says of an address: the name, or "".
static inline const char *jit_name(const void *address)
{
    static __thread struct elfin_code_info info;
    return elfin_code_find(address, &info) ? "" : info.name;
}
