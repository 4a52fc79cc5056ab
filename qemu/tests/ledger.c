// Keeps a ledger in the directory it is given, as databases do: a record is added, synchronised, and then a mark says so. Goes on
// where it was cut off, having checked what is there. `ledger DIR ROUNDS`; prints the number of each record that is kept.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD = 3000, SNAPSHOT = 20000, SCRATCH = 5 };

static char bytes[SNAPSHOT + 8];

static void must(int done, const char *what)
{
    if (done) return;
    perror(what);
    exit(1);
}

// The number, over and over.
static char *filled(long number)
{
    for (long i = 0; i < SNAPSHOT; i += 8) snprintf(bytes + i, 9, "%07ld\n", number);
    return bytes;
}

static long number_in(const char *name)
{
    char text[9] = "";
    int fd = open(name, O_RDONLY);
    if (fd < 0) return 0;
    must(read(fd, text, 8) >= 0, name);
    close(fd);
    return atol(text);
}

static void put(const char *name, long number, int len, int synchronised)
{
    int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    must(fd >= 0 && write(fd, filled(number), len) == len, name);
    must(!synchronised || fsync(fd) == 0, "fsync");
    close(fd);
}

int main(int count, char **arguments)
{
    must(count == 3 && chdir(arguments[1]) == 0, "ledger DIR ROUNDS");
    int directory = open(".", O_RDONLY | O_DIRECTORY), log = open("log", O_CREAT | O_RDWR | O_APPEND, 0644);
    int mark = open("mark", O_CREAT | O_RDWR, 0644);
    must(fsync(directory) == 0, "fsync");
    struct stat of;
    must(fstat(log, &of) == 0, "fstat");
    long kept = of.st_size / RECORD, marked = number_in("mark");
    for (long i = 1; i <= kept; i++) {
        static char record[RECORD];
        must(pread(log, record, RECORD, (i - 1) * RECORD) == RECORD, "record");
        must(memcmp(record, filled(i), RECORD) == 0, "a record is another");
    }
    must(kept >= marked, "a record is lost");
    must(number_in("snapshot") >= marked - marked % 3, "a snapshot is lost");
    must(ftruncate(log, kept * RECORD) == 0, "ftruncate");
    for (long i = kept + 1; i <= kept + atol(arguments[2]); i++) {
        must(write(log, filled(i), RECORD) == RECORD && fdatasync(log) == 0, "write");
        if (i % 3 == 0) {
            put("snapshot.new", i, SNAPSHOT, 1);
            must(rename("snapshot.new", "snapshot") == 0 && fsync(directory) == 0, "rename");
        }
        must(pwrite(mark, filled(i), 8, 0) == 8, "mark");
        // Files that come and go, so that their blocks are others' by and by.
        char name[30];
        snprintf(name, sizeof name, "scratch-%ld", i - SCRATCH);
        unlink(name);
        snprintf(name, sizeof name, "scratch-%ld", i);
        put(name, i, SNAPSHOT, 0);
        // Blocks that are set aside have not got what they held before, and those of a hole are others', too.
        int scratch = open(name, O_WRONLY);
        must(fallocate(scratch, 0, SNAPSHOT, 2 * 4096) == 0, "fallocate");
        must(fallocate(scratch, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 2 * 4096) == 0, "punch");
        close(scratch);
        printf("%ld\n", i);
        fflush(stdout);
    }
    return 0;
}
