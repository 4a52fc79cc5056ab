"""Usage: growth_loading.py ELFIN-HOSTED

Counts the instructions of loading programs with more and more libraries, each of which refers to ten symbols of the one
before, and with more and more references to the symbols of one library: by ld.so and by Elfin's loader, natively
(qemu-x86_64), everything bound at once. What happens in system calls is not counted. The table is printed, and written to
target/bench/growth_loading.json.
"""

import json
import shutil
import subprocess
import sys

from instructions import compile_parts, counted
from linux_guest import WORK

EACH = 10


def library(path, exports, wants, needed):
    """Makes a shared object that defines variables, and has pointers to others."""
    lines = [".data"]
    lines += [f".globl {name}\n.type {name},@object\n.size {name},8\n{name}: .quad 0" for name in exports]
    lines += [f".quad {name}" for name in wants]
    lines += ['.section .note.GNU-stack,"",@progbits', ""]
    assembled = path.with_suffix(".o")
    subprocess.run(["as", "-o", assembled, "-"], input="\n".join(lines).encode(), check=True)
    link = ["ld", "-shared", "--hash-style=gnu", "-soname", path.name, "-o", path, assembled, *needed]
    subprocess.run(link, check=True)
    assembled.unlink()


def program(tree, name, libraries):
    """Makes a program that needs libraries and does nothing."""
    link = ["gcc", "-o", tree / name, "-xc", "-", "-xnone", "-Wl,--no-as-needed", f"-Wl,-rpath,{tree}", *libraries]
    subprocess.run(link, input=b"int main(void) { return 0; }", check=True)
    return tree / name


def libraries(tree, count):
    paths = [tree / f"lib{number}.so" for number in range(count)]
    for number, path in enumerate(paths):
        exports = [f"v{number}_{each}" for each in range(EACH)]
        before = number - 1
        wants = [f"v{before}_{each}" for each in range(EACH)] if number else []
        library(path, exports, wants, paths[before:number] if number else [])
    return program(tree, "main", paths)


def symbols(tree, count):
    names = [f"variable_{number}" for number in range(count)]
    library(tree / "libdefines.so", names, [], [])
    library(tree / "libwants.so", [], names, [tree / "libdefines.so"])
    return program(tree, "main", [tree / "libwants.so", tree / "libdefines.so"])


ROWS = {
    "libraries": (libraries, [10, 100, 1000]),
    "symbols": (symbols, [1000, 10000, 100000, 1000000]),
}


def main():
    [hosted] = sys.argv[1:]
    compile_parts()
    results = {}
    for what, (make, sizes) in ROWS.items():
        for size in sizes:
            tree = WORK.resolve() / "growth-loading"
            shutil.rmtree(tree, ignore_errors=True)
            tree.mkdir()
            path = make(tree, size)
            line = ["qemu-x86_64", "-E", "LD_BIND_NOW=1", "-E", f"LD_LIBRARY_PATH={tree}"]
            counts = {"ld.so": counted([*line, path])[0], "elfin-hosted": counted([*line, hosted, path])[0]}
            shutil.rmtree(tree)
            results[f"{size} {what}"] = counts
            cells = "".join(f"  {who} {count:,}" for who, count in counts.items())
            print(f"{size:>9,} {what}:{cells}", flush=True)
    (WORK / "growth_loading.json").write_text(json.dumps(results, indent=1) + "\n")


main() if len(sys.argv) == 2 else sys.exit(__doc__)
