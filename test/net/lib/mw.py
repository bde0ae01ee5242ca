# SPDX-License-Identifier: Apache-2.0
"""mw from a test: run something protected, ask about it, and see that nothing of it is left."""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from . import machine, procs
from .tap import Failed, check, equal, until

END_SECONDS = 8


def quick(*argv, limit=15, prefix=(), env=None, stdin=None):
    """A whole `mw` call: (status, stdout, stderr)."""
    return command(*prefix, machine.MW, *argv, limit=limit, env=env, stdin=stdin)


def mw(*argv, status=0):
    """What a whole `mw` call says, which ends with that status."""
    seen, out, err = quick(*argv)
    equal(seen, status, f"status of mw {' '.join(argv)}: {out}{err}")
    return out + err


def preloaded(env=None):
    """The environment for `mw run`: a sanitizer's runtime must come first in what it starts."""
    return {"LD_PRELOAD": os.environ["MW_PRELOAD"], **(env or {})} if "MW_PRELOAD" in os.environ else env


def protected(*argv, limit=15):
    """A whole `mw run`: (status, stdout, stderr)."""
    return quick("run", *argv, limit=limit, env=preloaded())


def command(*argv, limit=15, env=None, stdin=None, cwd=None):
    """A whole call of any command; status -N after signal N."""
    child = subprocess.Popen(argv, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL, cwd=cwd,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env={**os.environ, **(env or {})})
    try:
        out, err = child.communicate(stdin, timeout=limit)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise Failed(f"{' '.join(argv)}: no end after {limit} s; it said: {out}{err}") from None
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    return child.returncode, out, err


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")


def for_nobody(case, script):
    """(a runtime directory, the script) for NOBODY, who cannot reach ours; the programs are copied too, and used from now on."""
    directory, programs = Path("/run/nobody"), Path("/run/programs")
    directory.mkdir(exist_ok=True)
    programs.mkdir(exist_ok=True)
    for name in ("mw", "mw-ins", "mw-names", "mw-telem", "mw-trap", "libmwshim.so"):
        shutil.copy(machine.BUILD / name, programs)
    case.callback(setattr, machine, "MW", machine.MW)
    machine.MW = str(programs / "mw")
    os.chown(directory, 65534, 65534)
    return directory, shutil.copy(script, programs)


class App:
    """`mw run` in the background, with its output in a file; ended by SIGTERM with the case."""

    def __init__(self, case, *argv, options=(), name="app", net=None, env=None, prefix=(), nofile=None):
        net = net or case.net
        self.name = name
        self.log = Path(tempfile.mkstemp(prefix=f"{name}-", suffix=".log", dir="/run")[1])
        env = preloaded(env)
        limits = ["prlimit", f"--nofile={nofile}", "--"] if nofile else []
        self.argv = [*prefix, *limits, machine.MW, "run", "--name", name, "--net", net, *options, "--", *argv]
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          start_new_session=True, env={**os.environ, **(env or {})})
        self.pid = self.child.pid
        case.callback(self.end)

    def said(self):
        return self.log.read_text(errors="replace")

    def running(self):
        if self.child.poll() is not None:
            raise Failed(f"mw run {self.name} ended with status {self.child.returncode}; it said:\n{self.said()[-2000:]}")
        return True

    def wait(self, seconds):
        """Its exit status."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"mw run {self.name}: no end after {seconds} s; it said:\n{self.said()[-2000:]}") from None

    def end(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            for p in procs.below(self.pid):
                procs.end(p.pid)
            self.child.wait()
            raise Failed(f"mw run {self.name}: no end {END_SECONDS} s after SIGTERM; it said:\n"
                         f"{self.said()[-2000:]}") from None

    def ready(self, *ports, host="127.0.0.1", seconds=15):
        """Waits until each port takes a connection."""
        for port in ports:
            until(seconds, lambda port=port: self.running() and connects(host, port),
                  lambda port=port: f"{self.name} on port {port}; it said:\n{self.said()[-1500:]}")
        return self

    def info(self):
        """Its line of `mw ps --json`."""
        return next((line for line in ps() if line["name"] == self.name), None)

    def listed(self, seconds=10):
        return until(seconds, lambda: self.running() and self.info(), f"mw ps lists {self.name}")

    def ins_pid(self):
        return self.listed()["ins_pid"]

    def app_pid(self):
        return self.listed()["app_pid"]

    def broker_pid(self):
        return procs.look(self.ins_pid()).parent

    def depot_pid(self):
        return procs.look(self.broker_pid()).parent

    def flows(self):
        return flows(self.name)

    def flow_of(self, s):
        """The flow whose peer is a socket of ours."""
        port = s.getsockname()[1]
        return until(5, lambda: next((f for f in self.connections() if f["peer_port"] == port), None), f"a flow from port {port}")

    def peers(self):
        return {(f["peer"], f["peer_port"]) for f in self.connections()}

    def connections(self):
        """Flows with a peer that are still open."""
        return [f for f in self.flows() if f["state"] in ("established", "closing") and f["peer_port"]]


def connects(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
        return True
    except OSError:
        return False


def json_lines(*argv):
    status, out, err = quick(*argv)
    check(status == 0, lambda: f"mw {' '.join(argv)}: status {status}: {err}")
    return [json.loads(line) for line in out.splitlines()]


def ps():
    """What answers; one that is only starting or ending is not waited for."""
    return [json.loads(line) for line in quick("ps", "--json")[1].splitlines()]


def flows(name):
    return json_lines("flows", name, "--json")


# --- what is left ---

def remains():
    """All that an application can leave on a machine: comparable before and after."""
    processes = sorted((p.pid, p.comm) for p in procs.table().values() if p.pid not in (1, os.getpid()))
    spaces = sorted({space for space in (procs.namespace(pid) for pid, _ in processes) if space})
    links = sorted(line.split()[0].partition("@")[0] for line in machine.run("ip", "-br", "link").splitlines())
    return {"processes": processes, "namespaces": spaces, "links": links, "tables": nft_tables(),
            "registry": registry(), "sockets": listening()}


def nft_tables():
    return sorted(machine.run("nft", "list", "tables").splitlines())


def registry():
    return sorted(os.listdir("/run/mw")) if os.path.isdir("/run/mw") else []


def listening():
    """Local addresses of this namespace's listening and bound sockets."""
    found = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] in ("0A", "07"):
                found.append(f"{name} {fields[1]}")
    return sorted(found)


def nothing_left(before, seconds=2.0):
    """Within so long, the machine is as it was."""
    def differences():
        now = remains()
        return {key: (sorted(map(str, set(now[key]) - set(before[key]))), sorted(map(str, set(before[key]) - set(now[key]))))
                for key in before if now[key] != before[key]}

    until(seconds, lambda: not differences(), lambda: f"all of it gone (extra, missing): {differences()}", 0.05)


def forwarding():
    """The forwarding settings that mw changes and puts back."""
    found = {}
    for family in ("ipv4", "ipv6"):
        base = Path(f"/proc/sys/net/{family}/conf")
        for link in sorted(os.listdir(base)):
            for name in ("forwarding", "force_forwarding", "accept_ra", "tag"):
                path = base / link / name
                if path.exists() and link in ("all", "default", "lo", "nb1"):
                    found[str(path)] = path.read_text().strip()
    return found
