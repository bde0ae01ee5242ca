# SPDX-License-Identifier: Apache-2.0
"""What an operator's verbs do inside the INS: blocked peers, caps, backlog, options beside the application's."""
import errno
import fcntl
import os
import random
import re
import socket
import struct
import sys
import termios
import time
from pathlib import Path

from lib import machine, mwnf, tap
from lib.control import Control
from lib.lines import Lines
from lib.mw import App
from lib.tap import NETS, case, check, equal, until

SERVER = str(Path(__file__).resolve().parent / "lib" / "options.py")
PORT = 7000


def start(c, options=()):
    return App(c, sys.executable, SERVER, str(PORT), options=options).ready(PORT)


class Peer(Lines):
    """A connection whose other end does as it is told."""

    def __init__(self, c, host="127.0.0.1", port=PORT, rcvbuf=0):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        c.callback(self.socket.close)
        if rcvbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.socket.settimeout(10)
        self.socket.connect((host, port))
        self.port = self.socket.getsockname()[1]
        self.rest = b""

    def get(self, level, name, size=4, of=None):
        return bytes.fromhex(self.ask(do="get", level=level, name=name, size=size, of=of))

    def set(self, level, name, value, of=None):
        return self.ask(do="set", level=level, name=name, value=value.hex(), of=of)

    def flow(self, app):
        return until(5, lambda: next((f for f in app.flows() if f["peer_port"] == self.port), None), f"a flow from {self.port}")

    def refused(self):
        """True: it was reset; False: it lives."""
        try:
            self.socket.sendall(b'{"do":"accepted"}\n')
            return self.socket.recv(1000) == b""
        except (ConnectionResetError, BrokenPipeError):
            return True


def good(answer, what):
    check(answer["ok"], f"{what}: {answer}")
    return answer


def failed(answer, words, what):
    equal((answer["ok"], words in answer["error"]), (False, True), f"{what}: {answer}")


def order(k, verb, target, **fields):
    return k.ask(do="order", verb=verb, target=str(target), **fields)


def undo(k, answer):
    """Of what was ordered."""
    return k.ask(do="undo", verdict=answer["verdict"])


def set_option(k, target, **option):
    (name, value), = option.items()
    return order(k, "set", target, option=name, value=str(value))


def get(k, flow, option):
    """What is in force, in the words of an order; None: the INS does not say."""
    return k.ask(do="get", flow=flow, option=option).get("value")


def tries(c, host):
    """Whether a new connection lives; it ends then."""
    try:
        peer = Peer(c, host)
        lives = not peer.refused()
        peer.socket.close()
        return lives
    except ConnectionResetError:
        return False


@case("block: those that are there are reset, new ones never reach the application; unblock", nets=NETS, limit=60)
def block(c):
    app = start(c)
    k, follow = Control(c, "app"), Control(c, "app").follow()
    six = Peer(c, "::1")
    for prefix in ("127.0.0.1", "127.0.0.0/8", "::ffff:127.0.0.1", "::ffff:127.0.0.0/104"):
        old = Peer(c)
        old.ask(do="accepted")
        until(5, lambda: len(app.connections()) == 2, "two connections")
        a = good(order(k, "block", prefix), "block")
        equal(a["hit"], 1, f"connections that {prefix} hit")
        check(old.refused(), "the old one is reset")
        before = six.ask(do="accepted")
        for _ in range(3):
            check(not tries(c, "127.0.0.1"), f"a new one is refused by {prefix}")
        equal(six.ask(do="accepted"), before, "the application has accepted none")
        closed = follow.event("close", verdict=a["verdict"])
        equal(closed["peer"], "127.0.0.1", "what is told")
        equal(good(order(k, "block", prefix), "again")["hit"], 0, "connections hit")
        equal(good(order(k, "unblock", prefix), "unblock")["hit"], 3, "what was refused")
        failed(order(k, "unblock", prefix), "not blocked", "unblock again")
        check(tries(c, "127.0.0.1"), "a new one lives")
    good(order(k, "block", "::/1"), "block half of IPv6")
    check(six.refused(), "it is reset")
    check(not tries(c, "::1") and tries(c, "127.0.0.1"), "IPv6 alone is refused")
    good(order(k, "unblock", "::/1"), "unblock")
    four = Peer(c)
    equal(four.ask(do="connect", addr="::", port=PORT), None, "connect() to no address is one to loopback")
    good(order(k, "block", "::1"), "block")
    equal(four.ask(do="connect", addr="::", port=PORT), "EACCES", "connect() to no address")
    for prefix in ("1.2.3.4/33", "::/129", "", "127.5.0.0/8"):
        failed(order(k, "block", prefix), "an address or a prefix", prefix)


