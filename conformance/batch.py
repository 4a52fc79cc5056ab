#!/usr/bin/env python3
"""batch.py: runs programs one after the other, in the guest; each is a line of JSON on standard input, and so is its
result.

A line `{"id": …}` says that a program begins, so that who reads knows which one the machine has died of.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time


def execute(command, environment, directory, limit):
    """Runs a command in a session of its own; its exit status as a shell has it, what it printed, the time it took."""
    start = time.monotonic()
    # Files, not pipes: whoever a program leaves behind may hold them open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, env=environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=err, start_new_session=True)
        try:
            status = process.wait(timeout=limit)
            status = status if status >= 0 else 128 - status
        except subprocess.TimeoutExpired:
            status = "timeout"
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        said = [file.seek(0) or file.read() for file in (out, err)]
    return {"status": status, "out": said[0].decode("latin1")[:20000], "err": said[1].decode("latin1")[-4000:],
            "seconds": round(time.monotonic() - start, 1)}


def main():
    """Runs what standard input says."""
    for test in map(json.loads, sys.stdin):
        print(json.dumps({"id": test["id"]}), flush=True)
        try:
            result = execute(test["argv"], test["env"], test["cwd"], test["limit"])
        except OSError as error:
            result = {"status": 127, "out": "", "err": str(error), "seconds": 0}
        print(json.dumps({"id": test["id"]} | result), flush=True)


if __name__ == "__main__":
    main()
