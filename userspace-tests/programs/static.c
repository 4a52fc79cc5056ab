// A static program has its own startup code, TLS and indirect functions; no dynamic linker takes part.
// flags: -static
// args:
// args: argument
#include "static_program.h"
