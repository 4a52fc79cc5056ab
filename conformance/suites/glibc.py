"""glibc's own tests, built against the C library that is installed.

glibc's makefiles build them against the libc they have built. Here that library is the system's: copies stand in the
build directory, and make is told that they are up to date. How each test is run is read from what make would do.
"""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from sources import run, tarball

PACKAGES = ["libc6", "libstdc++6", "libgcc-s1", "libcrypt1"]
SUBDIRS = ["elf", "dlfcn", "nptl", "malloc", "rt", "signal", "stdlib", "setjmp", "debug", "misc", "posix",
           "io"]
CONFIGURE = ["--prefix=/usr", "--disable-werror", "--disable-nscd", "--disable-timezone-tools", "--enable-cet=no"]

# What the build directory has of the installed library.
LIBRARIES = {
    "libc.so": "libc.so.6", "elf/ld.so": "ld-linux-x86-64.so.2", "math/libm.so.6": "libm.so.6",
    "mathvec/libmvec.so.1": "libmvec.so.1", "dlfcn/libdl.so.2": "libdl.so.2", "nptl/libpthread.so.0": "libpthread.so.0",
    "rt/librt.so.1": "librt.so.1", "resolv/libresolv.so.2": "libresolv.so.2", "login/libutil.so.1": "libutil.so.1",
    "crypt/libcrypt.so.1": "libcrypt.so.1", "nptl_db/libthread_db.so.1": "libthread_db.so.1",
}
LINKS = {"libc.so.6": "libc.so", "elf/ld-linux-x86-64.so.2": "ld.so"} | {
    re.sub(r"\.so\.\d$", ".so", name): Path(name).name for name in LIBRARIES if name[-1].isdigit()}
ARCHIVES = {
    "libc.a": "libc.a", "libc_nonshared.a": "libc_nonshared.a", "math/libm.a": "libm.a", "dlfcn/libdl.a": "libdl.a",
    "nptl/libpthread.a": "libpthread.a", "rt/librt.a": "librt.a", "mathvec/libmvec.a": "libmvec.a",
    "resolv/libresolv.a": "libresolv.a", "login/libutil.a": "libutil.a", "crypt/libcrypt.a": "libcrypt.a",
    "csu/start.o": "crt1.o", "csu/static-start.o": "Scrt1.o",
} | {f"csu/{name}": name for name in ("crt1.o", "Scrt1.o", "crti.o", "crtn.o", "gcrt1.o", "grcrt1.o", "rcrt1.o")}
# Programs of glibc's that no test here needs.
UNNEEDED = ["libc_pic.a", "libc_pic.os", "elf/ldconfig", "elf/sprof", "elf/sln", "iconv/iconv_prog", "locale/localedef"]
SYSTEM = [Path("/lib/x86_64-linux-gnu"), Path("/usr/lib/x86_64-linux-gnu")]
LOADER = "/elf/ld-linux-x86-64.so.2 --library-path "


def build(work):
    """Builds the tests; returns them and the directories they need."""
    source = tarball("glibc-source", "glibc-*.tar.xz", ["*"], work / "source")
    objects = work / "build"
    if not (objects / "config.make").exists():
        objects.mkdir(exist_ok=True)
        run([source / "configure", *CONFIGURE], cwd=objects)
        install(objects)
        make(source, objects, "csu", [objects / "csu/abi-note.o"])
        make(source, objects, "support", ["lib", "others"])
    tests = []
    for subdir in SUBDIRS:
        make(source, objects, subdir, ["tests", "run-built-tests=no"])
        tests += commands(make(source, objects, subdir, ["-n", "tests"]), objects, subdir)
    return tests + ordering(objects), [objects]


def install(objects):
    """Puts the installed library where glibc's makefiles look for the one they have built."""
    for name, original in (LIBRARIES | ARCHIVES).items():
        (objects / name).parent.mkdir(exist_ok=True)
        found = next((where / original for where in SYSTEM if (where / original).exists()), None)
        if found:
            shutil.copy(found, objects / name)
    for name, target in LINKS.items():
        (objects / name).symlink_to(target)


def make(source, objects, subdir, targets):
    """Makes targets of a subdirectory as far as possible, and returns what make printed."""
    old = [part for name in [*LIBRARIES, *LINKS, *ARCHIVES, *UNNEEDED] for part in ("-o", objects / name)]
    command = ["make", "-k", "-r", f"-j{os.cpu_count()}", "-C", source / subdir, f"objdir={objects}",
               f"subdir={subdir}", *old, *targets]
    with open(objects / f"{subdir}.log", "a") as log:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True).stdout


def commands(listing, objects, subdir):
    """The tests among the commands of make's that run programs by the ld.so in the build directory."""
    tests = {}
    for line in listing.replace("\\\n", " ").splitlines():
        output = re.search(rf"> ({objects}/\S+)\.out", line)
        before, found, after = line.partition(LOADER)
        if not output or not found:
            continue
        words = after.split(" ", 1)[1].split(";")[0]
        try:
            set_before = [word for word in shlex.split(before) if re.match(r"[A-Z_0-9]+=", word)]
            argv = shlex.split(re.sub(r"\d?[<>]\s*\S+", "", words))
        except ValueError:
            # A script in quotes, which runs more than one program.
            continue
        variables = dict(word.split("=", 1) for word in set_before)
        if argv and os.access(argv[0], os.X_OK):
            tests.setdefault(output[1], test(output[1], argv, variables, objects, subdir))
    return list(tests.values())


def test(output, argv, variables, objects, subdir):
    """One test: run directly, not in a child, and with the library's own path, not that of the build directory."""
    if "support_test_main" in run(["nm", argv[0]]):
        argv.insert(1, "--direct")
    path = [f"{objects}/{name}" for name in SUBDIRS] + [variables.get("LD_LIBRARY_PATH", "")]
    variables["LD_LIBRARY_PATH"] = ":".join(filter(None, path))
    for name in ("GCONV_PATH", "LOCPATH"):
        variables.pop(name, None)
    return {"id": str(Path(output).relative_to(objects)), "argv": argv, "env": variables, "cwd": f"{objects}/{subdir}"}


def ordering(objects):
    """The generated tests of the order of INIT functions, by both of glibc's algorithms."""
    tests = []
    for directory in sorted((objects / "elf").glob("*-dir")):
        for program in sorted(directory.iterdir()):
            if program.suffix == "" and os.access(program, os.X_OK):
                for sort in (1, 2):
                    variables = {"LD_LIBRARY_PATH": str(directory),
                                 "GLIBC_TUNABLES": f"glibc.rtld.dynamic_sort={sort}"}
                    tests.append({"id": f"elf/{program.name}.sort{sort}", "argv": [str(program)], "env": variables,
                                  "cwd": str(directory)})
    return tests
