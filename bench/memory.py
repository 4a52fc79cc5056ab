"""Usage: memory.py ELFIN IMAGE

Finds the least memory that programs run in, in MiB, on one virtual CPU: a C program that prints a line, Debian's Python
with print(1), and a small product of matrices by numpy. The table is printed, and written to target/bench/memory.json.
"""

import json
import subprocess
import sys

from instructions import compile_parts
from linux_guest import PYTHON, WORK

NUMPY = "import numpy; a = numpy.ones((300, 300)); print((a @ a)[0, 0])"
MOST = 64


def runs(elfin, machine, memory, source, command, expected):
    """Whether the program prints what it should in a machine with so much memory."""
    line = [elfin, "run", "--accel", "tcg", "--cpus", "1", "--machine", machine, "--memory", f"{memory}M"]
    try:
        done = subprocess.run([*line, *source, "--", *command], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and done.stdout.decode() == expected


def least(*run):
    """The least for which it runs, by bisection; None if there is none up to the most."""
    elfin, machine, *rest = run
    works, fails = MOST + 1, 1
    while works - fails > 1:
        memory = (works + fails) // 2
        if runs(elfin, machine, memory, *rest):
            works = memory
        else:
            fails = memory
    return works if works <= MOST else None


def main():
    elfin, image = sys.argv[1:]
    WORK.mkdir(parents=True, exist_ok=True)
    root = compile_parts()
    programs = {
        "hello": (["--root", root], ["/hello"], "hello\n"),
        "python3 -c print(1)": (["--image", image], [PYTHON, "-c", "print(1)"], "1\n"),
        "numpy, 300 x 300": (["--image", image], [PYTHON, "-c", NUMPY], "300.0\n"),
    }
    results = {}
    print(f"{'least memory, MiB':24}{'q35':>10}{'microvm':>10}")
    for name, program in programs.items():
        results[name] = {machine: least(elfin, machine, *program) for machine in ["q35", "microvm"]}
        print(f"{name:24}" + "".join(f"{memory or '-':>10}" for memory in results[name].values()), flush=True)
    (WORK / "memory.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main() if len(sys.argv) == 3 else sys.exit(__doc__)
