// A needed object that is not there: the message and status 127, and nothing of the program runs.
// shared: missing_library-gone.so -DGONE
// link: missing_library-gone.so
// remove: missing_library-gone.so
// exit: 127
// says: elfin: not in the image: /
// says: /lib/x86_64-linux-gnu/missing_library-gone.so
#ifdef GONE
int gone(void) { return 0; }
#else
#include <stdio.h>
int gone(void);
__attribute__((constructor)) static void begin(void) { puts("never"); }
int main(void) { return gone(); }
#endif
