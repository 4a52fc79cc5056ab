/* What subject.c needs: versions, variables, functions, thread-local storage. */
int companion_data[64] = {1, 2, 3};
__thread long companion_tls = 4;
int companion_old(int x) { return x + 1; }
int companion_new(int x) { return x + 2; }
__asm__(".symver companion_old, companion@V1\n.symver companion_new, companion@@V2");
long companion_get(void) { return companion_tls; }
void *__tls_get_addr(void *index) { return index; }
