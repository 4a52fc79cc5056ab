"""Running the programs of a suite: on Linux, in the guest; results are kept, a line each, and not made again."""

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from sources import run

NATIVE = Path(__file__).with_name("native.py")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/root", "LC_ALL": "C"}
# Seconds a program has on Linux; in the guest it has more, for QEMU may translate each instruction.
LIMIT = 30
GUEST_LIMIT = 300
# What the guest need not have.
NOT_STAGED = {".a", ".c", ".cc", ".C", ".d", ".dt", ".h", ".i", ".log", ".o", ".oS", ".os", ".out"}


def execute(command, environment, directory, limit):
    """Runs a command in a session of its own; its exit status as a shell has it, what it printed, the time it took."""
    start = time.monotonic()
    process = subprocess.Popen(command, env=environment, cwd=directory, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        out, err = process.communicate(timeout=limit)
        status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        (out, err), status = process.communicate(), "timeout"
    return {"status": status, "out": out.decode("latin1")[:20000], "err": err.decode("latin1")[-4000:],
            "seconds": round(time.monotonic() - start, 1)}


def natively(test):
    """Runs a test on Linux."""
    environment = ENVIRONMENT | test["env"]
    return execute([str(NATIVE), *test["argv"]], environment, test["cwd"], LIMIT)


def guest(elfin, image):
    """What runs a test in the guest."""
    def run_test(test):
        variables = []
        for name, value in (ENVIRONMENT | test["env"]).items():
            variables += ["--env", f"{name}={value}"]
        command = [elfin, "run", "--image", str(image), "--cpus", "2", "--memory", "4G", *variables,
                   "--cwd", test["cwd"], "--", *test["argv"]]
        return execute(command, os.environ, "/", GUEST_LIMIT)
    return run_test


def results(path):
    """The results kept in a file, by test."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {entry["id"]: entry for entry in map(json.loads, lines)}


def run_all(tests, run_test, path, jobs):
    """Runs those tests of which `path` has no result, and returns all results."""
    known = results(path)
    tests = [test for test in tests if test["id"] not in known]
    with ThreadPoolExecutor(jobs) as pool, open(path, "a") as file:
        running = {pool.submit(run_test, test): test for test in tests}
        for done, future in enumerate(as_completed(running), 1):
            file.write(json.dumps({"id": running[future]["id"]} | future.result()) + "\n")
            file.flush()
            print(f"\r{path.parent.name}: {path.stem}: {done} of {len(tests)}", end="", flush=True)
    if tests:
        print()
    return results(path)


def image(elfin, suite, work):
    """An image with the programs where the host has them."""
    target = work / "image"
    if not target.exists():
        stage = work / "stage"
        for root in map(Path, suite["roots"]):
            for directory, _, names in os.walk(root):
                place = stage / Path(directory).relative_to("/")
                place.mkdir(parents=True, exist_ok=True)
                for name in names:
                    if Path(name).suffix not in NOT_STAGED and not (place / name).exists():
                        os.link(Path(directory) / name, place / name, follow_symlinks=False)
        run([elfin, "build", "-o", target, "--deb", ",".join(suite["packages"]), "--root", stage])
    return target
