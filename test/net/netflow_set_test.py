# SPDX-License-Identifier: Apache-2.0
"""What a client of the MAGICWAND stream writes is read back, and is seen from outside on the very socket in the INS, and by the
application and its peer."""
import ctypes
import errno
import os
import socket
import struct
import sys
import time
from pathlib import Path

from lib import machine, mwnf, tap
from lib.lines import Lines
from lib.mw import App, json_lines
from lib.mwnf import Stream
from lib.tap import NETS, case, check, equal, matches, until

SERVER = str(Path(__file__).resolve().parent / "lib" / "options.py")
STREAM = "/run/mw/app/netflow"
PORT = 7000
SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438
TCP, TCP_DEFER_ACCEPT, TCP_QUICKACK, TCP_CONGESTION = socket.IPPROTO_TCP, 9, 12, 13
SOL, SNDLOWAT = socket.SOL_SOCKET, 19
ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text().split()
libc = ctypes.CDLL(None, use_errno=True)


def start(c):
    return App(c, sys.executable, SERVER, str(PORT)).ready(PORT)


class Peer(Lines):
    """A connection whose other end does as it is told, and what is known of it."""

    def __init__(self, c, app, k, host="127.0.0.1"):
        self.app = app
        self.socket = socket.create_connection((host, PORT), timeout=10)
        c.callback(self.socket.close)
        self.port = self.socket.getsockname()[1]
        accepted = k.event(mwnf.ACCEPT, port=self.port)
        self.id, self.listener = accepted["extra"], accepted["id"]
        self.rest = b""
        self.ask(do="accepted")

    def get(self, level, name, size=4):
        """As the application sees it."""
        return bytes.fromhex(self.ask(do="get", level=level, name=name, size=size))

    def live(self, level, name, size=4):
        """The option of the INS's own socket."""
        with ins_socket(self.app, self.port) as s:
            return s.getsockopt(level, name, size)

    def ss(self):
        """The kernel's line about it: in the INS's network, or, when it came by the host's loopback, in the host's."""
        ss = ("ss", "-tmioneH", f"dport = :{self.port}")
        return machine.run("nsenter", f"--net=/proc/{self.app.ins_pid()}/ns/net", "--", *ss) or machine.run(*ss)


def ins_socket(app, port):
    """A duplicate of the INS's connection from that port, or of its listener when that is 0."""
    pid = app.ins_pid()
    pidfd = libc.syscall(SYS_PIDFD_OPEN, pid, 0)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            fd = libc.syscall(SYS_PIDFD_GETFD, pidfd, int(name), 0)
            if fd < 0:
                continue
            try:
                s = socket.socket(fileno=fd)
            except OSError:
                os.close(fd)
                continue
            if is_that(s, port):
                return s
            s.close()
    finally:
        os.close(pidfd)
    raise tap.Failed(f"no socket of port {port} in the INS")


def is_that(s, port):
    if s.family not in (socket.AF_INET, socket.AF_INET6) or s.type != socket.SOCK_STREAM:
        return False
    try:
        return s.getpeername()[1] == port
    except OSError:
        return port == 0 and s.getsockname()[1] == PORT


def number(data):
    return struct.unpack("i", data)[0]


def write(k, name, value, sock=None, back=None, micros=0):
    """Written, and read back as `back` or the same."""
    equal(k.write(name, value, sock, micros), (0, 0, 0), f"write {name:#x} = {value}")
    equal(k.read(name, sock), (0, value if back is None else back, micros), f"read {name:#x} back")


FLAGS = (
    (mwnf.REUSEADDR, SOL, socket.SO_REUSEADDR), (mwnf.REUSEPORT, SOL, socket.SO_REUSEPORT),
    (mwnf.KEEPALIVE, SOL, socket.SO_KEEPALIVE), (mwnf.NODELAY, TCP, socket.TCP_NODELAY),
)


@case("flags: reuseaddr, reuseport, keepalive, nodelay", nets=NETS)
def flags(c):
    app = start(c)
    k = Stream(c, STREAM).watched()
    for host in ("127.0.0.1", "::1"):
        peer = Peer(c, app, k, host)
        for name, level, option in FLAGS:
            for value in (1, 0, 1):
                write(k, name, value, peer.id)
                equal(number(peer.live(level, option)), value, f"{name:#x} of the live socket")
        matches(peer.ss(), r"timer:\(keepalive", "ss")


