# Pools of threads: multiprocessing.pool.ThreadPool and concurrent.futures.
# cpus: 4
import concurrent.futures
import hashlib
import time
from multiprocessing.pool import ThreadPool


def digest(n):
    # Lets other threads run while it computes.
    return hashlib.sha256(bytes([n % 256]) * 100000).hexdigest()[:8]


with ThreadPool(4) as pool:
    print(pool.map(digest, range(20))[:5])
    print(sum(pool.imap_unordered(len, ["a" * n for n in range(50)])))
    print(pool.apply_async(pow, (2, 10)).get(timeout=30))
    try:
        pool.apply(int, ("x",))
    except ValueError as error:
        print(error)
with concurrent.futures.ThreadPoolExecutor(8) as executor:
    futures = {executor.submit(digest, n): n for n in range(40)}
    done = {futures[f]: f.result() for f in concurrent.futures.as_completed(futures)}
    print([done[n] for n in (0, 13, 39)])
    begin = time.monotonic()
    list(executor.map(time.sleep, [0.1] * 8))
    print(0.1 <= time.monotonic() - begin < 60)
    failed = executor.submit(lambda: 1 / 0)
    print(repr(failed.exception()))
    try:
        executor.submit(time.sleep, 0.3).result(timeout=0.01)
    except concurrent.futures.TimeoutError:
        print("time limit")
