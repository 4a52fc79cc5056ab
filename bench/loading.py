"""Usage: loading.py IMAGE ELFIN-HOSTED

Counts the instructions of `import numpy` in qemu-x86_64, with the image's own tree and everything bound at once: loaded by
ld.so, by Elfin's loader (elfin-hosted), and by that without the image's table of bindings. Everything else is the same, so
the differences are those of the loaders. The table is printed, and written to target/bench/loading.json.
"""

import json
import shutil
import subprocess
import sys

from instructions import compile_parts, counted
from linux_guest import PYTHON, WORK

PROGRAM = "import numpy"
TABLE = "etc/ld.so.bindings"


def main():
    image, hosted = sys.argv[1:]
    WORK.mkdir(parents=True, exist_ok=True)
    compile_parts()
    trees = [WORK / "loading", WORK / "loading-without-table"]
    for tree in trees:
        shutil.rmtree(tree, ignore_errors=True)
        subprocess.run(["fsck.erofs", f"--extract={tree}", image], check=True, capture_output=True)
    (trees[1] / TABLE).unlink()
    results = {}
    for name, tree, command in [
        ("ld.so", trees[0], [f"{trees[0]}{PYTHON}"]),
        ("elfin-hosted", trees[0], [hosted, PYTHON]),
        ("elfin-hosted, by name", trees[1], [hosted, PYTHON]),
    ]:
        line = ["qemu-x86_64", "-cpu", "max,avx2=off", "-L", str(tree), "-E", "LD_BIND_NOW=1"]
        line += ["-E", "PYTHONHASHSEED=0"]
        results[name] = counted([*line, "-E", "OPENBLAS_NUM_THREADS=1", *command, "-c", PROGRAM])[0]
    first = results["ld.so"]
    print(f"{PROGRAM}, loaded by")
    for name, count in results.items():
        print(f"  {name:24}{count:14,}{count - first:+14,}", flush=True)
    (WORK / "loading.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main() if len(sys.argv) == 3 else sys.exit(__doc__)
