// A static program that is linked to run anywhere relocates itself.
// flags: -static-pie
// args:
// args: argument
#include "static_program.h"
