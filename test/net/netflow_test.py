# SPDX-License-Identifier: Apache-2.0
"""The MAGICWAND NetFlow stream, by a client that knows its format and nothing else: information, requests, who may connect."""
import errno
import os
import random
import re
import signal
import socket
import struct
import sys
import time
from pathlib import Path

from lib import http, machine, mwnf, procs, servers, tap
from lib.mw import NOBODY, App, connects, for_nobody, json_lines, quick
from lib.mwnf import Stream, request
from lib.tap import NETS, case, check, equal, until

PATH = "/run/mw/nginx/netflow"
PORT = 2055
SO_RCVBUFFORCE = 33


def start(c, *options):
    servers.content("page.bin", 1000)
    return servers.nginx(c, options=options).ready(80)


def connect(c, host="127.0.0.1", port=80):
    s = socket.create_connection((host, port), timeout=5)
    c.callback(s.close)
    return s


def get(s):
    s.sendall(b"GET /page.bin HTTP/1.0\r\n\r\n")
    received = b""
    while data := s.recv(65536):
        received += data
    return received


def number(flow):
    """The stream's name for a flow's id: 0x53, the INS, generation, slot."""
    return 0x53 << 56 | flow >> 32 << 16 | flow & 0xffff


def opened(c, k, host="127.0.0.1"):
    """A connection, and its id as clients learn it."""
    s = connect(c, host)
    return s, k.event(mwnf.ACCEPT, port=s.getsockname()[1])["extra"]


def near(seen, wanted, what):
    check(abs(seen - wanted) < 5, f"{what}: {seen}, not about {wanted}")


@case("accept, recv, send, close: addresses, counts, times and ids, IPv4 and IPv6", nets=NETS)
def information(c):
    app = start(c)
    k = Stream(c, PATH).watched()
    for host, family in (("127.0.0.1", 4), ("::1", 6)):
        s = connect(c, host)
        port = s.getsockname()[1]
        accepted = k.event(mwnf.ACCEPT, port=port)
        flow = until(5, lambda port=port: next((f for f in app.flows() if f["peer_port"] == port), None), "the flow")
        one = dict(id=number(flow["id"]), extra=number(flow["id"]), port=port, local_port=80, local_family=family, family=family,
                   local=flow["local"], remote=flow["peer"])
        equal(accepted["extra"], one["id"], "the new socket's id")
        equal(accepted["id"], number(flow["listener"]), "the listener's id")
        equal({k: accepted[k] for k in one if k not in ("id", "extra")}, {k: v for k, v in one.items() if k not in ("id", "extra")},
              "accept")
        near(accepted["now_s"], time.time(), "now")
        near(accepted["start_s"], time.time(), "session start")
        check(accepted["now_ns"] < 10**9 and accepted["start_ns"] < 10**9, "nanoseconds")
        page = get(s)
        received = k.event(mwnf.RECV, **one)
        equal((received["received"], received["sent"]), (26, 0), "bytes so far")
        check(k.event(mwnf.SEND, **one)["sent"] > 0, "bytes sent so far")
        closed = k.event(mwnf.CLOSE, **one)
        equal((closed["received"], closed["sent"]), (26, len(page)), "bytes in all")
        equal((closed["start_s"], closed["start_ns"]), (accepted["start_s"], accepted["start_ns"]), "session start, later")
        check((closed["now_s"], closed["now_ns"]) > (accepted["now_s"], accepted["now_ns"]), "time goes on")
        expected = struct.pack("!4QQI16sHI16sH3Q", closed["start_s"], closed["start_ns"], closed["now_s"], closed["now_ns"], one["id"],
                               family, packed(flow["local"]), 80, family, packed(flow["peer"]), port, 26, len(page), one["id"])
        equal(closed["raw"], struct.pack("!H", mwnf.CLOSE) + expected, "each byte")
    equal(k.torn, 0, "messages in two pieces")


def packed(addr):
    return socket.inet_pton(socket.AF_INET6 if ":" in addr else socket.AF_INET, addr).ljust(16, b"\0")


OUTGOING = """
import os, socket, time
while not os.path.exists("/run/go"):
    time.sleep(0.02)
for family, host in ((socket.AF_INET, "{0}"), (socket.AF_INET6, "{1}")):
    s = socket.socket(family)
    s.bind(("", 7100 + family))
    s.connect((host, 9))
    s.close()
    s = socket.socket(family)
    s.close()
time.sleep(60)
"""


