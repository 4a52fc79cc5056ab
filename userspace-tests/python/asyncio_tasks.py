# asyncio: timers in order, queues, cancellation, time limits, threads, pipes and sockets between tasks.
import asyncio
import os
import socket
import time


async def tick(log, name, delay):
    await asyncio.sleep(delay)
    log.append(name)


async def produce(queue):
    for i in range(100):
        await queue.put(i)
    await queue.put(None)


async def consume(queue):
    total = 0
    while (item := await queue.get()) is not None:
        total += item
    return total


async def main():
    log, begin = [], time.monotonic()
    await asyncio.gather(tick(log, "c", 0.3), tick(log, "a", 0.1), tick(log, "b", 0.2))
    print(log, time.monotonic() - begin >= 0.3)
    queue = asyncio.Queue(5)
    print((await asyncio.gather(produce(queue), consume(queue)))[1])
    try:
        await asyncio.wait_for(asyncio.sleep(100), 0.02)
    except asyncio.TimeoutError:
        print("time limit")
    task = asyncio.create_task(asyncio.sleep(100))
    await asyncio.sleep(0)
    task.cancel()
    print((await asyncio.gather(task, return_exceptions=True))[0].__class__.__name__)
    print(await asyncio.to_thread(sum, range(1000)))
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    receive = asyncio.create_task(loop.sock_recv(right, 100))
    await loop.sock_sendall(left, b"over the socket")
    print(await receive)
    readable, writable = os.pipe()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(readable, "rb"))
    os.write(writable, b"line one\nline two\n")
    os.close(writable)
    print(await reader.readline(), await reader.read())
    lock, inside = asyncio.Lock(), []

    async def enter(n):
        async with lock:
            inside.append(n)
            await asyncio.sleep(0.001)

    await asyncio.gather(*(enter(n) for n in range(5)))
    print(inside)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(0.001, n)) for n in range(3)]
    print([task.result() for task in tasks])


asyncio.run(main())
