# SPDX-License-Identifier: Apache-2.0
"""UDP servers and clients: true addresses, publishing on the host's loopback and to a neighbour, dnsmasq, unbound,
memcached, dig, volume."""
import os
import select
import socket
import subprocess
import time
from pathlib import Path

from lib import machine, mw, servers, tap
from lib.mw import App, command
from lib.tap import NETS, case, check, equal, matches, until

SERVER = str(Path(__file__).resolve().parent / "lib" / "server.py")
PYTHON = "/usr/bin/python3"
PORT = 7000


def serve(c, mode="udp", *arguments, **keys):
    app = App(c, PYTHON, SERVER, mode, *arguments, **keys)
    until(15, lambda: app.running() and "ready" in app.said(), "the server is ready")
    return app


def ask(host, text=b"x", port=PORT, seconds=5, source=None):
    """(answer, our own port) of one datagram."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(seconds)
        if source:
            s.bind((source, 0))
        s.connect((host, port))
        s.send(text)
        return s.recv(65536).decode(), s.getsockname()[1]


def answers(host, seconds=0.3, port=PORT):
    try:
        return bool(ask(host, seconds=seconds, port=port))
    except OSError:
        return False


def run(c, *argv):
    """Output of a protected command that ends by itself."""
    app = App(c, *argv, name="once")
    equal(app.wait(20), 0, f"status of {argv[0]}: {app.said()}")
    return app.said()


def from_neighbour(host, port=PORT, text="hello"):
    status, out, err = command(*machine.in_neighbour(), PYTHON, SERVER, "udpask", host, str(port), text, limit=15)
    equal((status, err), (0, ""), "the neighbour's client")
    return out.split()


@case("udp: the server sees the client's true address, and answers from the one it was asked at", nets=NETS)
def addresses(c):
    serve(c)
    for host, seen in (("127.0.0.1", "::ffff:127.0.0.1"), ("::1", "::1")):
        for _ in range(3):
            said, port = ask(host)
            equal(said.split(), [seen, str(port), seen, "x"], f"loopback {host}")
    for host, seen in ((machine.HERE4, f"::ffff:{machine.HERE4}"), (machine.HERE6, machine.HERE6)):
        said, port = ask(host)
        equal(said.split()[:2], [seen, str(port)], f"own address {host}")
    equal(from_neighbour(machine.HERE4)[0], f"::ffff:{machine.THERE4}", "a neighbour over IPv4")
    equal(from_neighbour(machine.HERE6)[0], machine.THERE6, "a neighbour over IPv6")


@case("udp: many clients at once on loopback are told apart", nets=NETS)
def told_apart(c):
    serve(c, "udp4")
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(200)]
    for s in clients:
        c.callback(s.close)
        s.settimeout(5)
        s.connect(("127.0.0.1", PORT))
    for turn in range(3):
        for start in range(0, len(clients), 50):
            for i, s in enumerate(clients[start:start + 50], start):
                s.send(f"{turn}.{i}".encode())
            for i, s in enumerate(clients[start:start + 50], start):
                equal(s.recv(100).decode().split(), ["127.0.0.1", str(s.getsockname()[1]), f"{turn}.{i}"], "answer")


@case("udp: -p [ADDR:]HOST:PORT/udp, and TCP apart from it", nets=("isolated",))
def mapped(c):
    app = serve(c, "udp4", options=("-p", "7777:7000/udp", "-p", f"{machine.HERE4}:7778:7000/udp", "-p", "7779:7000"))
    said, port = ask("127.0.0.1", port=7777)
    equal(said.split(), ["127.0.0.1", str(port), "x"], "by the mapped port")
    equal(from_neighbour(machine.HERE4, 7777)[0], machine.THERE4, "a neighbour")
    equal(from_neighbour(machine.HERE4, 7778)[0], machine.THERE4, "by that address's port")
    check(not answers("127.0.0.1"), "its own number is not published")
    check(not answers("127.0.0.1", port=7778), "an address of its own is not loopback")
    check(not answers("127.0.0.1", port=7779), "the TCP map is not UDP's")
    ports = app.info()["published"]
    equal(sorted((p["host_port"], p["port"], p["proto"]) for p in ports), [(7777, 7000, "udp"), (7778, 7000, "udp")],
          "mw ps --json")
    matches(mw.quick("ps")[1], r"7777->7000/udp", "mw ps")
    for bad in ("7777:7000/sctp", "7777/", "/udp"):
        status, _, err = mw.quick("run", "-p", bad, "--", "true")
        equal(status, 2, f"-p {bad}: {err}")


@case("udp: one bound to 127.0.0.1 is published there alone", nets=("isolated",))
def loopback_only(c):
    serve(c, "udp4", "127.0.0.1")
    said, port = ask("127.0.0.1")
    equal(said.split(), ["127.0.0.1", str(port), "x"], "loopback")
    equal(from_neighbour(machine.HERE4), ["ECONNREFUSED"], "a neighbour")


@case("udp: one bound to ::1 is published there alone", nets=("isolated",))
def loopback6_only(c):
    serve(c, "udp4", "::1")
    said, port = ask("::1")
    equal(said.split(), ["::1", str(port), "x"], "loopback")
    equal(from_neighbour(machine.HERE6), ["ECONNREFUSED"], "a neighbour")


@case("udp: a port in use is EADDRINUSE, both ways; closing gives it back", nets=NETS)
def conflicts(c):
    before = mw.listening()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("0.0.0.0", 7001))
        app = serve(c, "udp", "7001", "7002")
        matches(app.said(), "bind 7001: EADDRINUSE", "the application's bind")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            try:
                other.bind(("127.0.0.1", 7002))
                check(False, "the host's bind to a published port succeeded")
            except OSError as e:
                equal(e.errno, 98, "the host's bind")
    check(answers("127.0.0.1", 5, 7002) and answers("::1", 5, 7002), "7002 answers")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"close", ("127.0.0.1", 7002))
    until(5, lambda: mw.listening() == before, lambda: f"the port is given back: {mw.listening()}, before {before}")
    if c.net == "isolated":
        equal(app.info()["published"], [], "mw ps")


@case("udp: a client that went on sending while the server was away is answered once it is back", limit=40, nets=NETS)
def steady(c):
    script = f"""
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 5000))
s.settimeout(0.1)
while True:
    s.sendto(b"x", ({machine.HERE4!r}, {PORT}))
    try:
        s.recv(100)
        print("answered", flush=True)
    except OSError:
        print("silence", flush=True)
    time.sleep(0.05)
