"""Compiles Python modules of a tree that is not the root directory.

Standard input holds records of three strings, each ended by a zero byte: the source's path with all links followed as
in the tree, the path whose __pycache__ gets the byte code, and the module's path inside the tree. What fails is
printed as `PATH: REASON`.
"""

import importlib.util
import os
import py_compile
import sys


def is_fresh(byte_code, source):
    try:
        with open(byte_code, "rb") as file:
            header = file.read(16)
    except OSError:
        return False
    if header[:4] != importlib.util.MAGIC_NUMBER or len(header) < 16:
        return False
    number = [int.from_bytes(header[at : at + 4], "little") for at in (4, 8, 12)]
    return number[0] != 0 or number[1:] == [int(source.st_mtime) & 0xFFFFFFFF, source.st_size & 0xFFFFFFFF]


def main():
    words = [os.fsdecode(word) for word in sys.stdin.buffer.read().split(b"\0")]
    for source, place, name in zip(words[0::3], words[1::3], words[2::3]):
        try:
            byte_code = importlib.util.cache_from_source(place)
            status = os.stat(source)
            if is_fresh(byte_code, status):
                continue
            py_compile.compile(
                source, byte_code, name, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP
            )
            os.utime(byte_code, (status.st_mtime, status.st_mtime))
        except py_compile.PyCompileError as error:
            print(f"{name}: {error.exc_type_name}")
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}")


main()
