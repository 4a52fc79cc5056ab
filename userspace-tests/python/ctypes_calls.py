# ctypes: functions of libm and libc, structures, callbacks from C, errno, variadic calls, memory.
import ctypes
import ctypes.util

libm = ctypes.CDLL("libm.so.6")
libm.cos.restype, libm.cos.argtypes = ctypes.c_double, [ctypes.c_double]
libm.pow.restype, libm.pow.argtypes = ctypes.c_double, [ctypes.c_double] * 2
print(libm.cos(2.0), libm.pow(2.0, 0.5))
libc = ctypes.CDLL(None, use_errno=True)
print(libc.abs(-5), libc.strlen(b"hello"))


class Division(ctypes.Structure):
    _fields_ = [("quotient", ctypes.c_int), ("remainder", ctypes.c_int)]


libc.div.restype = Division
result = libc.div(17, 5)
print(result.quotient, result.remainder)
Compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
calls = 0


@Compare
def compare(a, b):
    global calls
    calls += 1
    return a[0] - b[0]


numbers = (ctypes.c_int * 10)(5, 3, 9, 1, 7, 0, 8, 2, 6, 4)
libc.qsort(numbers, len(numbers), ctypes.sizeof(ctypes.c_int), compare)
print(list(numbers), calls > 0)
print(libc.open(b"/does/not/exist", 0), ctypes.get_errno())
buffer = ctypes.create_string_buffer(64)
libc.snprintf(buffer, ctypes.c_size_t(64), b"%d %s %.3f", 42, b"text", ctypes.c_double(1.5))
print(buffer.value)


class Mixed(ctypes.Structure):
    _fields_ = [("a", ctypes.c_char), ("b", ctypes.c_double), ("c", ctypes.c_short), ("d", ctypes.c_uint32, 5)]


print(ctypes.sizeof(Mixed), Mixed.b.offset, Mixed.c.offset)
print(ctypes.string_at(ctypes.addressof(buffer), 2))
try:
    ctypes.CDLL("libdoesnotexist.so")
except OSError as error:
    print(error)
try:
    libc.no_such_function
except AttributeError as error:
    print(str(error).split(": ")[-1])
