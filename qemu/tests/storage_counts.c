// What getrusage(2), wait4(2), /proc/PID/io and /proc/PID/stat say of blocks read and written, and of faults that
// wait for a device; and what /proc/diskstats, /sys/block, /proc/stat and /proc/interrupts say of the disk. The
// directory, of a file system on one, is the first argument.
#include "check.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 256, PAGE = 4096, BLOCKS = PAGES * PAGE / 512 };

static char data[PAGES * PAGE];

// By name of /proc/self/io.
static long long count(const char *name)
{
    char line[128];
    long long found = -1;
    FILE *io = fopen("/proc/self/io", "r");
    while (io && fgets(line, sizeof line, io))
        if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
            found = atoll(line + strlen(name) + 1);
    if (io)
        fclose(io);
    return found;
}

static long major_faults_of_stat(void)
{
    char text[1024] = "";
    long faults = -1;
    FILE *stat = fopen("/proc/self/stat", "r");
    if (stat && fgets(text, sizeof text, stat))
        sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %ld", &faults);
    if (stat)
        fclose(stat);
    return faults;
}

static struct rusage used(int who)
{
    struct rusage used;
    CHECK(getrusage(who, &used) == 0);
    return used;
}

static void forget(int fd)
{
    CHECK(fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
}

static void writing(int fd)
{
    struct rusage before = used(RUSAGE_SELF);
    long long bytes = count("write_bytes");
    CHECK(write(fd, data, sizeof data) == (ssize_t)sizeof data);
    // Once only, as it has not been written yet.
    CHECK(pwrite(fd, data, PAGE, 0) == PAGE);
    struct rusage after = used(RUSAGE_SELF);
    long blocks = after.ru_oublock - before.ru_oublock;
    CHECK(blocks >= BLOCKS && blocks < BLOCKS + 1000);
    CHECK(count("write_bytes") - bytes == (long long)blocks * 512);
    CHECK(after.ru_inblock - before.ru_inblock < 1000);
}

static void reading(int fd)
{
    forget(fd);
    struct rusage before = used(RUSAGE_THREAD);
    long long bytes = count("read_bytes");
    CHECK(pread(fd, data, sizeof data, 0) == (ssize_t)sizeof data);
    struct rusage after = used(RUSAGE_THREAD);
    long blocks = after.ru_inblock - before.ru_inblock;
    CHECK(blocks >= BLOCKS && blocks < BLOCKS + 1000);
    CHECK(count("read_bytes") - bytes == (long long)blocks * 512);
    // They are in memory now.
    CHECK(pread(fd, data, sizeof data, 0) == (ssize_t)sizeof data);
    CHECK(used(RUSAGE_THREAD).ru_inblock == after.ru_inblock);
    CHECK(after.ru_oublock - before.ru_oublock < 1000);
}

static void faults(int fd)
{
    forget(fd);
    char *map = mmap(NULL, sizeof data, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    struct rusage before = used(RUSAGE_SELF);
    long of_stat = major_faults_of_stat();
    volatile char sum = 0;
    for (int page = 0; page < PAGES; page++)
        sum += map[page * PAGE];
    struct rusage after = used(RUSAGE_SELF);
    long major = after.ru_majflt - before.ru_majflt;
    CHECK(major >= 1 && major < PAGES);
    CHECK(major_faults_of_stat() - of_stat == major);
    CHECK(after.ru_inblock - before.ru_inblock >= BLOCKS);
    CHECK(munmap(map, sizeof data) == 0);
    map = mmap(NULL, sizeof data, PROT_READ, MAP_SHARED, fd, 0);
    before = used(RUSAGE_SELF);
    for (int page = 0; page < PAGES; page++)
        sum += map[page * PAGE];
    after = used(RUSAGE_SELF);
    CHECK(after.ru_majflt == before.ru_majflt && after.ru_minflt > before.ru_minflt);
    CHECK(munmap(map, sizeof data) == 0);
}

static void child(int fd)
{
    forget(fd);
    struct rusage before = used(RUSAGE_CHILDREN), of_child;
    long long bytes = count("read_bytes");
    pid_t pid = fork();
    if (!pid)
        _exit(pread(fd, data, sizeof data, 0) != (ssize_t)sizeof data);
    int status;
    CHECK(wait4(pid, &status, 0, &of_child) == pid && status == 0);
    CHECK(of_child.ru_inblock >= BLOCKS);
    CHECK(used(RUSAGE_CHILDREN).ru_inblock - before.ru_inblock == of_child.ru_inblock);
    CHECK(count("read_bytes") - bytes >= (long long)sizeof data);
}

static void cutting(int fd)
{
    long long bytes = count("cancelled_write_bytes");
    CHECK(pwrite(fd, data, sizeof data, 0) == (ssize_t)sizeof data && ftruncate(fd, 0) == 0);
    bytes = count("cancelled_write_bytes") - bytes;
    CHECK(bytes > 0 && bytes <= (long long)sizeof data);
}

enum { READS, MERGED_READS, SECTORS_READ, MS_READ, WRITES, MERGED_WRITES, SECTORS_WRITTEN, MS_WRITTEN, IN_FLIGHT,
       MS_BUSY, MS_WEIGHTED, DISCARDS, MERGED_DISCARDS, SECTORS_DISCARDED, MS_DISCARDED, FLUSHES, MS_FLUSHED, COUNTS };

// The counts of a line, in order.
static void read_counts(const char *line, long long counts[COUNTS])
{
    char *end = (char *)line;
    for (int i = 0; i < COUNTS; i++) {
        const char *start = end;
        counts[i] = strtoll(start, &end, 10);
        CHECK(end != start);
    }
    CHECK(*end == '\n');
}

// Those of the disk with a number, and its name.
static void disk(dev_t number, char name[32], long long counts[COUNTS])
{
    char line[512];
    int found = 0;
    FILE *all = fopen("/proc/diskstats", "r");
    while (all && fgets(line, sizeof line, all)) {
        unsigned major, minor;
        int len = 0;
        CHECK(sscanf(line, "%u %u %31s%n", &major, &minor, name, &len) == 3);
        if (makedev(major, minor) == number && (found = 1)) {
            read_counts(line + len, counts);
            break;
        }
    }
    CHECK(found);
    if (all)
        fclose(all);
}

// The first number of a file, or the one behind a word.
static long long number(const char *path, const char *word)
{
    char line[4096];
    long long found = -1;
    FILE *file = fopen(path, "r");
    while (found < 0 && file && fgets(line, sizeof line, file))
        if (!strncmp(line, word, strlen(word)))
            found = atoll(line + strlen(word));
    if (file)
        fclose(file);
    return found;
}

static void disks(int fd)
{
    struct stat status;
    CHECK(fstat(fd, &status) == 0);
    char name[32], path[128], line[512] = "";
    long long before[COUNTS] = { 0 }, after[COUNTS] = { 0 };
    long long interrupts = number("/proc/stat", "intr "), in = number("/proc/vmstat", "pgpgin ");
    forget(fd);
    disk(status.st_dev, name, before);
    CHECK(pread(fd, data, sizeof data, 0) == (ssize_t)sizeof data);
    disk(status.st_dev, name, after);
    CHECK(after[READS] > before[READS] && after[SECTORS_READ] - before[SECTORS_READ] >= BLOCKS);
    CHECK(number("/proc/vmstat", "pgpgin ") - in >= BLOCKS / 2 && number("/proc/stat", "intr ") > interrupts);
    CHECK(pwrite(fd, data, sizeof data, 0) == (ssize_t)sizeof data && fsync(fd) == 0);
    disk(status.st_dev, name, before);
    CHECK(before[WRITES] > after[WRITES] && before[SECTORS_WRITTEN] - after[SECTORS_WRITTEN] >= BLOCKS);
    CHECK(before[FLUSHES] > after[FLUSHES]);
    CHECK(before[MS_WEIGHTED] >= before[MS_BUSY] && before[MS_BUSY] >= after[MS_BUSY]);
    // The same by name and by number.
    snprintf(path, sizeof path, "/sys/block/%s/stat", name);
    FILE *stat = fopen(path, "r");
    CHECK(stat && fgets(line, sizeof line, stat));
    read_counts(line, after);
    CHECK(after[READS] >= before[READS] && after[WRITES] >= before[WRITES]);
    if (stat)
        fclose(stat);
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/size", major(status.st_dev), minor(status.st_dev));
    CHECK(number(path, "") >= 2 * BLOCKS);
    snprintf(path, sizeof path, "/sys/class/block/%s/dev", name);
    CHECK(number(path, "") == major(status.st_dev));
    FILE *all = fopen("/proc/interrupts", "r");
    CHECK(all && fgets(line, sizeof line, all) && strstr(line, " CPU0"));
    if (all)
        fclose(all);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    int fd = open("storage_counts.tmp", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    memset(data, 1, sizeof data);
    writing(fd);
    reading(fd);
    faults(fd);
    child(fd);
    disks(fd);
    cutting(fd);
    CHECK(unlink("storage_counts.tmp") == 0);
    return FINISH();
}
