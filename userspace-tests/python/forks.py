# What Python does by fork(2): children of its own, pools of processes, pipelines of the shell.
import ctypes
import mmap
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

value = [1]
shared = mmap.mmap(-1, 4096)
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    value.append(2)
    shared[0] = 7
    os.write(write, f"{value} {os.getppid() != os.getpid()}".encode())
    os._exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), os.read(read, 100), value, shared[0])

print(os.popen("echo b a c | tr ' ' '\\n' | sort | head -2 | (read x; read y; echo $y$x)").read())
print(subprocess.run("x=$(echo sub; exit 3); echo $x $?; (exit 4); echo $?", shell=True, capture_output=True).stdout)
print(subprocess.run(["/bin/echo", "before"], preexec_fn=os.setsid, capture_output=True).stdout)

fork = multiprocessing.get_context("fork")


def square(n):
    return n * n


def count(counter, lock, times):
    for _ in range(times):
        with lock:
            counter.value += 1


with fork.Pool(3) as pool:
    print(sum(pool.map(square, range(100))))

counter, lock = fork.Value("i", 0, lock=False), fork.Lock()
workers = [fork.Process(target=count, args=(counter, lock, 50)) for _ in range(3)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(counter.value, [worker.exitcode for worker in workers])

queue = fork.Queue()
child = fork.Process(target=lambda: queue.put({"from": "child"}))
child.start()
print(queue.get())
child.join()


# What a child loads for itself: an extension module, a library.
def loads(out):
    import sqlite3

    libm = ctypes.CDLL("libm.so.6")
    libm.sqrt.restype = ctypes.c_double
    row = sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()
    out.send((row, libm.sqrt(ctypes.c_double(81))))


here, there = fork.Pipe()
child = fork.Process(target=loads, args=(there,))
child.start()
print(here.recv())
child.join()

# The parent has threads.
stop = threading.Event()
threads = [threading.Thread(target=stop.wait) for _ in range(3)]
for thread in threads:
    thread.start()
pid = os.fork()
if pid == 0:
    one = threading.Thread(target=lambda: value.append("thread"))
    one.start()
    one.join()
    os._exit(len(value) + 10 * threading.active_count())
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
stop.set()

pid = os.fork()
if pid == 0:
    signal.pause()
os.kill(pid, signal.SIGKILL)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
sys.stdout.flush()