@case("block: datagrams are dropped; connect() and sendto() say EACCES", nets=NETS, limit=60)
def block_outgoing(c):
    start(c)
    k = Control(c, "app")
    four, six = Peer(c), Peer(c, "::1")
    host, net = machine.HERE4, machine.HERE4.rpartition(".")[0] + ".0/24"
    there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    c.callback(there.close)
    there.bind((host, 0))
    there.settimeout(0.3)
    to = dict(addr="::ffff:" + host, port=there.getsockname()[1])

    def arrives():
        try:
            return there.recv(100)
        except TimeoutError:
            return b""

    for _ in range(2):
        equal((six.ask(do="sendto", **to), arrives()), (5, b"hello"), "a datagram before")
    good(order(k, "block", net), "block")
    for _ in range(2):
        equal((six.ask(do="sendto", **to), arrives()), ("EACCES", b""), "a datagram to a blocked peer")
    equal(six.ask(do="connect_udp", **to), "EACCES", "connect(), UDP")
    equal(six.ask(do="connect", **to), "EACCES", "connect(), TCP")
    there.sendto(b'{"do":"accepted"}', (host, PORT))
    equal(arrives(), b"", "a datagram from it")
    check(not four.refused(), "others do not notice")
    check(good(order(k, "unblock", net), "unblock")["hit"] >= 5, "what was refused")
    equal((six.ask(do="sendto", **to), arrives()), (5, b"hello"), "a datagram after")
    there.sendto(b'{"do":"accepted"}', (host, PORT))
    check(arrives(), "and from it")


@case("block: a connect() that waits for an answer ends", nets=NETS)
def block_connecting(c):
    app = start(c)
    k, peer = Control(c, "app"), Peer(c)
    nobody = "10.77.0.77"   # nobody says that he has it, for three seconds
    peer.tell(do="connect", addr=nobody, port=81)
    until(2, lambda: any(f["state"] == "connecting" for f in app.flows()), "it is connecting")
    equal(good(order(k, "block", nobody), "block")["hit"], 1, "connections hit")
    a = peer.line()
    equal(a["result"], "ECONNRESET", "connect()")
    check(a["seconds"] < 2, f"it ended after {a['seconds']} s")


@case("SO_ERROR: told to the operator once, and to the application all the same", nets=("host",))
def pending_error(c):
    app = start(c)
    k, other = mwnf.Stream(c, "/run/mw/app/netflow").watched(), Peer(c)
    peer = Peer(c)
    own = k.event(mwnf.ACCEPT, port=peer.port)["extra"]
    equal(k.read(mwnf.ERROR, own), (0, 0, 0), "while it lives")
    peer.tell(do="sleep_then_error", seconds=1.5)
    until(2, lambda: peer.flow(app)["unread"] == 0, "it sleeps")
    peer.socket.setsockopt(SOL, socket.SO_LINGER, linger(1, 0))
    peer.socket.close()
    until(1, lambda: k.read(mwnf.ERROR, own) == (0, errno.ECONNRESET, 0), "the error")
    equal(k.read(mwnf.ERROR, own), (0, 0, 0), "again")
    equal(until(5, lambda: other.ask(do="polled"), "what the application sees"), [errno.ECONNRESET], "its error")


