// Binding a function at its first call, and making a TLS block at its first use, leave every register as it was: general
// registers, x87 with its control word, MXCSR, vector and mask registers, whatever this processor has; though the IFUNC
// resolver called on the way changes them all. Not run on Linux: glibc does not keep what x87 holds.
// hosted: too
// forked: too
// shared: binder_registers-lib.so -DLIBRARY -Wl,-z,lazy
// link: -Wl,-z,lazy

// All registers.
struct registers {
    unsigned char area[4096] __attribute__((aligned(64))); // as XSAVE has it
    unsigned long general[16];                             // rax, rbx, rcx, rdx, rsi, rdi, rbp, r8 to r15; rsp
};

#ifdef LIBRARY
// In the order they are stored: what a first call finds, and what is left after it.
struct registers binder_seen;
unsigned binder_mask;

// The arguments are in `%rdi`: loads all registers, does OPERATION, and puts the caller's registers back.
#define CALL(NAME, OPERATION)                                                                   \
    __asm__(".globl " #NAME "\n.type " #NAME ", @function\n" #NAME ":\n\t"                      \
            "push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n\t"    \
            "sub $24, %rsp\n\tstmxcsr (%rsp)\n\tfnstcw 4(%rsp)\n\t"                             \
            "mov binder_mask@GOTPCREL(%rip), %rax\n\tmov (%rax), %eax\n\txor %edx, %edx\n\t"    \
            "xrstor64 (%rdi)\n\t"                                                               \
            "lea 4096(%rdi), %r15\n\t"                                                          \
            "mov 0(%r15), %rax\n\tmov 8(%r15), %rbx\n\tmov 16(%r15), %rcx\n\t"                  \
            "mov 24(%r15), %rdx\n\tmov 32(%r15), %rsi\n\tmov 40(%r15), %rdi\n\t"                \
            "mov 48(%r15), %rbp\n\tmov 56(%r15), %r8\n\tmov 64(%r15), %r9\n\t"                  \
            "mov 72(%r15), %r10\n\tmov 80(%r15), %r11\n\tmov 88(%r15), %r12\n\t"                \
            "mov 96(%r15), %r13\n\tmov 104(%r15), %r14\n\tmov 112(%r15), %r15\n\t" OPERATION    \
            "fninit\n\tfldcw 4(%rsp)\n\tldmxcsr (%rsp)\n\tadd $24, %rsp\n\t"                    \
            "pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbp\n\tpop %rbx\n\tret\n")
CALL(through_plain, "call binder_plain@PLT\n\t");
CALL(through_ifunc, "call binder_ifunc@PLT\n\t");
CALL(through_descriptor, "lea binder_variable@tlsdesc(%rip), %rax\n\t"
                         "call *binder_variable@tlscall(%rax)\n\t"
                         "call store\n\t");

// What both functions are.
__asm__("store:\n\t"
        "push %r15\n\tmov binder_seen@GOTPCREL(%rip), %r15\n\tadd $4096, %r15\n\t"
        "mov %rax, 0(%r15)\n\tmov %rbx, 8(%r15)\n\tmov %rcx, 16(%r15)\n\tmov %rdx, 24(%r15)\n\t"
        "mov %rsi, 32(%r15)\n\tmov %rdi, 40(%r15)\n\tmov %rbp, 48(%r15)\n\tmov %r8, 56(%r15)\n\t"
        "mov %r9, 64(%r15)\n\tmov %r10, 72(%r15)\n\tmov %r11, 80(%r15)\n\tmov %r12, 88(%r15)\n\t"
        "mov %r13, 96(%r15)\n\tmov %r14, 104(%r15)\n\tpop 112(%r15)\n\tmov %rsp, 120(%r15)\n\t"
        "mov binder_mask@GOTPCREL(%rip), %rax\n\tmov (%rax), %eax\n\txor %edx, %edx\n\t"
        "xsave64 -4096(%r15)\n\tmov 112(%r15), %r15\n\tret\n\t"
        ".globl binder_plain\n\t.type binder_plain, @function\n\t.set binder_plain, store\n");

__thread long binder_variable[100] = {[99] = 1};

