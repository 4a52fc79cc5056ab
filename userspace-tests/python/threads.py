# Threads and queues: producers and consumers, locks, events, conditions, semaphores, barriers, thread-local data.
# cpus: 4
import queue
import sys
import threading

sys.setswitchinterval(0.0005)
work, results = queue.Queue(maxsize=10), queue.Queue()


def consume():
    while (item := work.get()) is not None:
        results.put(item * item)
        work.task_done()
    work.task_done()


threads = [threading.Thread(target=consume) for _ in range(6)]
for thread in threads:
    thread.start()
for number in range(2000):
    work.put(number)
for _ in threads:
    work.put(None)
work.join()
for thread in threads:
    thread.join()
print(sum(results.queue), results.qsize(), threading.active_count())

counter, lock, local = 0, threading.Lock(), threading.local()


def count():
    global counter
    local.mine = 0
    for _ in range(5000):
        with lock:
            counter += 1
        local.mine += 1
    assert local.mine == 5000


threads = [threading.Thread(target=count) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(counter)

barrier, order, event = threading.Barrier(4), [], threading.Event()


def meet(number):
    for phase in range(5):
        barrier.wait()
        with lock:
            order.append(phase)
    event.wait()


threads = [threading.Thread(target=meet, args=(n,), daemon=True) for n in range(4)]
[thread.start() for thread in threads]
while len(order) < 20:
    event.wait(0.001)
print(order == sorted(order), event.is_set())
event.set()
[thread.join() for thread in threads]
print(lock.acquire(timeout=0.01), lock.acquire(timeout=0.01))
try:
    queue.Queue().get(timeout=0.01)
except queue.Empty:
    print("empty")
timer = threading.Timer(0.01, lambda: print("timer"))
timer.start()
timer.join()
