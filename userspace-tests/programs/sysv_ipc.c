// System V semaphores, message queues and shared memory do and refuse what they do on Linux.
// linux: as root
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "asleep.h"
#include "check.h"

enum { KEY = 0x456c6669 };

union semun { int val; struct semid_ds *buf; unsigned short *array; struct seminfo *info; };

static int refused(long result, int error)
{
    if (result != -1 || errno != error)
        printf("%ld %s instead of %s\n", result, strerrorname_np(errno), strerrorname_np(error));
    return result == -1 && errno == error;
}

static int op(int id, int member, int change, int flags)
{
    struct sembuf one = {member, change, flags};
    return semop(id, &one, 1);
}

static int value(int id, int member)
{
    return semctl(id, member, GETVAL);
}

static int sem_id;
static volatile int handled;

static void handler(int signal)
{
    handled = signal;
}

static void *waits(void *result)
{
    *(int *)result = op(sem_id, 0, -2, 0) == 0 ? 0 : errno;
    return 0;
}

static pthread_t waiter(int *result, int count)
{
    pthread_t thread;
    *result = -1;
    pthread_create(&thread, 0, waits, result);
    while (semctl(sem_id, 0, GETNCNT) != count)
        usleep(1000);
    return thread;
}

static void semaphores(void)
{
    CHECK(refused(semget(KEY, 1, 0600), ENOENT) && refused(semget(IPC_PRIVATE, 0, 0600), EINVAL));
    CHECK(refused(semget(IPC_PRIVATE, -1, 0600), EINVAL) && refused(semget(IPC_PRIVATE, 32001, 0600), EINVAL));
    int id = semget(KEY, 3, IPC_CREAT | IPC_EXCL | 0640);
    CHECK(id >= 0 && semget(KEY, 0, 0) == id && semget(KEY, 3, IPC_CREAT) == id);
    CHECK(refused(semget(KEY, 4, 0), EINVAL) && refused(semget(KEY, 3, IPC_CREAT | IPC_EXCL), EEXIST));
    union semun arg = {.val = 5};
    CHECK(semctl(id, 1, SETVAL, arg) == 0 && value(id, 1) == 5 && value(id, 0) == 0);
    arg.val = 32768;
    CHECK(refused(semctl(id, 1, SETVAL, arg), ERANGE) && refused(semctl(id, 3, SETVAL, arg), ERANGE));
    CHECK(refused(semctl(id, -1, GETVAL), EINVAL) && refused(semctl(id, 0, 99), EINVAL) &&
          refused(semctl(-1, 0, GETVAL), EINVAL));
    unsigned short all[3] = {1, 2, 3};
    arg.array = all;
    CHECK(semctl(id, 0, SETALL, arg) == 0 && value(id, 2) == 3);
    // All or nothing.
    struct sembuf several[2] = {{0, -1, 0}, {1, -3, IPC_NOWAIT}};
    CHECK(refused(semop(id, several, 2), EAGAIN) && value(id, 0) == 1);
    several[1].sem_op = -2;
    CHECK(semop(id, several, 2) == 0 && value(id, 0) == 0 && value(id, 1) == 0 && semctl(id, 0, GETPID) == getpid());
    CHECK(op(id, 0, 0, 0) == 0 && refused(op(id, 2, 0, IPC_NOWAIT), EAGAIN));
    CHECK(refused(op(id, 3, 1, 0), EFBIG) && refused(semop(id, several, 0), EINVAL) &&
          refused(semop(id, several, 501), E2BIG));
    CHECK(refused(semop(id, (void *)8, 1), EFAULT) && refused(op(id, 2, 32765, 0), ERANGE) && value(id, 2) == 3);
    struct timespec soon = {0, 10000000}, wrong = {0, 1000000000};
    struct sembuf down = {0, -1, 0};
    CHECK(refused(semtimedop(id, &down, 1, &soon), EAGAIN) && refused(semtimedop(id, &down, 1, &wrong), EINVAL));
    // Waiting: for others, signals, the end.
    int result, other;
    sem_id = id;
    pthread_t thread = waiter(&result, 1);
    CHECK(op(id, 0, 1, 0) == 0 && semctl(id, 0, GETNCNT) == 1 && op(id, 0, 1, 0) == 0);
    CHECK(pthread_join(thread, 0) == 0 && result == 0 && value(id, 0) == 0);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, 0);
    thread = waiter(&result, 1);
    pthread_kill(thread, SIGUSR1);
    CHECK(pthread_join(thread, 0) == 0 && result == EINTR && handled == SIGUSR1 && semctl(id, 0, GETNCNT) == 0);
    pthread_t second = waiter(&result, 1);
    thread = waiter(&other, 2);
    struct semid_ds status;
    arg.buf = &status;
    CHECK(semctl(id, 0, IPC_STAT, arg) == 0 && status.sem_nsems == 3 && status.sem_perm.__key == KEY);
    CHECK(status.sem_perm.mode == 0640 && status.sem_perm.uid == getuid() && status.sem_otime != 0 &&
          status.sem_ctime != 0);
    status.sem_perm.mode = 0700;
    CHECK(semctl(id, 0, IPC_SET, arg) == 0 && semctl(id, 0, IPC_STAT, arg) == 0 && status.sem_perm.mode == 0700);
    CHECK(semctl(id, 0, IPC_RMID) == 0 && refused(semctl(id, 0, IPC_RMID), EINVAL));
    CHECK(pthread_join(thread, 0) == 0 && pthread_join(second, 0) == 0 && result == EIDRM && other == EIDRM);
    CHECK(refused(semget(KEY, 1, 0), ENOENT) && refused(op(id, 0, 1, 0), EINVAL));
    // A new one has another number.
    int next = semget(KEY, 1, IPC_CREAT | 0600);
    CHECK(next >= 0 && next != id && op(next, 0, 1, SEM_UNDO) == 0 && semctl(next, 0, IPC_RMID) == 0);
}