static void (*resolve(void))(void)
{
    void (*store)(void);
    // The stack is as a C function wants it, and nothing is safe here.
    char here __attribute__((aligned(16)));
    if ((unsigned long)&here % 16)
        return 0;
    __asm__ volatile("fninit\n\tfldpi\n\tfldcw %1\n\tldmxcsr %2\n\tlea store(%%rip), %0"
                     : "=r"(store)
                     : "m"((const unsigned short){0xf7f}), "m"((const unsigned){0x7f80}));
    __asm__ volatile("pcmpeqd %xmm0, %xmm0\n\tpcmpeqd %xmm1, %xmm1\n\tpcmpeqd %xmm7, %xmm7\n\tpcmpeqd %xmm15, %xmm15");
    if (binder_mask & 4)
        __asm__ volatile("vzeroall");
    if (binder_mask & 0xe0)
        __asm__ volatile("vpternlogd $255, %zmm3, %zmm3, %zmm3\n\tvpternlogd $255, %zmm29, %zmm29, %zmm29\n\t"
                         "kxnorw %k0, %k0, %k1\n\tkxnorw %k0, %k0, %k7");
    __asm__ volatile("xor %%ecx, %%ecx\n\txor %%r8d, %%r8d\n\txor %%r9d, %%r9d\n\txor %%r10d, %%r10d\n\txor %%r11d, %%r11d"
                     ::: "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc");
    return store;
}
void binder_ifunc(void) __attribute__((ifunc("resolve")));
#else
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include "check.h"

static void cpuid(unsigned leaf, unsigned sub, unsigned out[4])
{
    __asm__("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(sub));
}

// What one first use has left of the registers it found.
static void compare(const struct registers *before, const struct registers *after, unsigned mask, int kept_rax, int kept_r11)
{
    for (int i = 0; i < 15; i++)
        if ((i != 0 || kept_rax) && (i != 10 || kept_r11))
            CHECK(before->general[i] == after->general[i]);
    CHECK(after->general[15] % 16 == 8);
    CHECK(!memcmp(before->area, after->area, 2)); // the control word
    CHECK(before->area[4] == after->area[4]);     // which of x87's registers hold something
    CHECK(!memcmp(before->area + 24, after->area + 24, 4));
    for (int i = 0; i < 8; i++)
        CHECK(!memcmp(before->area + 32 + 16 * i, after->area + 32 + 16 * i, 10));
    for (int i = 0; i < 16; i++)
        CHECK(!memcmp(before->area + 160 + 16 * i, after->area + 160 + 16 * i, 16));
    for (unsigned component = 2; component < 8; component++) {
        unsigned leaf[4];
        cpuid(13, component, leaf);
        if (mask & 1 << component)
            CHECK(!memcmp(before->area + leaf[1], after->area + leaf[1], leaf[0]));
    }
}

int main(void)
{
    unsigned leaf[4], low, high;
    cpuid(1, 0, leaf);
    if (!(leaf[2] & 1 << 27)) {
        puts("this processor has no XSAVE");
        return 1;
    }
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    unsigned mask = low & 0xe7;
    static struct registers before;
    for (unsigned i = 0; i < sizeof before.area; i++)
        before.area[i] = (unsigned char)(i * 7 + i / 256 + 1);
    memset(before.area, 0, 32);
    memset(before.area + 512, 0, 64);
    // Round to zero in both units; x87 full of numbers, the top of its stack where it is at first.
    memcpy(before.area, (unsigned short[]){0xf7f, 0, 0xff}, 6);
    memcpy(before.area + 24, (unsigned[]){0x7f80}, 4);
    memcpy(before.area + 512, (unsigned long[]){mask}, 8);
    for (int i = 0; i < 8; i++)
        memcpy(before.area + 32 + 16 * i, &(long double){i + 0.25L}, 10);
    for (int i = 0; i < 15; i++)
        before.general[i] = 0x0101010101010101ul * (unsigned long)(i + 1);

    static const char *names[] = {"through_plain", "through_ifunc", "through_descriptor"};
    // Opened, so that its TLS block is made at the first use.
    void *library = dlopen("./binder_registers-lib.so", RTLD_LAZY);
    if (!library) {
        puts(dlerror());
        return 1;
    }
    struct registers *after = dlsym(library, "binder_seen");
    *(unsigned *)dlsym(library, "binder_mask") = mask;
    for (int i = 0; i < 3; i++) {
        void (*call)(const struct registers *) = (void (*)(const struct registers *))dlsym(library, names[i]);
        errno = 1234;
        for (int round = 0; round < 2; round++) {
            memset(after, 0, sizeof *after);
            call(&before);
            compare(&before, after, mask, i != 2, i == 2);
        }
        CHECK(errno == 1234);
    }
    return FINISH();
}
#endif
