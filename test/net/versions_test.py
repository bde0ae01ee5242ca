# SPDX-License-Identifier: Apache-2.0
"""A peer of another version, one above and one below, on the wire that both really use: refused, said in a line, nothing harmed.

The INS's next program is upgrade_test.py's, who asks a depot adopt_test.py's, INS domains that meet Xen's tests'.
"""
import errno
import json
import os
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

from lib import machine, mw, procs, tap
from lib.mw import App, quick
from lib.tap import NETS, case, check, equal, matches, until

PYTHON = "/usr/bin/python3"
SERVER = str(Path(__file__).resolve().parent / "lib" / "server.py")
ODD = str(machine.BUILD / "libodd.so")
PORT = 7000
VERSION_AT = 8                  # of the arena's and of telemetry's header: chan/layout.golden
HELLO, CONNECT = 1, "\0mwcomms"
NEAR = (-1, 1)


def one(result, status, pattern):
    seen, out, err = result
    equal((seen, out), (status, ""), f"status and output; it said {err!r}")
    equal(err.count("\n"), 1, f"lines of {err!r}")
    matches(err, pattern, "stderr")


# --- memory that is shared ---

def memory(app, name):
    """The INS's memory file of that name, as a path that opens it again."""
    pid = app.ins_pid()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(fd).split(" ")[0] == f"/memfd:{name}":
            return str(fd)
    raise tap.Failed(f"no memory {name}: {[os.readlink(p) for p in Path(f'/proc/{pid}/fd').iterdir()]}")


class Versioned:
    """That header says another version for as long."""

    def __init__(self, app, name, by):
        self.fd = os.open(memory(app, name), os.O_RDWR)
        self.was = struct.unpack("=I", os.pread(self.fd, 4, VERSION_AT))[0]
        self.now = self.was + by

    def __enter__(self):
        os.pwrite(self.fd, struct.pack("=I", self.now), VERSION_AT)

    def __exit__(self, *_):
        os.pwrite(self.fd, struct.pack("=I", self.was), VERSION_AT)
        os.close(self.fd)


def echoes():
    with socket.create_connection(("127.0.0.1", PORT), timeout=5) as s:
        s.sendall(b"hello")
        return s.recv(10) == b"hello"


@case("mw of another version than the INS: it says so of the arena and of telemetry, and what runs goes on", limit=60, nets=NETS)
def looked_at(c):
    app = App(c, PYTHON, SERVER, "echo").ready(PORT)
    with socket.create_connection(("127.0.0.1", PORT), timeout=5) as s:
        for name in ("mwcomms", "mwcomms-telemetry"):
            for by in NEAR:
                with Versioned(app, name, by):
                    for words in (("flows", "app"), ("ps",), ("doctor", "app"), ("close", "app", "all")):
                        one(quick(*words), 1, "^mw: app was started by another version of mw: look at it with the mw that started it$")
                    status, _, err = quick("top", "--once")
                    equal((status, err.count("\n")), (1, 1), f"mw top: {err}")
                    s.sendall(b"x")
                    equal(s.recv(1), b"x", f"{name} {by}: the connection")
        equal(quick("flows", "app")[0], 0, "as it was")


@case("telemetry that starts on memory of another version: said, and tried again until it is right", limit=60, nets=("isolated",))
def telemetry(c):
    app = App(c, PYTHON, SERVER, "echo").ready(PORT)
    broker = app.broker_pid()
    with Versioned(app, "mwcomms-telemetry", 1):
        for p in procs.below(broker):
            if p.comm == "mw-telem":
                procs.end(p.pid)
        until(10, lambda: "mw-telem: cannot map the INS's memory: it is of another version" in app.said(), lambda: f"it is said: {app.said()}")
        check(echoes(), "it serves")
    until(20, lambda: quick("block", "app", "192.0.2.1")[0] == 0, lambda: f"telemetry is there again: {app.said()[-500:]}", 0.5)


# --- hello ---

