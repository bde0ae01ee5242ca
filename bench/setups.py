# SPDX-License-Identifier: Apache-2.0
"""The ways in which an application is run and reached; each is compared with its like-for-like native one."""
import os
import socket
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from apps import APPS, haproxy_argv
from cases import Place
from procs import Failure, Process, Table, cpu_ns, output
from seen import Seen

START_SECONDS = 10
PORTS = range(20000, 32000)     # below the ephemeral ports, so that no client's own port takes one
REPOSITORY = Path(__file__).resolve().parent.parent
HOST = Place((), "127.0.0.1")


@dataclass(frozen=True)
class Setup:
    name: str
    base: str           # what it is compared with; a base is its own
    isolated: bool      # reached from the client namespace by the host's address, not by loopback
    mw: bool
    what: str
    seen: bool = False  # with all of telemetry on, and readers attached


SETUPS = {setup.name: setup for setup in (
    Setup("native", "native", False, False, "server on the host, client over loopback"),
    Setup("mw-host", "native", False, True, "mw run --net host, client over loopback"),
    Setup("haproxy", "native", False, False, "haproxy in mode tcp before the native server, client over loopback"),
    Setup("native-ns", "native-ns", True, False, "server in a namespace, veth and DNAT, client in another namespace"),
    Setup("mw-isolated", "native-ns", True, True, "mw run --net isolated, client as for native-ns"),
    Setup("mw-host-seen", "mw-host", False, True, "mw-host, telemetry all on and read", True),
    Setup("mw-isolated-seen", "mw-isolated", True, True, "mw-isolated, telemetry all on and read", True),
)}


class Bench:
    """What all setups of a run share: a directory for files, the network, and the mw binary."""

    def __init__(self, work, lab, mw):
        self.work = Path(work)
        self.lab = lab
        self.mw = mw

    def place(self, setup):
        return Place(tuple(self.lab.in_client()), self.lab.address) if setup.isolated else HOST


class Running:
    """A setup with its servers up."""

    def __init__(self, bench, setup, app, taken, behind=None):
        port = free_port(taken)
        self.setup = setup
        self.name = setup.name
        self.place = bench.place(setup)
        self.port = port
        self.behind = behind    # for haproxy: the native setup that serves its requests
        self.mw_name = f"bench-{os.getpid()}-{app.name}-{setup.name.removeprefix('mw-')}"     # mw allows 32 characters
        self.seen = Seen(bench, self.mw_name, free_port(taken), free_port(taken)) if setup.seen else None
        argv = argv_of(bench, self, app)
        self.process = Process(f"{app.name} {setup.name}", argv, bench.work / f"{app.name}-{setup.name}.log")

    def check(self):
        self.process.check()
        if self.behind:
            self.behind.check()
        if self.seen:
            self.seen.check()

    def roles(self, table):
        """Process ids by role: the application's, what relays its bytes (INS or haproxy), mw's broker, telemetry and its readers."""
        roots = [self.process.pid] + ([self.behind.process.pid] if self.behind else [])
        roles = {"app": [], "relay": [], "broker": [], "telem": [], "reader": []}
        if self.seen and self.seen.reader:
            roles["reader"] = table.tree(self.seen.reader.pid)
        for root in roots:
            for pid in table.tree(root):
                roles[role_of(table.comm[pid])].append(pid)
        return roles

    def pids(self):
        return [pid for pids in self.roles(Table()).values() for pid in pids]

    def cpu(self, table):
        """Nanoseconds on a CPU by role and process."""
        return {role: {pid: cpu_ns(pid) for pid in pids} for role, pids in self.roles(table).items()}

    def verify(self, app):
        """Waits until the server answers, with the right content."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            self.process.check()
            try:
                app.verify(self.place, self.port)
                break
            except Failure as failure:
                if time.monotonic() > deadline:
                    raise Failure(f"no good answer {START_SECONDS} s after its start: {failure}; "
                                  f"its last words:\n{self.process.last_words()}") from None
            time.sleep(0.1)
        if self.setup.mw and not self.roles(Table())["relay"]:
            raise Failure("it answers, but there is no process mw-ins below mw run: what would be measured?")
        if self.seen:
            self.seen.attach()


def role_of(comm):
    if comm in ("mw-ins", "haproxy"):
        return "relay"
    if comm == "mw-telem":
        return "telem"
    return "broker" if comm == "mw" or comm.startswith("mw-") else "app"


def argv_of(bench, running, app):
    setup, port, behind = running.setup, running.port, running.behind
    bind = "0.0.0.0" if setup.isolated else "127.0.0.1"
    if behind:
        return haproxy_argv(bench.work, port, behind.port)
    server = app.argv(setup.name, bind, port)
    if setup.mw:
        net = ["--net", "isolated", "-p", f"{port}:{port}"] if setup.isolated else ["--net", "host"]
        more = running.seen.options() if running.seen else []
        return [str(bench.mw), "run", "--name", running.mw_name, *net, *more, "--", *server]
    if setup.isolated:
        bench.lab.publish(port)
        return [*bench.lab.in_server(), *server]
    return server


def free_port(taken):
    for port in PORTS:
        if port in taken:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise Failure(f"no free port in {PORTS.start}..{PORTS.stop - 1}")


@contextmanager
def started(bench, app_name, names, problems):
    """The named setups of one application, all up and verified; those that fail are noted in `problems`."""
    with ExitStack() as stack:
        app = APPS[app_name](bench.work)
        running, taken = {}, set()
        for name in names:
            setup = SETUPS[name]
            behind = running.get(setup.base) if name == "haproxy" else None
            try:
                if name == "haproxy" and not behind:
                    raise Failure("the native server that it should stand before did not start")
                one = Running(bench, setup, app, taken, behind)
                stack.callback(end, one, problems)
                one.verify(app)
                running[name] = one
            except Failure as failure:
                problems.add(f"{app_name} {name}: {failure}")
        yield running


def end(one, problems):
    killed = []
    if one.seen:
        try:
            killed = one.seen.end()
        except Failure as failure:
            problems.add(str(failure))
    killed += one.process.end()
    if killed:
        problems.add(f"{one.process.name}: still there after SIGTERM, had to be killed: {', '.join(killed)}")


def versions(names):
    """Debian package versions of the programs that are measured with."""
    text = output(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *names])
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
