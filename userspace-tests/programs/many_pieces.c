// A file in many pieces, cut short step by step, punched and removed. The directory is the first argument.
#include "check.h"
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECES = 800, STEP = 51000, LENGTH = 2048, CUT = 100 };

static char piece[LENGTH];

// Each piece ends where its step does.
static void fill(int fd)
{
    for (int number = 1; number <= PIECES; number++) {
        for (int at = 0; at < LENGTH; at++)
            piece[at] = 1 + (at + number) % 100;
        CHECK(pwrite(fd, piece, LENGTH, (off_t)number * STEP - LENGTH) == LENGTH);
    }
    CHECK(fsync(fd) == 0);
}

static int is_there(int fd, int number)
{
    if (pread(fd, piece, LENGTH, (off_t)number * STEP - LENGTH) != LENGTH)
        return 0;
    for (int at = 0; at < LENGTH; at++)
        if (piece[at] != 1 + (at + number) % 100)
            return 0;
    return 1;
}

static int is_zero(int fd, int number)
{
    CHECK(pread(fd, piece, LENGTH, (off_t)number * STEP - LENGTH) == LENGTH);
    for (int at = 0; at < LENGTH; at++)
        if (piece[at] != 0)
            return 0;
    return 1;
}

int main(int count, char **arguments)
{
    struct stat status;
    CHECK(chdir(count > 1 ? arguments[1] : "/tmp") == 0);
    int fd = open("many-pieces", O_RDWR | O_CREAT | O_TRUNC, 0600);
    fill(fd);
    for (int left = PIECES - CUT; left >= CUT; left -= CUT) {
        off_t size = (off_t)left * STEP;
        CHECK(ftruncate(fd, size) == 0 && fstat(fd, &status) == 0 && status.st_size == size);
        CHECK(is_there(fd, 1) && is_there(fd, left) && pread(fd, piece, 1, size) == 0);
    }
    // What was cut off does not come back.
    CHECK(ftruncate(fd, (off_t)PIECES * STEP) == 0 && is_there(fd, CUT));
    CHECK(is_zero(fd, CUT + 1) && is_zero(fd, PIECES));
    fill(fd);
    CHECK(is_there(fd, PIECES) && ftruncate(fd, 0) == 0 && fsync(fd) == 0);
    CHECK(fstat(fd, &status) == 0 && status.st_size == 0 && status.st_blocks == 0);
    fill(fd);
    int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    CHECK(fallocate(fd, hole, (off_t)300 * STEP, (off_t)500 * STEP) == 0);
    CHECK(is_there(fd, 300) && is_zero(fd, 301) && is_zero(fd, PIECES));
    CHECK(close(fd) == 0 && unlink("many-pieces") == 0);
    return FINISH();
}