@case("buffers: bytes as they were set, half of what Linux shows", nets=NETS)
def buffers(c):
    app = start(c)
    k = Stream(c, STREAM).watched()
    peer = Peer(c, app, k)
    for name, option, column in ((mwnf.SNDBUF, socket.SO_SNDBUF, "tb"), (mwnf.RCVBUF, socket.SO_RCVBUF, "rb")):
        for value in (8192, 65536, 20000):
            write(k, name, value, peer.id)
            equal(number(peer.live(SOL, option)), 2 * value, f"{name:#x} of the live socket")
            matches(peer.ss(), rf"skmem:\(.*\b{column}{2 * value}\b", "ss")


@case("congestion control: of a connection, of the whole stack; newreno is reno; old names", nets=NETS)
def congestion(c):
    app = start(c)
    k = Stream(c, STREAM).watched()
    peer, other = Peer(c, app, k), Peer(c, app, k)
    default = other.live(TCP, TCP_CONGESTION, 16).rstrip(b"\0").decode()
    if "cubic" in ALLOWED:
        write(k, mwnf.CONGESTION, mwnf.CUBIC, peer.id)
        matches(peer.ss(), r"\bcubic\b", "ss")
    else:
        equal(k.write(mwnf.CONGESTION, mwnf.CUBIC, peer.id)[0], -errno.EPERM, "what this host keeps for administrators")
    for value, back in ((mwnf.RENO, None), (mwnf.NEWRENO, mwnf.RENO)):
        write(k, mwnf.CONGESTION, value, peer.id, back)
        matches(peer.ss(), r"\breno\b", "ss")
        equal(peer.live(TCP, TCP_CONGESTION, 16).rstrip(b"\0"), b"reno", "the live socket")
    equal(k.read(mwnf.CONGESTION, other.id), {"reno": (0, mwnf.RENO, 0), "cubic": (0, mwnf.CUBIC, 0)}.get(default, (-errno.ERANGE, 0, 0)),
          "another connection, as before")
    equal(k.read(mwnf.CONGESTION), k.read(mwnf.CONGESTION, other.id), "of the whole stack, before anybody set it")
    equal(k.read(mwnf.DELACK)[0], 0, "delayed ACK, of the whole stack")
    write(k, mwnf.CONGESTION_2, mwnf.RENO)
    for one in (peer, other, Peer(c, app, k)):
        matches(one.ss(), r"\breno\b", "every connection, new ones too")
    equal(k.write(mwnf.CONGESTION, 0x93, peer.id)[0], -errno.EINVAL, "no such algorithm")


@case("delayed ACK: a signed change between at once (0) and delayed (1)", nets=NETS)
def delayed(c):
    app = start(c)
    k = Stream(c, STREAM).watched()
    peer = Peer(c, app, k)
    for name in (mwnf.DELACK, mwnf.DELACK_2):
        for change, state in ((-1, 0), (1, 1), (5, 1), (-7, 0), (0, 0)):
            equal(k.write(name, change, peer.id), (0, 0, 0), f"change by {change}")
            equal(k.read(name, peer.id), (0, state, 0), f"after a change by {change}")
            equal(number(peer.live(TCP, TCP_QUICKACK)), 1 - state, "TCP_QUICKACK of the live socket")
    equal(k.write(mwnf.DELACK, -1), (0, 0, 0), "of the whole stack")
    equal(k.read(mwnf.DELACK), (0, 0, 0), "read back")


@case("time-outs: the application's blocking calls end in time", nets=NETS, limit=30)
def timeouts(c):
    app = start(c)
    k = Stream(c, STREAM).watched()
    peer = Peer(c, app, k)
    write(k, mwnf.RCVTIMEO, 0, peer.id, micros=300000)
    until(5, lambda: next(f for f in app.flows() if f["peer_port"] == peer.port)["op_rcvtimeo"] == 300, "the flow record says so")
    peer.tell(do="recv")
    answer = peer.line()
    equal(answer["result"], "EAGAIN", "recv()")
    check(0.25 < answer["seconds"] < 2, f"it took {answer['seconds']} s")
    write(k, mwnf.SNDTIMEO, 2, peer.id, micros=500000)
    until(5, lambda: next(f for f in app.flows() if f["peer_port"] == peer.port)["op_sndtimeo"] == 2500, "the flow record says so")
    equal(k.write(mwnf.RCVTIMEO, 1, peer.id, 1000000)[0], -errno.EDOM, "a million microseconds")