@case("create, bind, connect, close of the application's own sockets", nets=NETS)
def outgoing(c):
    Path("/run/go").unlink(missing_ok=True)
    here, kinds = {4: machine.HERE4, 6: machine.HERE6}, {4: socket.AF_INET, 6: socket.AF_INET6}
    for host in here.values():
        s = socket.create_server((host, 9), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        c.callback(s.close)
    App(c, sys.executable, "-c", OUTGOING.format(*here.values()))
    until(10, lambda: os.path.exists("/run/mw/app/netflow"), "the socket")
    k = Stream(c, "/run/mw/app/netflow").watched()
    Path("/run/go").touch()
    for family, host in here.items():
        created = k.event(mwnf.CREATE)
        equal((created["local_family"], created["family"], created["port"], created["extra"]), (family, family, 0, created["id"]), "create")
        one = dict(id=created["id"], extra=created["id"], local_port=7100 + kinds[family], local_family=family, family=family)
        equal(k.event(mwnf.BIND, **one)["port"], 0, "no peer yet")
        k.event(mwnf.CONNECT, remote=host, port=9, **one)
        k.event(mwnf.CLOSE, remote=host, port=9, **one)
        second = k.event(mwnf.CREATE)["id"]
        check(second != created["id"] and k.event(mwnf.CLOSE, id=second), "another id for another socket")


@case("monitor off and on again: for that connection alone")
def monitor(c):
    c.net = "host"
    start(c)
    k, other = Stream(c, PATH).watched(), Stream(c, PATH).watched()
    equal((k.read(mwnf.ON), k.read(mwnf.OFF)), ((0, 1, 0), (0, 0, 0)), "on")
    equal(k.write(mwnf.OFF, 0), (0, 0, 0), "switch off")
    k.seen.clear()
    equal((k.read(mwnf.ON), k.read(mwnf.OFF)), ((0, 0, 0), (0, 1, 0)), "off")
    s = connect(c)
    other.event(mwnf.ACCEPT, port=s.getsockname()[1])
    k.read(mwnf.ON)
    equal(k.seen, [], "nothing while it is off")
    k.write(mwnf.ON, 0)
    opened(c, k)
    other.write(mwnf.OFF, 0)
    k.write(mwnf.OFF, 0)
    opened_before = Stream(c, PATH)
    opened_before.watched()
    opened(c, opened_before)


@case("requests in pieces, each cut once; all of them byte by byte")
def split(c):
    c.net = "host"
    start(c)
    k = Stream(c, PATH).watched()
    _, sock = opened(c, k)
    for cut in range(1, 46):
        data = request(cut, mwnf.OPEN, mwnf.SOCKET, ident=mwnf.by_socket(sock))
        k.send(data[:cut])
        time.sleep(0.005)
        k.send(data[cut:])
        equal(k.answer(cut), (0, 1, 0), f"cut at {cut}")
    for byte in b"".join(request(1000 + i, mwnf.OPEN, mwnf.SOCKET, ident=mwnf.by_socket(sock)) for i in range(3)):
        k.send(bytes((byte,)))
        time.sleep(0.001)
    for i in range(3):
        equal(k.answer(1000 + i), (0, 1, 0), "byte by byte")


@case("1,000 requests at once: each one answer, whatever it asks, and none more", limit=40)
def pipelined(c):
    c.net = "host"
    start(c)
    k = Stream(c, PATH).watched()
    _, sock = opened(c, k)
    until(5, lambda: k.read(mwnf.OWNER, sock) == (0, 1, 0), "nginx has taken it")
    kinds = [
        (mwnf.OPEN, mwnf.SOCKET, mwnf.by_socket(sock), (0, 1, 0)),
        (mwnf.OWNER, mwnf.SOCKET, mwnf.by_socket(sock), (0, 1, 0)),
        (mwnf.OPEN, mwnf.SOCKET, mwnf.by_socket(sock ^ 1 << 40), (-errno.EBADF, 0, 0)),
        (0x7777, mwnf.SOCKET, mwnf.by_socket(sock), (-errno.EINVAL, 0, 0)),
        (mwnf.BLOCK, mwnf.READ, mwnf.by_address(4, bytes((192, 0, 2, 1))), (0, 0, 0)),
        (mwnf.OWNER, mwnf.READ, bytes(20), (-errno.EBADF, 0, 0)),
    ]
    rng = random.Random(1)
    asked = {i: rng.choice(kinds) for i in range(1, 1001)}
    k.send(b"".join(request(i, name, flags, ident=ident) for i, (name, flags, ident, _) in asked.items()))
    for i, (name, flags, _, wanted) in asked.items():
        equal(k.answer(i, 20), wanted, f"answer {i}, to {name:#x} {flags}")
    check(not k.take(0.3), "no more")


@case("names, sockets and addresses that are none are refused; the connection goes on")
def refused(c):
    c.net = "host"
    start(c)
    k = Stream(c, PATH).watched()
    s, sock = opened(c, k)
    for name in (0, 9, 0x100, 0x103, 0x1100, 0x1104, 0xffff):
        equal(k.read(name, sock)[0], -errno.EINVAL, f"read {name:#x}")
        equal(k.write(name, 1, sock)[0], -errno.EINVAL, f"write {name:#x}")
    for odd in (0, 1, sock & (1 << 56) - 1, sock | 1 << 48, sock + (1 << 16), sock | 0xffff, (1 << 64) - 1):
        for name in (mwnf.OPEN, mwnf.OWNER, mwnf.SNDBUF, mwnf.ERROR, mwnf.NODELAY):
            equal(k.ask(name, mwnf.SOCKET, ident=mwnf.by_socket(odd))[0], -errno.EBADF, f"read {name:#x} of {odd:#x}")
            equal(k.ask(name, mwnf.SOCKET | mwnf.WRITE, 1, ident=mwnf.by_socket(odd))[0], -errno.EBADF, f"write {name:#x} of {odd:#x}")
    for family, text in ((2, b"1.2.3"), (2, b"::1"), (2, b""), (3, bytes(16)), (10, bytes(16))):
        equal(k.ask(mwnf.BLOCK, mwnf.WRITE, 1, ident=mwnf.by_address(family, text))[0], -errno.EINVAL, f"block {family} {text}")
    equal(k.ask(mwnf.BLOCK, mwnf.WRITE, 2, ident=mwnf.by_address(2, b"192.0.2.1"))[0], -errno.EINVAL, "value 2")
    equal(k.ask(mwnf.BLOCK, mwnf.WRITE, 0, ident=mwnf.by_address(2, b"192.0.2.1"))[0], -errno.ENOENT, "unblock what is not blocked")
    equal(k.read(mwnf.OPEN, sock), (0, 1, 0), "the connection lives")
    check(get(s).startswith(b"HTTP/1.1 200"), "and works")


@case("what is no request ends that connection, is logged, and disturbs nobody", limit=40)
def malformed(c):
    c.net = "host"
    app = start(c)
    other = Stream(c, PATH).watched()
    rng = random.Random(2)
    for data in (b"\0", b"\xd3\x21", b"\xd3\x10" + bytes(114), b"GET / HTTP/1.0\r\n\r\n", rng.randbytes(70000).replace(b"\xd3", b"\0")):
        k = Stream(c, PATH).watched()
        k.write(mwnf.OFF, 0)
        k.send(request(1, mwnf.OFF) + data)
        equal(k.answer(1), (0, 1, 0), "the request before it")
        try:
            equal(k.exactly(1), b"", f"the end, behind {data[:20]!r}")
        except ConnectionResetError:
            pass
        time.sleep(1.05)  # so often is it said
    said = [line for line in app.said().splitlines() if "no request" in line]
    equal(len(said), 5, f"lines: {said}")
    check(said[0].startswith(f"mw-telem: nginx: netflow client process {os.getpid()}: "), said[0])
    opened(c, other)


@case("a client that goes before its answers leaves nothing behind", limit=40)
def abandoned(c):
    c.net = "host"
    app = start(c)
    watcher = Stream(c, PATH).watched()
    _, sock = opened(c, watcher)
    telem = app.info()["telem_pid"]
    many = b"".join(request(i, name, mwnf.SOCKET, ident=mwnf.by_socket(sock)) for i in range(300)
                    for name in (mwnf.OWNER, mwnf.SNDBUF, mwnf.OPEN))
    for i in range(100):
        k = Stream(c, PATH)
        k.send(many[:len(many) - i])
        k.socket.close()
    until(5, lambda: len(os.listdir(f"/proc/{telem}/fd")) < 30, "their descriptors are closed")
    equal(app.info()["telem_pid"], telem, "the same process")
    opened(c, watcher)


@case("is open: 1, then a write ends the connection and it is 0", nets=NETS)
def close(c):
    start(c)
    k = Stream(c, PATH).watched()
    for value in (0, 1):
        s, sock = opened(c, k)
        equal(k.read(mwnf.OPEN, sock), (0, 1, 0), "open")
        equal(k.write(mwnf.OPEN, value, sock), (0, 0, 0), "close it")
        equal(s.recv(10), b"", "the peer sees the end")
        k.event(mwnf.CLOSE, id=sock)
        equal(k.read(mwnf.OPEN, sock), (0, 0, 0), "not open any more")
        equal(k.write(mwnf.OPEN, value, sock)[0], -errno.EBADF, "close it again")
    listed = json_lines("list", "--json", "nginx")
    equal([(v["verb"], v["hit"], v["who"]) for v in listed], [("close", 1, f"netflow process {os.getpid()}")] * 2, "verdicts")


SERVER = str(Path(__file__).resolve().parent / "lib" / "server.py")


def interrupt(c, app, path):
    k = Stream(c, path).watched()
    s = connect(c, port=7000)
    sock = k.event(mwnf.ACCEPT, port=s.getsockname()[1])["extra"]
    s.sendall(b"x")
    equal(s.recv(1), b"x", "it is accepted")
    equal(k.read(mwnf.OWNER, sock), (0, 1, 0), "it runs")
    k.send(request(1, mwnf.OWNER, mwnf.SOCKET | mwnf.WRITE, 0, ident=mwnf.by_socket(sock)))
    equal(app.wait(10), 130, "how it ended")
    check("KeyboardInterrupt" in app.said(), f"it was interrupted: {app.said()}")


@case("owner running: 1; a write interrupts the process", nets=NETS)
def owner(c):
    interrupt(c, App(c, sys.executable, SERVER, "echo", "7000").ready(7000), "/run/mw/app/netflow")


@case("owner running, and its interruption, without root")
def owner_of_nobody(c):
    directory, script = for_nobody(c, SERVER)
    app = App(c, "/usr/bin/python3", script, "echo", "7000", net="host", env={"MW_RUNTIME_DIR": str(directory)}, prefix=NOBODY)
    interrupt(c, app.ready(7000), f"{directory}/app/netflow")


@case("owner running: 0 for a connection that nobody has accepted; ESRCH for a write", nets=NETS)
def no_owner(c):
    App(c, sys.executable, "-c", "import socket, time\ns = socket.create_server(('', 7000))\ntime.sleep(60)").ready(7000)
    k = Stream(c, "/run/mw/app/netflow").watched()
    s = connect(c, port=7000)
    sock = k.event(mwnf.ACCEPT, port=s.getsockname()[1])["extra"]
    equal(k.read(mwnf.OWNER, sock), (0, 0, 0), "nobody yet")
    equal(k.write(mwnf.OWNER, 1, sock)[0], -errno.ESRCH, "nobody to interrupt")


def far(c, where):
    """A client on the neighbouring machine."""
    machine.join(machine.neighbour_pid)
    try:
        return Stream(c, where)
    finally:
        machine.join(1)


def capture(c):
    """What arrives at the neighbouring machine, from the IP header on."""
    machine.join(machine.neighbour_pid)
    try:
        s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    finally:
        machine.join(1)
    c.callback(s.close)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    s.bind(("nb0", 3))
    s.setblocking(False)
    return s


def segments(s):
    """Payloads of the TCP segments from our port."""
    while True:
        try:
            packet = s.recv(65536)
        except BlockingIOError:
            return
        six = packet[0] >> 4 == 6
        tcp = packet[40:] if six else packet[(packet[0] & 15) * 4:int.from_bytes(packet[2:4], "big")]
        if packet[6 if six else 9] == socket.IPPROTO_TCP and int.from_bytes(tcp[:2], "big") == PORT:
            yield tcp[(tcp[12] >> 4) * 4:]


def whole(data):
    """The number of messages that it consists of; Failed when one is cut, or it would be cut on its way."""
    check(len(data) <= 1460, f"a segment of {len(data)} bytes")
    count = 0
    while data:
        signature = int.from_bytes(data[:2], "big")
        check(signature in mwnf.LENGTHS and len(data) >= 6 + mwnf.LENGTHS[signature], f"a message that is cut: {data.hex()}")
        data = data[6 + mwnf.LENGTHS[signature]:]
        count += 1
    return count


def where(app):
    """ADDR:PORT as mw ps tells it."""
    host, _, port = app.listed()["netflow"].rpartition(":")
    return host.strip("[]"), int(port)


def load(count):
    """That many connections, each with a request."""
    servers.need("ab")
    machine.run("ab", "-q", "-n", str(count), "-c", "16", "http://127.0.0.1/page.bin", limit=60)


@case("--netflow: TCP, IPv4 and IPv6; mw ps says where; messages are whole in 1,500-byte packets", nets=NETS, limit=60)
def tcp(c):
    for host, prefix in ((machine.HERE4, "10.77.0.0/24"), (machine.HERE6, "fd77::/64")):
        with tap.Case(c.net) as one:
            text = f"[{host}]:{PORT}" if ":" in host else f"{host}:{PORT}"
            app = start(one, "--netflow", text, "--netflow-allow", "192.0.2.0/24", "--netflow-allow", prefix)
            equal(app.listed()["netflow"], text, "mw ps")
            k, beside = far(one, where(app)).watched(), Stream(one, PATH).watched()
            k.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)    # a window that is full would cut messages
            s, sock = opened(one, k)
            beside.event(mwnf.ACCEPT, extra=sock)
            equal(k.write(mwnf.OPEN, 1, sock), (0, 0, 0), "close it")
            equal(s.recv(1), b"", "the peer sees it")
            wire, sizes = capture(one), []
            for _ in range(4):
                load(500)
                for _ in range(500):
                    k.event(mwnf.CLOSE)
                sizes += [whole(data) for data in segments(wire)]
            equal(k.torn, 0, "messages in two pieces")
            check(max(sizes) > 4, "some had many messages")
    equal(Path("/run/mw").exists() and os.listdir("/run/mw"), [], "what is left")