@case("cap: so many of a peer, counted exactly while they come and go", nets=NETS, limit=90)
def cap(c):
    app = start(c)
    k = Control(c, "app")
    until(5, lambda: not app.connections(), "none is left")
    first = [Peer(c) for _ in range(2)]
    first[-1].ask(do="accepted")
    until(5, lambda: len(app.connections()) == 2, "two")
    good(order(k, "cap", f":{PORT}", number=5), "cap")
    open_now, rng = list(first), random.Random(1)
    for _ in range(150):
        if open_now and rng.random() < 0.5:
            open_now.pop(rng.randrange(len(open_now))).socket.close()
            until(5, lambda: len(app.connections()) == len(open_now), "its slot has ended", 0.002)
        else:
            try:
                new = Peer(c)
                refused = new.refused()
            except ConnectionResetError:
                refused = True
            equal(refused, len(open_now) >= 5, f"refused with {len(open_now)} open")
            if not refused:
                open_now.append(new)
            until(5, lambda: len(app.connections()) == len(open_now), "a refused one's slot has ended", 0.002)
    check(tries(c, "::1"), "IPv6 is not counted")
    while len(open_now) < 5:
        open_now.append(Peer(c))
        check(not open_now[-1].refused(), "up to five")
    smaller = good(order(k, "cap", f":{PORT}", number=2, per="8"), "a smaller one, by another length")
    equal(smaller["hit"], 5, "those in a group that has too many")
    check(not any(p.refused() for p in open_now) and not tries(c, "127.0.0.1"), "they stay, and no other comes")
    good(undo(k, smaller), "undo")
    check(tries(c, "127.0.0.1"), "as many as one likes")
    failed(undo(k, smaller), "does not hold", "undo again")
    good(order(k, "cap", "all", number=0, per="64", family="ip6"), "none at all, of all listeners")
    check(not tries(c, "::1") and tries(c, "127.0.0.1"), "IPv6 alone")
    failed(order(k, "cap", open_now[0].flow(app)["id"], number=1), "a port", "of a connection")


def ss(app, *what):
    return machine.run("nsenter", f"--net=/proc/{app.ins_pid()}/ns/net", "--", "ss", "-n", *what)


@case("backlog: another for a listener, kept when the application listens again; undo", nets=NETS)
def backlog(c):
    app = start(c)
    k = Control(c, "app")

    def is_now():
        return int(re.search(rf"\d+\s+(\d+)\s+\S*:{PORT}\s", ss(app, "-Hltn"))[1])

    equal(is_now(), 100, "the application's")
    a = good(order(k, "backlog", f":{PORT}", number=7), "backlog")
    equal(is_now(), 7, "the operator's")
    good(undo(k, a), "undo")
    equal(is_now(), 100, "the application's again")
    a = good(order(k, "backlog", "all", number=9), "of all")
    equal((a["hit"], is_now()), (1, 9), "listeners hit; the operator's")
    good(undo(k, a), "undo")
    equal(is_now(), 100, "the application's again")
    failed(order(k, "backlog", Peer(c).flow(app)["id"], number=1), "Invalid argument", "of a connection")


def i32(n):
    return struct.pack("i", n)


def timeval(seconds):
    return struct.pack("ll", int(seconds), round(seconds % 1 * 1e6))


def linger(on, seconds):
    return struct.pack("ii", on, seconds)


ALGORITHMS = [name.encode().ljust(16, b"\0")
              for name in Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text().split()]
