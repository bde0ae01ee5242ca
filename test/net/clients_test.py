# SPDX-License-Identifier: Apache-2.0
"""Bad clients and scarce resources harm nobody else, and cost nothing afterwards."""
import select
import socket
import struct
import time
from contextlib import ExitStack
from pathlib import Path

from lib import procs, tap
from lib.mw import App
from lib.tap import NETS, case, check, equal, until

SERVER = str(Path(__file__).resolve().parent / "lib" / "server.py")
PYTHON = "/usr/bin/python3"
PORT = 7000
MB = 1 << 20


def start(c, mode, **keys):
    return App(c, PYTHON, SERVER, mode, **keys).ready(PORT)


def connect(c, timeout=5):
    s = socket.create_connection(("127.0.0.1", PORT), timeout=timeout)
    c.callback(s.close)
    return s


def echoes(s, data=b"hello"):
    s.sendall(data)
    got = b""
    while len(got) < len(data):
        part = s.recv(65536)
        if not part:
            return False
        got += part
    return got == data


def served(s, seconds=0.3):
    """Whether this connection, which has sent something, has an answer by then."""
    return bool(select.select([s], [], [], seconds)[0])


def no_more(app):
    """Every connection of the application is closed, and its INS holds none."""
    until(5, lambda: not app.connections(), lambda: f"no connection left: {app.connections()}")


def descriptors(app):
    return procs.fd_count(app.ins_pid())


@case("descriptors of the application run out: accept says EMFILE, none is lost or leaked", limit=40, nets=NETS)
def few_descriptors(c):
    app = App(c, "prlimit", "--nofile=64", PYTHON, SERVER, "few").ready(PORT)
    no_more(app)
    before = descriptors(app)
    with ExitStack() as stack:
        clients = [connect(stack) for _ in range(80)]
        until(5, lambda: "accept: EMFILE" in app.said(), lambda: f"EMFILE; it said {app.said()!r}")
        for i, s in enumerate(clients):
            s.sendall(b"%d" % i)
        time.sleep(0.5)
        first = [s for s in clients if served(s, 0)]
        c.note(f"{len(first)} of 80 served at first; {app.said().strip()}")
        check(40 <= len(first) < 64, f"{len(first)} are served with 64 descriptors")
        waiting = [(i, s) for i, s in enumerate(clients) if s not in first]
        for s in first:
            s.close()
        for i, s in waiting:
            equal(s.recv(10), b"%d" % i, f"client {i}, which waited")
            check(echoes(s), f"client {i} goes on")
    no_more(app)
    until(5, lambda: descriptors(app) <= before, lambda: f"descriptors of mw-ins: {descriptors(app)}, {before} before")
    check(echoes(connect(c)), "a new client")


@case("the INS has no slot left: connections wait, and are served when others close", limit=40, nets=NETS)
def few_slots(c):
    app = start(c, "echo", options=("--max-sockets", "64"))
    no_more(app)
    before = descriptors(app)
    with ExitStack() as stack:
        clients = [connect(stack) for _ in range(100)]
        for s in clients:
            s.sendall(b"x")
        time.sleep(0.5)
        first = [s for s in clients if served(s, 0)]
        c.note(f"{len(first)} of 100 served with --max-sockets 64")
        check(50 <= len(first) <= 64, f"{len(first)} are served at first")
        waiting = [s for s in clients if s not in first]
        time.sleep(1)
        start_ticks = procs.look(app.ins_pid()).ticks
        time.sleep(1)
        check(procs.look(app.ins_pid()).ticks - start_ticks <= 10, "mw-ins spins while it has no slot")
        for s in first:
            s.close()
        for s in waiting:
            equal(s.recv(10), b"x", "a client that waited")
            check(echoes(s), "and goes on")
    no_more(app)
    until(5, lambda: descriptors(app) <= before, lambda: f"descriptors of mw-ins: {descriptors(app)}, {before} before")
    check(echoes(connect(c)), "a new client")


@case("connections refused a slot for a while do not starve the listener's own requests", limit=20, nets=NETS)
def slots_and_listener(c):
    app = start(c, "echo", options=("--max-sockets", "64"))
    with ExitStack() as stack:
        for _ in range(70):
            connect(stack)
        time.sleep(0.3)
        app.child.send_signal(15)
        app.wait(4)


HANDOVER = """
import socket, sys, time
def listener():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind((sys.argv[1], 7000))
    s.listen()
    return s
old = listener()
old.accept()
new = listener()
old.close()
while True:
    connection, _ = new.accept()
    connection.sendall(b"new")
    connection.close()
"""


