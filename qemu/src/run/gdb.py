# For gdb, after lines that say what the names in capitals are: connects to the waiting machine and goes to the
# program's entry point. Whatever the program needs is loaded by then, and gdb learns of what it opens later.
import struct

import gdb

# Where the kernel's frame for entering the program has the entry point (`TrapFrame::rip`).
FRAME_RIP = 392


def run(command):
    gdb.execute(f"with confirm off -- {command}")


program = gdb.current_progspace().filename
if program is None:
    raise gdb.GdbError("elfin: name the program: gdb -x SCRIPT PROGRAM")
with open(program, "rb") as file:
    header = file.read(64)
is_pie = struct.unpack_from("<H", header, 16)[0] == 3
linked_entry = struct.unpack_from("<Q", header, 24)[0]

# Not before it is there: gdb would put breakpoints where it is linked.
run("file")
# Without the registers of Linux gdb does not take QEMU's machine for one that has shared libraries.
run(f"set tdesc filename {DESCRIPTION}")
run(f"set sysroot {SYSROOT}")
run(f"target remote {TARGET}")
run(f"add-symbol-file {KERNEL}")
run("thbreak elfin_enter_user")
run("continue")
lineage.learn()
entry = int(gdb.parse_and_eval(f"*(unsigned long *)($rdi + {FRAME_RIP})"))
bias = entry - linked_entry if is_pie else 0
# Reads the list of libraries as well, and where to stop when it changes: in the kernel, which gdb must know for that.
run(f"exec-file {program}")
run(f"symbol-file -o {bias:#x} {program}")
# The kernel's functions have names that programs have too.
run(f"remove-symbol-file {KERNEL}")
run(f"thbreak *{entry:#x}")
run("continue")