TCP, SOL = socket.IPPROTO_TCP, socket.SOL_SOCKET
# name, level, option, the application's, the operator's, the application's later, what no socket takes and its error, flow field
TABLE = (
    ("linger", SOL, socket.SO_LINGER, linger(1, 20), linger(1, 7), linger(0, 20), b"\1", "EINVAL", (20, 7, -2)),
    ("keepalive", SOL, socket.SO_KEEPALIVE, i32(0), i32(1), i32(0), b"\1", "EINVAL", (0, 1, 0)),
    ("keepidle", TCP, socket.TCP_KEEPIDLE, i32(500), i32(10), i32(700), i32(0), "EINVAL", (500, 10, 700)),
    ("keepintvl", TCP, socket.TCP_KEEPINTVL, i32(50), i32(3), i32(70), i32(-1), "EINVAL", (50, 3, 70)),
    ("keepcnt", TCP, socket.TCP_KEEPCNT, i32(5), i32(2), i32(7), i32(1000), "EINVAL", (5, 2, 7)),
    ("user_timeout", TCP, socket.TCP_USER_TIMEOUT, i32(50000), i32(3000), i32(70000), i32(-1), "EINVAL", (50000, 3000, 70000)),
    ("rcvtimeo", SOL, socket.SO_RCVTIMEO, timeval(50), timeval(3), timeval(70), struct.pack("ll", 0, -5), "EDOM", (50000, 3000, 70000)),
    ("sndtimeo", SOL, socket.SO_SNDTIMEO, timeval(50), timeval(3), timeval(70), struct.pack("ll", 0, -5), "EDOM", (50000, 3000, 70000)),
    ("sndbuf", SOL, socket.SO_SNDBUF, i32(40000), i32(10000), i32(60000), b"\1", "EINVAL", None),
    ("rcvbuf", SOL, socket.SO_RCVBUF, i32(40000), i32(10000), i32(60000), b"\1", "EINVAL", None),
    ("rcvlowat", SOL, socket.SO_RCVLOWAT, i32(2), i32(3), i32(4), b"\1", "EINVAL", None),
    ("nodelay", TCP, socket.TCP_NODELAY, i32(0), i32(1), i32(0), b"\1", "EINVAL", None),
    ("reuseport", SOL, socket.SO_REUSEPORT, i32(0), i32(1), i32(0), b"\1", "EINVAL", None),
    ("congestion", TCP, socket.TCP_CONGESTION, ALGORITHMS[0], ALGORITHMS[-1], ALGORITHMS[0], b"none-such", "ENOENT", None),
)


def says(option, value):
    """What getsockopt() says of a value that was set."""
    return i32(2 * struct.unpack("i", value)[0]) if option in ("sndbuf", "rcvbuf") else value


def words(option, value):
    """As an order has it."""
    if option == "linger":
        on, seconds = struct.unpack("ii", value)
        return str(seconds) if on else "off"
    if option.endswith("timeo"):
        seconds, micros = struct.unpack("ll", value)
        return f"{seconds + micros / 1e6:g}"
    return value.rstrip(b"\0").decode() if option == "congestion" else str(struct.unpack("i", value)[0])


