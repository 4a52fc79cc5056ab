"""Usage: loss.py ELFIN [MEGABYTES [ROUNDS]]

Goodput over a bad wire: two machines, Elfin with Elfin and Linux with Linux (Debian's cloud kernel) in turns, in the same QEMU,
between them a relay that takes 10 ms with each frame and loses some by a seed; in the last rows some are overtaken, or come twice, too.
A stream goes one way and then the other; all bytes are compared. Prints kilobytes a second, fetched and sent, by loss.
"""

import heapq
import pathlib
import random
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import linux_guest
from linux_guest import WORK

# Of frames: those that are lost, that are overtaken, and that come twice.
WIRES = [(0.0, 0.0, 0.0), (0.01, 0.0, 0.0), (0.05, 0.0, 0.0), (0.001, 0.01, 0.01)]
DELAY = 0.010
ASIDE = 0.003
PATIENCE = 600
SOURCE = pathlib.Path(__file__).with_name("loss.c")
INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
/bin/busybox ip link set lo up
/bin/busybox ip link set eth0 up
/bin/busybox ip addr add {}/24 dev eth0
{}
/bin/busybox reboot -f
"""


class Relay(threading.Thread):
    """Carries frames between the machines 0 and 1 of a directory, until it is told to end. A machine that is slow to take
    them loses none: of datagrams that are not read the host keeps ten."""

    def __init__(self, directory, wire, seed):
        super().__init__(daemon=True)
        self.directory, self.wire, self.chance, self.over = directory, wire, random.Random(seed), False
        self.ends, self.connected = [], [False, False]
        for number in (0, 1):
            end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            end.bind(f"{directory}/relay{number}")
            end.setblocking(False)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                end.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
            self.ends.append(end)

    def run(self):
        # For each machine what it is to get, by when; and those that had no room.
        waiting, full, count = ([], []), set(), 0
        loss, aside, double = self.wire
        while not self.over:
            now = time.monotonic()
            due = [queue[0][0] - now for to, queue in enumerate(waiting) if queue and to not in full]
            writers = [self.ends[to] for to in full]
            readable, writable, _ = select.select(self.ends, writers, [], max(min([0.2, *due]), 0))
            full -= {self.ends.index(end) for end in writable}
            for end in readable:
                other = 1 - self.ends.index(end)
                while frame := self.take(end):
                    # What asks for addresses goes through at once.
                    is_arp = frame[12:14] == b"\x08\x06"
                    arrival = time.monotonic() + DELAY * (not is_arp)
                    arrival += ASIDE * (not is_arp and self.chance.random() < aside)
                    if is_arp or self.chance.random() >= loss:
                        for _ in range(1 + (self.chance.random() < double)):
                            count += 1
                            heapq.heappush(waiting[other], (arrival, count, frame))
            for to, queue in enumerate(waiting):
                while to not in full and queue and queue[0][0] <= time.monotonic():
                    if self.give(to, queue[0][2]):
                        heapq.heappop(queue)
                    else:
                        full.add(to)

    def give(self, to, frame):
        """Whether a machine has room for a frame; what is for one that does not run is lost."""
        try:
            if not self.connected[to]:
                self.ends[to].connect(f"{self.directory}/machine{to}")
                self.connected[to] = True
            self.ends[to].send(frame)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    @staticmethod
    def take(end):
        try:
            return end.recv(65536)
        except BlockingIOError:
            return b""


def device(directory, number):
    """QEMU's options for a machine's end of the wire."""
    ends = f"local.type=unix,local.path={directory}/machine{number},remote.type=unix,remote.path={directory}/relay{number}"
    return ["-netdev", f"dgram,id=net,{ends}", "-device", f"virtio-net-pci,netdev=net,romfile=,mac=52:54:00:00:02:{15 + number}"]


def elfin_line(elfin, root, address, program):
    """QEMU's command line as elfin has it, without its network."""
    options = ["--dry-run", "--cpus", "1", "--memory", "512M", "--ip", address, "--root", root, "--", *program]
    line = subprocess.run([elfin, "run", *map(str, options)], check=True, capture_output=True, text=True).stdout.split()
    at = line.index("-netdev")
    return line[:at] + line[at + 4:]


def linux_line(elfin, root, address, program):
    """The same for Linux."""
    line = elfin_line(elfin, root, address, program)
    processor = [word for name in ["-accel", "-cpu"] for word in line[line.index(name):line.index(name) + 2]]
    (root / "init").write_text(INIT.format(address, " ".join(program)))
    kernel = linux_guest.download() or sys.exit(1)
    linux_guest.initramfs(kernel, {"init-loss": root / "init", "loss": root / "loss"}, ["virtio_net"])
    line = list(map(str, linux_guest.command(kernel, processor, 1, "loss")))
    own = root / f"initramfs-{address}"
    shutil.copy(WORK / "initramfs", own)
    line[line.index("-initrd") + 1] = str(own)
    return line


def goodput(make_line, elfin, wire, size, seed):
    """(fetched, sent) in kilobytes a second."""
    with tempfile.TemporaryDirectory(prefix="loss-") as directory:
        root = pathlib.Path(directory) / "root"
        root.mkdir()
        subprocess.run(["gcc", "-O2", "-static", "-o", root / "loss", SOURCE], check=True)
        relay = Relay(directory, wire, seed)
        relay.start()
        programs = [["/loss", "serve", str(size)], ["/loss", "fetch", "10.0.2.15", str(size)]]
        machines = []
        try:
            for number, program in enumerate(programs):
                line = make_line(elfin, root, f"10.0.2.{15 + number}", program) + device(directory, number)
                machines.append(subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True))
            limit = threading.Timer(PATIENCE, machines[1].kill)
            limit.start()
            printed = machines[1].stdout.read()
            limit.cancel()
        finally:
            for machine in machines:
                machine.kill()
                machine.wait()
            relay.over = True
            relay.join()
    rates = re.search(r"fetched (\d+) sent (\d+)", printed) or sys.exit(f"bench: no goodput with {wire}: {printed}")
    return int(rates[1]), int(rates[2])


def main():
    elfin, *numbers = sys.argv[1:]
    megabytes, rounds = [int(number) for number in numbers] + [3, 1][len(numbers):]
    print(f"{'lost':>6}{'late':>6}{'twice':>7}  {'guest':8}{'fetched':>10}{'sent':>10}  kB/s")
    for wire in WIRES:
        for seed in range(rounds):
            for name, make_line in [("Elfin", elfin_line), ("Linux", linux_line)]:
                fetched, sent = goodput(make_line, elfin, wire, megabytes * 1_000_000, seed)
                lost, late, twice = (f"{part:.1%}" for part in wire)
                print(f"{lost:>6}{late:>6}{twice:>7}  {name:8}{fetched:10,}{sent:10,}", flush=True)


main() if len(sys.argv) >= 2 else sys.exit(__doc__)