@case("without TCP mw ps says the UNIX socket's path; it is the user's alone")
def unix(c):
    c.net = "host"
    app = start(c)
    equal(app.listed()["netflow"], PATH, "mw ps")
    equal(os.stat("/run/mw/nginx").st_mode & 0o777, 0o700, "the directory's mode")


@case("--netflow-allow: needed where others can reach it; who is in no prefix is refused and logged", limit=30)
def allow(c):
    c.net = "host"
    for addr in (f"{machine.HERE4}:{PORT}", f"0.0.0.0:{PORT}", f"[::]:{PORT}", f"[{machine.HERE6}]:{PORT}"):
        status, _, err = quick("run", "--net", "host", "--netflow", addr, "true")
        equal(status, 2, f"status with {addr}")
        check("--netflow-allow" in err, err)
    for bad in ("1.2.3.4", "127.0.0.1:0", "127.0.0.1:65536", "[::1]", "::1:80", "127.0.0.1:80x", "localhost:80", ":80", ""):
        equal(quick("run", "--net", "host", "--netflow", bad, "true")[0], 2, f"status with {bad!r}")
    for more in (("--netflow-allow", "::/0"), ("--netflow", f"127.0.0.1:{PORT}", "--netflow-allow", "1.2.3.4/24")):
        equal(quick("run", "--net", "host", *more, "true")[0], 2, f"status with {more}")
    taken = socket.create_server(("127.0.0.1", PORT))
    status, _, err = quick("run", "--net", "host", "--netflow", f"127.0.0.1:{PORT}", "true")
    equal((status, "Address already in use" in err), (125, True), err)
    taken.close()
    app = start(c, "--netflow", f"0.0.0.0:{PORT}", "--netflow-allow", machine.THERE4)
    k = far(c, (machine.HERE4, PORT)).watched()
    for host in (machine.HERE4, "127.0.0.1"):
        other = Stream(c, (host, PORT))
        try:
            equal(other.exactly(1), b"", "who is not allowed")
        except ConnectionResetError:
            pass
        check(f"netflow client {host}:" in app.said() and "is in no prefix" in app.said(), app.said())
        time.sleep(1.05)
    opened(c, k)


