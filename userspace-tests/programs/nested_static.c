// The same in a program that is not linked dynamically: it makes the stacks executable itself.
// flags: -static -Wl,--no-warn-execstack -Wl,--no-warn-rwx-segments
#include "nested.c"
