"""Tests of gcc's own: thread-local storage, IFUNC, initialisation, exceptions, OpenMP, threads of the C++ library."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sources import tarball

PACKAGES = ["libc6", "libstdc++6", "libgcc-s1", "libgomp1", "libatomic1"]
PARTS = ["gcc/testsuite/g++.dg/*", "gcc/testsuite/g++.old-deja/g++.eh/*", "gcc/testsuite/gcc.dg/*",
         "gcc/testsuite/*/i386/mv*", "libgomp/testsuite/*", "libstdc++-v3/testsuite/*"]
GCC, GOMP, STDCXX = "gcc/testsuite", "libgomp/testsuite", "libstdc++-v3/testsuite"
# Name, sources, compiler, further arguments, and whether sources that do not say so are programs to run.
GROUPS = [
    ("tls", f"{GCC}/g++.dg/tls/*.C", "g++", "-O2", False),
    ("tls", f"{GCC}/gcc.dg/tls/*.c", "gcc", "-O2", False),
    ("tls", f"{GCC}/gcc.dg/torture/tls/*.c", "gcc", "-O2", True),
    ("eh", f"{GCC}/g++.dg/eh/*.C", "g++", "-O2", False),
    ("eh", f"{GCC}/g++.old-deja/g++.eh/*.C", "g++", "-O2 -std=gnu++98", False),
    ("ifunc", f"{GCC}/gcc.dg/attr-ifunc-*.c", "gcc", "-O2", False),
    ("ifunc", f"{GCC}/g++.dg/ext/attr-ifunc-*.C", "g++", "-O2", False),
    ("ifunc", f"{GCC}/g++.target/i386/mv*.C", "g++", "-O2", False),
    ("ifunc", f"{GCC}/gcc.target/i386/mvc*.c", "gcc", "-O2", False),
    ("init", f"{GCC}/g++.dg/init/*.C", "g++", "-O2", False),
    ("init", f"{GCC}/g++.dg/special/*.C", "g++", "-O2", False),
    ("init", f"{GCC}/gcc.dg/initpri*.c", "gcc", "-O2", False),
    ("init", f"{GCC}/gcc.dg/cleanup-*.c", "gcc", "-O2", False),
    ("libgomp", f"{GOMP}/libgomp.c/*.c", "gcc", f"-O2 -fopenmp -I{GOMP}", True),
    ("libgomp", f"{GOMP}/libgomp.c-c++-common/*.c", "gcc", f"-O2 -fopenmp -I{GOMP}", True),
    ("libgomp", f"{GOMP}/libgomp.c++/*.C", "g++", f"-O2 -fopenmp -I{GOMP}", True),
    ("libstdc++", f"{STDCXX}/30_threads/**/*.cc", "g++", f"-O2 -std=gnu++17 -I{STDCXX}/util", False),
    ("libstdc++", f"{STDCXX}/18_support/**/*.cc", "g++", f"-O2 -std=gnu++17 -I{STDCXX}/util", False),
    ("libstdc++", f"{STDCXX}/20_util/shared_ptr/thread/*.cc", "g++", f"-O2 -std=gnu++17 -I{STDCXX}/util", False),
]
# Directives for programs that are meant to fail, or for machines that are not this one.
UNFIT = re.compile(r"dg-(xfail-run|shouldfail)|offload_device|dg-require-effective-target (ia32|split_stack)"
                   r'|dg-skip-if "[^"]*" \{ \*-\*-\* \}')
FOREIGN = re.compile(r"arm|powerpc|s390|alpha|sparc|darwin|mingw|ia32|nvptx|aarch64|mips")
OPTIONS = re.compile(r'dg-(?:additional-)?options\s+"([^"]*)"'
                     r"(?!\s*\{\s*target[^}]*(?:arm|powerpc|s390|alpha|ia32|!|mips|sparc))")
NATIVE = re.compile(r"x86|i\?86|linux|lp64|!")


def build(work):
    """Builds the tests; returns them and the directories they need."""
    source = tarball("gcc-12-source", "gcc-12*.tar.xz", [f"*/{part}" for part in PARTS], work / "source")
    found = [command for group in GROUPS for command in commands(source, work / "bin", *group)]
    with ThreadPoolExecutor() as pool:
        built = list(pool.map(compile_one, found))
    tests = [{"id": key, "argv": [str(binary)], "env": {}, "cwd": str(binary.parent)}
             for (key, _, binary), good in zip(found, built) if good]
    return tests, [work / "bin"]


def commands(source, binaries, group, pattern, compiler, flags, always):
    """The tests of a group: name, compiler's command, program."""
    for path in sorted(source.glob(pattern)):
        text = path.read_text(errors="replace")
        kind = re.search(r"dg-do\s+(\w+)(?:\s*\{\s*(?:target|xfail)([^\n]*))?", text)
        if (kind[1] != "run" if kind else not always) or UNFIT.search(text):
            continue
        if kind and kind[2] and FOREIGN.search(kind[2]) and not NATIVE.search(kind[2]):
            continue
        options = " ".join(OPTIONS.findall(text))
        more = [name for names in re.findall(r'dg-additional-sources\s+"([^"]*)"', text) for name in names.split()]
        key = "_".join(path.relative_to(source).with_suffix("").parts[2:])
        binary = binaries / group / key
        yield f"{group}/{key}", [
            compiler, "-w", *re.sub(r"-I", f"-I{source}/", flags).split(), *options.split(), f"-I{path.parent}",
            "-o", str(binary), *(str(path.parent / name) for name in [path.name, *more]), "-lm", "-lpthread", "-ldl",
        ], binary


def compile_one(entry):
    """Compiles a test unless that is done; whether there is a program now."""
    _, command, binary = entry
    binary.parent.mkdir(parents=True, exist_ok=True)
    return binary.exists() or subprocess.run(command, capture_output=True, timeout=600).returncode == 0