@case("options: the operator's is in force, the application sees and keeps its own; both are shown", nets=NETS, limit=90)
def options(c):
    app = start(c)
    k = Control(c, "app")
    for name, level, number, own, his, later, wrong, error, pair in TABLE:
        peer = Peer(c)
        own_id = peer.flow(app)["id"]

        def read_back(expected, what):
            equal(get(k, own_id, name), words(name, says(name, expected)), f"{name}, {what}")

        def shown(app_says, op_says):
            if pair:
                f = peer.flow(app)
                equal((f[f"app_{name}"], f[f"op_{name}"]), (app_says, op_says), f"{name} in the flow record")

        size = len(own)
        equal(peer.set(level, number, own), None, f"{name}: the application sets it")
        read_back(own, "before")
        shown(pair and pair[0], None)
        good(set_option(k, own_id, **{name: words(name, his)}), f"set {name}")
        read_back(his, "the operator's")
        equal(peer.get(level, number, size), says(name, own), f"{name}: what the application sees")
        equal(peer.set(level, number, later), None, f"{name}: the application sets another")
        equal(peer.set(level, number, wrong), error, f"{name}: what no socket takes")
        equal(peer.get(level, number, size), says(name, later), f"{name}: what the application sees then")
        read_back(his, "the operator's still")
        shown(*(pair[2], pair[1]) if pair else (0, 0))
        check(peer.set(SOL, socket.SO_RCVLOWAT, i32(1)) is None, "it lives")
        if name == "rcvlowat":
            later = i32(1)
        a = good(set_option(k, own_id, **{name: words(name, his)}), f"set {name} again")
        good(undo(k, a), f"undo {name}")
        read_back(later, "the application's again")
        equal(peer.get(level, number, size), says(name, later), f"{name}: what the application sees at last")
        shown(pair and pair[2], None)
        failed(undo(k, a), "does not hold", "undo again")
        peer.socket.close()
    own_id = Peer(c).flow(app)["id"]
    failed(set_option(k, own_id, mark=1), "no such option", "another")
    failed(set_option(k, own_id, keepidle=0), "Invalid argument", "a value that no socket takes")
    failed(k.ask(do="get", flow=own_id, option="mark"), "no such option", "get another")
    failed(k.ask(do="get", flow=own_id ^ 2 << 32, option="linger"), "has ended", "get of one that has ended")
    failed(k.ask(do="get", option="linger"), "has ended", "get of none")


@case("two orders to the same sockets are undone each by itself, in any order", nets=("host",))
def each_undone(c):
    app = start(c)
    k, peer = Control(c, "app"), Peer(c)
    own = peer.flow(app)["id"]
    before = [get(k, own, name) for name in ("keepidle", "keepintvl")]
    for target in (own, "peer = 127.0.0.1", f":{PORT}"):
        for order_of_undoing in ((0, 1), (1, 0)):
            made = [good(set_option(k, target, keepidle=77), "set"), good(set_option(k, target, keepintvl=7), "set")]
            equal([get(k, own, name) for name in ("keepidle", "keepintvl")], ["77", "7"], "both are in force")
            for i in order_of_undoing:
                good(undo(k, made[i]), "undo")
                equal(get(k, own, ("keepidle", "keepintvl")[i]), before[i], f"{target}: number {i} is undone")
            equal([get(k, own, name) for name in ("keepidle", "keepintvl")], before, "neither is")


def acknowledged(peer):
    """Milliseconds until a byte that is not answered is acknowledged, of 15 the median."""
    times = []
    for _ in range(15):
        time.sleep(0.02)
        peer.socket.sendall(b" ")
        began = time.monotonic()
        while struct.unpack("i", fcntl.ioctl(peer.socket, termios.TIOCOUTQ, bytes(4)))[0]:
            check(time.monotonic() - began < 2, "it is acknowledged")
            time.sleep(0.0002)  # a core is the others'
        times.append((time.monotonic() - began) * 1000)
    return sorted(times)[7]


@case("quickack: bytes are acknowledged at once, or late, as long as the operator says so", nets=NETS)
def quickack(c):
    app = start(c)
    k, peer = Control(c, "app"), Peer(c, machine.HERE4)
    peer.socket.setsockopt(TCP, socket.TCP_NODELAY, 1)
    own = peer.flow(app)["id"]
    seen = []
    for value in (1, 0, 1, 0):
        a = good(set_option(k, own, quickack=value), "set")
        for _ in range(20):
            peer.ask(do="accepted")     # questions and answers: Linux itself would acknowledge late from here on
        seen.append(acknowledged(peer))
        check((seen[-1] < 30) == value, f"with quickack={value} after {seen[-1]:.1f} ms")
        equal(get(k, own, "quickack"), str(value), "read back")
        peer.ask(do="accepted")
    good(undo(k, a), "undo")
    c.note("acknowledged after " + ", ".join(f"{ms:.2f}" for ms in seen) + " ms")


