# SPDX-License-Identifier: Apache-2.0
"""Processes: starting, ending, and what a tree of them has used of CPU and memory."""
import os
import signal
import subprocess
import time
from pathlib import Path

END_SECONDS = 8


class Failure(Exception):
    """A measurement that cannot be trusted or a server that is not there; the text is for a person."""


class Process:
    """A server that we started, with its output in a file. It gets SIGTERM should we die without cleaning up."""

    def __init__(self, name, argv, log_path, keep=()):
        self.name = name
        self.log_path = Path(log_path)
        with open(log_path, "ab") as log:
            self.child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *argv], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, pass_fds=keep)
        self.pid = self.child.pid

    def check(self):
        code = self.child.poll()
        if code is not None:
            raise Failure(f"{self.name} ended with status {code}; its last words:\n{self.last_words()}")

    def last_words(self, lines=12):
        text = self.log_path.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join("    " + line for line in text) or "    (none)"

    def end(self):
        """SIGTERM, then SIGKILL for what is left of the tree. Returns the names of processes that had to be killed."""
        tree = [(pid, start_time(pid)) for pid in Table().tree(self.pid)]
        if self.child.poll() is None:
            self.child.terminate()
        try:
            self.child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        left = wait_gone(tree, 1.0)
        for pid, _ in left:
            kill(pid)
        self.child.wait()
        return [name for _, name in left]


def wait_gone(tree, seconds):
    """Those of `tree`, (pid, start time) pairs, that still run after `seconds`, as (pid, comm) pairs."""
    deadline = time.monotonic() + seconds
    while True:
        table = Table()
        left = [(pid, table.comm[pid]) for pid, start in tree
                if pid in table.comm and start and start_time(pid) == start and not is_zombie(pid)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def read_stat(pid):
    """(comm, fields after comm) of /proc/PID/stat, or None. comm may hold spaces and parentheses."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    head, _, tail = text.rpartition(")")
    return head.partition("(")[2], tail.split()


def start_time(pid):
    stat = read_stat(pid)
    return stat[1][19] if stat else None


def is_zombie(pid):
    stat = read_stat(pid)
    return stat is None or stat[1][0] == "Z"


class Table:
    """One look at every process of the machine."""

    def __init__(self):
        self.comm = {}
        self.children = {}
        for entry in os.listdir("/proc"):
            stat = read_stat(entry) if entry.isdigit() else None
            if stat:
                self.comm[int(entry)] = stat[0]
                self.children.setdefault(int(stat[1][1]), []).append(int(entry))

    def tree(self, root):
        """root and all its descendants."""
        pids, todo = [], [root]
        while todo:
            pid = todo.pop()
            if pid in self.comm:
                pids.append(pid)
                todo.extend(self.children.get(pid, ()))
        return pids


def cpu_ns(pid):
    """Time on a CPU of all threads, in ns: /proc/PID/task/TID/schedstat, first field."""
    total = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            total += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
    except OSError:
        pass
    return total


def memory_bytes(pids):
    """Private and shared memory of these processes together, each page counted once.

    Pss_Anon and Pss_Shmem (a memfd is shmem) of /proc/PID/smaps_rollup. Pages of files are left out: they are
    shared with unrelated processes, so that their share changes with every one that starts or ends.
    """
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                total += int(line.split()[1]) * 1024
    return total


def fd_count(pids):
    total = 0
    for pid in pids:
        try:
            total += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            pass
    return total


def output(argv, timeout=30):
    """What a short command prints; Failure when it fails or takes too long."""
    return output_bytes(argv, timeout).decode(errors="replace")


def output_bytes(argv, timeout=30):
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(argv)}: no end after {timeout} s") from None
    if done.returncode:
        words = (done.stderr or done.stdout).decode(errors="replace").strip()[-400:]
        raise Failure(f"{' '.join(argv)}: status {done.returncode}: {words}")
    return done.stdout