@case("several INSs: the stream by TCP is the first one's, and the next one's when that is killed", limit=40)
def several(c):
    c.net = "isolated"
    start(c, "--ins", "2", "--netflow", f"127.0.0.1:{PORT}", "--netflow-allow", "127.0.0.0/8")
    until(5, lambda: connects("::1", 80), "nginx has all its listeners")
    first = Stream(c, ("127.0.0.1", PORT)).watched()
    for _ in range(2):
        socket.create_connection((machine.HERE4, 80), timeout=5).close()
    equal(first.event(mwnf.ACCEPT)["local_port"], 80, "an event of the first")
    equal(quick("ins", "kill", "nginx", "0")[0], 0, "mw ins kill")
    until(3, lambda: not os.path.exists("/run/mw/nginx/netflow"), "it is gone")
    k = Stream(c, ("127.0.0.1", PORT)).watched()
    s, flow = opened(c, k, machine.HERE4)
    equal(flow, k.event(mwnf.CLOSE, id=flow)["id"] if s.close() is None else 0, "an event of the next")
    for p in procs.table().values():
        if p.comm == "mw-telem":
            os.kill(p.pid, signal.SIGKILL)      # and it stays that one's
    until(5, lambda: connects("127.0.0.1", PORT) and Stream(c, ("127.0.0.1", PORT)).watched(), "the stream, again")


