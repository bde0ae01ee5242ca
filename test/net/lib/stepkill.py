# SPDX-License-Identifier: Apache-2.0
"""stepkill.c: a process is killed at a chosen instruction behind a chosen system call."""
import subprocess
from pathlib import Path

from lib import machine
from lib.tap import until

PROGRAM = machine.BUILD / "stepkill"
NOT_MADE = 3    # its exit status: the process did not make that call
# x86-64's numbers
CALLS = {"any": -1, "write": 1, "close": 3, "poll": 7, "ioctl": 16, "socket": 41, "connect": 42, "sendto": 44, "recvfrom": 45,
         "sendmsg": 46, "recvmsg": 47, "shutdown": 48, "bind": 49, "listen": 50, "socketpair": 53, "setsockopt": 54, "getsockopt": 55,
         "clone": 56, "wait4": 61, "fcntl": 72, "exit_group": 231, "epoll_wait": 232, "epoll_ctl": 233, "accept4": 288, "dup3": 292,
         "pipe2": 293, "recvmmsg": 299, "sendmmsg": 307, "memfd_create": 319}


def arguments(pid, call, steps, limit_ms, number=9, nth=1):
    return [str(PROGRAM), str(pid), str(CALLS[call]), str(steps), str(limit_ms), str(int(number)), str(nth)]


def begin(*which, **how):
    """Of arguments(); when it returns the process is watched."""
    tool = subprocess.Popen(arguments(*which, **how), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until(5, lambda: "TracerPid:\t0\n" not in Path(f"/proc/{which[0]}/status").read_text(), "it is watched", 0.001)
    return tool
