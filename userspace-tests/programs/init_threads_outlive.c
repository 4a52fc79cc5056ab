// Threads that an INIT function starts outlive it and bind symbols lazily when the program already runs; while INIT
// functions of other objects, which they may not see yet, come and go.
// shared: init_threads_outlive-service.so -DSERVICE -Wl,-z,lazy
// shared: init_threads_outlive-later.so -DLATER init_threads_outlive-service.so -Wl,-z,lazy
// link: -Wl,--no-as-needed init_threads_outlive-later.so init_threads_outlive-service.so -Wl,-z,lazy
// cpus: 4
#if defined SERVICE
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
static sem_t asked, answered;
static int question, answer;
int square(int x) { return x * x; }
int cube(int x) { return x * x * x; }
int negate(int x) { return -x; }
static void *serve(void *unused)
{
    for (int i = 0;; i++) {
        sem_wait(&asked);
        // A first call of one more function each time.
        switch (i) {
        case 0: answer = square(question); break;
        case 1: answer = cube(question); break;
        case 2: answer = negate(question); break;
        case 3: answer = abs(atoi("-77")); break;
        default: sem_post(&answered); return unused;
        }
        sem_post(&answered);
    }
}
static pthread_t server;
__attribute__((constructor)) static void begin(void)
{
    sem_init(&asked, 0, 0);
    sem_init(&answered, 0, 0);
    puts(pthread_create(&server, 0, serve, 0) ? "no thread" : "service begins");
}
int ask(int x)
{
    question = x;
    sem_post(&asked);
    sem_wait(&answered);
    return answer;
}
void join_service(void)
{
    ask(0);
    pthread_join(server, 0);
}
#elif defined LATER
#include <stdio.h>
int ask(int);
__attribute__((constructor)) static void begin(void) { printf("later asks: %d\n", ask(5)); }
#else
#include <stdio.h>
int ask(int);
void join_service(void);
int main(void)
{
    printf("%d\n", ask(3));
    printf("%d\n", ask(4));
    printf("%d\n", ask(6));
    join_service();
    puts("joined");
    return 0;
}
#endif
