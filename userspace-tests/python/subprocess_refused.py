# There is one process: starting another fails with an OSError that can be caught. Linux would do it, so that this is
# run in the guest only.
import os
import subprocess

for what, start in (
    ("run", lambda: subprocess.run(["true"])),
    ("output", lambda: subprocess.check_output("echo x", shell=True)),
    ("fork", os.fork),
):
    try:
        start()
        print(what, "done")
    except OSError:
        print(what, "OSError")
print("goes on")
