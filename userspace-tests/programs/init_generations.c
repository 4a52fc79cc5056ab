// An INIT function starts a line of threads, each started by one that ends while the next ones live on, so that ids are used
// again and every ancestor but the founder has ended: all of them see the object being initialised, and so does a thread
// that looks all the time. A line that was begun before sees nothing. Run under Elfin only: ld.so shows the object to
// everybody at once. Arguments are the number of rounds and of generations in each.
// hosted: too
// forked: too
// shared: init_generations-lib.so -DLIB
// flags: -rdynamic -DROUNDS=3
// cpus: 2 4
// args: 3 60
// soak: 300 1000
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include "rounds.h"

// How many of a line live at once.
#define OVERLAP 3

// A line of threads, the first of which the calling thread starts.
struct line {
    int left, seen, unseen;
    sem_t ended, end;
    // Where the last generation waits until all others have ended.
    sem_t asked, answered;
};
// Returns when all but the last have ended, or are about to.
void begin_line(struct line *line, int generations);
// Says whether the last one sees the object, when no other lives.
int last_of(struct line *line);

#ifdef LIB
int generations_marker;
extern int generations;
extern void outsiders_look(void);

static int done, failures;
static void *look_on(void *unused)
{
    while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE))
        failures += dlsym(RTLD_DEFAULT, "generations_marker") != &generations_marker;
    return unused;
}

static void *begin_looking(void *thread)
{
    pthread_create(thread, 0, look_on, 0);
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    // Its parent ends at once.
    pthread_t parent, looking;
    pthread_create(&parent, 0, begin_looking, &looking);
    pthread_join(parent, 0);
    struct line line;
    begin_line(&line, generations);
    outsiders_look();
    say("the last of the family: %s\n", last_of(&line) ? "sees" : "does not see");
    __atomic_store_n(&done, 1, __ATOMIC_RELEASE);
    pthread_join(looking, 0);
    say("the family: %d see, %d do not, %d times not seen\n", line.seen, line.unseen, failures);
}
#else
int generations;
static struct line outsiders;
// With this handle the program does not come to depend on what is found.
static void *program;

static void look(struct line *line)
{
    int sees = dlsym(program, "generations_marker") != 0;
    __atomic_add_fetch(sees ? &line->seen : &line->unseen, 1, __ATOMIC_RELAXED);
}

static void *generation(void *argument)
{
    struct line *line = argument;
    look(line);
    if (__atomic_sub_fetch(&line->left, 1, __ATOMIC_ACQ_REL)) {
        pthread_t next;
        if (pthread_create(&next, 0, generation, line) || pthread_detach(next))
            abort();
        sem_wait(&line->end);
        look(line);
        sem_post(&line->ended);
        return 0;
    }
    sem_post(&line->answered);
    sem_wait(&line->asked);
    look(line);
    sem_post(&line->answered);
    return 0;
}

void begin_line(struct line *line, int generations)
{
    line->left = generations;
    line->seen = line->unseen = 0;
    sem_init(&line->ended, 0, 0);
    sem_init(&line->end, 0, 0);
    sem_init(&line->asked, 0, 0);
    sem_init(&line->answered, 0, 0);
    pthread_t first;
    if (pthread_create(&first, 0, generation, line) || pthread_detach(first))
        abort();
    // All but the last few may end as soon as they have started the next one.
    for (int i = 0; i < generations - OVERLAP; i++)
        sem_post(&line->end);
    sem_wait(&line->answered);
    for (int i = 0; i < OVERLAP - 1; i++)
        sem_post(&line->end);
    for (int i = 0; i < generations - 1; i++)
        sem_wait(&line->ended);
}

int last_of(struct line *line)
{
    int before = line->seen;
    sem_post(&line->asked);
    sem_wait(&line->answered);
    return line->seen > before;
}

void outsiders_look(void)
{
    say("the last of the others: %s\n", last_of(&outsiders) ? "sees" : "does not see");
}

static void play(void)
{
    begin_line(&outsiders, generations);
    void *library = dlopen("./init_generations-lib.so", RTLD_LAZY | RTLD_GLOBAL);
    say("%s\n", library ? "opened" : dlerror());
    if (dlclose(library))
        say("%s\n", dlerror());
}

int main(int argc, char **argv)
{
    generations = argc > 2 ? atoi(argv[2]) : 60;
    program = dlopen(0, RTLD_LAZY);
    return play_rounds(argc > 1 ? argv[1] : 0, play);
}
#endif
