# Python survives a full file system in little memory, and goes on once files are gone. Linux has a disk, so that this
# is run in the guest only.
# memory: 64M
import errno
import json
import os

written = 0
try:
    with open("/tmp/full", "wb", buffering=0) as file:
        while True:
            written += file.write(bytes(1 << 20))
except OSError as error:
    print(errno.errorcode[error.errno], written > 4 << 20)
print(os.stat("/tmp/full").st_size == written)
os.unlink("/tmp/full")
with open("/tmp/again", "wb") as file:
    print(file.write(bytes(8 << 20)))
print(json.dumps({"still": "here"}))
