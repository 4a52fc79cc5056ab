"""Usage: files.py ELFIN [ROUNDS]

Compares what files cost (files.c) in Elfin and under Debian's kernel, in the same QEMU, with the same devices: on an
ext4 volume and in a directory of the host, by 9P, which Debian's kernel for clouds lacks. Instructions are counted in one
run each (count.c); times are medians of some rounds, in which both take turns. The table is printed, and written to
target/bench/files.json.
"""

import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys

import linux_guest
from instructions import counted
from linux_guest import WORK

HERE = pathlib.Path(__file__).parent
INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
/bin/busybox mount %s /data && /files /data && /bin/busybox umount /data
/bin/busybox reboot -f
"""
# As Elfin has directories of the host: written through. Linux 6.1 keeps no pages then but those that are mapped; it does
# with cache=loose, which writes back and never asks the host again.
MOUNTS = {
    "volume": "-t ext4 /dev/vda",
    "host": "-t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=mmap v0",
}


def prepare():
    """Compiles the program and the plugin; makes the trees; where the fresh volume is."""
    root = WORK / "files-root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    subprocess.run(["gcc", "-O2", "-static", "-o", root / "files", HERE / "files.c"], check=True)
    subprocess.run(["gcc", "-O2", "-o", WORK / "count.so", "-shared", "-fPIC", HERE / "count.c"], check=True)
    (root / "data").mkdir()
    return root


def fresh(elfin, volumes, host):
    """A new volume and an empty directory; where the volume is."""
    for directory in [volumes, host]:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
    os.environ["XDG_DATA_HOME"] = str(volumes)
    subprocess.run([elfin, "volume", "create", "files", "--size", "512M"], check=True, capture_output=True)
    return next(volumes.rglob("files.img"))


def lines(elfin, root, volumes, host, kernel):
    """{place: {who: command of QEMU's}}"""
    image = fresh(elfin, volumes, host)
    commands = {}
    for place, source in [("volume", "files"), ("host", host)]:
        options = ["--dry-run", "--cpus", "1", "-v", f"{source}:/data", "--root", root]
        run = [elfin, "run", *options, "--", "/files", "/data"]
        line = shlex.split(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
        commands[place] = {"Elfin": line}
        if kernel:
            accel = line[line.index("-accel"):line.index("-accel") + 4]
            device = {
                "volume": ["-drive", f"file={image},if=none,id=v0,format=raw,cache=writeback,discard=unmap", "-device",
                           "virtio-blk-pci,drive=v0"],
                "host": ["-fsdev", f"local,id=v0,path={host},security_model=none,multidevs=remap", "-device",
                         "virtio-9p-pci,fsdev=v0,mount_tag=v0"],
            }
            guest = linux_guest.command(kernel, accel, 1, f"files-{place}")
            commands[place]["Linux"] = [*map(str, guest), *device[place]]
    return commands


def rows(printed):
    """{what: nanoseconds each}"""
    found = [line.strip().split(" ", 3) for line in printed.splitlines() if line[:1].isdigit()]
    return {what: (int(times), int(taken) / int(times)) for _, times, taken, what in found}


def main():
    elfin = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    WORK.mkdir(parents=True, exist_ok=True)
    root = prepare()
    kernel = linux_guest.download("linux-image-amd64")
    if kernel:
        inits = {}
        for place, mount in MOUNTS.items():
            inits[f"init-files-{place}"] = WORK / f"init-files-{place}"
            inits[f"init-files-{place}"].write_text(INIT % mount)
        files = {"files": root / "files", "data/.keep": os.devnull} | inits
        linux_guest.initramfs(kernel, files, ["ext4", "9pnet_virtio", "9p"])
    volumes, host = (WORK.resolve() / name for name in ["files-volumes", "files-host"])
    results = {}
    for place in MOUNTS:
        instructions, times = {}, {}
        for turn in range(rounds + 1):
            for who in lines(elfin, root, volumes, host, kernel)[place]:
                command = lines(elfin, root, volumes, host, kernel)[place][who]
                if turn == 0:
                    _, _, marks, printed = counted(command)
                    each = [times for times, _ in rows(printed).values()]
                    spent = [(marks[2 * i + 1] - marks[2 * i]) / count for i, count in enumerate(each)]
                    instructions[who] = dict(zip(rows(printed), spent))
                else:
                    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
                    for what, (_, taken) in rows(done.stdout.decode(errors="replace")).items():
                        times.setdefault(who, {}).setdefault(what, []).append(taken)
        columns = list(instructions)
        print(f"{place:44}" + "".join(f"{who + ', ' + unit:>16}" for unit in ["insns", "us"] for who in columns))
        for what in instructions["Elfin"]:
            counts = [instructions[who][what] for who in columns]
            taken = [statistics.median(times[who][what]) / 1000 if who in times else 0 for who in columns]
            cells = [f"{count:,.0f}" for count in counts] + [f"{micros:,.1f}" for micros in taken]
            print(f"{what:44}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
            results[f"{place}: {what}"] = {"instructions": dict(zip(columns, counts)), "us": dict(zip(columns, taken))}
    (WORK / "files.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main() if len(sys.argv) >= 2 else sys.exit(__doc__)
