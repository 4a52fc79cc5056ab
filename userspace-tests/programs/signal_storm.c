// Signals that arrive anywhere: in the program, in the C library, in what the vDSO and ld.so do, while another handler runs.
// cpus: 4
// soak:
// link: -Wl,-z,lazy -ldl -lm
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static volatile sig_atomic_t alarms;
static volatile double noise;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}
static void handler(int number)
{
    (void)number;
    static __thread double before;
    double at = now();
    CHECK(at >= before);
    before = at;
    // Registers of all kinds change; the interrupted code must not notice.
    noise = at * 3.5 + sqrt(at);
    __asm__ volatile("pxor %%xmm0, %%xmm0\n\tpcmpeqd %%xmm7, %%xmm7\n\tpxor %%xmm15, %%xmm15\n\tfldpi\n\tfstp %%st(0)\n\t"
                     "xor %%r10d, %%r10d\n\txor %%r11d, %%r11d" ::: "xmm0", "xmm7", "xmm15", "r10", "r11", "cc");
    alarms++;
}

static uint64_t sums[4];
static void *work(void *argument)
{
    uint64_t index = (uint64_t)argument, *sum = &sums[index];
    double last = now(), end = last + 1, product = 1;
    uint64_t rounds = 0, good = 0;
    // At least a second, and until a good number of signals has come.
    while (now() < end || (index == 0 && alarms < 300)) {
        double at = now();
        good += at >= last;
        last = at;
        rounds++;
        product = product * 1.0000001;
        good += dlsym(RTLD_DEFAULT, "strtol") != 0;
        good += dlsym(RTLD_DEFAULT, "there_is_no_such_function") == 0;
        dlerror();
        Dl_info info;
        good += dladdr((void *)handler, &info) != 0;
        if (rounds % 16 == 0) {
            void *object = dlopen("libm.so.6", RTLD_LAZY);
            double (*function)(double) = (double (*)(double))dlsym(object, "cos");
            good += function && function(0) == 1;
            dlclose(object);
        } else {
            good++;
        }
        char text[40];
        snprintf(text, sizeof text, "%d %.3f", (int)(rounds % 1000), 2.25);
        good += strtol(text, 0, 10) == (long)(rounds % 1000) && strstr(text, " 2.250");
        void *block = malloc(rounds % 300);
        free(block);
    }
    *sum = good == rounds * 6 && product >= 1;
    return 0;
}

// Bound lazily, one after the other, under fire.
static void bind(void)
{
    char buffer[64] = "b a c";
    CHECK(abs(-3) == 3 && labs(-3) == 3 && llabs(-3) == 3);
    CHECK(strpbrk(buffer, "ac") && strspn(buffer, "b ") == 2 && strcspn(buffer, "a") == 2);
    CHECK(memmem(buffer, 5, "a", 1) && strcasestr(buffer, "A") && strnlen(buffer, 3) == 3);
    CHECK(atoi("12") == 12 && atol("12") == 12 && atoll("12") == 12 && strtoul("12", 0, 10) == 12);
    CHECK(fabs(cbrt(27) - 3) < 1e-9 && fabs(hypot(3, 4) - 5) < 1e-9 && fabs(tgamma(5) - 24) < 1e-6);
    CHECK(ffsl(8) == 4 && strcoll("a", "a") == 0 && strverscmp("a1", "a2") < 0);
}

int main(void)
{
    pthread_t threads[4];
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, 0);
    struct itimerval timer = {{0, 100}, {0, 100}};
    CHECK(setitimer(ITIMER_REAL, &timer, 0) == 0);
    bind();
    // One thread alone takes all of them, then four threads share them.
    work(0);
    printf("one: %d\n", (int)sums[0]);
    alarms = 0;
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, work, (void *)i);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], 0);
    printf("four: %d %d %d %d\n", (int)sums[0], (int)sums[1], (int)sums[2], (int)sums[3]);
    timer = (struct itimerval){0};
    setitimer(ITIMER_REAL, &timer, 0);
    CHECK(alarms >= 300);
    return FINISH();
}
