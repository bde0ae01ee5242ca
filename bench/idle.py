# SPDX-License-Identifier: Apache-2.0
"""Memory per idle connection: of user space, as the difference between holding none and holding many.

Two figures: fresh (never sent a byte) and used (one request answered, then idle). Kernel memory, the sockets'
own, is not in them; SUnreclaim of /proc/meminfo is recorded beside them, for the whole machine and so noisy.
"""
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from procs import Failure, Table, fd_count, memory_bytes

HOLDER = Path(__file__).with_name("holder.py")
WAIT_SECONDS = 60
SETTLE_SECONDS = 5  # the INS gives ring pages back after about two


def measure(running, count):
    """Bytes per connection of all processes of a setup together."""
    running.check()
    time.sleep(0.5)
    pids = running.pids()
    apps = app_pids(running)
    memory, slab, fds = memory_bytes(pids), slab_bytes(), fd_count(apps)
    with holding(running, count) as holder:
        wait_accepted(apps, fds + count)
        time.sleep(SETTLE_SECONDS)
        fresh, kernel = memory_bytes(pids) - memory, slab_bytes() - slab
        holder.stdin.write("ask\n")
        holder.stdin.flush()
        expect(holder, "asked")
        time.sleep(SETTLE_SECONDS)
        used = memory_bytes(pids) - memory
    running.check()
    return {"connections": count, "fresh_bytes": fresh / count, "used_bytes": used / count,
            "kernel_slab_bytes": kernel / count}


def app_pids(running):
    return running.roles(Table())["app"]


@contextmanager
def holding(running, count):
    argv = [*running.place.prefix, sys.executable, str(HOLDER), running.place.host, str(running.port), str(count)]
    holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        expect(holder, "ready")
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def expect(holder, word):
    line = holder.stdout.readline().strip()
    if line != word:
        raise Failure(f"the client's connections failed: {holder.stderr.read().strip()[-200:]}")


def wait_accepted(pids, fds):
    """Until the application holds a descriptor for each connection."""
    deadline = time.monotonic() + WAIT_SECONDS
    while fd_count(pids) < fds:
        if time.monotonic() > deadline:
            raise Failure(f"the server has {fds - fd_count(pids)} connections too few {WAIT_SECONDS} s after the last")
        time.sleep(0.05)


def slab_bytes():
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("SUnreclaim:"):
            return int(line.split()[1]) * 1024
    return 0