@case("nonblock: the application's recv() does not wait", nets=NETS)
def nonblock(c):
    app = start(c)
    k = Stream(c, STREAM).watched()
    peer = Peer(c, app, k)
    write(k, mwnf.NONBLOCK, 1, peer.id)
    peer.tell(do="recv")
    answer = peer.line()
    equal((answer["result"], answer["seconds"] < 1), ("EAGAIN", True), f"recv(): {answer}")
    write(k, mwnf.NONBLOCK, 0, peer.id)


@case("low-water marks", nets=NETS)
def lowat(c):
    app = start(c)
    k = Stream(c, STREAM).watched()
    peer = Peer(c, app, k)
    accepted = peer.ask(do="accepted")
    write(k, mwnf.SNDLOWAT, 4096, peer.id)
    write(k, mwnf.RCVLOWAT, 100, peer.id)
    peer.socket.sendall(b'{"do":"accepted"}\n')
    time.sleep(0.3)
    peer.socket.settimeout(0.3)
    try:
        raise tap.Failed(f"read with 18 bytes there: {peer.socket.recv(100)}")
    except TimeoutError:
        pass
    peer.socket.settimeout(10)
    peer.socket.sendall(b'{"do":"accepted"}' + b" " * 100 + b"\n")
    equal([peer.line()["result"] for _ in range(2)], [accepted] * 2, "both questions, when there are 100 bytes")
    write(k, mwnf.RCVLOWAT, 1, peer.id)


@case("defer accept, on a listener", nets=NETS)
def defer(c):
    app = start(c)
    k = Stream(c, STREAM).watched()
    peer = Peer(c, app, k)
    equal(k.write(mwnf.DEFER_ACCEPT, 1, peer.listener), (0, 0, 0), "write")
    status, seconds, _ = k.read(mwnf.DEFER_ACCEPT, peer.listener)
    equal((status, seconds), (0, 1), "read back")
    with ins_socket(app, 0) as s:
        equal(s.getsockopt(TCP, TCP_DEFER_ACCEPT), 1, "of the live listener")