@case("a datagram socket's time-outs: a call that waits already, and each that comes", nets=NETS)
def datagrams(c):
    app = start(c)
    k, peer = Control(c, "app"), Peer(c)
    own = next(f for f in app.flows() if f["proto"] == "udp")["id"]
    equal(peer.ask(do="late"), 0, "before")
    a = good(set_option(k, own, rcvtimeo=0.1), "set")
    until(3, lambda: peer.ask(do="late") >= 3, "time-outs")
    equal(peer.get(SOL, socket.SO_RCVTIMEO, 16, of="udp"), timeval(0), "what the application sees")
    good(undo(k, a), "undo")
    time.sleep(0.3)
    before = peer.ask(do="late")
    time.sleep(0.5)
    equal(peer.ask(do="late"), before, "none any more")
    good(set_option(k, own, rcvbuf=5000), "rcvbuf")
    check(" skmem:(r0,rb10000," in re.sub(r"\s+", " ", ss(app, "-Hlum", "sport", "=", f":{PORT}")), "it is in force")


@case("the stream lane: blocked, capped and set alike, but what the application's end has already", nets=("host",))
def stream_lane(c):
    app = start(c, options=("--lane", "stream"))
    k = Control(c, "app")
    listener = next(f for f in app.flows() if f["state"] == "listen" and f["local_port"] == PORT)["id"]
    until(5, lambda: not app.connections(), "none is left")
    peer = Peer(c)
    own = peer.flow(app)["id"]
    for name in ("rcvtimeo", "sndtimeo"):
        failed(set_option(k, own, **{name: 1}), "such a socket has no connection", "a time-out of one that is there")
    good(set_option(k, own, keepalive=1), "another option")
    equal(peer.get(SOL, socket.SO_KEEPALIVE), i32(0), "what the application sees")
    good(set_option(k, listener, rcvtimeo=0.3), "a time-out of those to come")
    new = Peer(c)
    new.tell(do="recv")
    a = new.line()
    equal(a["result"], "EAGAIN", "a call that waits")
    check(0.2 < a["seconds"] < 1, f"it ended after {a['seconds']} s")
    equal(new.get(SOL, socket.SO_RCVTIMEO, 16), timeval(0), "what the application sees")
    good(order(k, "cap", f":{PORT}", number=2), "cap")
    check(not tries(c, "127.0.0.1"), "a third one is refused")
    equal(good(order(k, "block", "127.0.0.1"), "block")["hit"], 2, "connections hit")
    check(peer.refused() and new.refused(), "they are reset")


@case("options: a listener's, and all sockets', for those to come", nets=NETS, limit=60)
def inherited(c):
    app = start(c)
    k = Control(c, "app")
    listener = next(f for f in app.flows() if f["state"] == "listen" and f["local_port"] == PORT)["id"]
    old = Peer(c)
    old_id = old.flow(app)["id"]
    for name, level, number, own, his, later, wrong, error, pair in TABLE:
        if name == "rcvlowat":
            continue    # of a listener: its connections wait for more than a question has
        equal(old.set(level, number, own, of="listener"), None, f"{name}: the application sets the listener's")
        before = get(k, old_id, name)
        for who, also in ((listener, False), ("all", True)):
            a = good(set_option(k, who, **{name: words(name, his)}), f"set {name}")
            new = Peer(c)
            ids = [new.flow(app)["id"]] + [old_id] * also
            for i in ids:
                equal(get(k, i, name), words(name, says(name, his)), f"{name}, {who}")
            equal(new.get(level, number, len(own)), says(name, own), f"{name}: what the application sees of a new one")
            if pair:
                f = new.flow(app)
                equal((f[f"app_{name}"], f[f"op_{name}"]), pair[:2], f"{name}: both are shown")
            good(undo(k, a), f"undo {name}")
            equal(get(k, ids[0], name), words(name, says(name, own)), f"{name}: undone, {who}")
            equal(get(k, old_id, name), before, f"{name}: the old one's, {who}")
            new.socket.close()
    good(set_option(k, listener, defer_accept=5), "defer accept")
    quiet = socket.create_connection(("127.0.0.1", PORT))
    c.callback(quiet.close)
    time.sleep(0.5)
    check(quiet.getsockname()[1] not in [f["peer_port"] for f in app.connections()], "one that says nothing is not accepted")
    quiet.sendall(b'{"do":"accepted"}\n')
    check(quiet.recv(100), "one that speaks is served")


