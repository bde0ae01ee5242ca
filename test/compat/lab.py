# SPDX-License-Identifier: Apache-2.0
"""What a case sees: one of three machines, natively or protected, and a transcript that must not differ.

A case is test/compat/cases/NAME.py:

    TITLE     what the table calls it
    WORK      what it does, for the table: half a line
    PACKAGES  Debian's packages that it needs; the Makefile names them too
    LIMIT     optional: seconds for one pass (90)
    def work(lab)

work() runs three times, each on a machine of its own (test/net/lib/machine.py), which ends with it:

    native     lab.start(argv) just runs the program
    isolated   it runs under `mw run --net isolated`
    host       it runs under `mw run --net host`

One lab.start() is one protected application; what must reach each other by 127.0.0.1 or a UNIX socket is one
application: lab.start(argv, beside=[argv, ...]). Clients (lab.client) and other servers (lab.backend) are never
protected. Every lab.note() and lab.check() is a line of the transcript; the two protected ones must equal the native
one. So a line must not hold what differs between two native runs (times, pids, chosen ports).

Addresses: clients here reach the server at 127.0.0.1, ::1, lab.here and lab.here6. A backend that a protected server
is to reach runs with there=True, on the neighbour at lab.there and lab.there6.
"""
import hashlib
import os
import pwd
import shlex
import signal
import socket
import subprocess
import tempfile
from collections import namedtuple
from contextlib import ExitStack
from pathlib import Path

from lib import machine, mw, procs, servers
from lib.tap import Failed, until

Done = namedtuple("Done", "status out err")


