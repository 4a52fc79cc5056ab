"""jemalloc's unit and integration tests: an allocator of its own, with thread-local caches and background threads."""

import os

from sources import run, source_package

PACKAGES = ["libc6", "libstdc++6"]


def build(work):
    """Builds the tests; returns them and the directories they need."""
    source = source_package("jemalloc", work / "source")
    if not (source / "Makefile").exists():
        run(["./configure", "--enable-debug", "--enable-prof"], cwd=source)
    run(["make", f"-j{os.cpu_count()}", "tests_unit", "tests_integration"], cwd=source)
    tests = []
    for kind in ("unit", "integration"):
        for path in sorted((source / "test" / kind).glob("*.c*")):
            program = path.with_suffix("")
            if os.access(program, os.X_OK):
                tests.append({"id": f"{kind}/{program.name}", "argv": [str(program)], "cwd": str(source),
                              "env": options(program)})
    return tests, [source / "test", source / "lib"]


def options(program):
    """The allocator's options that a script beside the test sets for it."""
    script = program.with_suffix(".sh")
    if not script.exists():
        return {}
    features = {f"enable_{name}": "1" for name in ("fill", "prof", "stats", "debug")}
    return {"MALLOC_CONF": run(["sh", "-c", f'. {script}; echo "$MALLOC_CONF"'], env=features).strip()}
