# Children that write to their parent's memory at once, when there is enough for one or two copies of it: those that there is
# none for are killed, not all.
# memory: 64M
import os

memory = bytearray(20 << 20)
children = []
for at in range(0, len(memory), 4096):
    memory[at] = 1
for _ in range(6):
    pid = os.fork()
    if pid == 0:
        for at in range(0, len(memory), 4096):
            memory[at] = 2
        os._exit(0)
    children.append(pid)
print(any(os.waitpid(pid, 0)[1] == 0 for pid in children), sum(memory[::4096]))