struct message { long type; char text[64]; };

static int msg_id;

static pid_t receiver;

static void *receives(void *argument)
{
    struct message *message = argument;
    __atomic_store_n(&receiver, gettid(), __ATOMIC_SEQ_CST);
    message->type = msgrcv(msg_id, message, 64, 9, 0) == -1 ? -errno : message->type;
    return 0;
}

static int send(int id, long type, const char *text, int flags)
{
    struct message message = {.type = type};
    strcpy(message.text, text);
    return msgsnd(id, &message, strlen(text), flags);
}

static const char *receive(int id, size_t len, long type, int flags)
{
    static struct message message;
    memset(&message, 0, sizeof message);
    ssize_t got = msgrcv(id, &message, len, type, flags | IPC_NOWAIT);
    return got == -1 ? strerrorname_np(errno) : message.text;
}

static void messages(void)
{
    CHECK(refused(msgget(KEY, 0600), ENOENT));
    int id = msgget(KEY, IPC_CREAT | 0600);
    CHECK(id >= 0 && msgget(KEY, 0) == id && refused(msgget(KEY, IPC_CREAT | IPC_EXCL), EEXIST));
    CHECK(refused(send(id, 0, "x", 0), EINVAL) && refused(msgsnd(id, (void *)8, 1, 0), EFAULT));
    static char large[8200] = {1};
    CHECK(refused(msgsnd(id, large, 8193, 0), EINVAL));
    for (long type = 1; type <= 5; type++) {
        char text[8];
        snprintf(text, sizeof text, "type %ld", type);
        CHECK(send(id, type, text, 0) == 0 && send(id, type, "again", 0) == 0);
    }
    puts(receive(id, 64, 3, 0));
    puts(receive(id, 64, -2, 0));
    puts(receive(id, 64, 1, MSG_EXCEPT));
    puts(receive(id, 64, 0, 0));
    puts(receive(id, 64, 7, 0));
    puts(receive(id, 3, 4, 0));
    puts(receive(id, 3, 4, MSG_NOERROR));
    puts(receive(id, -1, 0, 0));
    struct msqid_ds status;
    CHECK(msgctl(id, IPC_STAT, &status) == 0 && status.msg_qnum == 5 && status.msg_qbytes == 16384);
    printf("%ld bytes, %d %d\n", (long)status.__msg_cbytes, status.msg_lspid == getpid(), status.msg_lrpid == getpid());
    status.msg_qbytes = 30;
    CHECK(msgctl(id, IPC_SET, &status) == 0 && refused(send(id, 1, "too much", IPC_NOWAIT), EAGAIN));
    struct message message = {.type = 0};
    pthread_t thread;
    msg_id = id;
    pthread_create(&thread, 0, receives, &message);
    status.msg_qbytes = 1000;
    CHECK(msgctl(id, IPC_SET, &status) == 0 && send(id, 9, "for whom waits", 0) == 0);
    pthread_join(thread, 0);
    printf("%ld %s\n", message.type, message.text);
    __atomic_store_n(&receiver, 0, __ATOMIC_SEQ_CST);
    pthread_create(&thread, 0, receives, &message);
    while (__atomic_load_n(&receiver, __ATOMIC_SEQ_CST) == 0)
        sched_yield();
    until_asleep(receiver);
    CHECK(msgctl(id, IPC_RMID, 0) == 0);
    pthread_join(thread, 0);
    CHECK(message.type == -EIDRM);
    CHECK(refused(msgctl(id, IPC_RMID, 0), EINVAL) && refused(msgctl(id, 99, 0), EINVAL));
}

