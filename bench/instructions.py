"""Usage: instructions.py ELFIN IMAGE [--check | --store]

Counts the instructions that guests execute, by a plugin of QEMU's translator (count.c), on one virtual CPU: of programs
from QEMU's start to its end, and of single operations (operations.c). Beside Elfin, on both machines:
  - Debian's cloud kernel as the guest, for the operations;
  - qemu-x86_64, where there is only the program: the floor.
What is not there is left out. The table is printed, and written to target/bench/instructions.json.

--check compares Elfin's counts with those in bench/counts.json and fails if one has grown by more than 3 %; --store writes
that file, and draws docs/bench.svg.
"""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import chart
import linux_guest
from linux_guest import MULTIPLY, PYTHON, WORK

HERE = pathlib.Path(__file__).parent
STORED = HERE / "counts.json"
TOLERANCE = 1.03
# SeaBIOS waits for devices: most of what this takes is up to the host.
NOT_COMPARED = [("Elfin q35", "hello")]
LIBRARIES = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
PROGRAMS = {
    "python3 -c print(1)": [PYTHON, "-c", "print(1)"],
    "numpy, 300 x 300": [PYTHON, "-c", MULTIPLY],
}


def compile_parts():
    """Compiles the plugin and the programs; makes the tree that the programs run in."""
    root = WORK / "root"
    shutil.rmtree(root, ignore_errors=True)
    (root / "tmp").mkdir(parents=True)
    for library in LIBRARIES:
        (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library[1:])
    gcc = ["gcc", "-O2", "-o"]
    subprocess.run([*gcc, WORK / "count.so", "-shared", "-fPIC", HERE / "count.c"], check=True)
    subprocess.run([*gcc, root / "operations", "-pthread", HERE / "operations.c"], check=True)
    hello = 'int puts(const char *);int main(void){puts("hello");}'
    subprocess.run([*gcc, root / "hello", "-xc", "-"], input=hello.encode(), check=True)
    return root


def counted(command):
    """Runs a command of QEMU's with the plugin: (instructions, those translated, marks, what it has printed)."""
    counts = WORK / "counts"
    counts.unlink(missing_ok=True)
    # Before the program, which is the last argument of qemu-x86_64's.
    plugin = ["-plugin", f"{WORK / 'count.so'},out={counts}"]
    line = [command[0], *plugin, *command[1:]]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=600)
    if not counts.exists():
        sys.exit(f"bench: {shlex.join(map(str, line))}: no counts\n{done.stderr.decode(errors='replace')}")
    lines = [line.split() for line in counts.read_text().splitlines()]
    marks = [int(line[2]) for line in lines if line[0] == "mark"]
    total = next(line for line in lines if line[0] == "total")
    return int(total[1]), int(total[2]), marks, done.stdout.decode(errors="replace").replace("\r", "")


def least(command, rounds=3):
    """(instructions, those translated) of the run with the fewest: on a busy host a guest waits for QEMU's other threads."""
    return min(counted(command)[:2] for _ in range(rounds))


def operations(command, rounds=3):
    """{operation: instructions each}: the least of some runs, for clocks tick, and memory is not always in one piece."""
    runs = [one_run(command) for _ in range(rounds)]
    return {name: min(run[name] for run in runs) for name in runs[0]}


def one_run(command):
    _, _, marks, printed = counted(command)
    rows = [line.split(" ", 1) for line in printed.splitlines() if line[:1].isdigit()]
    if len(marks) != 2 * len(rows):
        sys.exit(f"bench: {len(marks)} marks for {len(rows)} operations\n{printed}")
    return {name: round((marks[2 * i + 1] - marks[2 * i]) / int(times)) for i, (times, name) in enumerate(rows)}


def elfin_line(elfin, source, machine, command):
    line = [elfin, "run", "--dry-run", "--accel", "tcg", "--cpus", "1", "--machine", machine, *source, "--", *command]
    return shlex.split(subprocess.run(line, check=True, capture_output=True, text=True).stdout)


