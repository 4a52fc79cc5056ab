# What packages' maintainer scripts make is in the image, whatever wants Python modules finds them compiled, from the
# image's own files.
# build: in namespaces
import marshal
import os
import pwd
import sys

import numpy
import sitecustomize

print(pwd.getpwnam("www-data").pw_uid, pwd.getpwuid(0).pw_shell)
print(os.readlink("/usr/lib/x86_64-linux-gnu/libblas.so.3").startswith("/etc/alternatives/"))
print(oct(os.stat("/var/log/btmp").st_mode), os.stat("/var/log/btmp").st_gid)
with open("/var/lib/dpkg/status") as file:
    print({line for line in file if line.startswith("Status:")})
print(os.path.exists("/usr/sbin/policy-rc.d"), os.listdir("/run"), os.path.exists("/bin/sh"))

modules = [module for module in sys.modules.values() if getattr(module, "__cached__", None)]
print([module.__file__ for module in modules if not os.path.exists(module.__cached__)])
with open(sitecustomize.__cached__, "rb") as file:
    header, code = file.read(16), marshal.loads(file.read())
status = os.stat(sitecustomize.__file__)
print(code.co_filename, header[8:16] == b"".join(n.to_bytes(4, "little") for n in (int(status.st_mtime), status.st_size)))
