// sethostname(2) and setdomainname(2): what they set is what uname(2) and /proc say; personality(2) keeps what it is given.
// Not run on Linux: it would be renamed.
#include <errno.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "check.h"

int main(void)
{
    struct utsname names;
    char text[100] = "";
    CHECK(sethostname("another", 7) == 0 && setdomainname("example.org", 11) == 0);
    CHECK(uname(&names) == 0 && !strcmp(names.nodename, "another") && !strcmp(names.domainname, "example.org"));
    FILE *file = fopen("/proc/sys/kernel/hostname", "r");
    CHECK(file && fgets(text, sizeof text, file) && !strcmp(text, "another\n"));
    memset(text, 'n', 65);
    CHECK(sethostname(text, 65) == -1 && errno == EINVAL);
    CHECK(sethostname(text, 64) == 0 && uname(&names) == 0 && strlen(names.nodename) == 64);
    CHECK(personality(0xffffffff) == PER_LINUX && personality(PER_LINUX | ADDR_NO_RANDOMIZE) == PER_LINUX);
    CHECK(personality(0xffffffff) == (PER_LINUX | ADDR_NO_RANDOMIZE));
    return FINISH();
}
