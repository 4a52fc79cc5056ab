// A static program finds the vDSO by itself.
// flags: -static
#define STATIC
#include "vdso.c"
