"""Usage: size.py KERNEL

What the code of a kernel's file consists of: bytes by crate, and the largest functions. Code of generic functions
counts to the crate that defines them (alloc's are collections, core's sorting and formatting, mostly).
"""

import collections
import re
import subprocess
import sys

LARGEST = 15


def functions(kernel):
    """(bytes, demangled name) of each function."""
    listing = subprocess.run(["nm", "-C", "-S", "--defined-only", kernel], check=True, capture_output=True, text=True)
    for line in listing.stdout.splitlines():
        fields = line.split(" ", 3)
        if len(fields) == 4 and fields[2] in "tTwW":
            yield int(fields[1], 16), fields[3]


def crate(name):
    found = re.match(r"<?(?:&|mut |dyn |\[|\()*([a-z_0-9]+)::", name)
    return found[1] if found else "others"


def main():
    [kernel] = sys.argv[1:]
    found = list(functions(kernel))
    crates = collections.Counter()
    for size, name in found:
        crates[crate(name)] += size
    for name, size in crates.most_common():
        if size >= 10000:
            print(f"{size:10,} {name}")
    print(f"{sum(crates.values()):10,} all of it\n")
    for size, name in sorted(found, reverse=True)[:LARGEST]:
        print(f"{size:10,} {name[:110]}")


main() if len(sys.argv) == 2 else sys.exit(__doc__)