@case("one that does not read is dropped and logged; nine others and the server go on", limit=60)
def stalled(c):
    c.net = "host"
    app = start(c, "--netflow", f"127.0.0.1:{PORT}", "--metrics", "9464")
    many = [Stream(c, PATH if i % 2 else ("127.0.0.1", PORT)).watched() for i in range(9)]
    lazy = Stream(c, ("127.0.0.1", PORT))
    for _ in range(12):
        load(500)
        for k in many:
            for _ in range(500):
                k.event(mwnf.CLOSE)
    equal([k.torn for k in many], [0] * len(many), "messages in two pieces")
    lines = [line for line in app.said().splitlines() if "does not read" in line]
    equal(len(lines), 1, f"lines: {lines}")
    got = 0
    try:
        while data := lazy.socket.recv(1 << 20):
            got += len(data)
    except ConnectionResetError:
        pass
    lost = re.search(rb'^mwcomms_telemetry_lost_total{.*what="netflow"} (\d+)$', http.get("/metrics", port=9464).body, re.M)
    c.note(f"the one that was dropped had {got} bytes to read, and {int(lost[1])} messages were lost")
    check(1000 < int(lost[1]) < 20_000, "messages lost")
    for k in many:
        equal(k.read(mwnf.ON), (0, 1, 0), "the others are served")


