// INIT functions that open libraries whose INIT functions open libraries, 200 deep; callbacks in callbacks as deep.
// shared: dl_deep-plug.so -DPLUG
// flags: -rdynamic
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef PLUG
void deeper(void);
__attribute__((constructor)) static void begin(void) { deeper(); }
#else
#include "check.h"
enum { DEPTH = 200 };
static char directory[] = "/tmp/dl_deep-XXXXXX";
static int depth, deepest;

static void copy(const char *from, const char *to)
{
    static char buffer[1 << 16];
    int in = open(from, O_RDONLY), out = open(to, O_CREAT | O_TRUNC | O_WRONLY, 0700);
    CHECK(in >= 0 && out >= 0);
    for (ssize_t got; (got = read(in, buffer, sizeof buffer)) > 0;)
        CHECK(write(out, buffer, got) == got);
    close(in), close(out);
}

void deeper(void)
{
    char path[64];
    if (depth == DEPTH)
        return;
    snprintf(path, sizeof path, "%s/%d.so", directory, ++depth);
    copy("dl_deep-plug.so", path);
    void *plug = dlopen(path, RTLD_NOW);
    CHECK(plug != 0);
    CHECK(plug && dlclose(plug) == 0);
    unlink(path);
    deepest++;
}

static int callback(struct dl_phdr_info *info, size_t size, void *levels)
{
    (void)info, (void)size;
    if (!levels)
        return getppid() >= 0;
    return 1 + dl_iterate_phdr(callback, (char *)levels - 1);
}

int main(void)
{
    CHECK(mkdtemp(directory) != 0);
    deeper();
    rmdir(directory);
    printf("%d deep, %d opened\n", depth, deepest);
    for (int i = 0; i < 20; i++)
        CHECK(dl_iterate_phdr(callback, (char *)0 + DEPTH) == DEPTH + 1);
    return FINISH();
}
#endif
