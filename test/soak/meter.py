# SPDX-License-Identifier: Apache-2.0
"""What all of it holds, looked at again and again: memory, descriptors, slots, rules, files. A line each time, in a table for gnuplot."""
import os
import re
import threading
import time
from pathlib import Path

from lib import http, machine, procs

CLASSES = {"mw-ins": "ins", "mw-ins-starter": "ins", "mw-telem": "telemetry", "mw-front": "frontend", "mw": "broker", "mw-depot": "broker",
           "mw-names": "broker", "nginx": "nginx", "apache2": "apache", "redis-server": "redis"}
MEMFDS = {"mwcomms": "arenas", "mwcomms-telemetry": "telemetry_logs"}   # all others are states: an INS's, the depot's, and what is small
OURS = ("ins", "telemetry", "broker", "frontend")
THEIRS = ("nginx", "apache", "redis")
SOCKETS = re.compile(r"^mwcomms_sockets\{[^}]*\} (\d+)", re.M)
NAMESPACES = ("net", "mnt", "user", "pid", "ipc", "uts")
MB = 1 << 20


class Look:
    """The processes of one moment."""

    def __init__(self, roots):
        self.row, self.memfds, self.mapped, self.spaces = {}, {}, {}, set()
        for name in (*OURS, *THEIRS):
            for what in ("mem", "fds", "threads", "processes"):
                self.row[f"{what}_{name}"] = 0
        for root in roots:
            found = {p.pid: p for p in procs.below(root)}
            for p in found.values():
                shares = p.parent in found and found[p.parent].comm == "mw-ins"     # its keeper's descriptors
                if p.comm in CLASSES:
                    self.process(p.pid, CLASSES[p.comm], shares)
        for name in ("arenas", "telemetry_logs", "states"):
            self.row[f"mem_{name}"] = round(sum(taken for what, taken in self.memfds.values() if MEMFDS.get(what, "states") == name) / MB, 3)
        ended = [size(path) for inode, path in self.mapped.items() if inode not in self.memfds]
        self.row["mem_ended"] = sum(ended) / MB     # arenas of INSs that have ended, which processes of the application still hold
        self.row = {key: round(value, 3) for key, value in self.row.items()}
        self.row["memfds"], self.row["namespaces"], self.row["ended"] = len(self.memfds), len(self.spaces), len(ended)

    def process(self, pid, name, shares):
        try:
            anonymous = re.search(r"^Pss_Anon: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
            arenas = re.findall(r"^(\S+) .* (\d+) +/memfd:mwcomms \(deleted\)$", Path(f"/proc/{pid}/maps").read_text(), re.M)
            fds, threads = os.listdir(f"/proc/{pid}/fd"), os.listdir(f"/proc/{pid}/task")
            self.spaces |= {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in NAMESPACES}
        except OSError:
            return  # it has ended meanwhile
        self.row[f"mem_{name}"] += int(anonymous[1]) / 1024 if anonymous else 0
        self.mapped |= {int(inode): f"/proc/{pid}/map_files/{at}" for at, inode in arenas}
        self.row[f"fds_{name}"] += 0 if shares else len(fds)
        self.row[f"threads_{name}"] += len(threads)
        self.row[f"processes_{name}"] += 1
        for fd in fds:
            self.descriptor(f"/proc/{pid}/fd/{fd}")

    def descriptor(self, path):
        try:
            to = os.readlink(path)
            if to.startswith("/memfd:"):
                seen = os.stat(path)
                self.memfds[seen.st_ino] = (to.removeprefix("/memfd:").removesuffix(" (deleted)"), seen.st_blocks * 512)
            elif to.partition(":")[0] in NAMESPACES:
                self.spaces.add(to)
        except OSError:
            pass


def size(path):
    """Bytes that a file takes; 0 when it has gone."""
    try:
        return os.stat(path).st_blocks * 512
    except OSError:
        return 0


def slots(port):
    """Sockets that an application's INSs know, in any state; None when nobody answers."""
    for _ in range(3):      # the INS whose telemetry has taken the request may be ended
        try:
            with http.Connection(port=port, timeout=30) as line:
                return sum(map(int, SOCKETS.findall(line.ask("/metrics").body.decode())))
        except (OSError, http.Bad):
            time.sleep(0.3)
    return None


def rules():
    """(lines of rules, chains and sets; elements of sets and maps). As text: nft's JSON ends in the midst now and then."""
    text = machine.run("nft", "list", "ruleset", limit=60)
    sets = re.findall(r"elements = \{([^}]*)\}", text)
    return len(re.sub(r"elements = \{[^}]*\}", "", text).splitlines()), sum(s.count(",") + 1 for s in sets)


def files(*roots):
    """What lies there, by path."""
    return sorted(os.path.join(where, name) for root in roots for where, below, names in os.walk(root) for name in (*below, *names))


class Meter(threading.Thread):
    def __init__(self, path, period_s, roots, ports, book):
        super().__init__(daemon=True)
        self.path, self.period_s, self.roots, self.ports, self.book = path, period_s, roots, ports, book
        self.over, self.rows, self.wrong, self.zero, self.guard = threading.Event(), [], [], time.monotonic(), threading.Lock()

    def look(self):
        row = Look(self.roots()).row
        for name, port in self.ports.items():
            row[f"slots_{name}"] = slots(port)
        row["rules"], row["elements"] = rules()
        row["tracked"] = int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())
        row["files_mw"] = len(files("/run/mw"))
        row["files_shared"] = len(files("/dev/shm", "/tmp")) + len(os.listdir("/run"))
        return row

    def run(self):
        before, at = 0, time.monotonic()
        while not self.over.wait(self.period_s):
            try:
                row = self.look()
            except Exception as e:      # one look that fails is told, and not the end of measuring
                self.wrong.append(f"{type(e).__name__}: {e}")
                continue
            now = time.monotonic()
            done, slowest, lost = self.book.taken()
            row = {"minute": round((now - self.zero) / 60, 3), **row, "requests_per_s": round((done - before) / (now - at), 2),
                   "slowest_s": round(slowest, 3), "lost": lost}
            before, at = done, now
            self.write(row)

    def write(self, row):
        with open(self.path, "a", encoding="ascii") as out:
            if not self.rows:
                out.write("\t".join(row) + "\n")
            out.write("\t".join("?" if v is None else str(v) for v in row.values()) + "\n")
        self.rows.append(row)
