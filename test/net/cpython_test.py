# SPDX-License-Identifier: Apache-2.0
"""CPython's own tests of what uses sockets, natively and protected: the same cases pass, fail and are skipped.

Both runs go on at the same time, since most of it is waiting, each on a network of its own with nothing but loopback.
`make check` has them with --net host; "cpython_test.py isolated" runs them with --net isolated, which takes as long
again and has the same shim, INS and loopback.

Some of the cases measure time, on a machine that does much else. So the cases that differ are run again, alone, and
again: only those that never differ then are let off, and printed. A run that hangs or dies has no second chance.
"""
import fnmatch
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from lib import machine, tap
from lib.tap import Failed, case, check

PYTHON = "/usr/bin/python3"     # Debian's, whose tests they are
RECORDER = Path(__file__).with_name("lib") / "regrtest.py"
ALONE = ("unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
AGAIN = 3
REGRTEST_ENDS = (0, 2, 3)   # all well, a case failed, a case left something changed

# A module, the seconds that one run may take (the longest seen is a third of it), and what regrtest is told.
MODULES = (
    ("test_asyncio", 600, ()), ("test_ssl", 120, ()), ("test_logging", 90, ()), ("test_imaplib", 120, ()),
    ("test_xmlrpc", 90, ()), ("test_selectors", 60, ()), ("test_poll", 60, ()), ("test_ftplib", 60, ()),
    ("test_poplib", 60, ()), ("test_select", 30, ()), ("test_epoll", 30, ()), ("test_httplib", 30, ()),
    ("test_httpservers", 30, ()), ("test_smtplib", 30, ()), ("test_urllib2_localnet", 30, ()), ("test_wsgiref", 30, ()),
    ("test_asyncore", 30, ()), ("test_asynchat", 30, ()), ("test_telnetlib", 30, ()), ("test_nntplib", 30, ()),
    ("test_docxmlrpc", 30, ()),
    ("test_socketserver", 30, ("-u", "network")),   # of which it wants loopback only
    ("test_socket", 120, ("-i", "*VSOCK*")),        # no IP; hangs natively on some machines
)

URGENT = "POLLPRI, which a doorbell, a record socket, never shows"
# Accepted differences: the case, and why. One that is no longer there fails.
ACCEPTED = {
    "test.test_asyncore.TestAPI_UseIPv4Poll.test_handle_expt": URGENT,
    "test.test_asyncore.TestAPI_UseIPv4Select.test_handle_expt": URGENT,
    "test.test_asyncore.TestAPI_UseIPv6Poll.test_handle_expt": URGENT,
    "test.test_asyncore.TestAPI_UseIPv6Select.test_handle_expt": URGENT,
}


@dataclass
class Run:
    """What a run came to: each case's result and what it said, and the one that it never came back from."""
    results: dict = field(default_factory=dict)
    said: dict = field(default_factory=dict)
    inside: str = ""
    status: int = 0


def read(path):
    """A case may have several records (its parts, its cleaning up): one that failed, failed."""
    run = Run()
    for line in path.read_text(errors="replace").splitlines():
        word, _, rest = line.partition(" ")
        name, _, text = rest.partition("\t")
        if word in ("start", "stop"):
            run.inside = name if word == "start" else ""
        elif run.results.get(name) != "fail":
            run.results[name], run.said[name] = word, text
    return run


class Job:
    """One run of a module, in the background."""

    def __init__(self, c, prefix, limit, module, *arguments):
        self.folder = Path(tempfile.mkdtemp(prefix=f"{module}-"))
        self.log, self.records = self.folder / "log", self.folder / "records"
        argv = [*ALONE, *prefix, PYTHON, str(RECORDER), str(self.records), "-v", "--timeout", str(limit), *arguments, module]
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                          env={**os.environ, "TMPDIR": str(self.folder)}, start_new_session=True)
        c.callback(self.end)

    def end(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()

    def wait(self, seconds):
        try:
            status = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            status = -1
        check(self.records.exists(), lambda: f"no case was begun:\n{self.log.read_text(errors='replace')[-2000:]}")
        run = read(self.records)
        run.status = status
        return run


def both(c, module, limit, arguments):
    protect = (machine.MW, "run", "--name", module, "--net", c.net, "--")
    jobs = [Job(c, prefix, limit, module, *arguments) for prefix in ((), protect)]
    return [job.wait(limit + 10) for job in jobs]


def finished(run, where, limit):
    if run.inside or run.status not in REGRTEST_ENDS:
        raise Failed(f"{where}: ended with status {run.status}, or not within {limit} s, in {run.inside or 'no case'}")
    check(run.results, f"{where}: no case was run")


def differences(native, here):
    """What each case that differs is natively and here: a text."""
    return {name: f"natively {native.results.get(name)}, here {here.results.get(name)}: "
                  f"{here.said.get(name) or native.said.get(name)}"
            for name in sorted(native.results.keys() | here.results.keys())
            if native.results.get(name) != here.results.get(name)}


def compare(c, module, limit, arguments):
    native, here = both(c, module, limit, arguments)
    finished(native, "natively", limit)
    finished(here, "protected", limit)
    return native, differences(native, here)


def again(c, module, limit, arguments, names):
    """Those of the cases that differ in one of several runs of them alone."""
    still = {}
    matches = [word for name in names for word in ("-m", name)]
    for _ in range(AGAIN):
        still.update(compare(c, module, limit, (*arguments, *matches))[1])
    return still


def by_difference(found):
    """What differs in one way is one group: a line, and the cases behind it."""
    groups = {}
    for name, text in found.items():
        groups.setdefault(text, []).append(name)
    return "\n".join(f"{len(names)} {text}\n  " + "\n  ".join(names) for text, names in groups.items())


def same(c, module, limit, arguments):
    native, found = compare(c, module, limit, arguments)
    words = list(native.results.values())
    c.note(", ".join(f"{words.count(word)} {text}" for word, text in (("pass", "pass"), ("fail", "fail"), ("skip", "skipped"))))
    accepted = {name: why for name, why in ACCEPTED.items() if fnmatch.fnmatch(name, f"test.{module}.*")}
    page = (Path(__file__).parents[2] / "doc" / "compatibility.md").read_text()
    for name, why in accepted.items():
        check(f"`{name}`" in page, f"doc/compatibility.md does not list {name}")
        if name in found:
            c.note(f"accepted: {name}: {found.pop(name)}: {why}")
        else:
            raise Failed(f"{name} does not differ any more: take it off the list")
    if not found:
        return
    still = again(c, module, limit, arguments, found)
    for name in found.keys() - still.keys():
        c.note(f"differed once, and not alone: {name}: {found[name]}")
    check(not still, lambda: f"{len(still)} cases differ:\n{by_difference(still)}")


def declare(module, limit, arguments):
    @case(f"cpython: {module}", limit=limit * (AGAIN + 1) + 30, nets=("host", "isolated"))
    def run(c):
        same(c, module, limit, arguments)


for name, seconds, told in MODULES:
    declare(name, seconds, told)
tap.main()
