// LD_AUDIT: an auditor in a namespace of its own is told of objects, bindings and the end, and says another function.
// shared: ld_audit-auditor.so -DAUDITOR
// shared: ld_audit-opened.so -DOPENED
// env: LD_AUDIT=./ld_audit-auditor.so:./ld_audit-opened.so
// flags: -Wl,-z,lazy
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined AUDITOR
static _Thread_local int calls;
static int threads;
// Each line in one call: the program prints, too.
#define SAY(...) dprintf(1, "auditor: " __VA_ARGS__)
static const char *base(uintptr_t *cookie)
{
    const char *name = ((struct link_map *)*cookie)->l_name;
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : *name ? name : "program";
}
unsigned la_version(unsigned version)
{
    SAY("version %u, process %d\n", version, getpid() == gettid());
    return LAV_CURRENT;
}
void la_activity(uintptr_t *cookie, unsigned flag) { SAY("activity %u of %s\n", flag, base(cookie)); }
unsigned la_objopen(struct link_map *map, Lmid_t namespace, uintptr_t *cookie)
{
    (void)map;
    errno = ENOENT;
    char *block = malloc(100000);
    memset(block, 1, 100000);
    free(block);
    if (namespace == 0)
        SAY("open %s, errno %d\n", base(cookie), errno);
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}
unsigned la_objclose(uintptr_t *cookie)
{
    if (!strstr(base(cookie), "ld-linux"))
        SAY("close %s\n", base(cookie));
    return 0;
}
void la_preinit(uintptr_t *cookie) { SAY("preinit %s\n", base(cookie)); }
static unsigned tripled(unsigned seconds) { return 3 * seconds; }
uintptr_t la_symbind64(Elf64_Sym *sym, unsigned index, uintptr_t *from, uintptr_t *to, unsigned *flags,
                       const char *name)
{
    (void)index;
    threads += calls++ == 0;
    if (!strcmp(name, "twice"))
        SAY("bind %s of %s to %s: %#x\n", name, base(from), base(to), *flags);
    return strcmp(name, "sleep") ? sym->st_value : (uintptr_t)tripled;
}
// Calls with arguments in vector registers and on the stack, which are changed on the way.
ElfW(Addr) la_x86_64_gnu_pltenter(Elf64_Sym *sym, unsigned index, uintptr_t *from, uintptr_t *to, La_x86_64_regs *regs,
                                  unsigned *flags, const char *name, long *frame_size)
{
    (void)index, (void)from, (void)to;
    if (strcmp(name, "strfromd")) {
        *flags |= LA_SYMB_NOPLTENTER | LA_SYMB_NOPLTEXIT;
        return sym->st_value;
    }
    double x;
    memcpy(&x, &regs->lr_xmm[0], sizeof x);
    SAY("enter %s: %g\n", name, x);
    x *= 2;
    memcpy(&regs->lr_xmm[0], &x, sizeof x);
    *frame_size = 64;
    return sym->st_value;
}
unsigned la_x86_64_gnu_pltexit(Elf64_Sym *sym, unsigned index, uintptr_t *from, uintptr_t *to,
                               const La_x86_64_regs *in, La_x86_64_retval *out, const char *name)
{
    (void)sym, (void)index, (void)from, (void)to, (void)in;
    SAY("exit %s: %d\n", name, (int)out->lrv_rax);
    out->lrv_rax = 77;
    return 0;
}
__attribute__((destructor)) static void end(void) { SAY("end, threads %d\n", threads); }
#elif defined OPENED
__attribute__((constructor)) static void begin(void) { dprintf(1, "opened begins\n"); }
__attribute__((destructor)) static void end(void) { dprintf(1, "opened ends\n"); }
int twice(int x) { return 2 * x; }
#else
static void *thread(void *unused)
{
    (void)unused;
    // The thread's first binding.
    dprintf(1, "thread: %d\n", sched_getcpu() >= 0);
    return 0;
}
int main(void)
{
    // The heap of brk(2) is where position-independent programs have it.
    dprintf(1, "heap %d\n", (unsigned long)sbrk(0) >> 40 != 0 && malloc(1000) != 0);
    // Never called: what the auditor says instead.
    dprintf(1, "sleep(5): %u\n", sleep(5));
    char text[16];
    int length = strfromd(text, sizeof text, "%g", 1.25);
    dprintf(1, "%s, %d\n", text, length);
    pthread_t id;
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, 0);
    void *opened = dlopen("./ld_audit-opened.so", RTLD_LAZY);
    int (*twice)(int) = (int (*)(int))dlsym(opened, "twice");
    dprintf(1, "%d\n", twice(21));
    dlclose(opened);
    dprintf(1, "%d\n", dlopen("./ld_audit-absent.so", RTLD_LAZY) == 0);
}
#endif
