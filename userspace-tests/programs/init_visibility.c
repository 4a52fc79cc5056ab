// Who finds what while objects are being loaded: their loading thread only while they are relocated; the thread that runs
// INIT and what it starts from then on, at any depth, while INIT runs; everybody after that. It holds for dlsym and for
// lazy binding. ld.so shows objects to everybody at once, so that this is run under Elfin only. The argument is the number of
// rounds; all must say the same.
// hosted: too
// forked: too
// shared: init_visibility-start.so -DSTART
// shared: init_visibility-local.so -DLOCAL
// shared: init_visibility-first.so -DFIRST init_visibility-local.so -Wl,-z,lazy
// shared: init_visibility-second.so -DSECOND
// shared: init_visibility-needed.so -DNEEDED
// shared: init_visibility-resolver.so -DRESOLVER -Wl,--no-as-needed init_visibility-needed.so -Wl,-z,lazy
// flags: -rdynamic -DROUNDS=3
// link: -Wl,--no-as-needed init_visibility-start.so
// cpus: 1 2 4 8
// soak: 3000
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>
#include "rounds.h"

// Runs a question on a new thread and waits.
static inline void on_child(void *(*question)(void *), void *argument)
{
    pthread_t thread;
    if (pthread_create(&thread, 0, question, argument) || pthread_join(thread, 0))
        abort();
}
// The same on a resident thread: a child of the main thread, started by an INIT function that ended before.
void on_resident(void *(*question)(void *), void *argument);
// Whether the calling thread finds a symbol.
void *see(void *name);
extern const char *who;
extern pthread_t last_child;

#if defined START
static void *look(void *who)
{
    printf("start-up, %s: %s\n", (char *)who, dlsym(RTLD_DEFAULT, "start_marker") ? "sees" : "does not see");
    return 0;
}
int start_marker;
__attribute__((constructor)) static void begin(void)
{
    // The thread that runs INIT functions becomes the main thread.
    printf("start-up, on the main thread: %d\n", getpid() == gettid());
    look("worker");
    on_child(look, "child");
}
#elif defined LOCAL || defined SECOND
#ifdef LOCAL
#define SAYS(x) const char *x(void) { return "the local one"; }
#else
#define SAYS(x) const char *x(void) { return "the global one"; }
#endif
SAYS(who1) SAYS(who2) SAYS(who3) SAYS(who4)
#ifdef SECOND
int second_marker;
static sem_t started;
static pthread_t ancestor, descendant;
static void *grandchild(void *unused)
{
    // The ancestor between has ended when this one looks.
    pthread_join(ancestor, 0);
    who = "grandchild of an ended thread";
    see("second_marker");
    return unused;
}
static void *child(void *unused)
{
    pthread_create(&descendant, 0, grandchild, 0);
    sem_post(&started);
    return unused;
}
static void *stranger(void *name)
{
    say("a stranger with a member's stack and pthread_t: %d\n", pthread_equal(pthread_self(), last_child) != 0);
    who = "stranger";
    return see(name);
}
static void *start_stranger(void *name)
{
    on_child(stranger, name);
    return 0;
}
__attribute__((constructor)) static void begin(void)
{
    void *handle = dlopen("./init_visibility-first.so", RTLD_LAZY);
    void *(*first)(void *) = (void *(*)(void *))dlsym(handle, "call");
    sem_init(&started, 0, 0);
    who = "worker";
    see("second_marker");
    first((void *)1);
    who = "resident";
    on_resident(see, "second_marker");
    on_resident(first, (void *)2);
    pthread_create(&ancestor, 0, child, 0);
    sem_wait(&started);
    pthread_join(descendant, 0);
    who = "child";
    on_child(first, (void *)3);
    on_child(see, "second_marker");
    on_resident(start_stranger, "second_marker");
    dlclose(handle);
}
#endif
#elif defined FIRST
const char *who1(void), *who2(void), *who3(void), *who4(void);
int own(int x) { return x * 2; }
// Each case binds another slot.
void *call(void *number)
{
    const char *text = "";
    switch ((long)number) {
    case 1: text = who1(); break;
    case 2: text = who2(); break;
    case 3: text = who3(); break;
    case 4: text = who4(); break;
    default: say("%s binds its own: %d\n", who, own(21)); return 0;
    }
    say("%s binds to %s\n", who, text);
    return 0;
}
static sem_t asked, answered;
static void *(*asked_question)(void *), *asked_argument;
static pthread_t resident;
static void *reside(void *unused)
{
    for (;;) {
        sem_wait(&asked);
        if (!asked_question)
            return unused;
        asked_question(asked_argument);
        sem_post(&answered);
    }
}
void dismiss_resident(void)
{
    asked_question = 0;
    sem_post(&asked);
    pthread_join(resident, 0);
}
void ask_resident(void *(*question)(void *), void *argument)
{
    asked_question = question;
    asked_argument = argument;
    sem_post(&asked);
    sem_wait(&answered);
}
__attribute__((constructor)) static void begin(void)
{
    sem_init(&asked, 0, 0);
    sem_init(&answered, 0, 0);
    pthread_create(&resident, 0, reside, 0);
}
#elif defined NEEDED
int needed_marker;
#elif defined RESOLVER
int resolver_marker;
int own_too(int x) { return x + 1; }
static int target(void) { return 77; }
// Code of the half-loaded object on any thread: it finds itself, by dlsym and by lazy binding.
static void *look(void *unused)
{
    say("%s: its own %s, its own call gives %d, what it needs %s\n", who,
           dlsym(RTLD_DEFAULT, "resolver_marker") ? "seen" : "not seen", own_too(1),
           dlsym(RTLD_DEFAULT, "needed_marker") ? "seen" : "not seen");
    return unused;
}
// Runs while the object is being relocated.
__attribute__((used)) static int (*resolve(void))(void)
{
    void *handle = dlopen("./init_visibility-first.so", RTLD_LAZY);
    void *(*first)(void *) = (void *(*)(void *))dlsym(handle, "call");
    who = "resident";
    on_resident(look, 0);
    on_resident(first, 0);
    who = "child";
    on_child(look, 0);
    who = "loader";
    look(0);
    dlclose(handle);
    return target;
}
int resolved(void) __attribute__((ifunc("resolve")));
int (*pointer)(void) = resolved;
#else
const char *who = "main";
pthread_t last_child;
static void *program;
static void (*ask_resident)(void *(*)(void *), void *);