@case("error: read and cleared", nets=NETS)
def error(c):
    app = start(c)
    k = Stream(c, STREAM).watched()
    peer = Peer(c, app, k)
    equal(k.read(mwnf.ERROR, peer.id), (0, 0, 0), "none")
    peer.tell(do="sleep", seconds=2)
    peer.socket.setsockopt(SOL, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.socket.close()
    time.sleep(0.5)
    equal(k.read(mwnf.ERROR, peer.id), (0, errno.ECONNRESET, 0), "reset by the peer")
    equal(k.read(mwnf.ERROR, peer.id), (0, 0, 0), "cleared")
    equal(k.write(mwnf.ERROR, 0, peer.id), (0, 0, 0), "a write clears it too")


def tries(host):
    """Whether a new connection gets an answer."""
    try:
        with socket.create_connection((host, PORT), timeout=5) as s:
            s.sendall(b'{"do":"accepted"}\n')
            return bool(s.recv(100))
    except ConnectionError:
        return False


@case("block: as text like existing clients, binary, IPv6; what is there ends, new ones are refused; unblock", nets=NETS)
def block(c):
    app = start(c)
    k = Stream(c, STREAM).watched()
    forms = (("127.0.0.1", mwnf.WRITE, mwnf.by_address(2, b"127.0.0.1")),
             ("127.0.0.1", mwnf.WRITE | mwnf.ADDRESS, mwnf.by_address(4, bytes((127, 0, 0, 1)))),
             ("127.0.0.1", mwnf.WRITE, mwnf.by_address(6, bytes(10) + b"\xff\xff\x7f\0\0\1")),
             ("::1", mwnf.WRITE | mwnf.ADDRESS, mwnf.by_address(6, bytes(15) + b"\1")))
    for host, how, ident in forms:
        peer = Peer(c, app, k, host)
        equal(k.ask(mwnf.BLOCK, how & ~1, ident=ident), (0, 0, 0), "not blocked")
        equal(k.ask(mwnf.BLOCK, how, 1, ident=ident), (0, 0, 0), "block")
        equal(k.ask(mwnf.BLOCK, how & ~1, ident=ident), (0, 1, 0), "blocked")
        try:
            equal(peer.socket.recv(10), b"", "what is there ends")
        except ConnectionResetError:
            pass
        check(not tries(host), "a new one is refused")
        check(tries("::1" if host != "::1" else "127.0.0.1"), "others are not")
        equal(k.ask(mwnf.BLOCK, how, 0, ident=ident), (0, 0, 0), "unblock")
        equal(k.ask(mwnf.BLOCK, how & ~1, ident=ident), (0, 0, 0), "not blocked any more")
        check(tries(host), "a new one lives")
        equal(k.ask(mwnf.BLOCK, how, 0, ident=ident)[0], -errno.ENOENT, "unblock again")
    # what `mw block` has blocked is seen
    machine.run(machine.MW, "block", "app", "192.0.2.0/24")
    equal(k.ask(mwnf.BLOCK, ident=mwnf.by_address(2, b"192.0.2.77")), (0, 1, 0), "inside of a blocked prefix")


@case("each write is a verdict: listed with what, whom and by whom", nets=("host",))
def verdicts(c):
    app = start(c)
    k = Stream(c, STREAM).watched()
    peer = Peer(c, app, k)
    k.write(mwnf.SNDBUF, 8192, peer.id)
    k.write(mwnf.RCVTIMEO, 1, peer.id, 5)
    k.write(mwnf.CONGESTION, mwnf.RENO)
    k.ask(mwnf.BLOCK, mwnf.WRITE, 1, ident=mwnf.by_address(2, b"192.0.2.1"))
    flow = next(f for f in app.flows() if f["peer_port"] == peer.port)["id"]
    who = f"netflow process {os.getpid()}"
    equal([(v["what"], v["target"], v["status"], v["who"]) for v in json_lines("list", "--json", "app")],
          [("sndbuf=8192", str(flow), "holds", who), ("rcvtimeo=1.000005", str(flow), "holds", who),
           ("congestion=reno", "all", "holds", who), ("block", "192.0.2.1/32", "holds", who)], "the list")


@case("options of connections that have ended do not fill the list of verdicts; what holds stays on it", nets=("host",), limit=90)
def many(c):
    start(c)
    k = Stream(c, STREAM).watched()
    k.ask(mwnf.BLOCK, mwnf.WRITE, 1, ident=mwnf.by_address(2, b"192.0.2.1"))
    for i in range(4200):
        with socket.create_connection(("127.0.0.1", PORT), timeout=5) as s:
            sock = k.event(mwnf.ACCEPT, port=s.getsockname()[1])["extra"]
            equal(k.write(mwnf.KEEPALIVE, 1, sock), (0, 0, 0), f"write {i}")
    equal(k.ask(mwnf.BLOCK, ident=mwnf.by_address(2, b"192.0.2.1")), (0, 1, 0), "blocked before all of them")
    check(any(v["what"] == "block" for v in json_lines("list", "--json", "app")), "it is listed")


@case("values that no option takes are refused", nets=("host",))
def bad_values(c):
    app = start(c)
    k = Stream(c, STREAM).watched()
    peer = Peer(c, app, k)
    for name in (mwnf.SNDBUF, mwnf.KEEPALIVE, mwnf.NODELAY, mwnf.RCVLOWAT, mwnf.NONBLOCK):
        for value in (1 << 31, 1 << 63, (1 << 64) - 1):
            equal(k.write(name, value, peer.id)[0], -errno.EINVAL, f"{name:#x} = {value:#x}")
    equal(k.write(mwnf.SNDTIMEO, 1 << 63, peer.id)[0], -errno.EDOM, "seconds below zero")
    peer.ask(do="accepted")


tap.main()
