# SPDX-License-Identifier: Apache-2.0
"""The processes of the test's machine: seen through its own /proc, so that nothing else is in it."""
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    pid: int
    comm: str
    parent: int
    state: str
    ticks: int      # on a CPU, user and system; 100 a second


def look(pid):
    """One process, or None."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return Process(int(pid), head.partition("(")[2], int(fields[1]), fields[0], int(fields[11]) + int(fields[12]))


def wakeups(pids):
    """How often each of them went to sleep of its own will, by pid."""
    found = {}
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                found[pid] = int(line.split()[1])
    return found


def rest(pids, seconds, within=30):
    """True as soon as none of them woke for so long; what follows traffic (memory given back) is waited for."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        before = wakeups(pids)
        time.sleep(seconds)
        if wakeups(pids) == before:
            return True
    return False


def table():
    """Every process but zombies, by pid."""
    seen = (look(name) for name in os.listdir("/proc") if name.isdigit())
    return {p.pid: p for p in seen if p and p.state not in "ZX"}


def below(root):
    """root and its descendants."""
    processes = table()
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        if pid in processes:
            found.append(processes[pid])
            todo += [p.pid for p in processes.values() if p.parent == pid]
    return found


def alive(pid):
    p = look(pid)
    return p is not None and p.state not in "ZX"


def namespace(pid):
    """Which network namespace it is in; None when it has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


def end(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def end_all(pids):
    """Ends those that are still there after a moment; returns them."""
    deadline = time.monotonic() + 0.5
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = [p for p in map(look, pids) if p and p.state not in "ZX"]
    for p in left:
        end(p.pid)
    return left


def memory_bytes(pids):
    """Private and shared memory together, each page once: Pss_Anon and Pss_Shmem. Pages of files are left out."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                total += int(line.split()[1]) * 1024
    return total


def fd_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
