// Arguments, environment and auxiliary vector are what Linux would give.
// args: a b=c --flag
// env: GREETING=good day
// env: EMPTY=
#include <elf.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <errno.h>
#include "check.h"

extern char **environ;
extern char __ehdr_start[];

static int by_text(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

int main(int argc, char **argv)
{
    CHECK(errno == 0);
    for (int i = 0; i <= argc; i++)
        printf("argv[%d] = %s\n", i, argv[i] ? argv[i] : "(null)");
    size_t count = 0;
    while (environ[count])
        count++;
    CHECK(environ == argv + argc + 1);
    char **sorted = malloc(count * sizeof *sorted);
    memcpy(sorted, environ, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_text);
    for (size_t i = 0; i < count; i++)
        puts(sorted[i]);
    Elf64_auxv_t *aux = (Elf64_auxv_t *)(environ + count + 1);
    size_t entries = 0;
    while (aux[entries].a_type != AT_NULL && entries < 100)
        entries++;
    CHECK(entries > 8 && entries < 100);

    Elf64_Ehdr *header = (void *)__ehdr_start;
    CHECK(getauxval(AT_PHDR) == (unsigned long)__ehdr_start + header->e_phoff);
    CHECK(getauxval(AT_PHNUM) == header->e_phnum);
    CHECK(getauxval(AT_PHENT) == sizeof(Elf64_Phdr));
    CHECK(getauxval(AT_ENTRY) == (unsigned long)__ehdr_start + header->e_entry);
    CHECK(getauxval(AT_PAGESZ) == 4096);
    CHECK(getauxval(AT_CLKTCK) == 100);
    CHECK(getauxval(AT_UID) == getuid() && getauxval(AT_EUID) == geteuid());
    CHECK(getauxval(AT_GID) == getgid() && getauxval(AT_EGID) == getegid());
    errno = 0;
    CHECK(getauxval(AT_SECURE) == 0 && errno == 0);
    CHECK(getauxval(AT_RANDOM) != 0);
    CHECK(!strcmp((char *)getauxval(AT_PLATFORM), "x86_64"));
    errno = 0;
    CHECK(getauxval(9999) == 0 && errno == ENOENT);
    printf("execfn %s\n", (char *)getauxval(AT_EXECFN));

    char path[PATH_MAX] = "";
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    CHECK(length > 0);
    printf("exe %s\n", path);
    CHECK(getcwd(path, sizeof path) != 0);
    printf("cwd %s\n", path);
    printf("%s, %s\n", program_invocation_name, program_invocation_short_name);

    struct utsname name;
    CHECK(uname(&name) == 0);
    printf("%s %s\n", name.sysname, name.machine);
    CHECK(getuid() == geteuid() && getgid() == getegid());
    CHECK(sysconf(_SC_PAGESIZE) == 4096);
    CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
    CHECK(getpid() > 0 && getpid() == gettid());

    CHECK(setenv("ADDED", "1", 1) == 0 && !strcmp(getenv("ADDED"), "1"));
    CHECK(unsetenv("GREETING") == 0 && !getenv("GREETING"));
    CHECK(getenv("EMPTY") && !*getenv("EMPTY"));
    free(sorted);
    return FINISH();
}
