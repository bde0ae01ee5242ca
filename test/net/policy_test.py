# SPDX-License-Identifier: Apache-2.0
"""Verbs as an operator gives them: targets, expressions, dry runs, expiry, undoing, the audit log, and what is refused."""
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

from lib import machine, servers, tap
from lib.control import Control
from lib.mw import json_lines, mw
from lib.tap import NETS, case, check, equal, matches, until

LOG = "/run/audit.log"
SANITIZED = "MW_PRELOAD" in os.environ


def start(c, **keys):
    servers.content("page.bin", 1000)
    Path(LOG).unlink(missing_ok=True)
    return servers.nginx(c, options=("--audit-log", LOG), **keys).ready(80)


def connect(c, count=1, send=b"", source="127.0.0.1"):
    found = []
    for _ in range(count):
        s = socket.create_connection(("127.0.0.1", 80), timeout=5, source_address=(source, 0))
        c.callback(s.close)
        s.sendall(send)
        found.append(s)
    return found


def held(app, count):
    return until(5, lambda: len(app.connections()) == count and app.connections(), f"{count} connections")


def ended(s):
    """How a connection ended: a reset or an end. Fails when it has not within 5 s."""
    try:
        return s.recv(1) and "data"
    except ConnectionResetError:
        return "reset"


def verdicts(app):
    return json_lines("list", "--json", app.name)


def log():
    return [json.loads(line) for line in Path(LOG).read_text().splitlines()]


@case("reset by id, by peer, by prefix, by port and by expression; others stay", nets=NETS)
def targets(c):
    app = start(c)
    one, two = connect(c, source="127.0.0.2")[0], connect(c, 1, b"GET /", source="127.0.1.3")[0]
    rest = connect(c, 3)
    flows = held(app, 5)
    first = next(f["id"] for f in flows if f["peer"] == "127.0.0.2")
    for target, victim in ((str(first), one), ("rx_bytes > 4 and peer = 127.0.1.0/24", two)):
        mw("reset", app.name, target)
        equal(ended(victim), "reset", f"the victim of {target}")
    held(app, 3)
    mw("reset", app.name, "127.0.1.0/24", "::/1")
    held(app, 3)
    mw("close", app.name, "127.0.0.1")
    equal([ended(s) for s in rest], [b""] * 3, "closed: an end")
    until(5, lambda: not app.connections(), "nginx has closed them")
    left = connect(c, 2)
    held(app, 2)
    mw("reset", app.name, ":80")
    equal([ended(s) for s in left], ["reset"] * 2, "all of port 80")


@case("an expression over what the kernel says: it is asked first", nets=NETS)
def asked(c):
    app = start(c)
    s = connect(c, send=b"GET /page.bin HTTP/1.1\r\nHost: a\r\n\r\n")[0]
    check(s.recv(4000).startswith(b"HTTP/1.1 200"), "an answer")
    matches(mw("reset", "--dry-run", app.name, "bytes_acked > 1k"), "would hit 1 connections", "a dry run")
    mw("reset", app.name, "bytes_acked > 1k and kernel_state = established")
    equal(ended(s), "reset", "how it ends")


@case("a dry run says whom it would hit, and hits nobody", nets=("host",))
def dry(c):
    app = start(c)
    s = connect(c, 4, b"GET /page.bin HTTP/1.0\r\n")
    held(app, 4)
    out = mw("reset", "--dry-run", app.name, "rx_bytes > 10")
    matches(out, "would hit 4 connections", "the count")
    equal(out.count("127.0.0.1:"), 8, "both ends of each")
    matches(mw("block", "--dry-run", app.name, "127.0.0.0/8"), "would hit 4", "of a block")
    equal(verdicts(app), [], "no verdict")
    s[0].sendall(b"\r\n")
    check(s[0].recv(100).startswith(b"HTTP/1.1 200"), "it lives")


@case("a verdict has a number, an end, and lines in the audit log", nets=("host",))
def recorded(c):
    app = start(c)
    connect(c, 2)
    held(app, 2)
    mw("set", "--ttl", "1s", "--why", "a test", app.name, ":80", "keepidle=77")
    mw("reset", "--why", 'quote " and é', app.name, "all")
    mw("reset", app.name, "77", status=1)
    until(5, lambda: verdicts(app)[0]["status"] == "expired", "the first expires")
    seen = [(v["verdict"], v["what"], v["target"], v["status"]) for v in verdicts(app)]
    equal(seen, [(1, "keepidle=77", ":80", "expired"), (2, "reset", "all", "done"), (3, "reset", "77", "failed")], "mw list")
    equal([(e["verdict"], e["event"], e["why"], e["hit"] > 0) for e in log()],
          [(1, "set", "a test", True), (2, "reset", 'quote " and é', True), (3, "reset", "", False), (1, "expired", "a test", True)],
          "the audit log")
    check(all(e["who"].startswith("uid 0 (pid ") and e["app"] == app.name for e in log()), "who and where")
    equal(os.stat(LOG).st_mode & 0o777, 0o640, "the log's mode")


