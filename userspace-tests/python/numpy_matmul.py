# numpy with OpenBLAS or reference BLAS on several CPUs: products of exactly representable numbers are exact.
# cpus: 4
# memory: 1G
import hashlib

import numpy

size = 300
a = (numpy.arange(size * size, dtype=numpy.int64).reshape(size, size) * 7919) % 1009
b = (numpy.arange(size * size, dtype=numpy.int64).reshape(size, size) * 104729) % 997
exact = a @ b
for kind in (numpy.float64, numpy.float32):
    for _ in range(3):
        product = a.astype(kind) @ b.astype(kind)
        if kind is numpy.float64:
            assert (product == exact).all()
            print(hashlib.sha256(product.tobytes()).hexdigest())
    print(kind.__name__, bool(numpy.allclose(product, exact, rtol=1e-4)))
rows = [sum(int(a[i, k]) * int(b[k, j]) for k in range(size)) for i, j in ((0, 0), (299, 299), (17, 230))]
print(rows, [int(exact[i, j]) for i, j in ((0, 0), (299, 299), (17, 230))])
large = (numpy.arange(800 * 800).reshape(800, 800) % 113).astype(float)
print(int((large @ large.T).sum()), int(numpy.trace(large @ large)))
print(hashlib.sha256(exact.tobytes()).hexdigest())
