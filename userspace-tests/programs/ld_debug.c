// What LD_DEBUG asks for goes to standard error, each line with the process's number before it: what is opened at run
// time, and lazy binding, here in a signal handler.
// shared: libld_debug_opened.so -DOPENED
// flags: -Wl,-z,lazy
// env: LD_DEBUG=bindings,files,what
// hosted: too
// stderr: any
// says: warning: debug option `what' unknown; try LD_DEBUG=help
// says: file=libld_debug_opened.so [0];  generating link map
// says: libc.so.6 [0]: normal symbol `getppid' [GLIBC_2.2.5]
// says: libld_debug_opened.so [0];  destroying link map
// says: calling fini:  [0]
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#ifdef OPENED
int opened(void) { return 7; }
#else
static void handler(int signal)
{
    (void)signal;
    getppid();
}

int main(void)
{
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    void *library = dlopen("libld_debug_opened.so", RTLD_LAZY);
    int (*opened)(void) = library ? (int (*)(void))dlsym(library, "opened") : 0;
    printf("%d\n", opened ? opened() : 0);
    dlclose(library);
    return 0;
}
#endif
