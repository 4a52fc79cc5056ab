// What callbacks of dl_iterate_phdr may rely on: nobody else is called back by the same function meanwhile, which may
// be entered again by the same thread, from a signal handler too; and that ends when the function is left by an
// exception or with its thread. The argument is the number of rounds.
// hosted: too
// args: 200
// cpus: 1 4
// soak: 20000
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#include "check.h"

static const int threads = 8;
static int rounds;

// Kept under the lock of dl_iterate_phdr, as unwinders keep a cache.
static int inside, visited;
struct Recent {
    Recent *next;
    int uses;
};
static Recent cells[6], *recent = &cells[0];

static int visit(dl_phdr_info *, size_t, void *random)
{
    CHECK(inside++ == 0);
    unsigned wanted = rand_r(static_cast<unsigned *>(random)) % 6;
    Recent *before = nullptr, *cell = recent;
    for (int steps = 0; cell != &cells[wanted] && cell && steps < 10; steps++) {
        before = cell;
        cell = cell->next;
        if (wanted == 3)
            sched_yield();
    }
    CHECK(cell == &cells[wanted]);
    if (before && cell) {
        before->next = cell->next;
        cell->next = recent;
        recent = cell;
    }
    cell->uses++;
    visited++;
    inside--;
    return 0;
}

static int count(dl_phdr_info *, size_t, void *number) { return ++*static_cast<int *>(number), 0; }

static void *iterate(void *seed)
{
    unsigned random = static_cast<unsigned>(reinterpret_cast<uintptr_t>(seed));
    for (int round = 0; round < rounds; round++)
        CHECK(dl_iterate_phdr(visit, &random) == 0);
    return nullptr;
}

static void exclusive()
{
    for (int i = 0; i < 5; i++)
        cells[i].next = &cells[i + 1];
    pthread_t ids[threads];
    for (long i = 0; i < threads; i++)
        pthread_create(&ids[i], nullptr, iterate, reinterpret_cast<void *>(i));
    for (pthread_t id : ids)
        pthread_join(id, nullptr);
    int objects = 0, uses = 0;
    dl_iterate_phdr(count, &objects);
    for (Recent &cell : cells)
        uses += cell.uses;
    CHECK(visited == objects * threads * rounds && uses == visited);
}

static int again(dl_phdr_info *, size_t, void *depth)
{
    int less = *static_cast<int *>(depth) - 1;
    return less > 0 ? dl_iterate_phdr(again, &less) : 7;
}

static int leave(dl_phdr_info *, size_t, void *how)
{
    switch (*static_cast<int *>(how)) {
    case 0: throw 5;
    case 1: pthread_exit(nullptr);
    case 2: pthread_cancel(pthread_self()); pthread_testcancel(); break;
    default: return 4;
    }
    return 0;
}

static void *left_by_its_end(void *how) { return dl_iterate_phdr(leave, how) ? how : nullptr; }

static void *comes_after(void *)
{
    int how = 3;
    CHECK(dl_iterate_phdr(leave, &how) == 4);
    return nullptr;
}

static void in_a_thread(void *(*function)(void *), void *argument)
{
    pthread_t id;
    pthread_create(&id, nullptr, function, argument);
    pthread_join(id, nullptr);
}

static void left()
{
    for (int round = 0; round < rounds; round++) {
        int how = 0;
        try {
            dl_iterate_phdr(leave, &how);
        } catch (int) {
            how++;
        }
        CHECK(how == 1);
        in_a_thread(comes_after, nullptr);
        in_a_thread(left_by_its_end, &how);
        in_a_thread(comes_after, nullptr);
        how = 2;
        in_a_thread(left_by_its_end, &how);
        in_a_thread(comes_after, nullptr);
    }
}

static std::atomic<int> handled;
static int interrupted(dl_phdr_info *, size_t, void *deep)
{
    if (!*static_cast<int *>(deep))
        raise(SIGUSR1);
    return 1;
}

static void handler(int)
{
    int deep = 1;
    handled += dl_iterate_phdr(interrupted, &deep);
}

int main(int, char **argv)
{
    rounds = atoi(argv[1]);
    exclusive();
    int depth = 10;
    CHECK(dl_iterate_phdr(again, &depth) == 7);
    left();
    signal(SIGUSR1, handler);
    int deep = 0;
    CHECK(dl_iterate_phdr(interrupted, &deep) == 1 && handled == 1);
    return FINISH();
}