def ask(version):
    """What an INS answers to a hello of that version: status, and how many descriptors come along."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.connect(CONNECT)
        s.send(struct.pack("=HHIIIII", HELLO, 24, 1, 0, 0, version, 0))
        data, fds, _, _ = socket.recv_fds(s, 100, 8)
        for fd in fds:
            os.close(fd)
        return struct.unpack_from("=HHIi", data)[3], len(fds)


@case("a shim of another version: the INS refuses it, and gives it nothing", limit=40, nets=NETS)
def newer_shim(c):
    app = App(c, PYTHON, SERVER, "echo").ready(PORT)
    said = []

    def there():
        machine.join(app.app_pid())
        said.extend(ask(version) for version in (1, 0, 2, 1))
    inside = threading.Thread(target=there)
    inside.start()
    inside.join(10)
    equal(said, [(0, 3), (-errno.EPROTONOSUPPORT, 0), (-errno.EPROTONOSUPPORT, 0), (0, 3)], "answers")
    check(echoes(), "it serves")


SOCKETS = """
import errno, socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        socket.socket(socket.AF_INET, kind)
        print("made")
    except OSError as e:
        print(errno.errorcode[e.errno])
"""


def shim_before(answer):
    """What a program hears whose shim says hello to an INS that answers so: (status, descriptors)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(CONNECT)
        listener.listen(16)
        child = subprocess.Popen([PYTHON, "-c", SOCKETS], env={**os.environ, **(mw.preloaded() or {}), "LD_PRELOAD": ":".join(
            filter(None, (os.environ.get("MW_PRELOAD"), machine.SHIM)))}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        listener.settimeout(0.2)
        end = time.monotonic() + 15
        while child.poll() is None and time.monotonic() < end:
            try:
                s = listener.accept()[0]
            except TimeoutError:
                continue
            with s:
                op, _, seq = struct.unpack_from("=HHI", s.recv(100))
                status, fds = answer
                socket.send_fds(s, [struct.pack("=HHIiIIIi", op, 28, seq, status, 0, 0, 0, 0)], fds)
        if child.poll() is None:
            child.kill()
        out, err = child.communicate()
        equal(err, "", "stderr")
        return out.split()


@case("an INS of another version: the shim makes no socket, and says ENETDOWN", limit=40)
def other_ins(c):
    app = App(c, "sleep", "1000", net="host")
    app.listed()
    equal(shim_before((-errno.EPROTONOSUPPORT, [])), ["ENETDOWN"] * 2, "refused at hello")
    arena = os.open(memory(app, "mwcomms"), os.O_RDWR)
    c.callback(os.close, arena)
    copy = os.memfd_create("copy")
    c.callback(os.close, copy)
    os.truncate(copy, os.fstat(arena).st_size)
    os.pwrite(copy, os.pread(arena, 4096, 0), 0)
    for by in NEAR:
        os.pwrite(copy, struct.pack("=I", struct.unpack("=I", os.pread(arena, 4, VERSION_AT))[0] + by), VERSION_AT)
        equal(shim_before((0, [copy, copy])), ["ENETDOWN"] * 2, f"an arena of version {by:+}")


# --- a depot, a module, a registry, a broker ---

class Fake:
    """A broker's socket of the application `name`, at which each record is answered so."""

    def __init__(self, c, name, file, answer):
        directory = Path("/run/mw") / name
        directory.mkdir(parents=True, exist_ok=True)
        c.callback(subprocess.run, ["rm", "-rf", str(directory)], check=False)
        self.answer, self.ended = answer, False
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(directory / file))
        self.listener.listen(16)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        c.callback(self.end)

    def serve(self):
        self.listener.settimeout(0.1)
        while not self.ended:
            try:
                s = self.listener.accept()[0]
            except TimeoutError:
                continue
            with s:
                s.settimeout(2)
                try:
                    if self.answer(s) is not None:
                        s.recv(100000)
                except OSError:
                    pass

    def end(self):
        self.ended = True
        self.thread.join()
        self.listener.close()


