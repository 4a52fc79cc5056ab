// As many areas of memory as there may be, quickly; then what would make more of them fails, and nothing else does.
// On Linux it prints the same where vm.max_map_count is as it is by default.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "check.h"

enum { PAGE = 4096, MAX = 65530 };

static char *at[MAX];

static int lines(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char *line = 0;
    size_t size = 0;
    int count = 0;
    while (getline(&line, &size, maps) > 0)
        // Linux and Elfin show these, but they are none of the program's.
        count += !strstr(line, "[vsyscall]") && !strstr(line, "[loader]");
    free(line);
    fclose(maps);
    return count;
}

static char *map(size_t size, int protection)
{
    return mmap(0, size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

// Areas of a file that are split become one again.
static void file(void)
{
    char name[] = "/tmp/many_areas_XXXXXX";
    int fd = mkstemp(name);
    CHECK(fd >= 0 && ftruncate(fd, 8 * PAGE) == 0);
    char *all = mmap(0, 8 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(all != MAP_FAILED);
    int before = lines();
    CHECK(mprotect(all + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE) == 0 && lines() == before + 2);
    all[2 * PAGE] = 'x';
    CHECK(mprotect(all + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0 && lines() == before + 2);
    CHECK(mprotect(all, 8 * PAGE, PROT_READ) == 0 && lines() == before);
    CHECK(mmap(all + PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 3 * PAGE) == all + PAGE && lines() == before + 2);
    CHECK(mmap(all + PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, PAGE) == all + PAGE && lines() == before);
    CHECK(all[2 * PAGE] == 'x');
    CHECK(munmap(all, 8 * PAGE) == 0 && close(fd) == 0 && unlink(name) == 0);
}

int main(void)
{
    file();
    char text[16];
    int fd = open("/proc/sys/vm/max_map_count", O_RDONLY);
    CHECK(read(fd, text, sizeof text) > 0 && atoi(text) == MAX);
    close(fd);

    // Between areas of other protection, so that it is one of its own.
    char *big = map(18 * PAGE, PROT_NONE) + PAGE, *movable = map(4 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    CHECK(mprotect(big, 16 * PAGE, PROT_READ | PROT_WRITE) == 0);
    memset(big, 1, 16 * PAGE);
    int before = lines(), count = 0;
    // Neighbours of different protection stay areas of their own.
    while (count < MAX && (at[count] = map(PAGE, count % 2 ? PROT_READ : PROT_NONE)) != MAP_FAILED)
        count++;
    CHECK(errno == ENOMEM);
    CHECK(before + count == MAX + 1);

    CHECK(map(PAGE, PROT_READ) == MAP_FAILED && errno == ENOMEM);
    CHECK(munmap(big + 4 * PAGE, PAGE) == -1 && errno == ENOMEM);
    CHECK(mprotect(big + 4 * PAGE, PAGE, PROT_READ) == -1 && errno == ENOMEM);
    CHECK(mmap(big + 4 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(mremap(movable, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
    CHECK(big[4 * PAGE] == 1);
    // What makes no more of them.
    CHECK(mprotect(big, 16 * PAGE, PROT_READ) == 0 && munmap(big + 15 * PAGE, PAGE) == 0 && big[0] == 1);

    // The highest hole is taken that is large enough.
    int low = count - 100, high = count / 2;
    CHECK(munmap(at[low], PAGE) == 0 && munmap(at[low + 2], PAGE) == 0 && munmap(at[high], PAGE) == 0);
    CHECK(map(PAGE, PROT_READ) == big + 15 * PAGE);
    CHECK(map(PAGE, PROT_READ | PROT_WRITE) == at[high]);
    *at[high] = 1;
    CHECK(map(2 * PAGE, PROT_READ | PROT_WRITE) < at[low + 2]);
    // Faults and changes among many.
    for (int i = 1; i < count; i += 2)
        if (i != low && i != low + 2 && i != high)
            CHECK(*at[i] == 0 && mprotect(at[i], PAGE, PROT_READ | PROT_WRITE) == 0 && (*at[i] = 1) == 1);
    for (int i = 0; i < count; i++)
        if (i != low && i != low + 2 && i != high)
            CHECK(munmap(at[i], PAGE) == 0);
    CHECK(lines() < before + 10);
    return FINISH();
}
