// Damaged copies of a library are refused with ld.so's texts.
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static char good[4 << 20], bad[4 << 20];
static size_t size;

static void attempt(const char *what, size_t length)
{
    FILE *file = fopen("/tmp/bad_objects.so", "w");
    if (fwrite(bad, 1, length, file) != length || fclose(file))
        perror("write");
    void *handle = dlopen("/tmp/bad_objects.so", RTLD_NOW);
    printf("%s: %s\n", what, handle ? "opened" : dlerror());
    if (handle)
        dlclose(handle);
    memcpy(bad, good, size);
}

static void change(const char *what, size_t at, unsigned char value)
{
    bad[at] = value;
    attempt(what, size);
}

int main(void)
{
    FILE *file = fopen("/lib/x86_64-linux-gnu/libm.so.6", "r");
    size = fread(good, 1, sizeof good, file);
    fclose(file);
    memcpy(bad, good, size);
    attempt("good", size);
    attempt("empty", 0);
    attempt("short", 63);
    attempt("headers cut", 100);
    change("magic", 0, 0);
    change("class", 4, 1);
    change("data", 5, 2);
    change("ident version", 6, 0);
    change("OS ABI", 7, 9);
    change("padding", 12, 1);
    change("type", 16, 1);
    change("machine", 18, 3);
    change("version", 20, 2);
    change("phentsize", 54, 55);
    unsigned char *header = (unsigned char *)good + 64;
    for (int i = 0; i < good[56]; i++, header += 56) {
        size_t at = header - (unsigned char *)good;
        if (*header == 2 && !header[3])
            change("no dynamic section", at, 0);
        if (*header == 1 && !header[3] && i < 4) {
            change("alignment in the file", at + 8, 1);
            change("far away", at + 22, 0x80);
        }
    }
    change("good again", 0, 0x7f);
    puts(dlopen("/tmp", RTLD_NOW) ? "opened" : dlerror());
    puts(dlopen("/tmp/bad_objects.so/x", RTLD_NOW) ? "opened" : dlerror());
    return remove("/tmp/bad_objects.so");
}