class Process:
    """A program that nothing protects, with its output in a file; ended with the lab."""

    def __init__(self, lab, argv, name, env=None):
        self.name = name
        self.log = Path(tempfile.mkstemp(prefix=f"{name}-", suffix=".log", dir="/run")[1])
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          start_new_session=True, env={**os.environ, **(env or {})})
        self.pid = self.child.pid
        lab.callback(self.end)

    def said(self):
        return self.log.read_text(errors="replace")

    def running(self):
        if self.child.poll() not in (None, 0):  # 0: it became a daemon
            raise Failed(f"{self.name} ended with status {self.child.returncode}; it said:\n{self.said()[-2000:]}")
        return True

    def app_pid(self):
        return self.pid

    def wait(self, seconds):
        """Its exit status."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name}: no end after {seconds} s; it said:\n{self.said()[-2000:]}") from None

    def end(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(mw.END_SECONDS)
            except subprocess.TimeoutExpired:
                for p in procs.below(self.pid):
                    procs.end(p.pid)
                self.child.wait()


class Lab(ExitStack):
    here, here6, there, there6 = machine.HERE4, machine.HERE6, machine.THERE4, machine.THERE6

    def __init__(self, net):
        super().__init__()
        self.net = net              # None: native
        self.native = net is None
        self.transcript = []        # [key, value]
        self.started = []

    # --- programs ---

    def start(self, argv, *, beside=(), env=None, options=(), name=None):
        """A server, protected unless this is the native pass. `options` are for `mw run`."""
        name = name or os.path.basename(argv[0])
        if beside:
            argv = ["sh", "-c", together([*beside, argv])]
        if self.native:
            app = Process(self, argv, name, env)
        else:
            app = mw.App(self, *argv, options=options, name=name, env=env)
        self.started.append(app)
        return app

    def stop(self, app):
        """Ends one before the others."""
        self.started.remove(app)
        app.end()

    def backend(self, argv, *, env=None, there=False, name=None):
        """A server that is never protected: on this machine, or on the neighbour."""
        name = name or f"backend-{os.path.basename(argv[0])}"
        process = Process(self, [*(machine.in_neighbour() if there else ()), *argv], name, env)
        self.started.append(process)
        return process

    def client(self, argv, *, stdin=None, limit=30, status=0, env=None, there=False, cwd=None):
        """A whole call of a program that is never protected: (status, out, err). status=None allows any."""
        return self.call([*(machine.in_neighbour() if there else ()), *argv], stdin, limit, status, env, cwd)

    def run(self, argv, *, stdin=None, limit=60, status=0, env=None, options=(), cwd=None):
        """A whole call of a program that is itself under test: as client(), but protected as start() is."""
        if not self.native:
            env = mw.preloaded(env)
            name = f"run-{os.path.basename(argv[0])}"
            argv = [machine.MW, "run", "--name", name, "--net", self.net, *options, "--", *argv]
        return self.call(argv, stdin, limit, status, env, cwd)

    def call(self, argv, stdin, limit, status, env, cwd):
        done = Done(*mw.command(*argv, stdin=stdin, limit=limit, env=env, cwd=cwd))
        if status is not None and done.status != status:
            raise Failed(f"{shlex.join(argv)}: status {done.status}: {done.err.strip()[-1500:] or done.out[-1500:]}")
        return done

    def ready(self, *ports, host="127.0.0.1", seconds=30, there=False):
        """Waits until each TCP port takes a connection."""
        for port in ports:
            until(seconds, lambda port=port: self.running() and self.connects(host, port, there),
                  lambda port=port: f"port {port} of {host} takes a connection")

    def running(self):
        return all(app.running() for app in self.started)

    def connects(self, host, port, there):
        if not there:
            return mw.connects(host, port)
        return not mw.command(*machine.in_neighbour(), "bash", "-c", f": </dev/tcp/{host}/{port}")[0]

    # --- files ---

    def file(self, path, text, *, owner=None, mode=0o644):
        """Writes a file (str or bytes) under /run, /tmp, or what fresh() or private() made ours. Returns its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        self.own(path, owner)
        return str(path)

    def folder(self, path, *, owner=None, mode=0o755):
        Path(path).mkdir(parents=True, exist_ok=True)
        os.chmod(path, mode)
        self.own(path, owner)
        return str(path)

    def fresh(self, path, *, owner=None, mode=0o755):
        """An empty directory in place of one of the real machine's."""
        machine.run("mount", "-t", "tmpfs", "-o", f"mode={mode:o}", "tmpfs", path)
        self.own(path, owner)
        return str(path)

    def private(self, path):
        """A copy of a directory of the real machine's, to be changed."""
        machine.private_copy(path)

    def own(self, path, owner):
        if owner:
            user = pwd.getpwnam(owner)
            os.chown(path, user.pw_uid, user.pw_gid)

    def certificate(self, path="/run/tls", names="localhost"):
        """A self-signed one: (certificate, key, both in one file)."""
        self.folder(path)
        cert, key, both = f"{path}/cert.pem", f"{path}/key.pem", f"{path}/both.pem"
        self.client(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-days", "30", "-subj", f"/CN={names}", "-addext", f"subjectAltName=DNS:{names},IP:127.0.0.1",
                     "-keyout", key, "-out", cert])
        self.file(both, Path(cert).read_text() + Path(key).read_text())
        for name in (cert, key, both):
            os.chmod(name, 0o644)
        return cert, key, both

    def noise(self, seed, size):
        """Bytes that neither repeat nor compress, the same for the same seed."""
        return servers.noise(seed, size)

    # --- the transcript ---

    def note(self, key, value):
        """A line that must be equal natively and protected. Much text or bytes become a checksum."""
        if isinstance(value, bytes):
            value = f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()}"
        elif not isinstance(value, (int, float, bool, type(None))):
            value = str(value)
            if len(value) > 2000:
                return self.note(key, value.encode())
        self.transcript.append([key, value])
        return None

    def check(self, condition, what):
        """What must be true everywhere; the pass ends here if it is not."""
        self.transcript.append([what, bool(condition)])
        if not condition:
            raise Failed(f"not so: {what}")

    def until(self, seconds, ready, what):
        """What ready() returns as soon as it is true."""
        return until(seconds, lambda: self.running() and ready(), what)

    def logs(self):
        """What the programs said last, for the report of a failure."""
        return "\n".join(f"--- {app.name} said:\n{app.said()[-1500:]}" for app in self.started)


def together(commands):
    """A shell's text: runs them all; when the last of them ends, or at SIGTERM, all end."""
    started = "; ".join(f"{shlex.join(argv)} & all=\"$all $!\"" for argv in commands)
    return f"trap : TERM; {started}; wait $!; kill $all; wait"


def program(name):
    """The path of one of our own programs for the cases."""
    return str(Path(__file__).resolve().parent / "programs" / name)


def connect(host, port, timeout=10):
    """A plain client's socket."""
    return socket.create_connection((host, port), timeout=timeout)
