// What lay where nothing is any more is not named: a call of a function in a library that has been unloaded.
// shared: code_unloaded-library.so -DLIBRARY
// flags: -rdynamic
// exit: 139
// stderr: any
// says: (nothing is mapped here)
#ifdef LIBRARY
int gone(void) { return 1; }
#else
#include <dlfcn.h>
#include "check.h"
int main(void)
{
    void *library = dlopen("./code_unloaded-library.so", RTLD_NOW);
    int (*gone)(void) = (int (*)(void))dlsym(library, "gone");
    CHECK(gone && gone() == 1);
    dlclose(library);
    return gone();
}
#endif