static int attachments(int id)
{
    struct shmid_ds status;
    return shmctl(id, IPC_STAT, &status) == 0 ? (int)status.shm_nattch : -1;
}

static void shared_memory(void)
{
    CHECK(refused(shmget(KEY, 1, 0600), ENOENT) && refused(shmget(IPC_PRIVATE, 0, 0600), EINVAL));
    int id = shmget(KEY, 10000, IPC_CREAT | 0600);
    CHECK(id >= 0 && shmget(KEY, 5000, 0) == id && refused(shmget(KEY, 10001, 0), EINVAL));
    CHECK(refused(shmget(KEY, 1, IPC_CREAT | IPC_EXCL), EEXIST) && attachments(id) == 0);
    char *one = shmat(id, 0, 0), *two = shmat(id, 0, SHM_RDONLY);
    CHECK(one != (void *)-1 && two != (void *)-1 && one != two && attachments(id) == 2);
    strcpy(one + 9000, "seen by both");
    CHECK(strcmp(two + 9000, "seen by both") == 0 && one[12287] == 0);
    CHECK(refused(mprotect(two, 4096, PROT_READ | PROT_WRITE), EACCES));
    CHECK(refused((long)shmat(id, one + 1, 0), EINVAL) && refused((long)shmat(id, one, 0), EINVAL));
    CHECK(refused((long)shmat(id, 0, SHM_REMAP), EINVAL) && refused((long)shmat(-1, 0, 0), EINVAL));
    CHECK(shmdt(two) == 0 && attachments(id) == 1 && refused(shmdt(two), EINVAL) &&
          refused(shmdt(one + 4096), EINVAL));
    char *free = mmap(0, 1 << 16, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(shmat(id, free + 4096, SHM_REMAP) == free + 4096 && strcmp(free + 4096 + 9000, "seen by both") == 0);
    CHECK(shmdt(free + 4096) == 0 && shmat(id, free + 4096 + 77, SHM_RND) == free + 4096);
    CHECK(munmap(free, 1 << 16) == 0 && attachments(id) == 1);
    // Part of it goes: two pieces, or one.
    CHECK(munmap(one + 4096, 4096) == 0 && attachments(id) == 2 && shmdt(one) == 0 && attachments(id) == 0);
    one = shmat(id, 0, 0);
    CHECK(strcmp(one + 9000, "seen by both") == 0);
    struct shmid_ds status;
    CHECK(shmctl(id, IPC_STAT, &status) == 0 && status.shm_segsz == 10000 && status.shm_cpid == getpid());
    CHECK(status.shm_perm.mode == 0600 && status.shm_atime != 0 && status.shm_lpid == getpid());
    // Removed, it stays until it is detached.
    CHECK(shmctl(id, IPC_RMID, 0) == 0 && refused(shmget(KEY, 1, 0), ENOENT) && attachments(id) == 1);
    CHECK(shmctl(id, IPC_STAT, &status) == 0 && status.shm_perm.mode == (0600 | SHM_DEST));
    two = shmat(id, 0, 0);
    CHECK(two != (void *)-1 && shmdt(one) == 0 && strcmp(two + 9000, "seen by both") == 0);
    CHECK(munmap(two, 12288) == 0 && refused(shmctl(id, IPC_STAT, &status), EINVAL));
}

// The lines of a table that have this key.
static void listed(const char *file)
{
    char line[256], key[16];
    FILE *table = fopen(file, "r");
    snprintf(key, sizeof key, "%10d ", KEY);
    CHECK(table != 0);
    if (!table)
        return;
    CHECK(fgets(line, sizeof line, table) != 0);
    for (char *word = strtok(line, " \n"); word; word = strtok(0, " \n"))
        printf("%s%s", word == line ? "" : " ", word);
    puts("");
    int count = 0;
    while (fgets(line, sizeof line, table))
        count += strncmp(line, key, 11) == 0;
    CHECK(count == 1);
    fclose(table);
}

static void tables(void)
{
    int sem = semget(KEY, 2, IPC_CREAT | 0644), msg = msgget(KEY, IPC_CREAT | 0644);
    int shm = shmget(KEY, 1, IPC_CREAT | 0644);
    listed("/proc/sysvipc/sem");
    listed("/proc/sysvipc/msg");
    listed("/proc/sysvipc/shm");
    CHECK(semctl(sem, 0, IPC_RMID) == 0 && msgctl(msg, IPC_RMID, 0) == 0 && shmctl(shm, IPC_RMID, 0) == 0);
}

// Who is neither owner nor in the group; both are removed by their numbers, which the owner keeps.
static void *others(void *unused)
{
    int sem = semget(KEY, 1, IPC_CREAT | 0640), shm = shmget(KEY, 1, IPC_CREAT | 0604);
    // Of this thread alone.
    CHECK(syscall(SYS_setresgid, 1, 1, 1) == 0 && syscall(SYS_setresuid, 1, 1, 1) == 0);
    CHECK(refused(op(sem, 0, 1, 0), EACCES) && refused(semctl(sem, 0, GETVAL), EACCES) &&
          refused(semctl(sem, 0, IPC_RMID), EPERM));
    CHECK(refused(semget(KEY, 1, 0444), EACCES) && semget(KEY, 1, 0) == sem);
    CHECK(refused((long)shmat(shm, 0, 0), EACCES) && shmat(shm, 0, SHM_RDONLY) != (void *)-1);
    return unused;
}

// A number of a file in /proc/sys/kernel.
static unsigned long limit(const char *name, int place)
{
    char path[64];
    unsigned long numbers[4] = {0};
    snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
    FILE *file = fopen(path, "r");
    CHECK(file && fscanf(file, "%lu %lu %lu %lu", numbers, numbers + 1, numbers + 2, numbers + 3) > place);
    if (file)
        fclose(file);
    return numbers[place];
}

// What the calls say of limits is what /proc says.
static void limits(void)
{
    struct msginfo of_messages;
    struct seminfo of_semaphores;
    struct shminfo of_memory;
    union semun arg = {.buf = (struct semid_ds *)&of_semaphores};
    CHECK(msgctl(0, IPC_INFO, (struct msqid_ds *)&of_messages) >= 0);
    CHECK((unsigned long)of_messages.msgmax == limit("msgmax", 0) && (unsigned long)of_messages.msgmnb == limit("msgmnb", 0));
    CHECK((unsigned long)of_messages.msgmni == limit("msgmni", 0));
    CHECK(semctl(0, 0, IPC_INFO, arg) >= 0);
    CHECK((unsigned long)of_semaphores.semmsl == limit("sem", 0) && (unsigned long)of_semaphores.semmns == limit("sem", 1));
    CHECK((unsigned long)of_semaphores.semopm == limit("sem", 2) && (unsigned long)of_semaphores.semmni == limit("sem", 3));
    CHECK(shmctl(0, IPC_INFO, (struct shmid_ds *)&of_memory) >= 0);
    CHECK(of_memory.shmmax == limit("shmmax", 0) && of_memory.shmall == limit("shmall", 0) && of_memory.shmmni == limit("shmmni", 0));
}

int main(void)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    semaphores();
    messages();
    shared_memory();
    tables();
    limits();
    pthread_t thread;
    pthread_create(&thread, 0, others, 0);
    pthread_join(thread, 0);
    CHECK(semctl(semget(KEY, 1, 0), 0, IPC_RMID) == 0 && shmctl(shmget(KEY, 1, 0), IPC_RMID, 0) == 0);
    return FINISH();
}
