# SPDX-License-Identifier: Apache-2.0
"""The seccomp programs that a process really has, and which system calls they let through."""
import struct
import subprocess

from lib import machine

PROGRAM = str(machine.BUILD / "inject")
ARCH = 0xc000003e       # AUDIT_ARCH_X86_64
ALLOW = 0x7fff0000
NUMBERS = range(470)


def of(pid):
    """Its programs, each a list of instructions (code, jt, jf, k). None: the kernel does not tell."""
    found = []
    while True:
        run = subprocess.run([PROGRAM, str(pid), "filter", str(len(found))], capture_output=True, text=True, check=False)
        if run.returncode:
            return None
        if not run.stdout:
            return found
        found.append([tuple(int(word, 16) for word in line.split()) for line in run.stdout.splitlines()])


def results(program, number):
    """What the program can return for a call, with any arguments."""
    found, todo, seen = set(), [(0, None)], set()    # where it is, and what it has loaded; None: of an argument
    while todo:
        at, loaded = todo.pop()
        if (at, loaded) in seen:
            continue
        seen.add((at, loaded))
        code, jt, jf, k = program[at]
        if code == 0x06:        # return
            found.add(k)
        elif code == 0x20:      # load
            todo.append((at + 1, {0: number, 4: ARCH}.get(k)))
        elif code in (0x54, 0x5c):      # and
            todo.append((at + 1, None if loaded is None else loaded & k))
        elif code == 0x05:      # jump
            todo.append((at + 1 + k, loaded))
        elif code in (0x15, 0x25, 0x35, 0x45):
            said = {0x15: lambda a: a == k, 0x25: lambda a: a > k, 0x35: lambda a: a >= k, 0x45: lambda a: a & k != 0}[code]
            ways = (True, False) if loaded is None else (said(loaded),)
            todo += [(at + 1 + (jt if way else jf), loaded) for way in ways]
        else:
            raise ValueError(f"an instruction that no filter of ours has: {code:#x}")
    return found


def allowed(programs):
    """Numbers of the calls that all of them allow, with some arguments."""
    return {n for n in NUMBERS if all(ALLOW in results(program, n) for program in programs)}


def inject(pid, *calls):
    """Has it make these calls, each a list; the lines that tell what came of each."""
    words = []
    for call in calls:
        words += [*(["--"] if words else []), *map(str, call)]
    run = subprocess.run([PROGRAM, str(pid), *words], capture_output=True, text=True, check=False)
    return run.stdout.splitlines() if run.returncode == 0 else [run.stderr.strip()]


def hexed(form, *values):
    return "x:" + struct.pack(form, *values).hex()
