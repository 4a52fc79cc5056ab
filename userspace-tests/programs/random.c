// getrandom fills what it is asked to, differently each time; AT_RANDOM is random, too.
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include "check.h"

int main(void)
{
    unsigned char a[256] = {0}, b[256] = {0}, zero[16] = {0};
    int counts[256] = {0}, bits = 0;
    CHECK(getrandom(a, sizeof a, 0) == 256 && getrandom(b, sizeof b, GRND_NONBLOCK) == 256);
    CHECK(memcmp(a, b, 256) && memcmp(a, zero, 16) && memcmp(a + 240, zero, 16));
    CHECK(getrandom(a, 0, 0) == 0);
    CHECK(getrandom(a, 1, 0x1000) == -1 && errno == EINVAL);
    size_t size = 1 << 20;
    unsigned char *much = malloc(size);
    CHECK(getentropy(a, 256) == 0 && getentropy(much, 257) == -1 && errno == EIO);
    CHECK(getrandom(much, size, 0) == (ssize_t)size);
    for (size_t i = 0; i < size; i++) {
        counts[much[i]]++;
        bits += __builtin_popcount(much[i]);
    }
    // 4096 of each are expected, with a standard deviation of 64; 8 of them is not chance.
    for (int i = 0; i < 256; i++)
        CHECK(counts[i] > 4096 - 512 && counts[i] < 4096 + 512);
    CHECK(bits > 4194304 - 12000 && bits < 4194304 + 12000);
    CHECK(memcmp((void *)getauxval(AT_RANDOM), zero, 16));
    free(much);
    return FINISH();
}