@case("a depot of another version: --adopt says both versions, and leaves it alone", limit=30)
def depot(c):
    before = mw.remains()
    with tap.Case(None) as inner:
        def answer(s):
            s.recv(1000)
            s.send(struct.pack("=II", 2, 1) + bytes(80))
        Fake(inner, "web", "adopt", answer)
        one(quick("run", "--adopt", "web"), 125, r"^mw: web was started by another version of mw: what its broker left is of version 2, .* takes 1; adopt it with")
    mw.nothing_left(before)


@case("a module of another version: mw run --xen says both", limit=30)
def module(c):
    preload = ":".join(filter(None, (os.environ.get("MW_PRELOAD"), ODD)))
    for abi in (0, 2, 4000000000):
        one(quick("run", "--xen", "true", env={"LD_PRELOAD": preload, "MW_ODD_ABI": str(abi)}), 125,
            f"^mw run: the module that is loaded speaks version {abi % (1 << 32) if abi < 1 << 31 else '[0-9]+'} of /dev/mwcomms, and this mw version 1: load that of the same release$")


@case("a registry's entry of another version: the frontend says so once, and sends nobody there", limit=40, nets=("isolated",))
def registry(c):
    App(c, PYTHON, SERVER, "echo", name="web").ready(PORT)
    entry = Path("/run/mw/web/ins/0.json")
    good = json.loads(until(5, lambda: entry.exists() and entry.read_text(), "an entry"))
    log = open("/run/front.log", "w+", encoding="ascii")
    child = subprocess.Popen([machine.MW, "frontend", "web"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    c.callback(child.wait, 10)
    c.callback(child.terminate)
    said = lambda: Path("/run/front.log").read_text()
    until(10, lambda: "gets connections" in said(), said)
    for version in (0, 2):
        Path("/run/mw/web/ins/7.new").write_text(json.dumps({**good, "v": version, "ins": 7}))
        Path("/run/mw/web/ins/7.new").rename("/run/mw/web/ins/7.json")
        until(10, lambda: len([line for line in said().splitlines() if "/web/7" in line]) >= 1, said)
        time.sleep(1.2)
        lines = [line for line in said().splitlines() if "/web/7" in line]
        equal(len(lines), 1, f"lines of {said()!r}")
        matches(lines[0], "it is of a version that this mw does not know|it has no version", "what is said")
        Path("/run/mw/web/ins/7.json").unlink()
        time.sleep(0.3)
        log.truncate(0)


@case("a broker that answers what mw does not understand, or not at all: one line each", limit=60)
def nonsense(c):
    answers = {
        "an error": lambda s: (s.recv(1000), s.send(json.dumps({"error": "I do not know that"}).encode()))[1:],
        "no JSON": lambda s: (s.recv(1000), s.send(b"\x00\xff moon"))[1:],
        "another kind": lambda s: (s.recv(1000), s.send(b"[1, 2]"))[1:],
        "nothing": lambda s: None,
    }
    for what, answer in answers.items():
        with tap.Case(None) as inner:
            Fake(inner, "web", "ins-ctl", answer)
            for words in (("ins", "list", "web"), ("ins", "add", "web"), ("ins", "drain", "web", "0"), ("ins", "upgrade", "web")):
                one(quick(*words), 1, {"an error": "^mw: web: I do not know that$", "nothing": "^mw: web does not answer$"}.get(
                    what, "^mw: web answers what this mw does not understand$"))
    for what, answer in {"no JSON": lambda s: s.send(b"moon"), "no descriptors": lambda s: s.send(b"{}"), "an array": lambda s: s.send(b"[]")}.items():
        with tap.Case(None) as inner:
            Fake(inner, "web", "ctl", answer)
            for words in (("flows", "web"), ("doctor", "web"), ("close", "web", "all"), ("list", "web")):
                one(quick(*words), 1, "^mw: web ")


@case("an order that telemetry does not know is answered with why", limit=30, nets=("host",))
def orders(c):
    App(c, "sleep", "1000").listed()
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect("/run/mw/app/control")
        for request in ({"do": "moon"}, {"do": "order", "verb": "moon", "target": "all"}, {}, [], {"do": 1}):
            s.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(s.recv(10000))
            equal(answer.get("ok"), False, f"{request}: {answer}")
            check(answer.get("error"), f"{request}: {answer}")


tap.main()
