# What `make run`, `make stress` and `make bench` run in the guest. Small integers, so that the
# result does not depend on the order of additions, hence not on the number of threads.
import numpy

a = numpy.arange(1.0, 7.0).reshape(2, 3)
b = numpy.arange(1.0, 13.0).reshape(3, 4)
print(a, "times", b, "is", a @ b, sep="\n")

# Large enough for OpenBLAS to use its threads; checked against numpy's own integer product.
n = 192
p = numpy.arange(n * n).reshape(n, n) % 17 - 8
q = numpy.arange(n * n).reshape(n, n) % 13 - 6
product = p.astype(float) @ q.astype(float)
print("numpy", numpy.__version__, "multiplies", (product == p @ q).all() and "right" or "wrong")
