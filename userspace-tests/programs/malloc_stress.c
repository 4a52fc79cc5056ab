// Four threads allocate, resize and free blocks of all sizes, also each other's; no block ever changes by itself.
// cpus: 4
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"

enum { THREADS = 4, SLOTS = 256, STEPS = 30000 };

struct block { size_t size; unsigned char mark, bytes[]; };
static struct block *mailbox[THREADS];

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static struct block *make(uint32_t *state)
{
    uint32_t kind = next_random(state) % 100;
    size_t size = next_random(state) % (kind < 90 ? 500 : kind < 99 ? 20000 : 400000);
    struct block *block = kind % 3 ? malloc(sizeof *block + size) : calloc(1, sizeof *block + size);
    block->size = size;
    block->mark = (unsigned char)next_random(state);
    memset(block->bytes, block->mark, size);
    return block;
}

static int intact(const struct block *block)
{
    for (size_t i = 0; i < block->size; i += block->size > 64 ? 61 : 1)
        if (block->bytes[i] != block->mark)
            return 0;
    return 1;
}

static void *work(void *number)
{
    uint32_t id = (uint32_t)(long)number, state = 12345 + id;
    struct block *slots[SLOTS] = {0};
    long wrong = 0;
    for (int step = 0; step < STEPS; step++) {
        struct block **slot = &slots[next_random(&state) % SLOTS];
        if (!*slot) {
            *slot = make(&state);
        } else if (next_random(&state) % 4 == 0) {
            wrong += !intact(*slot);
            size_t size = next_random(&state) % 3000, old = (*slot)->size;
            *slot = realloc(*slot, sizeof **slot + size);
            if (size > old)
                memset((*slot)->bytes + old, (*slot)->mark, size - old);
            (*slot)->size = size;
        } else if (next_random(&state) % 4 == 0) {
            *slot = __atomic_exchange_n(&mailbox[(id + 1) % THREADS], *slot, __ATOMIC_ACQ_REL);
        } else {
            wrong += !intact(*slot);
            free(*slot);
            *slot = 0;
        }
        struct block *mail = __atomic_exchange_n(&mailbox[id], 0, __ATOMIC_ACQ_REL);
        if (mail) {
            wrong += !intact(mail);
            free(mail);
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i])
            wrong += !intact(slots[i]);
        free(slots[i]);
    }
    return (void *)wrong;
}

int main(void)
{
    pthread_t threads[THREADS];
    void *wrong;
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], 0, work, (void *)i);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &wrong);
        printf("thread %d: %ld wrong\n", i, (long)wrong);
    }
    void *aligned = 0;
    CHECK(posix_memalign(&aligned, 4096, 100) == 0 && (uintptr_t)aligned % 4096 == 0);
    free(aligned);
    // Memory given back can be had again, many times over what the machine has.
    for (int i = 0; i < 100; i++) {
        char *large = malloc(64 << 20);
        CHECK(large);
        memset(large, 1, 1 << 20);
        large[(64 << 20) - 1] = 1;
        free(large);
    }
    CHECK(malloc_trim(0) >= 0);
    volatile size_t too_much = (size_t)1 << 60;
    CHECK(!malloc(too_much));
    return FINISH();
}
