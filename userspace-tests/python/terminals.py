# Terminals as Python has them: pty, tty, termios, and a program that is run on one.
import io, os, pty, subprocess, sys, termios, tty


def lines(fd):
    text = b""
    while True:
        try:
            part = os.read(fd, 1000)
        except OSError:
            return text.decode().splitlines()
        text += part


master, slave = os.openpty()
print(os.isatty(slave), os.ttyname(slave).startswith("/dev/pts/"), os.get_terminal_size(slave))
before = tty.tcgetattr(slave)
tty.setraw(slave)
os.write(master, b"raw\x03")
text = b""
while len(text) < 4:
    text += os.read(slave, 10)
print(text)
termios.tcsetattr(slave, termios.TCSANOW, before)
print(before == termios.tcgetattr(slave))
termios.tcsetwinsize(slave, (40, 100)) if hasattr(termios, "tcsetwinsize") else None
os.close(slave)
os.close(master)

pid, fd = pty.fork()
if pid == 0:
    print("child", os.isatty(0), os.getsid(0) == os.getpid() == os.tcgetpgrp(0))
    sys.stdout.flush()
    print("typed", input())
    sys.stdout.flush()
    os._exit(5)
said = b""
while not said.endswith(b"\n"):
    said += os.read(fd, 100)
print(said)
os.write(fd, b"wrogn\x7f\x7fng\n")
print(lines(fd))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

# Ctrl-C reaches a program in the foreground.
pid, fd = pty.fork()
if pid == 0:
    try:
        os.write(1, b"ready")
        # Not signal.pause(): the signal may come just before it.
        while True:
            pass
    except KeyboardInterrupt:
        os._exit(6)
os.read(fd, 100)
os.write(fd, b"\x03")
print(lines(fd), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

# A program on a terminal of its own, what it says passed on.
print(subprocess.run([sys.executable, "-c", "import pty; pty.spawn(['/bin/echo', 'spawned'])"],
                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout)