"""
    log = Path("/run/steady.log")
    with open(log, "wb") as out:
        child = subprocess.Popen([*machine.in_neighbour(), PYTHON, "-c", script], stdin=subprocess.DEVNULL, stdout=out)
    c.callback(child.wait)
    c.callback(child.kill)
    until(5, lambda: log.read_text().count("silence") > 3, "nobody answers yet")
    for turn in range(2):
        before = log.read_text().count("answered")
        app = serve(c, "udp4", name=f"turn{turn}")
        until(10, lambda: log.read_text().count("answered") > before + 3, "it is answered")
        app.end()
        until(5, lambda: log.read_text().endswith("silence\nsilence\nsilence\n"), "nobody answers any more")


@case("udp: port 0 and clients publish nothing; errors of the network come back", nets=NETS)
def client(c):
    before = mw.listening()
    app = App(c, PYTHON, SERVER, "udpask", machine.THERE4, "9", "stay")
    until(10, lambda: app.running() and "ECONNREFUSED" in app.said(), lambda: f"refused by a neighbour: {app.said()}")
    if c.net == "isolated":
        equal(mw.listening(), before, "bound on the host")
        equal(app.info()["published"], [], "published")
    flow = next(f for f in app.flows() if f["proto"] == "udp")
    equal((flow["state"], flow["peer"], flow["peer_port"], flow["tx_calls"], flow["tx_bytes"]),
          ("established", machine.THERE4, 9, 1, 4), "mw flows")
    equal(run(c, PYTHON, SERVER, "udpask", machine.THERE6, "9"), "ECONNREFUSED\n", "over IPv6")


@case("udp: volume from a neighbour, counted alike by the server and by mw flows", limit=60, nets=NETS)
def volume(c):
    app = serve(c, "udpcount")
    script = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect(({machine.HERE4!r}, {PORT}))
sent = total = 0
for window in range(400):
    for i in range(25):
        n = 1 + (window * 25 + i) * 37 % 1400
        s.send(b"v" * n)
        sent, total = sent + 1, total + n
    s.send(b"")
    s.recv(100)
s.send(b"")
print(sent, total, s.recv(100).decode())
"""
    status, out, err = command(*machine.in_neighbour(), PYTHON, "-c", script, limit=50)
    equal((status, err), (0, ""), "the client")
    sent, total, count, counted = map(int, out.split())
    equal((count, counted), (sent, total), "datagrams and bytes")
    flow = next(f for f in app.flows() if f["proto"] == "udp")
    equal((flow["rx_calls"], flow["rx_bytes"], flow["tx_calls"]), (sent + 401, total, 401), "mw flows")


# --- real servers ---

def dig(*words, prefix=(), limit=20):
    status, out, err = command(*prefix, "dig", "+short", "+tries=1", "+time=5", *words, limit=limit)
    equal(status, 0, f"dig {' '.join(words)}: {out}{err}")
    return out.split()


def dnsmasq(c, *more, **keys):
    servers.need("dnsmasq", "dig")
    if "MW_PRELOAD" in os.environ:
        raise tap.Skip("dnsmasq does not start with a sanitizer's runtime, natively either")
    app = App(c, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
              "--pid-file=", "--log-facility=-", "--edns-packet-max=4096",
              "--address=/test.example/192.0.2.7", "--address=/test.example/2001:db8::7",
              "--txt-record=long.example," + ",".join("x" * 200 for _ in range(15)), *more, name="dnsmasq", **keys)
    until(15, lambda: app.running() and command("dig", "+short", "+tries=1", "+time=1", "test.example", "@127.0.0.1",
                                                limit=5)[1] == "192.0.2.7\n", lambda: f"dnsmasq answers: {app.said()}")
    return app