@case("time-outs: calls that wait already and those to come; nonblock; undo", nets=NETS, limit=60)
def timeouts(c):
    app = start(c)
    k = Control(c, "app")
    peer = Peer(c)
    own = peer.flow(app)["id"]
    peer.tell(do="recv")
    time.sleep(0.3)
    good(set_option(k, own, rcvtimeo=0.4), "set")
    a = peer.line()
    equal(a["result"], "EAGAIN", "a call that waited already")
    check(0.6 < a["seconds"] < 2, f"it ended after {a['seconds']} s")
    for value, least, most in ((0.5, 0.4, 1.5), (0.1, 0.05, 1)):
        peer = Peer(c)
        own = peer.flow(app)["id"]
        peer.tell(do="set", level=SOL, name=socket.SO_RCVTIMEO, value=timeval(9).hex())
        peer.line()
        good(set_option(k, own, rcvtimeo=value), "set")
        peer.tell(do="recv")
        a = peer.line()
        equal(a["result"], "EAGAIN", "a new call")
        check(least < a["seconds"] < most, f"it ended after {a['seconds']} s")
    # a full ring: the peer does not read
    peer = Peer(c, rcvbuf=4096)
    good(set_option(k, peer.flow(app)["id"], sndtimeo=0.3), "set")
    peer.tell(do="send", bytes=100_000_000)
    sent, error = until(8, lambda: Peer(c).ask(do="last"), "the send ends", 0.1)
    check(sent < 100_000_000 and error == "EAGAIN", f"it ended with {error} after {sent} bytes")
    peer = Peer(c)
    own = peer.flow(app)["id"]
    peer.tell(do="recv")
    time.sleep(0.2)
    a = good(set_option(k, own, nonblock=1), "set nonblock")
    equal(peer.line()["result"], "EAGAIN", "a call that waited already")
    equal(get(k, own, "nonblock"), "1", "read back")
    good(undo(k, a), "undo")
    peer.tell(do="recv")
    time.sleep(0.3)
    peer.socket.sendall(b"12345")
    equal(peer.line()["result"], 5, "a call that waits again")


def memory(app, peer):
    """The kernel's memory of the connection's socket: skmem by ss."""
    text = ss(app, "-Htm", "sport", "=", f":{PORT}", "dport", "=", f":{peer.port}")
    check("skmem" in text, f"ss shows it: {text}")
    return {k: int(v) for k, v in re.findall(r"([a-z]+)(\d+)", re.search(r"skmem:\(([^)]*)\)", text)[1])}


def arena_bytes(app):
    """Memory that the rings hold."""
    base = Path(f"/proc/{app.ins_pid()}/fd")
    return max(os.stat(p).st_blocks * 512 for p in base.iterdir() if os.readlink(p).startswith("/memfd:mwcomms "))


