"""The Open POSIX test suite: each program tests one assertion about one function."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

from sources import source_package

PACKAGES = ["libc6"]


def build(work):
    """Builds the tests; returns them and the directories they need."""
    source = source_package("posixtestsuite", work / "source")
    binaries = work / "bin"
    sources = sorted(source.glob("conformance/interfaces/*/*.c"))
    found = [path for path in sources if "main(" in path.read_text(errors="replace")]

    def compile_one(path):
        binary = binaries / path.parent.name / path.stem
        binary.parent.mkdir(parents=True, exist_ok=True)
        command = ["gcc", "-w", "-O1", "-std=gnu99", "-D_GNU_SOURCE", f"-I{source}/include", f"-I{path.parent}",
                   "-o", str(binary), str(path), "-lpthread", "-lrt", "-lm"]
        return binary.exists() or subprocess.run(command, capture_output=True).returncode == 0

    with ThreadPoolExecutor() as pool:
        built = list(pool.map(compile_one, found))
    tests = []
    for path, good in zip(found, built):
        if good:
            directory = binaries / path.parent.name
            tests.append({"id": f"{path.parent.name}/{path.stem}", "argv": [str(directory / path.stem)], "env": {},
                          "cwd": str(directory)})
    return tests, [binaries]
