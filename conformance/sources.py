"""Sources of other projects, from the Debian packages that hold them.

Each is of the release this machine runs, so that what is tested goes with the C library and compiler installed.
"""

import os
import subprocess


def run(command, **options):
    """Runs a command that must succeed, and returns what it prints; what it says otherwise goes with the error."""
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if result.returncode:
        said = (result.stdout + result.stderr)[-4000:]
        raise SystemExit(f"{' '.join(map(str, command))}: status {result.returncode}\n{said}")
    return result.stdout


def once(directory, make):
    """Has `make` fill an empty directory, once; a try that was cut short is begun again."""
    if not directory.exists():
        partial = directory.with_name(directory.name + ".partial")
        run(["rm", "-rf", partial])
        partial.mkdir(parents=True)
        make(partial)
        partial.rename(directory)
    return directory


def tarball(package, name, members, directory):
    """Unpacks parts of a tarball that the binary package `package` ships."""
    def make(partial):
        run(["apt-get", "download", package], cwd=partial)
        run(["dpkg-deb", "-x", next(partial.glob("*.deb")), partial / "package"])
        archive = next((partial / "package/usr/src").glob(f"*/{name}"))
        run(["tar", "xf", archive, "--strip-components=1", "--wildcards", *members], cwd=partial)
        run(["rm", "-rf", partial / "package", *partial.glob("*.deb")])
    return once(directory, make)


def source_package(package, directory):
    """Unpacks a source package, Debian's changes included. apt is asked with a configuration of its own."""
    def make(partial):
        apt = partial / "apt"
        for name in ("lists/partial", "archives/partial"):
            (apt / name).mkdir(parents=True)
        known = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Origin: Debian"])
        (apt / "sources.list").write_text("".join(f"deb-src {line}\n" for line in sorted(set(known.splitlines()))))
        (apt / "apt.conf").write_text(
            f'Dir::Etc {{ sourcelist "{apt}/sources.list"; sourceparts "-"; }};\n'
            f'Dir::State::lists "{apt}/lists";\nDir::Cache "{apt}";\n')
        environment = os.environ | {"APT_CONFIG": str(apt / "apt.conf")}
        run(["apt-get", "-qq", "update"], env=environment)
        run(["apt-get", "-qq", "source", "--download-only", package], cwd=apt, env=environment)
        run(["dpkg-source", "-x", next(apt.glob("*.dsc")), partial / "source"])
        for entry in (partial / "source").iterdir():
            entry.rename(partial / entry.name)
        run(["rm", "-rf", apt, partial / "source"])
    return once(directory, make)