@case("who asks and does not read is dropped; who asks more than can be under way is slowed, not refused", limit=60)
def greedy(c):
    c.net = "host"
    app = start(c)
    watcher = Stream(c, PATH).watched()
    _, sock = opened(c, watcher)
    k = Stream(c, PATH)
    one = request(7, mwnf.OWNER, mwnf.SOCKET, ident=mwnf.by_socket(sock))
    k.socket.settimeout(20)
    try:
        while True:
            k.socket.sendall(one * 1000)
    except (ConnectionResetError, BrokenPipeError):
        pass
    check("does not read" in app.said(), app.said())
    opened(c, watcher)


@case("64 clients at once; the next is refused until one goes")
def full(c):
    c.net = "host"
    app = start(c)

    def served():
        try:
            return Stream(c, PATH).read(mwnf.ON) == (0, 1, 0)
        except (EOFError, ConnectionError):
            return False

    many = [Stream(c, PATH).watched() for _ in range(64)]
    try:
        equal(Stream(c, PATH).exactly(1), b"", "the 65th")
    except ConnectionResetError:
        pass
    check("there are 64 already" in app.said(), app.said())
    many.pop().socket.close()
    until(5, served, "another's place")
    s, sock = opened(c, many[0])
    for k in many[1:]:
        equal(k.event(mwnf.ACCEPT, port=s.getsockname()[1])["extra"], sock, "what each sees")


@case("telemetry that is killed is started again: the socket is there, ids are the same", nets=("host",))
def killed(c):
    app = start(c, "--netflow", f"127.0.0.1:{PORT}")
    k = Stream(c, PATH).watched()
    _, sock = opened(c, k)
    pid = app.info()["telem_pid"]
    os.kill(pid, signal.SIGKILL)
    until(5, lambda: app.info()["telem_pid"] not in (0, pid), "another telemetry process")
    for where_to in (PATH, ("127.0.0.1", PORT)):
        k = Stream(c, where_to).watched()
        equal(k.read(mwnf.OPEN, sock), (0, 1, 0), "the connection is known")
        equal(k.read(mwnf.OWNER, sock), (0, 1, 0), "and its owner")


tap.main()
