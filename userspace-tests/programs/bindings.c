// The image's table of who answers references, and what it must not be used for: an object that comes in between, one that
// has no build-id and so is not in the table, versions, IFUNC, TLS, a copy, unique and weak symbols, an opened library.
// args:
// args: bindings-known.so
// args: bindings-unknown.so
// shared: bindings-used.so -DUSED -Wl,--build-id
// shared: bindings-known.so -DOVER=known -Wl,--build-id
// shared: bindings-unknown.so -DOVER=unknown -Wl,--build-id=none
// shared: bindings-user.so -DUSER -Wl,--build-id -Wl,-z,now -Wl,--no-as-needed bindings-used.so
// flags: -Wl,--build-id -fno-pie
// link: -no-pie bindings-used.so
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
// Enough references for the table to be looked into: function_00 … function_77 in octal.
#define EIGHT(F, d) F(d##0) F(d##1) F(d##2) F(d##3) F(d##4) F(d##5) F(d##6) F(d##7)
#define ALL(F) EIGHT(F, 0) EIGHT(F, 1) EIGHT(F, 2) EIGHT(F, 3) EIGHT(F, 4) EIGHT(F, 5) EIGHT(F, 6) EIGHT(F, 7)

#if defined USED
#define F(n) const char *function_##n(void) { return "used " #n; }
ALL(F)
int variable = 1;
__thread int of_thread = 10;
static const char *chosen(void) { return "chosen by used"; }
static const char *(*choose(void))(void) { return chosen; }
const char *indirect(void) __attribute__((ifunc("choose")));
const char *weak_one(void) __attribute__((weak));
const char *weak_one(void) { return "weak of used"; }
#elif defined OVER
const char *function_03(void) { return TEXT(OVER) " 03"; }
const char *function_70(void) { return TEXT(OVER) " 70"; }
const char *indirect(void) { return "chosen by " TEXT(OVER); }
const char *weak_one(void) { return "weak of " TEXT(OVER); }
const char *nowhere(void) { return "nowhere but in " TEXT(OVER); }
double cos(double x) { (void)x; return 7; }
#elif defined USER
#define F(n) const char *function_##n(void);
ALL(F)
extern int variable;
extern __thread int of_thread;
const char *indirect(void), *weak_one(void);
const char *nowhere(void) __attribute__((weak));
const char *use(void);
const char *use(void)
{
#undef F
#define F(n) function_##n,
    static const char *(*const functions[])(void) = {ALL(F)};
    for (unsigned i = 0; i < sizeof functions / sizeof *functions; i++)
        printf("%s%c", functions[i](), i % 8 == 7 ? '\n' : ' ');
    // Two versions of one name: this one is the default.
    char text[8] = "";
    memcpy(text, "copied", 7);
    printf("variable %d, of thread %d, %s, %s, %s, %s\n", variable, of_thread, indirect(), weak_one(),
           nowhere ? nowhere() : "nowhere", text);
    return "used";
}
#else
extern int variable;
int main(int argc, char **argv)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    path[len] = 0;
    char *name = strrchr(path, '/') + 1;
    if (argc > 1) {
        strcpy(name, argv[1]);
        setenv("LD_PRELOAD", path, 1);
        strcpy(name, "bindings");
        execl(path, path, (char *)0);
        return 2;
    }
    variable = 2;
    strcpy(name, "bindings-user.so");
    void *user = dlopen(path, RTLD_NOW);
    const char *(*use)(void) = user ? (const char *(*)(void))dlsym(user, "use") : 0;
    puts(use ? use() : dlerror());
}
#endif
