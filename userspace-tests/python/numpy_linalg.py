# numpy's linear algebra, random numbers, Fourier transforms, sorting, files and memory maps.
# cpus: 4
# memory: 1G
import os
import tempfile

import numpy

random = numpy.random.default_rng(42)
print(random.integers(0, 1000, 5), random.random(3))
a = random.random((120, 120)) + 120 * numpy.eye(120)
x = numpy.arange(120.0)
print(numpy.round(numpy.linalg.solve(a, a @ x)[[0, 60, 119]], 8) + 0.0)
print(bool(numpy.allclose(numpy.linalg.inv(a) @ a, numpy.eye(120))))
print(round(float(numpy.linalg.slogdet(a)[1]), 6))
symmetric = numpy.diag([3.0, 1.0, 2.0]) + 0.1
print(numpy.round(numpy.linalg.eigvalsh(symmetric), 10))
print(numpy.round(numpy.linalg.svd(numpy.vander([1.0, 2, 3, 4]), compute_uv=False), 8))
signal = numpy.sin(numpy.arange(1024) * 2 * numpy.pi * 50 / 1024)
print(int(numpy.argmax(numpy.abs(numpy.fft.rfft(signal)))))
values = random.permutation(10**5)
print(bool((numpy.sort(values) == numpy.arange(10**5)).all()), values.sum(), round(float(values.std()), 6))
table = numpy.arange(12).reshape(3, 4)
print(table[:, ::2].T, table[table % 3 == 0], numpy.einsum("ij,kj->ik", table, table))
with tempfile.TemporaryDirectory() as place:
    path = os.path.join(place, "a.npy")
    numpy.save(path, a)
    mapped = numpy.load(path, mmap_mode="r+")
    mapped[0, 0] = 5
    mapped.flush()
    print(numpy.load(path)[0, 0], mapped.shape)
try:
    numpy.linalg.inv(numpy.zeros((2, 2)))
except numpy.linalg.LinAlgError as error:
    print(error)
with numpy.errstate(all="ignore"):
    print(numpy.array([1.0, -1, 0]) / 0)
