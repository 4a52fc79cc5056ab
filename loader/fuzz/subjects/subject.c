/* An object with every kind of table and relocation a compiler makes; it is loaded and never run. */
extern int companion_data[64];
extern __thread long companion_tls;
int companion(int);
long companion_get(void);
extern int nobody(void) __attribute__((weak));

static int local = 1;
int exported = 2;
int *pointers[70] = {&local, &exported, companion_data, [69] = &local};
int (*calls[])(int) = {companion};
__thread int own_tls = 5, zero_tls[40];
static __thread int local_tls __attribute__((aligned(64))) = 6;
extern __thread long initial __attribute__((tls_model("initial-exec"), alias("initial_here")));
__thread long initial_here = 7;

static int one(void) { return 1; }
static int (*choose(void))(void) { return one; }
int chosen(void) __attribute__((ifunc("choose")));
static int choice(void) __attribute__((ifunc("choose")));
__attribute__((constructor)) static void begin(void) { local = choice(); }
__attribute__((destructor)) static void end(void) { local = chosen(); }
__attribute__((visibility("protected"))) int kept(int x) { return companion(x) + exported; }
int all(int x)
{
    return kept(x) + (nobody ? nobody() : 0) + companion_get() + companion_tls + own_tls + local_tls + zero_tls[x]
        + initial + *pointers[x];
}
#ifdef TEXT
__asm__(".text\n.balign 8\n.quad exported\n.quad companion_data");
#endif
