#!/usr/bin/python3
"""Usage: wall.py ELFIN IMAGE ELFIN-HOSTED [ROUNDS]

Compares, taking turns and under one QEMU configuration, so that ratios mean something on a noisy machine:
  - natively: the start-up of programs under ld.so and under Elfin's loader (elfin-hosted);
  - in QEMU: from QEMU's start to its end, Elfin and Debian's cloud kernel with the same root image.
The table is printed, and written to target/bench/wall.json.
"""

import json
import shlex
import statistics
import subprocess
import sys
import time

import linux_guest
from linux_guest import MULTIPLY, PYTHON, WORK

RESULTS = {}

def seconds(command, expected=b""):
    """Wall time of a command that has to succeed and to print what is expected."""
    start = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=600)
    taken = time.perf_counter() - start
    if done.returncode or expected not in done.stdout.replace(b"\r", b""):
        shown = (done.stdout + done.stderr).decode(errors="replace")
        sys.exit(f"bench: {shlex.join(map(str, command))}: exit status {done.returncode}\n{shown}")
    return taken

def race(title, rounds, contestants):
    """Runs {name: (command, expected output)} in turns; prints medians, and ratios to the first."""
    times = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, (command, expected) in contestants.items():
            taken = seconds(command, expected)
            if turn > 0:  # the first round warms the caches
                times[name].append(taken)
    print(f"{title} (median of {rounds})")
    medians = {name: statistics.median(list_) for name, list_ in times.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        spread = f"{min(times[name]):.3f} to {max(times[name]):.3f}"
        print(f"  {name:24} {median:8.3f} s  ({spread})  ratio {median / first:.2f}", flush=True)
    RESULTS[title] = medians

def main():
    elfin, image, hosted = sys.argv[1:4]
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 5
    answer = subprocess.run([PYTHON, "-c", MULTIPLY], check=True, capture_output=True).stdout

    for title, program in [("print(1)", "print(1)"), ("import numpy", "import numpy")]:
        race(f"{title}, natively", 4 * rounds, {
            "ld.so": ([PYTHON, "-c", program], b""),
            "ld.so, LD_BIND_NOW=1": (["env", "LD_BIND_NOW=1", PYTHON, "-c", program], b""),
            "elfin-hosted": ([hosted, PYTHON, "-c", program], b""),
        })

    run = [elfin, "run", "--cpus", "2", "--image", image]
    line = shlex.split(subprocess.run([*run, "--dry-run", PYTHON], check=True, capture_output=True, text=True).stdout)
    accel = line[line.index("-accel"):line.index("-accel") + 4]
    print(f"guests: 2 vCPUs, 512 MiB, {' '.join(accel)}")
    kernel = linux_guest.download()
    if kernel:
        linux_guest.initramfs(kernel)

    def linux(what):
        return linux_guest.command(kernel, accel, 2, what, image)

    small = {"Elfin: print(1)": ([*run, PYTHON, "-c", "print(1)"], b"1\n")}
    large = {"Elfin": ([*run, PYTHON, "-c", MULTIPLY], answer)}
    if kernel:
        small |= {"Linux: reach init": (linux("none"), b"reached"), "Linux: print(1)": (linux("print"), b"1\n")}
        large |= {"Linux": (linux("multiply"), answer)}
    race("boot to exit", rounds, small)
    race("boot to exit, numpy", rounds, large)
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "wall.json").write_text(json.dumps(RESULTS, indent=1) + "\n")

main() if len(sys.argv) >= 4 else sys.exit(__doc__)