void *see(void *name)
{
    last_child = pthread_self();
    // With this handle the program does not come to depend on what is found.
    say("%s %s %s\n", who, dlsym(program, name) ? "sees" : "does not see", (char *)name);
    return 0;
}

void on_resident(void *(*question)(void *), void *argument)
{
    ask_resident(question, argument);
}

static void play(void)
{
    void *first = dlopen("./init_visibility-first.so", RTLD_LAZY);
    ask_resident = (void (*)(void *(*)(void *), void *))dlsym(first, "ask_resident");
    void (*dismiss)(void) = (void (*)(void))dlsym(first, "dismiss_resident");
    say("second\n");
    void *second = dlopen("./init_visibility-second.so", RTLD_LAZY | RTLD_GLOBAL);
    say("resolver\n");
    void *resolver = dlopen("./init_visibility-resolver.so", RTLD_LAZY | RTLD_GLOBAL);
    say("%s\n", second && resolver ? "opened" : dlerror());
    int (**pointer)(void) = dlsym(resolver, "pointer");
    say("resolved: %d\n", (*pointer)());
    who = "resident";
    on_resident(see, "second_marker");
    on_resident((void *(*)(void *))dlsym(first, "call"), (void *)4);
    on_resident(see, "resolver_marker");
    dismiss();
    int closed = !dlclose(first) && !dlclose(second) && !dlclose(resolver);
    int there = dlopen("./init_visibility-first.so", RTLD_LAZY | RTLD_NOLOAD) != 0;
    say("closed: %d, still there: %d\n", closed, there);
}

int main(int argc, char **argv)
{
    program = dlopen(0, RTLD_LAZY);
    return play_rounds(argc > 1 ? argv[1] : 0, play);
}
#endif