@case("a minimum rate: who owes bytes and is slow is reset, the idle and the quick are not", nets=("host",), limit=40)
def minrate(c):
    app = start(c)
    idle, quick_one, slow = connect(c, 3)
    idle.sendall(b"GET /page.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    check(idle.recv(4000).startswith(b"HTTP/1.1 200"), "an answer, then it idles")
    mw("minrate", "--grace", "1s", app.name, "peer = 127.0.0.1", "20")
    until_ns = time.monotonic() + 6
    reset = None
    while time.monotonic() < until_ns and reset is None:
        quick_one.sendall(b"GET /page.bin HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40 + b"\r\n\r\n")
        check(quick_one.recv(4000), "the quick one is served")
        try:
            slow.sendall(b"G")
            slow.settimeout(0.3)
            slow.recv(1)
            reset = "end"
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            reset = "reset"
    equal(reset, "reset", "the slow one")
    idle.sendall(b"GET /page.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    check(idle.recv(4000).startswith(b"HTTP/1.1 200"), "the idle one lives")
    check(any(v["who"] == "verdict 1" and v["verb"] == "reset" for v in verdicts(app)), "the reset names its rule")
    mw("undo", app.name, "1")
    s = connect(c, 1, b"GET")[0]
    s.settimeout(3)
    try:
        equal(s.recv(1), "nothing", "after the undo")
    except TimeoutError:
        pass


@case("what makes no sense is refused in one line, and changes nothing", nets=("host",))
def refused(c):
    app = start(c)
    connect(c)
    held(app, 1)
    for argv, words in ((("reset", app.name, "peer ="), "a value is missing"), (("reset", app.name, "colour = 1"), "no such field"),
                        (("block", app.name, "192.0.2.1/24"), "an address or a prefix"), (("block", app.name, "0.0.0.0/0"), "everybody"),
                        (("set", app.name, "all", "sndbuf=x"), "sndbuf is bytes"), (("set", app.name, "all", "colour=1"), "no such option"),
                        (("backlog", app.name, ":81x", "5"), "field"), (("backlog", app.name, ":9", "5"), "nothing listens"),
                        (("cap", app.name, "127.0.0.1", "5"), "all, or a port"), (("minrate", app.name, "all", "x"), "bytes a second"),
                        (("unblock", app.name, "192.0.2.1"), "not blocked"), (("undo", app.name, "99"), "no such verdict"),
                        (("reset", "nobody", "all"), "nothing runs under")):
        out = mw(*argv, status=1)
        matches(out, words, f"mw {argv}")
        equal(len(out.strip().splitlines()), 1, f"lines of mw {argv}")
    for argv in (("reset", app.name), ("reset",), ("set", app.name, "all"), ("reset", "--ttl", "x", app.name, "all"), ("undo", app.name),
                 ("undo", app.name, "x"), ("list",), ("reset", "--colour", app.name, "all")):
        mw(*argv, status=2)
    held(app, 1)


@case("the audit log's disk is full: it is said, and verdicts go on", nets=("host",))
def full(c):
    servers.content("page.bin", 1000)
    app = servers.nginx(c, options=("--audit-log", "/dev/full")).ready(80)
    s = connect(c, 2)
    held(app, 2)
    mw("reset", app.name, "all")
    equal([ended(x) for x in s], ["reset"] * 2, "both")
    matches(app.said(), "the audit log cannot be written: No space left", "what it says")


@case("the audit log's disk gets full, and has room again: said once each, whole lines alone, none after the first is missing",
      nets=("host",), limit=40)
def fills(c):
    servers.content("page.bin", 1000)
    Path("/run/small").mkdir()
    machine.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/run/small")
    c.callback(machine.run, "umount", "/run/small")
    app = servers.nginx(c, options=("--audit-log", "/run/small/audit.log")).ready(80)
    k = Control(c, app.name)
    s = connect(c)[0]
    held(app, 1)
    made = 0

    def order():
        return k.ask(do="order", verb="set", target="all", option="keepidle", value=str(100 + made % 100), why="x" * 90)

    while "cannot be written" not in app.said() and made < 1000:
        check(order()["ok"], "an order")
        made += 1
    until(5, lambda: "No space left" in app.said(), "it is said")
    for _ in range(50):
        check(order()["ok"], "orders go on")
    s.sendall(b"GET /page.bin HTTP/1.0\r\n\r\n")
    check(s.recv(100).startswith(b"HTTP/1.1 200"), "the server goes on")
    equal(app.said().count("cannot be written"), 1, "how often it is said")
    log = Path("/run/small/audit.log")
    lines = log.read_text().splitlines()
    check(len(lines) > 100, f"{len(lines)} lines")
    for line in lines:
        json.loads(line)
    os.truncate(log, 0)
    time.sleep(1.1)
    for _ in range(3):
        check(order()["ok"], "orders go on")
    until(5, lambda: "is written again" in app.said(), "that is said too")
    seen = [json.loads(line) for line in log.read_text().splitlines()]
    equal([e["event"] for e in seen], ["replaced", "set"] * 3, "lines now")


@case("verdicts outlive a telemetry process; what expires meanwhile ends then", nets=("host",), limit=30)
def outlives(c):
    app = start(c)
    mw("minrate", app.name, "peer = 127.0.0.9", "5")
    mw("set", "--ttl", "2s", app.name, ":80", "keepidle=70")
    pid = app.info()["telem_pid"]
    os.kill(pid, signal.SIGKILL)
    until(5, lambda: app.info()["telem_pid"] not in (0, pid), "another one")
    equal([v["status"] for v in until(5, lambda: verdicts(app), "an answer")], ["holds", "holds"], "they hold")
    until(6, lambda: verdicts(app)[1]["status"] == "expired", "it expires")
    mw("undo", app.name, "1")
    equal(verdicts(app)[0]["status"], "undone", "undone")


@case("ten thousand verbs at once are all answered, and the server goes on", nets=("host",), limit=60)
def many(c):
    app = start(c)
    k = Control(c, app.name)
    k.socket.setblocking(True)
    alive = connect(c)[0]
    held(app, 1)
    for _ in range(100):
        k.socket.sendall(b"".join(b'{"do":"order","verb":"reset","target":"%d"}\n' % (n << 32 | 63) for n in range(3, 203, 2)))
        for _ in range(100):
            equal(k.line()["ok"], False, "each is answered")
    alive.sendall(b"GET /page.bin HTTP/1.0\r\n\r\n")
    check(alive.recv(100).startswith(b"HTTP/1.1 200"), "the connection lives")
    check(len(verdicts(app)) <= 4096, "the list is bounded")


def ask(k):
    for n in range(10_000):     # one at a time: a time-out is of a whole sendall()
        k.socket.sendall(b'{"do":"order","verb":"reset","target":"%d"}\n' % n)


@case("a client that asks and asks and reads nothing waits; others do not, and in the end it has every answer in order", nets=("host",),
      limit=60)
def never_reads(c):
    app = start(c)
    connect(c)
    held(app, 1)
    k = Control(c, app.name)
    k.socket.settimeout(30)
    mw("set", app.name, ":80", "keepidle=77")
    writer = threading.Thread(target=ask, args=(k,))
    writer.start()
    time.sleep(2)
    check(writer.is_alive(), "it waits")
    pid = app.info()["telem_pid"]
    size = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4
    began = time.monotonic()
    mw("undo", app.name, "1")
    c.note(f"mw-telem has {size} kB; another client's order took {(time.monotonic() - began) * 1000:.0f} ms")
    check(size < 64_000 or SANITIZED, f"mw-telem has {size} kB")
    for n in range(10_000):
        a = k.line(20)
        equal((a["target"], a["error"]), (str(n), "that connection has ended"), f"answer {n}")
    writer.join()


@case("a client that follows, asks more than it reads, and then reads has every answer in order", nets=("host",), limit=60)
def asks_and_follows(c):
    app = start(c)
    k = Control(c, app.name).follow()
    k.socket.settimeout(15)
    threading.Thread(target=ask, args=(k,), daemon=True).start()
    over = threading.Event()

    def come_and_go():
        while not over.is_set():
            socket.create_connection(("127.0.0.1", 80)).close()
            time.sleep(0.002)

    others = threading.Thread(target=come_and_go)
    others.start()
    c.callback(others.join)
    c.callback(over.set)
    time.sleep(1)
    answers, events = 0, 0
    reader = k.socket.makefile("rb", buffering=4096) # little at a time: the socket is never empty, and what waits goes with events
    while answers < 10_000:
        a = json.loads(reader.readline())
        if "event" in a:
            events += 1
            continue
        equal((a["target"], a["error"]), (str(answers), "that connection has ended"), f"answer {answers}")
        answers += 1
    c.note(f"{events} events meanwhile")


@case("requests in pieces, many at once, cut off, and too long", nets=("host",))
def pieces(c):
    app = start(c)
    k = Control(c, app.name)
    for byte in b'{"do":"list"}\n':
        k.socket.sendall(bytes((byte,)))
    equal(k.line(), {"ok": True}, "a byte at a time")
    k.socket.sendall(b'{"do":"list"}\n' * 500 + b'{"do":"li')
    equal([k.line() for _ in range(500)], [{"ok": True}] * 500, "many at once")
    k.socket.sendall(b'st"}\n')
    equal(k.line(), {"ok": True}, "the rest")
    connect(c)
    held(app, 1)
    k.socket.sendall(b'{"do":"order","verb":"reset","target":"all"}')
    k.socket.close()
    other = Control(c, app.name)
    other.socket.sendall(b'{"do":"list","x":"' + b"y" * 65_000 + b'"}\n')
    equal(other.line(), {"ok": True}, "the longest: no order was given")
    other.socket.sendall(b'{"do":"list","x":"' + b"y" * 65_536 + b'"}\n')
    try:
        equal(other.socket.recv(100), b"", "a longer one ends the client")
    except ConnectionResetError:
        pass
    held(app, 1)


tap.main()
