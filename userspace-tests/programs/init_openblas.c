// The library of OSv's #1067 itself: the INIT function of Debian's OpenBLAS starts threads, which bind functions of that very
// library lazily. Two threads want it at once and multiply matrices with it. The argument is the number of rounds. Not run
// on Linux, which need not have that library.
// cpus: 1 4
// soak: 1000
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include "check.h"

enum { SIZE = 96, ROW_MAJOR = 101, AS_IT_IS = 111 };
typedef void multiply_function(int, int, int, int, int, int, double, const double *, int, const double *, int, double,
                               double *, int);
static pthread_barrier_t barrier;
static int rounds = 5;

static void *use(void *which)
{
    double *left = malloc(3 * SIZE * SIZE * sizeof *left), *right = left + SIZE * SIZE, *product = right + SIZE * SIZE;
    for (int round = 0; round < rounds; round++) {
        pthread_barrier_wait(&barrier);
        void *library = dlopen("libopenblas.so.0", (round + (which != 0)) % 2 ? RTLD_LAZY : RTLD_NOW);
        if (!library) {
            puts(dlerror());
            exit(1);
        }
        multiply_function *multiply = (multiply_function *)dlsym(library, "cblas_dgemm");
        for (int i = 0; i < SIZE * SIZE; i++) {
            left[i] = (i + round) % 9;
            right[i] = 2 * (i / SIZE == i % SIZE);
        }
        multiply(ROW_MAJOR, AS_IT_IS, AS_IT_IS, SIZE, SIZE, SIZE, 1, left, SIZE, right, SIZE, 0, product, SIZE);
        int wrong = 0;
        for (int i = 0; i < SIZE * SIZE; i++)
            wrong += product[i] != 2 * left[i];
        CHECK(wrong == 0);
        CHECK(dlclose(library) == 0);
        // Its FINI function ends its threads, and it is loaded anew.
        pthread_barrier_wait(&barrier);
        CHECK(!dlopen("libopenblas.so.0", RTLD_LAZY | RTLD_NOLOAD));
    }
    free(left);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atoi(argv[1]);
    pthread_t other;
    pthread_barrier_init(&barrier, 0, 2);
    CHECK(pthread_create(&other, 0, use, &barrier) == 0);
    use(0);
    pthread_join(other, 0);
    return FINISH();
}
