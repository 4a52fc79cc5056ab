"""Usage: growth.py ELFIN

Counts the instructions of operations where there are more and more mappings, descriptors that epoll watches, files in
the directory, threads (growth.c): what nothing may grow with but slowly. The table is printed, and written to
target/bench/growth.json.
"""

import json
import subprocess
import sys

from instructions import HERE, WORK, compile_parts, counted, elfin_line

TIMES = 100
SIZES = [10, 100, 1000, 10000, 100000]
# What is measured, where how many of what are, and the most of them that there may be.
ROWS = {
    "mappings": ("mmap, touch, munmap of a page", 60000),
    "watched": ("eventfd: write, epoll_wait, read", 100000),
    "files": ("open, close of a file", 100000),
    "threads": ("pthread_create and join", 10000),
}


def main():
    [elfin] = sys.argv[1:]
    root = compile_parts()
    subprocess.run(["gcc", "-O2", "-pthread", "-o", root / "growth", HERE / "growth.c"], check=True)
    results = {}
    for what, (operation, most) in ROWS.items():
        sizes = sorted({min(size, most) for size in SIZES})
        line = elfin_line(elfin, ["--memory", "2G", "--root", root], "q35", ["/growth", what, *map(str, sizes)])
        _, _, marks, printed = counted(line)
        if len(marks) != 2 * len(sizes):
            sys.exit(f"growth: {what}: {printed}")
        counts = [round((end - start) / TIMES) for start, end in zip(marks[::2], marks[1::2])]
        results[what] = dict(zip(sizes, counts))
        cells = "".join(f"{size:>10,}: {count:,}" for size, count in results[what].items())
        print(f"{operation}; {what}: {cells}", flush=True)
    (WORK / "growth.json").write_text(json.dumps(results, indent=1) + "\n")


main() if len(sys.argv) == 2 else sys.exit(__doc__)