@case("sndbuf and rcvbuf: what a slow peer, or a slow application, makes us hold really shrinks", nets=NETS, limit=60)
def buffers(c):
    app = start(c)
    k = Control(c, "app")
    peer = Peer(c, machine.HERE4, rcvbuf=4096)
    peer.tell(do="send", bytes=30_000_000)
    time.sleep(1)
    before, rings = memory(app, peer), arena_bytes(app)
    check(before["w"] > 500_000, f"the kernel holds {before}")
    good(set_option(k, peer.flow(app)["id"], sndbuf=8192), "set sndbuf")
    equal(memory(app, peer)["tb"], 16384, "its limit")
    taken = 0
    while taken < before["w"] + 2_000_000:
        taken += len(peer.socket.recv(65536))
    until(5, lambda: memory(app, peer)["w"] <= 40_000, lambda: f"it holds {memory(app, peer)}")
    check(peer.flow(app)["unsent"] <= 8192, "the ring holds no more than that")
    until(5, lambda: arena_bytes(app) <= rings - (100 << 10), lambda: f"the ring's memory: {rings}, then {arena_bytes(app)}", 0.1)
    c.note(f"kernel: {before['w']} bytes, then {memory(app, peer)['w']}; rings: {rings}, then {arena_bytes(app)}")
    for _ in range(20):
        equal(set(peer.socket.recv(65536)), {0}, "bytes are right")
    # the other way: the application does not read
    peer = Peer(c, machine.HERE4)
    peer.socket.settimeout(0.5)
    good(set_option(k, peer.flow(app)["id"], rcvbuf=8192), "set rcvbuf")
    peer.tell(do="sleep", seconds=3)
    sent = 0
    try:
        while sent < 30_000_000:
            sent += peer.socket.send(b"\n" * 65536)
    except TimeoutError:
        pass
    check(peer.flow(app)["unread"] <= 8192, f"the ring holds {peer.flow(app)['unread']} bytes")
    check(memory(app, peer)["r"] <= 50_000, f"the kernel holds {memory(app, peer)}")
    before = peer.flow(app)["rx_bytes"]     # in a window so small TCP gets on by its timers
    until(20, lambda: peer.flow(app)["rx_bytes"] > before + 30_000 and peer.flow(app)["unread"] == 0,
          lambda: f"the application reads on: {before}, then {peer.flow(app)['rx_bytes']} of {sent}")


@case("low-water marks: data shows when there is as much, room when there is as much", nets=("host",), limit=60)
def low_water(c):
    app = start(c)
    k = Control(c, "app")
    peer = Peer(c)
    own = peer.flow(app)["id"]
    peer.tell(do="poll", mask=1)
    equal(peer.line()["result"], 0, "nothing is there")
    good(set_option(k, own, rcvlowat=10), "set rcvlowat")
    peer.socket.sendall(b'{"do":"pol')
    peer.socket.sendall(b'l","mask":1,"seconds":1}\n')
    time.sleep(0.3)     # it has read that, and polls
    peer.socket.sendall(b"12345")
    equal(peer.line()["result"], 0, "five bytes are too few")
    time.sleep(0.3)     # it sleeps in recv()
    good(set_option(k, own, rcvlowat=3), "fewer")
    until(5, lambda: peer.flow(app)["unread"] == 0, "who waits has those five")
    peer.socket.sendall(b"678901234567890\n")
    until(5, lambda: peer.flow(app)["unread"] == 0, "they are read")
    equal(get(k, own, "sndlowat"), "1", "Linux's own")
    for least, ready in ((110_000, 0), (1, 4)):
        peer = Peer(c, rcvbuf=4096)
        own = peer.flow(app)["id"]
        peer.set(SOL, socket.SO_SNDBUF, i32(8192))
        good(set_option(k, own, sndlowat=least), "set sndlowat")
        equal(get(k, own, "sndlowat"), str(least), "read back")
        peer.tell(do="fill_then_poll", seconds=1.5)
        until(5, lambda: peer.flow(app)["unsent"] > 90_000, lambda: f"the ring is full: {peer.flow(app)}")
        peer.socket.settimeout(0.3)
        while peer.flow(app)["unsent"] > 60_000:
            peer.socket.recv(4_000)
        equal(until(8, lambda: Peer(c).ask(do="polled"), "an answer", 0.1), [ready], f"poll() with 60,000 unsent and {least}")
        check(peer.flow(app)["unsent"] > 30_000, "they are unsent still")


tap.main()
