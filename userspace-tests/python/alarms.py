# Signals in Python: alarm, interval timers, handlers that raise, masks, sigwait, a wake-up descriptor.
import os
import signal
import threading
import time

seen = []
signal.signal(signal.SIGALRM, lambda number, frame: seen.append(signal.Signals(number).name))
begin = time.monotonic()
# Again and again: the first alarm may come before the pause.
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
while not seen:
    signal.pause()
print(seen[0], time.monotonic() - begin >= 0.019)
signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
while len(seen) < 5:
    time.sleep(0.001)
signal.setitimer(signal.ITIMER_REAL, 0)
print(signal.alarm(100), signal.alarm(0) > 90)


class Late(Exception):
    pass


def late(number, frame):
    raise Late


signal.signal(signal.SIGALRM, late)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    while True:
        pass
except Late:
    print("out of an endless loop")
try:
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    readable, writable = os.pipe()
    os.read(readable, 1)
except Late:
    print("out of a read")
signal.signal(signal.SIGUSR1, lambda *_: seen.append("usr1"))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.kill(os.getpid(), signal.SIGUSR1)
print(signal.sigpending() == {signal.SIGUSR1}, seen[-1])
print(signal.sigwait([signal.SIGUSR1]).name)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
sender = threading.Timer(0.01, lambda: signal.raise_signal(signal.SIGUSR1))
sender.start()
sender.join()
print(seen[-1])
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