# Only on loopback, only over UDP: dnsmasq serves interfaces that it sees, and the application's namespace has no other.
@case("dnsmasq: dig over UDP on loopback, small answers and 3,000 bytes", limit=60, nets=NETS)
def dnsmasq_answers(c):
    dnsmasq(c)
    for host in ("127.0.0.1", "::1"):
        equal(dig("test.example", f"@{host}"), ["192.0.2.7"], host)
        equal(dig("test.example", "AAAA", f"@{host}"), ["2001:db8::7"], host)
        equal(len(dig("long.example", "TXT", f"@{host}", "+bufsize=4096", "+ignore")), 15, f"3,000 bytes from {host}")


@case("unbound: dig over UDP and TCP", limit=60, nets=NETS)
def unbound(c):
    servers.need("unbound", "dig")
    Path("/run/unbound.conf").write_text("""
server:
    interface: 0.0.0.0
    interface: ::0
    interface-automatic: yes
    access-control: 0.0.0.0/0 allow
    access-control: ::0/0 allow
    username: ""
    chroot: ""
    directory: "/run"
    pidfile: ""
    use-syslog: no
    num-threads: 2
    module-config: "iterator"
    local-data: "test.example. A 192.0.2.7"
remote-control:
    control-enable: no
""")
    app = App(c, "unbound", "-d", "-c", "/run/unbound.conf", name="unbound")
    until(15, lambda: app.running() and command("dig", "+short", "+tries=1", "+time=1", "test.example", "@127.0.0.1",
                                                limit=5)[1] == "192.0.2.7\n", lambda: f"unbound answers: {app.said()}")
    for how in ("+notcp", "+tcp"):
        for host in ("127.0.0.1", "::1", machine.HERE4, machine.HERE6):
            equal(dig("test.example", f"@{host}", how), ["192.0.2.7"], f"{host} {how}")
        for host in (machine.HERE4, machine.HERE6):
            equal(dig("test.example", f"@{host}", how, prefix=machine.in_neighbour()), ["192.0.2.7"], f"{host} {how}")


def frame(number, text):
    return number.to_bytes(2, "big") + b"\0\0\0\1\0\0" + text


@case("memcached: set and get over UDP, 2,000 times, and over TCP", limit=60, nets=NETS)
def memcached(c):
    servers.need("memcached")
    app = App(c, "memcached", "-u", "root", "-l", "127.0.0.1", "-U", "11211", "-p", "11211", name="memcached").ready(11211)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect(("127.0.0.1", 11211))
        asked, answered = 0, b""
        while not answered:    # TCP is there first
            asked += 1
            check(asked < 50, "memcached does not answer")
            try:
                s.send(frame(0, b"version\r\n"))
                answered = select.select([s], [], [], 0.2)[0] and s.recv(1500)
            except ConnectionRefusedError:
                time.sleep(0.1)
        while select.select([s], [], [], 0.5)[0]:
            s.recv(1500)
        for i in range(1000):
            value = b"%d" % i * (i % 100)
            s.send(frame(2 * i, b"set k%d 0 0 %d\r\n%s\r\n" % (i % 50, len(value), value)))
            equal(s.recv(1500), frame(2 * i, b"STORED\r\n"), "set")
            s.send(frame(2 * i + 1, b"get k%d\r\n" % (i % 50)))
            equal(s.recv(1500), frame(2 * i + 1, b"VALUE k%d 0 %d\r\n%s\r\nEND\r\n" % (i % 50, len(value), value)), "get")
    with socket.create_connection(("127.0.0.1", 11211), timeout=5) as t:
        t.sendall(b"get k49\r\n")
        matches(t.recv(1500).decode(), "^VALUE k49 0 ", "over TCP")
    received = sum(f["rx_calls"] for f in app.flows() if f["proto"] == "udp")
    check(2000 < received <= 2000 + asked, f"mw flows: {received} datagrams")


@case("dig, protected: asks a neighbour's dnsmasq over UDP and TCP", limit=60, nets=NETS)
def dig_protected(c):
    servers.need("dnsmasq", "dig")
    child = subprocess.Popen([*machine.in_neighbour(), "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
                              "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--log-facility=-",
                              "--address=/test.example/192.0.2.7"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    c.callback(child.wait)
    c.callback(child.kill)
    until(10, lambda: command(*machine.in_neighbour(), "dig", "+short", "+tries=1", "+time=1", "test.example",
                              "@127.0.0.1", limit=5)[1] == "192.0.2.7\n", "the neighbour's dnsmasq")
    for host in (machine.THERE4, machine.THERE6):
        for how in ("+notcp", "+tcp"):
            equal(run(c, "dig", "+short", "+tries=1", "test.example", f"@{host}", how), "192.0.2.7\n", f"{host} {how}")


tap.main()