@case("a listener that takes a port over (SO_REUSEPORT) is reached when the old one has closed", nets=NETS)
def handover(c):
    for where in ("127.0.0.1", "0.0.0.0"):
        app = App(c, PYTHON, "-c", HANDOVER, where).ready(PORT)
        def answered():
            try:
                return connect(c).recv(10) == b"new"
            except OSError:
                return False
        until(5, answered, f"an answer of the new listener on {where}")
        app.end()


@case("half-closed: the answer comes after the client's end", nets=NETS)
def half_close(c):
    app = start(c, "answer")
    for size in (0, 1, 100, 65536, 5 * MB):
        s = connect(c, 15)
        s.sendall(b"y" * size)
        s.shutdown(socket.SHUT_WR)
        got = b""
        while part := s.recv(100):
            got += part
        equal(got, b"%d\n" % size, "answer")
        s.close()
    no_more(app)


@case("sendfile(), which no shim sees on the stream lane: all of it arrives, also at a client that begins late", nets=NETS)
def sendfile(c):
    start(c, "sendfile", options=("--lane", "stream"))
    for size, late in ((5, 0), (20, 1), (20, 1), (20, 1)):
        s, total = connect(c, 10), 0
        s.sendall(b"%d\n" % (size * MB))
        time.sleep(late)    # until all that lies between is full
        while part := s.recv(MB):
            total += len(part)
        equal(total, size * MB, "bytes")


@case("silent, reset, slow and never-reading clients: others are served meanwhile", limit=40, nets=NETS)
def bad_company(c):
    app = start(c, "flood")
    no_more(app)
    before = descriptors(app)
    with ExitStack() as stack:
        silent = [connect(stack) for _ in range(20)]
        slow, greedy = connect(stack), [connect(stack) for _ in range(5)]
        for s in greedy:
            s.sendall(b"flood")
        for s in [connect(stack) for _ in range(20)]:
            s.sendall(b"some")
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        good, worst = connect(stack), 0
        slow.sendall(b"start")
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        check(slow.recv(10) == b"start", "the slow one")
        for i in range(200):
            began = time.monotonic()
            check(echoes(good, b"z" * 5000), f"the good client at {i}")
            worst = max(worst, time.monotonic() - began)
            slow.sendall(b"s")
            equal(slow.recv(1), b"s", "one byte at a time")
        c.note(f"worst answer to the good client: {worst * 1000:.1f} ms")
        check(worst < 1, f"{worst:.1f} s for an answer")
        until(6, lambda: app.said().count("flood ended") == 5, lambda: f"five floods end: {app.said()}")
        equal(app.said().count("TimeoutError"), 5, f"floods ended by the server's own time-out in {app.said()}")
        check(echoes(silent[0]), "a silent one that speaks at last")
        for s in greedy:
            s.close()
    no_more(app)
    until(5, lambda: descriptors(app) <= before, lambda: f"descriptors of mw-ins: {descriptors(app)}, {before} before")


@case("a flood that nobody reads is released by the application's close", limit=30, nets=NETS)
def release(c):
    app = start(c, "flood")
    s = connect(c)
    s.sendall(b"flood")
    until(6, lambda: "flood ended" in app.said(), lambda: f"the flood ends; it said {app.said()}")
    name = s.getsockname()
    until(2, lambda: any(f["state"] == "closing" for f in app.connections()), "it is listed as closing")
    equal([(f["peer"], f["peer_port"]) for f in app.connections()], [name[:2]], "and by its true peer")
    sent = int(app.said().split("after ")[1].split()[0])
    total = 0
    while part := s.recv(MB):
        total += len(part)
    equal(total, sent, "every byte that the application had written arrives after its close")
    no_more(app)


@case("connections that come and go 2,000 times leave nothing", limit=40, nets=NETS)
def churn(c):
    app = start(c, "echo")
    no_more(app)
    before = descriptors(app), procs.fd_count(app.app_pid())
    for i in range(2000):
        s = socket.create_connection(("127.0.0.1", PORT), timeout=5)
        if i % 4 == 0:
            check(echoes(s), "echo")
        elif i % 4 == 1:
            s.sendall(b"unread")
        elif i % 4 == 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    no_more(app)
    until(5, lambda: (descriptors(app), procs.fd_count(app.app_pid())) <= before,
          lambda: f"descriptors {(descriptors(app), procs.fd_count(app.app_pid()))}, {before} before")


tap.main()
