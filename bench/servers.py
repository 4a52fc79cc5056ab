"""Usage: servers.py ELFIN [SECONDS [ROUNDS]] | servers.py ELFIN count

Servers as Debian has them (nginx, redis, aiohttp on uvloop), asked by load generators of this host (Debian's wrk and
redis-tools) over published ports with 64 and 1,000 connections: in Elfin and under Debian's cloud kernel, in the same
QEMU, with the same image, in turns. redis-benchmark makes its connections at once, of which QEMU's router loses some,
whatever the guest: they are made one after the other, by a relay that costs both guests the same. Of each: requests a
second, the 99th percentile of their time in milliseconds, and errors. The table is printed, and written to
target/bench/servers.json. Without a generator its rows are left out.

With `count`, the instructions that a guest of one virtual CPU executes for a request are counted, by a plugin of QEMU's
translator (count.c), which a busy host does not change: of so many requests over 64 connections, less those of a few.
"""

import asyncio
import json
import pathlib
import re
import selectors
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

import linux_guest
from linux_guest import WORK

PACKAGES = "redis-server,nginx-light,python3-aiohttp,python3-uvloop"
NGINX = (
    "daemon off; master_process off; user root; pid /tmp/pid; error_log /dev/null;"
    "worker_rlimit_nofile 4096; events { use epoll; worker_connections 2000; }"
    "http { access_log off; keepalive_requests 1000000000;"
    "server { listen 80; location / { return 200 hello; } } }"
)
AIOHTTP = """
import aiohttp.web, uvloop
uvloop.install()
async def hello(request):
    return aiohttp.web.Response(text='hello')
app = aiohttp.web.Application()
app.add_routes([aiohttp.web.get('/', hello)])
aiohttp.web.run_app(app, port=80, backlog=1000, access_log=None, print=None)
"""
SERVERS = {
    "nginx": ("wrk", [64, 1000], f"echo '{NGINX}' > /tmp/nginx.conf; exec nginx -c /tmp/nginx.conf -e /dev/null"),
    "redis": ("redis-benchmark", [64, 1000], "exec redis-server --port 80 --save '' --protected-mode no --maxclients 4000"),
    "aiohttp": ("wrk", [64, 1000], f'exec python3 -c "{AIOHTTP}"'),
}
MACHINE = ["--cpus", "2", "--memory", "1024M"]
# Requests that are counted: few, and many.
COUNTED = {"nginx": (500, 8500), "redis": (500, 8500), "aiohttp": (200, 2200)}

INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
/bin/busybox mount -t erofs -o ro /dev/vda /root
for part in proc sysfs:sys devtmpfs:dev; do /bin/busybox mount -t ${part%:*} none /root/${part#*:}; done
for part in tmp run var/lib var/log; do /bin/busybox mount -t tmpfs none /root/$part; done
/bin/busybox mkdir -p /root/var/lib/nginx /root/var/log/nginx
/bin/busybox ip link set lo up
/bin/busybox ip link set eth0 up
/bin/busybox ip addr add 10.0.2.15/24 dev eth0
/bin/busybox ip route add default via 10.0.2.2
ulimit -n 8192
/bin/busybox chroot /root /bin/sh -c "$(/bin/busybox cat /server)"
"""


def prepared(elfin):
    """The image with the servers."""
    WORK.mkdir(parents=True, exist_ok=True)
    image = WORK / "servers.img"
    if not image.exists():
        subprocess.run([elfin, "build", "-o", image, "--deb", PACKAGES], check=True)
    return image


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Guest:
    """A machine with a server, until the block ends."""

    def __init__(self, command, port):
        self.log = open(WORK / "guest.log", "w")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.port = port

    def __enter__(self):
        # A published port takes connections before the server listens, and ends them.
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port)) as stream:
                    stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    if stream.recv(1):
                        return self
            except OSError:
                pass
            if self.process.poll() is not None:
                sys.exit(f"bench: the guest has ended: see {self.log.name}")
            time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def elfin_guest(elfin, image, server, port):
    publish = f"127.0.0.1:{port}:80"
    return [elfin, "run", "--stop-timeout", "0", *MACHINE, "-p", publish, "--image", image, "--", "/bin/sh", "-c", server]


def linux_guest_command(elfin, image, kernel, server, port, cpus=2):
    line = subprocess.run([*map(str, elfin_guest(elfin, image, server, port)[:2]), "--dry-run", *MACHINE, "--image", image,
                           "--", "/bin/sh"], check=True, capture_output=True, text=True).stdout.split()
    cpu = [word for name in ["-accel", "-cpu"] for word in line[line.index(name):line.index(name) + 2]]
    files = {"init-server": INIT, "server": server}
    for name, text in files.items():
        (WORK / name).write_text(text)
    linux_guest.initramfs(kernel, {name: WORK / name for name in files}, ["virtio_net"])
    command = linux_guest.command(kernel, cpu, cpus, "server", image)
    command[command.index("-m") + 1] = "1024M"
    forward = f"user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:80"
    return [*map(str, command), "-netdev", forward, "-device", "virtio-net-pci,netdev=net,romfile="]


def wrk(port, connections, seconds):
    """(requests a second, milliseconds, errors)"""
    printed = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s",
                              f"http://127.0.0.1:{port}/"], check=True, capture_output=True, text=True).stdout
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", printed).groups()
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed)
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    count = sum(map(int, errors.groups() if errors else ())) + int(wrong[1] if wrong else 0)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1])
    return rate, float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit], count


class Relay:
    """A port that leads to another, to which connections are made one by one, and again until one is answered."""

    def __init__(self, target):
        self.target = target
        self.loop = asyncio.new_event_loop()
        self.one = asyncio.Lock()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        listening = asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=4096)
        server = asyncio.run_coroutine_threadsafe(listening, self.loop).result()
        self.port = server.sockets[0].getsockname()[1]

    async def connect(self):
        async with self.one:
            while True:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
                try:
                    writer.write(b"PING\r\n")
                    if await asyncio.wait_for(reader.readline(), 5) == b"+PONG\r\n":
                        return reader, writer
                except (OSError, TimeoutError, asyncio.TimeoutError):
                    pass
                writer.close()

    async def serve(self, client, to_client):
        server, to_server = await self.connect()

        async def copy(reader, writer):
            try:
                while data := await reader.read(65536):
                    writer.write(data)
            except OSError:
                pass
            writer.close()
        await asyncio.gather(copy(client, to_server), copy(server, to_client))


def redis_benchmark(port, connections, seconds):
    """The same, of INCR; as many as take about so long."""
    relay = Relay(port)

    def run(requests):
        command = ["redis-benchmark", "-p", str(relay.port), "-c", str(connections), "-n", str(requests), "-t", "incr", "--csv"]
        done = subprocess.run(["timeout", str(20 * seconds), *command], capture_output=True, text=True)
        row = re.search(r'"INCR",(.*)', done.stdout)
        if not row:
            return 0, 0, 1
        fields = [float(field) for field in re.findall(r'"([\d.]+)"', row[1])]
        return fields[0], fields[5], int(done.returncode != 0)
    rate, _, errors = run(4 * connections)
    return run(max(int(rate * seconds), 4 * connections)) if not errors else (0, 0, errors)


GENERATORS = {"wrk": wrk, "redis-benchmark": redis_benchmark}


def ask(port, request, count):
    """Sends so many requests over 64 connections, one at a time over each."""
    selector = selectors.DefaultSelector()
    left = count
    for _ in range(64):
        while True:
            # QEMU's router loses some that are made at once.
            try:
                stream = socket.create_connection(("127.0.0.1", port), 30)
                stream.sendall(request)
                if stream.recv(4096):
                    break
            except OSError:
                pass
        selector.register(stream, selectors.EVENT_READ)
        stream.sendall(request)
    while left > 0:
        for key, _ in selector.select():
            if not key.fileobj.recv(65536):
                sys.exit("bench: the server has closed a connection")
            left -= 1
            key.fileobj.sendall(request)


def count(elfin, image, kernel):
    """Prints what a request takes."""
    plugin, counts = WORK / "count.so", WORK / "servers.counts"
    source = pathlib.Path(__file__).with_name("count.c")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", plugin, source], check=True)
    MACHINE[MACHINE.index("--cpus") + 1] = "1"
    print(f"{'server':12}{'Elfin':>12}{'Linux':>12}  instructions a request")
    for name, (few, many) in COUNTED.items():
        *_, server = SERVERS[name]
        request = b"*2\r\n$4\r\nINCR\r\n$1\r\na\r\n" if name == "redis" else b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"

        def executed(guest, requests):
            port = free_port()
            if guest == "Elfin":
                line = elfin_guest(elfin, image, server, port)
                dry = subprocess.run([*line[:2], "--dry-run", *line[2:]], check=True, capture_output=True, text=True)
                command = shlex.split(dry.stdout)
            else:
                command = linux_guest_command(elfin, image, kernel, server, port, 1)
            with Guest([command[0], "-plugin", f"{plugin},out={counts}", *command[1:]], port):
                ask(port, request, requests)
            return int(counts.read_text().split()[1])
        row = [(executed(guest, many) - executed(guest, few)) / (many - few) for guest in ["Elfin", "Linux"][:2 if kernel else 1]]
        print(f"{name:12}" + "".join(f"{number:12,.0f}" for number in row), flush=True)


def main():
    elfin, *numbers = sys.argv[1:]
    if numbers == ["count"]:
        return count(elfin, prepared(elfin), linux_guest.download())
    seconds, rounds = [int(number) for number in numbers] + [10, 3][len(numbers):]
    image = prepared(elfin)
    kernel = linux_guest.download()
    results = {}
    for name, (generator, numbers, server) in SERVERS.items():
        if not shutil.which(generator):
            print(f"{name} left out: it takes {generator}")
            continue
        for _ in range(rounds):
            for guest in ["Elfin", "Linux"] if kernel else ["Elfin"]:
                port = free_port()
                command = (elfin_guest(elfin, image, server, port) if guest == "Elfin"
                           else linux_guest_command(elfin, image, kernel, server, port))
                with Guest(command, port):
                    for connections in numbers:
                        measured = GENERATORS[generator](port, connections, seconds)
                        row = results.setdefault(f"{name}, {connections}", {})
                        row.setdefault(guest, []).append(measured)
    print(f"{'server, connections':24}{'guest':8}{'requests/s':>12}{'99 % within':>14}{'errors':>8}")
    for row, guests in results.items():
        for guest, measured in guests.items():
            rate, late = (statistics.median(column) for column in list(zip(*measured))[:2])
            errors = sum(one[2] for one in measured)
            print(f"{row:24}{guest:8}{rate:12,.0f}{late:11.1f} ms{errors:8}", flush=True)
    (WORK / "servers.json").write_text(json.dumps(results, indent=1) + "\n")


main() if len(sys.argv) >= 2 else sys.exit(__doc__)
