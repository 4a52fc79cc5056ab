"""Debian's cloud kernel as another guest of QEMU: downloaded with `apt-get download`, with an initramfs that has the
modules it needs for the image, busybox to load them, and programs of the benchmark's: no init system."""

import pathlib
import re
import subprocess

WORK = pathlib.Path("target/bench")
PYTHON = "/usr/bin/python3"
MULTIPLY = (pathlib.Path(__file__).parent.parent / "scripts/multiply.py").read_text()

INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
/bin/busybox mount -t erofs -o ro /dev/vda /root
for part in proc sysfs:sys devtmpfs:dev; do /bin/busybox mount -t ${part%%:*} none /root/${part#*:}; done
/bin/busybox chroot /root %s -c "$(/bin/busybox cat /%s)"
/bin/busybox reboot -f
"""

def module_order(modules, wanted):
    """The module files to load for the wanted ones, dependencies first."""
    files = {path.stem.replace("-", "_"): path for path in modules.rglob("*.ko")}
    order = []
    def visit(name):
        path = files.get(name)
        if path is None or path in order:
            return  # built into the kernel, or met before
        found = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for needed in found[1].decode().split(",") if found else []:
            visit(needed)
        order.append(path)
    for name in wanted:
        visit(name)
    return order

def archive(entries):
    """A cpio archive (newc) of {path: (mode, content)}."""
    out = bytearray()
    for number, (path, (mode, content)) in enumerate([*entries.items(), ("TRAILER!!!", (0, b""))]):
        name = f"{path}\0".encode()
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0]
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        out += bytes(-len(out) % 4) + content + bytes(-len(content) % 4)
    return bytes(out)

def download(metapackage="linux-image-cloud-amd64"):
    """Downloads one of Debian's kernels and busybox; the kernel's path, or None without a network."""
    try:
        depends = subprocess.run(["apt-cache", "depends", metapackage], check=True, capture_output=True, text=True).stdout
        package = re.search(r"Depends: (linux-image-\S+)", depends)[1]
        tree = WORK / package
        if not tree.exists():
            WORK.mkdir(parents=True, exist_ok=True)
            download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download"]
            subprocess.run([*download, package, "busybox-static"], check=True, cwd=WORK)
            fresh = WORK / "unpacked"
            for deb in [*WORK.glob("linux-image-*.deb"), *WORK.glob("busybox-*.deb")]:
                subprocess.run(["dpkg-deb", "-x", deb, fresh], check=True)
                deb.unlink()
            fresh.rename(tree)
    except (OSError, subprocess.CalledProcessError, TypeError) as error:
        print(f"Linux guest left out: {error}")
        return None
    return next(tree.glob("boot/vmlinuz-*"))

def initramfs(kernel, files=(), modules=()):
    """Makes target/bench/initramfs, with further programs and libraries of this machine, {path: file}, and modules."""
    tree = kernel.parent.parent
    directory, program = 0o40755, 0o100755
    entries = dict.fromkeys(["bin", "dev", "root", "modules"], (directory, b""))
    entries["bin/busybox"] = (program, (tree / "bin/busybox").read_bytes())
    order = module_order(tree / "lib/modules", ["virtio_pci", "virtio_blk", "crc32c_generic", "erofs", *modules])
    for path in order:
        entries[f"modules/{path.name}"] = (program, path.read_bytes())
    entries["modules/order"] = (program, "\n".join(path.name for path in order).encode())
    for name, text in [("print", "print(1)"), ("multiply", MULTIPLY)]:
        entries[name] = (program, text.encode())
        entries[f"init-{name}"] = (program, (INIT % (PYTHON, name)).encode())
    entries["init-none"] = (program, b"#!/bin/busybox sh\necho reached\n/bin/busybox reboot -f\n")
    for path, file in dict(files).items():
        for parent in reversed(pathlib.PurePath(path).parents[:-1]):
            entries[str(parent)] = (directory, b"")
        entries[path] = (program, pathlib.Path(file).read_bytes())
    (WORK / "initramfs").write_bytes(archive(entries))

def command(kernel, accel, cpus, init, image=None):
    """QEMU's command line for the guest, whose first process is `/init-…`."""
    drive = ["-drive", f"file={image},if=none,id=root,format=raw,readonly=on", "-device", "virtio-blk-pci,drive=root"]
    return ["qemu-system-x86_64", "-M", "q35,usb=off,sata=off,smbus=off,vmport=off", *accel, "-nodefaults",
            "-no-user-config", "-no-reboot", "-display", "none", "-smp", str(cpus), "-m", "512M", "-serial", "stdio",
            "-kernel", kernel, "-initrd", WORK / "initramfs", *(drive if image else []),
            "-append", f"console=ttyS0 quiet panic=-1 no_timer_check rdinit=/init-{init}"]

