# Children that write to their parent's memory at once, when there is enough for one or two copies of it: those that there is
# none for are killed, not all.
# memory: 64M
import os

memory = bytearray(20 << 20)
children = []
for at in range(0, len(memory), 4096):
    memory[at] = 1
statuses = []
for _ in range(6):
    try:
        pid = os.fork()
    except OSError:
        # There is not enough left for another one before one has ended.
        statuses.append(os.waitpid(children.pop(0), 0)[1])
        continue
    if pid == 0:
        for at in range(0, len(memory), 4096):
            memory[at] = 2
        os._exit(0)
    children.append(pid)
statuses += [os.waitpid(pid, 0)[1] for pid in children]
print(0 in statuses, sum(memory[::4096]))
