"""Usage: latency.py ELFIN [ROUNDS]

Compares how long threads that wait are kept waiting while others spin on every virtual CPU (latency.c), in Elfin and under
Debian's cloud kernel in the same QEMU, on 1, 2 and 4 of them, in turns. Medians of some rounds' medians, in microseconds,
and the worst of all. The table is printed, and written to target/bench/latency.json.
"""

import json
import shlex
import shutil
import statistics
import subprocess
import sys

import linux_guest
from instructions import HERE
from linux_guest import WORK

CPUS = [1, 2, 4]
INIT = "#!/bin/busybox sh\n/latency\n/bin/busybox reboot -f\n"


def rows(command):
    """{what: (median, worst)} in microseconds."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
    printed = done.stdout.decode(errors="replace").replace("\r", "")
    lines = [line.split(" ", 2) for line in printed.splitlines() if line[:1].isdigit()]
    if not lines:
        sys.exit(f"latency: {shlex.join(map(str, command))}: {printed}{done.stderr.decode(errors='replace')}")
    return {what: (int(median) / 1000, int(worst) / 1000) for median, worst, what in lines}


def main():
    elfin = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    root = WORK / "latency-root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    compile = ["gcc", "-O2", "-static", "-pthread", "-o", root / "latency", HERE / "latency.c"]
    subprocess.run(compile, check=True)
    kernel = linux_guest.download()
    if kernel:
        init = WORK / "init-latency"
        init.write_text(INIT)
        linux_guest.initramfs(kernel, {"latency": root / "latency", "init-latency": init})
    results = {}
    for cpus in CPUS:
        run = [elfin, "run", "--dry-run", "--cpus", str(cpus), "--root", root, "--", "/latency"]
        line = shlex.split(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
        commands = {"Elfin": line}
        if kernel:
            accel = line[line.index("-accel"):line.index("-accel") + 4]
            commands["Linux"] = list(map(str, linux_guest.command(kernel, accel, cpus, "latency")))
        taken = {who: [] for who in commands}
        for _ in range(rounds):
            for who, command in commands.items():
                taken[who].append(rows(command))
        for what in taken["Elfin"][0]:
            name = f"{cpus} vCPUs: {what}"
            results[name] = {}
            for who, runs in taken.items():
                medians, worst = zip(*(run.get(what, (0, 0)) for run in runs))
                results[name][who] = (statistics.median(medians), max(worst))
            cells = [f"{who} {median:12,.0f} (worst {worst:,.0f})" for who, (median, worst) in results[name].items()]
            print(f"{name:56}" + "  ".join(cells), flush=True)
    (WORK / "latency.json").write_text(json.dumps(results, indent=1) + "\n")


main() if len(sys.argv) >= 2 else sys.exit(__doc__)
