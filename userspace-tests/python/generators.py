# The interpreter itself: deep recursion and its limit, garbage, generators, big integers, classes, imports, memory.
import gc
import sys
import weakref


def depth(n):
    return 0 if n == 0 else 1 + depth(n - 1)


print(depth(900))
try:
    depth(10**6)
except RecursionError as error:
    print(error)
sys.setrecursionlimit(20000)
print(depth(15000))


def primes():
    found, n = [], 2
    while True:
        if all(n % p for p in found):
            found.append(n)
            yield n
        n += 1


generator = primes()
print([next(generator) for _ in range(500)][-1])


class Node:
    pass


a, b = Node(), Node()
a.other, b.other = b, a
gone = weakref.ref(a)
del a, b
gc.collect()
print(gone() is None)
print(pow(3, 10**5, 10**20 + 39), len(str(2**10000)))
big = [list(range(1000)) for _ in range(1000)]
print(sum(map(sum, big)))
try:
    bytearray(1 << 60)
except MemoryError:
    print("MemoryError")
modules = ["email.message", "http.client", "urllib.parse", "logging.config", "unittest.mock", "xml.dom.minidom", "ssl"]
print([len(__import__(m).__name__) > 0 for m in modules])