def measure_elfin(elfin, image, root):
    """{column: {row: count}} for the programs and the operations."""
    results = {}
    for machine in ["q35", "microvm"]:
        column = results[f"Elfin {machine}"] = {}
        hello = least(elfin_line(elfin, ["--root", root], machine, ["/hello"]))
        column["hello"], column["hello, translated"] = hello
        for name, command in PROGRAMS.items():
            column[name] = least(elfin_line(elfin, ["--image", image], machine, command))[0]
    results["Elfin q35"] |= operations(elfin_line(elfin, ["--root", root], "q35", ["/operations"]))
    return results


def keep_links_within(tree):
    """Has links to absolute paths lead to what is there in the tree, and not to this machine's file of that name."""
    for link in tree.rglob("*"):
        if link.is_symlink() and (target := os.readlink(link)).startswith("/"):
            link.unlink()
            link.symlink_to(os.path.relpath(tree / target[1:], link.parent))


def measure_others(elfin, image, root):
    results = {}
    kernel = linux_guest.download()
    if kernel:
        files = {path[1:]: path for path in LIBRARIES} | {"init-operations": root / "operations"}
        linux_guest.initramfs(kernel, files)
        line = elfin_line(elfin, ["--root", root], "q35", ["/hello"])
        cpu = line[line.index("-cpu"):line.index("-cpu") + 2]
        command = linux_guest.command(kernel, ["-accel", "tcg", *cpu], 1, "operations")
        results["Linux"] = operations(list(map(str, command)))
    if shutil.which("qemu-x86_64") and shutil.which("fsck.erofs"):
        tree = WORK / "tree"
        if not tree.exists():
            subprocess.run(["fsck.erofs", f"--extract={tree}", image], check=True, capture_output=True)
            keep_links_within(tree)
        floor = results["floor"] = {}
        floor["hello"] = counted(["qemu-x86_64", "-L", str(root), str(root / "hello")])[0]
        cpu = ["-cpu", "max,avx2=off", "-L", str(tree), "-E", "OPENBLAS_NUM_THREADS=1"]
        for name, command in PROGRAMS.items():
            floor[name] = counted(["qemu-x86_64", *cpu, f"{tree}{command[0]}", *command[1:]])[0]
    else:
        print("floor left out: it takes qemu-user and erofs-utils")
    return results


def show(results):
    columns = list(results)
    rows = list(dict.fromkeys(row for column in results.values() for row in column))
    print(f"{'instructions':32}" + "".join(f"{column:>15}" for column in columns))
    for row in rows:
        cells = [f"{results[column][row]:,}" if row in results[column] else "-" for column in columns]
        print(f"{row:32}" + "".join(f"{cell:>15}" for cell in cells), flush=True)


def check(results):
    """Compares with what is stored; whether nothing has grown."""
    stored = json.loads(STORED.read_text())
    grown = [
        f"{column}: {row}: {stored[column][row]:,} -> {count:,} (+{100 * count / stored[column][row] - 100:.1f} %)"
        for column, rows in results.items()
        for row, count in rows.items()
        if (column, row) not in NOT_COMPARED and row in stored.get(column, {}) and count > stored[column][row] * TOLERANCE
    ]
    for line in grown:
        print(f"grown: {line}")
    return not grown


def main():
    elfin, image, *mode = sys.argv[1:]
    WORK.mkdir(parents=True, exist_ok=True)
    root = compile_parts()
    results = measure_elfin(elfin, image, root)
    if mode == ["--check"]:
        show(results)
        sys.exit(0 if check(results) else 1)
    results |= measure_others(elfin, image, root)
    show(results)
    text = json.dumps(results, indent=1) + "\n"
    (WORK / "instructions.json").write_text(text)
    if mode == ["--store"]:
        STORED.write_text(text)
        (HERE.parent / "docs/bench.svg").write_text(chart.draw(results))


if __name__ == "__main__":
    main() if len(sys.argv) >= 3 else sys.exit(__doc__)
