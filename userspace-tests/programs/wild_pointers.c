// What bad pointers do: reads, writes and calls of addresses that programs meet by mistake are SIGSEGV, the kernel's half
// of the address space among them.
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>

static sigjmp_buf back;
static volatile int number, code;
static void *volatile address;

static void fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    number = signal;
    code = info->si_code;
    address = info->si_addr;
    siglongjmp(back, 1);
}

static void tell(const char *what, const char *how)
{
    printf("%s %s: signal %d code %d address %p\n", what, how, number, code, address);
}

static void try(const char *what, uintptr_t at)
{
    if (!sigsetjmp(back, 1)) {
        (void)*(volatile char *)at;
        printf("%s read: went on\n", what);
    } else
        tell(what, "read");
    if (!sigsetjmp(back, 1)) {
        *(volatile char *)at = 1;
        printf("%s written: went on\n", what);
    } else
        tell(what, "written");
    if (!sigsetjmp(back, 1)) {
        ((void (*)(void))at)();
        printf("%s called: went on\n", what);
    } else
        tell(what, "called");
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    try("null", 0);
    try("MAP_FAILED", -1UL);
    for (long offset = 8; offset <= 1L << 20; offset *= 2)
        try("small negative", -offset);
    try("the half's first byte", 0xffff800000000000);
    for (uintptr_t offset = 4096; offset <= 1UL << 38; offset *= 2)
        try("the half's beginning", 0xffff800000000000 + offset);
    try("Linux' direct map", 0xffff888000000000);
    try("Linux' text", 0xffffffff81000000);
    try("not canonical", 0x8000000000000000);
    try("poison", 0xdeadbeefdeadbeef);
    try("poison", 0xcccccccccccccccc);
    try("the program's last page", 0x7ffffffff000);
    try("a terabyte", 1UL << 40);
}
