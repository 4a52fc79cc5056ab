# The ways in which Python starts other programs, and gets to know what became of them.
import os
import signal
import subprocess
import sys

print(subprocess.run(["/bin/echo", "x"], capture_output=True))
print(subprocess.check_output("echo out; echo err >&2; exit 0", shell=True, stderr=subprocess.STDOUT))
print(os.system("exit 3"))
print(os.popen("echo one; echo two").read().split())
for missing in ("/nonexistent", "nonexistent", "/etc/passwd"):
    try:
        subprocess.run([missing])
    except OSError as error:
        print(type(error).__name__, error.errno)
cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(cat.communicate(b"through a pipe"), cat.returncode)
sleeper = subprocess.Popen(["sleep", "1000"])
print(sleeper.poll())
sleeper.terminate()
print(sleeper.wait())
code = """import os, sys
print(os.getppid() == int(sys.argv[1]), os.getcwd(), os.environ['A'], os.getsid(0) == os.getpid())"""
print(subprocess.run([sys.executable, "-c", code, str(os.getpid())], capture_output=True, cwd="/usr", env={"A": "b"},
                     start_new_session=True).stdout)
try:
    subprocess.run(["sleep", "1000"], timeout=0.1)
except subprocess.TimeoutExpired:
    print("timed out")
print(os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", "kill -USR1 $$"], os.environ), 0)[1])
      == -signal.SIGUSR1)
children = [subprocess.Popen([sys.executable, "-Sc", f"import sys; sys.exit({n})"]) for n in range(4)]
print([child.wait() for child in children])
