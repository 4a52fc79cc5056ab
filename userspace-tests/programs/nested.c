// A program with nested functions, whose stacks are executable because GCC asks for that; and memory of it that may be
// written and executed.
// flags: -Wl,--no-warn-execstack -Wl,--no-warn-rwx-segments
// hosted: too
#include <pthread.h>
#include "check.h"
#include "nested.h"

// A section for a segment that is readable, writable and executable: a function that is changed while the program runs.
asm(".pushsection .changed, \"awx\", @progbits\n"
    ".globl answer\n"
    ".type answer, @function\n"
    "answer: movl $6, %eax\n"
    "ret\n"
    ".popsection\n");
extern unsigned char answer[];

static void *thread(void *unused)
{
    CHECK(stack_runs());
    CHECK(sum_of_distances(3) == sum_of_distances(3) && sum_of_distances(1) == 12345);
    return unused;
}

int main(void)
{
    // The section makes a segment of this kind of all data.
    static char data[16];
    CHECK(stack_runs() && runs(data));
    char *block = malloc(16);
    CHECK(!runs(block));
    free(block);
    printf("%d %d\n", sum_of_distances(1), sum_of_distances(5));

    pthread_t id;
    CHECK(pthread_create(&id, 0, thread, 0) == 0 && pthread_join(id, 0) == 0);

    CHECK(((int (*)(void))answer)() == 6);
    answer[1] = 7;
    CHECK(((int (*)(void))answer)() == 7);
    return FINISH();
}
