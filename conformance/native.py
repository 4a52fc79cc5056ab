#!/usr/bin/env python3
"""native.py PROGRAM ARG…: runs a program on Linux so that it does no harm there, be it root's.

Under a seccomp filter setting clocks and names and the like give EPERM, to the program and to what it starts, and a
signal to all processes ends the one that sends it.
"""

import ctypes
import errno
import os
import struct
import sys

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, ARCHITECTURE, FIRST = 0, 4, 16
X86_64 = 0xC000003E
ALLOW, ERRNO, END = 0x7FFF0000, 0x00050000, 0x80000000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
KILL = 62
# settimeofday, clock_settime, adjtimex, clock_adjtime, sethostname, setdomainname, reboot, mount, umount2, pivot_root,
# swapon, swapoff, syslog, unshare, setns
HARMFUL = [164, 227, 159, 305, 170, 171, 169, 165, 166, 155, 167, 168, 103, 272, 308]


def instruction(code, value, if_true=0, if_false=0):
    """One instruction of a classic BPF program."""
    return struct.pack("HBBI", code, if_true, if_false, value & 0xFFFFFFFF)


def answer(value):
    """Ends the filter."""
    return instruction(RETURN, value)


def the_filter():
    """The filter."""
    foreign, harmful = answer(ERRNO | errno.ENOSYS), answer(ERRNO | errno.EPERM)
    program = [instruction(LOAD, ARCHITECTURE), instruction(EQUAL, X86_64, 1), foreign, instruction(LOAD, NUMBER)]
    for number in HARMFUL:
        program += [instruction(EQUAL, number, 0, 1), harmful]
    program += [instruction(EQUAL, KILL, 0, 3), instruction(LOAD, FIRST), instruction(EQUAL, -1, 0, 1), answer(END)]
    return b"".join([*program, answer(ALLOW)])


def main():
    """Sets the filter and becomes the program."""
    argv = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    code = the_filter()
    program = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(program))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header):
        sys.exit(f"native.py: prctl: {os.strerror(ctypes.get_errno())}")
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.exit(f"native.py: {argv[0]}: {error.strerror}")


main()
