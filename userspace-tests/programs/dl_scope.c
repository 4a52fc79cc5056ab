// RTLD_LOCAL and RTLD_GLOBAL, RTLD_NEXT, RTLD_DEFAULT, RTLD_NODELETE, RTLD_DEEPBIND: which definition is whose.
// shared: dl_scope-first.so -DLIBRARY=first
// shared: dl_scope-second.so -DLIBRARY=second
// shared: dl_scope-local.so -DLIBRARY=local
// shared: dl_scope-global.so -DLIBRARY=global
// shared: dl_scope-user.so -DUSER -Wl,-z,lazy
// link: dl_scope-first.so dl_scope-second.so
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#include <dlfcn.h>
#include <stdio.h>
typedef const char *(*name_fn)(void);
#if defined LIBRARY
// All libraries define this.
const char *name(void) { return TEXT(LIBRARY); }
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
const char *JOIN(only_, LIBRARY)(void) { return "only " TEXT(LIBRARY); }
const char *JOIN(next_of_, LIBRARY)(void)
{
    name_fn next = (name_fn)dlsym(RTLD_NEXT, "name");
    return next ? next() : "none";
}
#elif defined USER
const char *only_local(void), *only_global(void);
const char *use(int which) { return which ? only_global() : only_local(); }
__attribute__((destructor)) static void end(void) { puts("user fini"); }
#else
const char *name(void), *next_of_first(void), *next_of_second(void);
static const char *ask(void *handle, const char *symbol)
{
    name_fn function = (name_fn)dlsym(handle, symbol);
    return function ? function() : "none";
}
int main(void)
{
    printf("name: %s\n", name());
    printf("next of first: %s\n", next_of_first());
    printf("next of second: %s\n", next_of_second());
    printf("next of main: %s\n", ask(RTLD_NEXT, "name"));
    void *local = dlopen("./dl_scope-local.so", RTLD_NOW | RTLD_LOCAL);
    printf("local by handle: %s\n", ask(local, "name"));
    printf("local by default: %s\n", ask(RTLD_DEFAULT, "only_local"));
    void *global = dlopen("./dl_scope-global.so", RTLD_NOW | RTLD_GLOBAL);
    printf("global by handle: %s\n", ask(global, "name"));
    printf("global by default: %s\n", ask(RTLD_DEFAULT, "only_global"));
    printf("name by default: %s\n", ask(RTLD_DEFAULT, "name"));
    printf("next of local: %s\n", ask(local, "next_of_local"));
    printf("next of global: %s\n", ask(global, "next_of_global"));
    void *user = dlopen("./dl_scope-user.so", RTLD_LAZY | RTLD_NODELETE);
    const char *(*use)(int) = (const char *(*)(int))dlsym(user, "use");
    printf("user: %s\n", use(1));
    // Made global afterwards.
    dlopen("./dl_scope-local.so", RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
    printf("promoted: %s\n", ask(RTLD_DEFAULT, "only_local"));
    printf("user: %s\n", use(0));
    dlclose(user);
    puts("closed, but not deleted");
    printf("user: %s\n", use(1));
    printf("by the program's handle: %s\n", ask(dlopen(0, RTLD_LAZY), "name"));
    return 0;
}
#endif
