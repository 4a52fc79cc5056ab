"""Running the programs of a suite: on Linux, in the guest; results are kept, a line each, and not made again."""

import json
import os
import shutil
import subprocess
from collections import deque
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock, Timer

from batch import execute
from sources import run

NATIVE = Path(__file__).with_name("native.py")
# What runs tests in the guest, where it has the same path.
BATCH = Path(__file__).with_name("batch.py")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/root", "LC_ALL": "C"}
# Seconds a program has on Linux; in the guest it has more, for QEMU may translate each instruction.
LIMIT = 30
GUEST_LIMIT = 300
# What the guest need not have.
NOT_STAGED = {".a", ".c", ".cc", ".C", ".d", ".dt", ".h", ".i", ".log", ".o", ".oS", ".os", ".out"}


def natively(test):
    """Runs a test on Linux."""
    environment = ENVIRONMENT | test["env"]
    return execute([str(NATIVE), *test["argv"]], environment, test["cwd"], LIMIT)


def in_guest(elfin, image, tests, path, jobs):
    """Runs those tests of which `path` has no result in `jobs` machines, and returns all results."""
    known = results(path)
    waiting = deque(test for test in tests if test["id"] not in known)
    total, lock = len(waiting), Lock()
    with open(path, "a") as file, ThreadPoolExecutor(jobs) as pool:
        def keep(result):
            with lock:
                file.write(json.dumps(result) + "\n")
                file.flush()
                print(f"\r{path.parent.name}: {path.stem}: {total - len(waiting)} of {total}", end="", flush=True)

        def work():
            while waiting:
                machine(elfin, image, waiting, keep)

        for done in [pool.submit(work) for _ in range(min(jobs, total))]:
            done.result()
    if total:
        print()
    return results(path)


def machine(elfin, image, waiting, keep):
    """Has one machine run tests until none is left, or it ends: the one that it has ended in has failed then."""
    command = [elfin, "run", "--image", str(image), "--cpus", "2", "--memory", "4G", "--env", "PATH=/usr/bin:/bin",
               "--", "python3", str(BATCH)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    running = None
    try:
        while waiting:
            try:
                running = waiting.popleft()
            except IndexError:
                break
            order = running | {"env": ENVIRONMENT | running["env"], "limit": GUEST_LIMIT}
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            timer = Timer(GUEST_LIMIT + 60, process.kill)
            timer.start()
            process.stdout.readline()
            line = process.stdout.readline()
            timer.cancel()
            if not line:
                break
            keep(json.loads(line))
            running = None
    except BrokenPipeError:
        pass
    _, err = process.communicate()
    if running:
        keep({"id": running["id"], "status": f"the machine's, {process.returncode}", "out": "", "err": err[-4000:]})


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
        script = stage / BATCH.relative_to("/")
        script.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(BATCH, script)
        run([elfin, "build", "-o", target, "--deb", ",".join([*suite["packages"], "python3"]), "--root", stage])
    return target
