// A static program that is linked to run anywhere relocates itself.
// flags: -static-pie
#include "static.c"
