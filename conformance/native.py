#!/usr/bin/env python3
"""native.py PROGRAM ARG…: runs a program on Linux as it is run in the guest, alone.

A seccomp filter has it live without what the guest does not have: fork, vfork, exec and processes made by clone give
ENOSYS. It also keeps a test run by root from harm to this machine: setting clocks and names and the like give EPERM,
and a signal to all processes, which fork's -1 for a process id makes of one to a child, ends the program.
"""

import ctypes
import errno
import os
import shutil
import struct
import sys

LOAD, EQUAL, BITS, RETURN = 0x20, 0x15, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST = 0, 4, 16
X86_64 = 0xC000003E
ALLOW, ERRNO, END = 0x7FFF0000, 0x00050000, 0x80000000
CLONE_THREAD = 0x10000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
CLONE, EXECVE, KILL = 56, 59, 62
# fork, vfork, execveat, clone3 (whose flags no filter can see: glibc goes on to clone)
MISSING = [57, 58, 322, 435]
# settimeofday, clock_settime, adjtimex, clock_adjtime, sethostname, setdomainname, reboot, mount, umount2, pivot_root,
# swapon, swapoff, syslog, unshare, setns
HARMFUL = [164, 227, 159, 305, 170, 171, 169, 165, 166, 155, 167, 168, 103, 272, 308]


def instruction(code, value, if_true=0, if_false=0):
    """One instruction of a classic BPF program."""
    return struct.pack("HBBI", code, if_true, if_false, value & 0xFFFFFFFF)


def answer(value):
    """Ends the filter."""
    return instruction(RETURN, value)


def filter_for(path):
    """The filter; `execve` is let through for the string at the address `path`, the first one."""
    missing, harmful = answer(ERRNO | errno.ENOSYS), answer(ERRNO | errno.EPERM)
    program = [instruction(LOAD, ARCHITECTURE), instruction(EQUAL, X86_64, 1), missing, instruction(LOAD, NUMBER)]
    for number in MISSING:
        program += [instruction(EQUAL, number, 0, 1), missing]
    for number in HARMFUL:
        program += [instruction(EQUAL, number, 0, 1), harmful]
    program += [instruction(EQUAL, CLONE, 0, 3), instruction(LOAD, FIRST), instruction(BITS, CLONE_THREAD, 1), missing]
    # The number is no longer loaded where clone came from; such calls end here.
    program += [instruction(LOAD, NUMBER), instruction(EQUAL, KILL, 0, 3), instruction(LOAD, FIRST),
                instruction(EQUAL, -1, 0, 1), answer(END)]
    program += [instruction(LOAD, NUMBER), instruction(EQUAL, EXECVE, 0, 5),
                instruction(LOAD, FIRST), instruction(EQUAL, path, 0, 2),
                instruction(LOAD, FIRST + 4), instruction(EQUAL, path >> 32, 1, 0), missing]
    return b"".join([*program, answer(ALLOW)])


def main():
    """Sets the filter and becomes the program."""
    argv = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    path = ctypes.create_string_buffer(os.fsencode(shutil.which(argv[0]) or argv[0]))
    words = (ctypes.c_char_p * (len(argv) + 1))(*map(os.fsencode, argv), None)
    variables = [name + b"=" + value for name, value in os.environb.items()]
    environment = (ctypes.c_char_p * (len(variables) + 1))(*variables, None)
    code = filter_for(ctypes.addressof(path))
    program = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(program))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header):
        sys.exit(f"native.py: prctl: {os.strerror(ctypes.get_errno())}")
    libc.execve(path, words, environment)
    sys.exit(f"native.py: {argv[0]}: {os.strerror(ctypes.get_errno())}")


main()
