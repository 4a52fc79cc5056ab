# Files in Python: os.walk over /tests, tempfile, pathlib, shutil, mmap, stat, errors by name.
import mmap
import os
import pathlib
import shutil
import stat
import tempfile

# The working directory is /tests.
found = sorted(name for _, _, names in os.walk(".") for name in names if name.startswith("dl"))
print(found)
print(os.path.basename(__file__), stat.S_ISREG(os.stat(__file__).st_mode), len(open(__file__).readlines()) > 30)
with tempfile.TemporaryDirectory() as name:
    place = pathlib.Path(name)
    (place / "a" / "b").mkdir(parents=True)
    (place / "a" / "text").write_text("größe\nzwei\n")
    (place / "link").symlink_to("a/text")
    print((place / "link").read_text().splitlines(), (place / "a" / "text").stat().st_size)
    print(sorted(str(p.relative_to(place)) for p in place.rglob("*")))
    shutil.copytree(place / "a", place / "copy")
    shutil.move(place / "copy" / "text", place / "moved")
    print(sorted(os.listdir(place)), (place / "moved").read_bytes())
    os.utime(place / "moved", (1, 2))
    print(os.stat(place / "moved").st_mtime, oct((place / "moved").stat().st_mode & 0o777))
    with open(place / "mapped", "w+b") as file:
        file.truncate(8192)
        with mmap.mmap(file.fileno(), 0) as memory:
            memory[4095:4100] = b"cross"
            print(memory.find(b"cross"))
        file.seek(4095)
        print(file.read(5))
    for action in (
        lambda: open(place / "none"),
        lambda: os.mkdir(place / "a"),
        lambda: os.rmdir(place / "a"),
        lambda: os.listdir(place / "moved"),
        lambda: os.open(place, os.O_WRONLY),
    ):
        try:
            action()
        except OSError as error:
            print(type(error).__name__, error.strerror)
    with tempfile.NamedTemporaryFile(dir=place) as file:
        print(os.path.exists(file.name))
    print(os.path.exists(file.name), os.path.getsize(place / "mapped"))
    os.chdir(place)
    print(pathlib.Path("a").resolve() == (place / "a").resolve())
    os.chdir("/")
print(os.path.exists(name))
with tempfile.TemporaryFile("w+") as file:
    file.writelines(f"{i}\n" for i in range(1000))
    file.seek(0)
    print(sum(map(int, file)))
