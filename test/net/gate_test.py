# SPDX-License-Identifier: Apache-2.0
"""The gate: connections that the application does not see until they have sent what is worth its time."""
import errno
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

from lib import http, machine, procs, servers, tap
from lib.control import Control
from lib.mw import App, command, json_lines, quick
from lib.tap import NETS, case, check, equal, until

SERVER = str(Path(__file__).resolve().parent / "lib" / "server.py")
HOLDER = str(Path(__file__).resolve().parent / "lib" / "holder.py")
LANES = ("ring", "stream")
GET = b"GET /page.bin HTTP/1.1\r\nHost: a\r\n\r\n"
TLS_CONFIG = """
worker_processes 1;
pid /run/nginx.pid;
error_log /run/nginx-error.log;
events {}
http {
	access_log off;
	server {
		listen 443 ssl;
		ssl_certificate /run/cert.pem;
		ssl_certificate_key /run/key.pem;
		location / { return 200 "secret\\n"; }
	}
}
"""


def start(c, *gates, lane="ring", options=(), port=80, **keys):
    servers.content("page.bin", 1000)
    options = (*(word for g in gates for word in ("--gate", g)), "--lane", lane, *options)
    app = servers.nginx(c, options=options, **keys).ready(port)
    app.listed()
    until(5, lambda: not held(app) and not app.connections(), "our own trial is gone")
    return app


def python(c, *argv, options=(), **keys):
    return App(c, sys.executable, SERVER, *argv, options=options, **keys)


def connect(c, port=80, **keys):
    s = socket.create_connection(("127.0.0.1", port), timeout=5, **keys)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    c.callback(s.close)
    return s


def flow(app, s):
    port = s.getsockname()[1]
    return next((f for f in app.flows() if f["peer_port"] == port), None)


def state(app, s):
    return (flow(app, s) or {}).get("state")


def held(app):
    return [f for f in app.flows() if f["state"] == "held"]


def order(c, verb, target, **keys):
    return Control(c, "nginx").ask(do="order", verb=verb, target=target, **keys)


def verdicts(name):
    return [(v["what"], v["target"], v["status"], v["hit"]) for v in json_lines("list", "--json", name)]


def is_held(app, s, head="none", size=0):
    def ready():
        f = flow(app, s)
        return f and (f["state"], f["head"], f["rx_bytes"]) == ("held", head, size) and f
    f = until(5, ready, lambda: f"held with {size} bytes, {head}: {flow(app, s)}")
    equal((f["handed"], f["pid"], f["head_at"]), (None, 0, None), "what the application has seen of it")


def was_reset(s, seconds=5):
    s.settimeout(seconds)
    try:
        data = s.recv(100)
    except ConnectionResetError:
        return True
    raise tap.Failed(f"not reset: {data!r}")


def refused(c, source="127.0.0.1"):
    """A connection that is reset as soon as it is there, or before: its port."""
    s = socket.socket()
    c.callback(s.close)
    s.bind((source, 0))
    port = s.getsockname()[1]
    try:
        s.connect(("127.0.0.1", 80))
        was_reset(s)
    except ConnectionResetError:
        pass
    return port


def answer(s, data=b"HTTP/1.1 200", seconds=5):
    s.settimeout(seconds)
    got = s.recv(65536)
    check(got.startswith(data), lambda: f"answer {got[:100]!r}, not {data!r}")


def listeners(name):
    """By port; nginx has one for IPv6 and one for IPv4, which we use."""
    return {g["port"]: g for g in sorted(json_lines("gate", "--json", name), key=lambda g: ":" not in g["local"])}


def slowly(s, data):
    """A byte at a time, each on its own."""
    for i in range(len(data)):
        s.sendall(data[i:i + 1])
        time.sleep(0.002)


def hello():
    """A ClientHello, and the session that it begins."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    session = context.wrap_bio(incoming, outgoing, server_hostname="a.example")
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read(), session, incoming, outgoing


def certificate():
    servers.need("openssl")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=a.example", "-keyout",
                    "/run/key.pem", "-out", "/run/cert.pem"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def each_lane(name, limit, nets=NETS):
    def declare(function):
        for lane in LANES:
            case(f"{name}, {lane} lane", limit, nets)(lambda c, lane=lane: function(c, lane))
        return function
    return declare


@each_lane("a header byte by byte: held until it is complete, then answered", 40)
def byte_by_byte(c, lane):
    for mode, first in (("http", GET[:-1]), ("auto", GET[:-1]), ("data", b""), ("http", b"\r\n" + GET.replace(b"\r", b"")[:-1])):
        app = start(c, mode, lane=lane)
        s = connect(c)
        slowly(s, first)
        is_held(app, s, "partial" if first else "none", len(first))
        s.sendall(GET[len(first):] if first == GET[:-1] else b"\n" if first else b"G")
        until(5, lambda: state(app, s) == "established", f"{mode}: handed over")
        if not first:
            s.sendall(GET[1:])
        answer(s)
        f = flow(app, s)
        size = len(first) + 1 if first else len(GET)
        equal((f["head"], f["head_bytes"]), ("complete", size), f"{mode}: the header")
        check(f["opened"] <= f["first_rx"] <= f["head_at"], lambda: f"times of {f}")
        app.end()


@each_lane("nothing is lost: a body behind the header, pipelined requests, an end behind them", 40)
def nothing_lost(c, lane):
    start(c, "http", lane=lane)
    body = servers.noise("gate", 300_000)
    for cut in (1, 20, 60):
        with http.Connection(port=81) as connection:
            data = http.request("/put/gate.bin", "PUT", body)
            connection.send(data[:cut])
            time.sleep(0.02)
            connection.send(data[cut:])
            check(connection.answer("PUT").status in (201, 204), "PUT")
        with http.Connection(port=81) as connection:
            check(connection.ask("/put/gate.bin").body == body, "what was put comes back")
    with http.Connection() as connection:
        connection.send(GET * 20)
        for _ in range(20):
            equal(connection.answer().status, 200, "pipelined")
    s = connect(c)
    s.sendall(GET)
    s.shutdown(socket.SHUT_WR)
    answer(s)
    for address in (machine.HERE4, f"[{machine.HERE6}]"):
        status, out, _ = command(*machine.in_neighbour(), "curl", "-sSg", f"http://{address}/page.bin", "-o", "/dev/null", "-w",
                                 "%{http_code} %{size_download}")
        equal((status, out), (0, "200 1000"), f"a neighbour's request to {address}")


@each_lane("TLS: a ClientHello byte by byte, openssl s_client, and what is none", 60)
def tls(c, lane):
    certificate()
    app = start(c, "443=tls", lane=lane, port=443, config=TLS_CONFIG)
    s = connect(c, 443)
    first, session, incoming, outgoing = hello()
    slowly(s, first[:-1])
    is_held(app, s, "partial", len(first) - 1)
    s.sendall(first[-1:])
    while True:
        incoming.write(s.recv(65536))
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            s.sendall(outgoing.read())
    equal(flow(app, s)["head_bytes"], len(first), "bytes of the ClientHello")
    session.write(b"GET / HTTP/1.0\r\n\r\n")
    s.sendall(outgoing.read())
    data = b""
    while more := s.recv(65536):
        data += more
    incoming.write(data)
    check(session.read(65536).endswith(b"secret\n"), "the answer")
    for options in ([], ["-tls1_2"]):
        out = subprocess.run(["openssl", "s_client", "-quiet", "-connect", "127.0.0.1:443", *options], timeout=10, check=False,
                             input=b"GET / HTTP/1.0\r\n\r\n", capture_output=True).stdout
        check(out.endswith(b"secret\n"), lambda: f"s_client: {out!r}")
    k = Control(c, "nginx").follow()
    for data in (GET, b"\x16\x03\x01\x00\x05\x02"):
        s = connect(c, 443)
        s.sendall(data)
        was_reset(s)
        equal(k.event("gate", peer_port=s.getsockname()[1])["error"], errno.EPROTO, "why")
    order(c, "gate", ":443", mode="auto")
    s = connect(c, 443)
    s.sendall(b"\x15")
    k.event("handed", peer_port=s.getsockname()[1])
    equal(flow(app, s)["head"], "other", "what neither TLS nor HTTP begins with is the application's at once")


@case("deadline, size, an end in between, each closed with a reset and an event that says why", limit=40, nets=NETS)
def dropped(c):
    start(c, "http")
    k = Control(c, "nginx").follow()
    equal(quick("gate", "nginx", "80", "http", "--deadline", "500ms", "--limit", "1k")[0], 0, "mw gate")
    big = GET[:-2] + b"X: " + b"y" * (1025 - len(GET) - 5) + b"\r\n\r\n"
    equal(len(big), 1025, "one too many")
    for data, why, wait in ((GET[:-1], errno.ETIMEDOUT, 0.5), (b"", errno.ETIMEDOUT, 0.5), (big, errno.EMSGSIZE, 0),
                            (b"G" * 1025, errno.EMSGSIZE, 0), (b"G" * 1024, errno.ETIMEDOUT, 0.5)):
        s, began = connect(c), time.monotonic()
        s.sendall(data)
        was_reset(s)
        took = time.monotonic() - began
        check(wait <= took + 0.02 and took < wait + 2, f"{len(data)} bytes were reset after {took:.3f} s, not {wait}")
        equal(k.event("gate", peer_port=s.getsockname()[1])["error"], why, f"why, of {len(data)} bytes")
        equal(k.event("close", peer_port=s.getsockname()[1])["state"], "held", "how it ended")
    s = connect(c)
    s.sendall(big.replace(b"yy", b"y", 1))
    answer(s)
    s = connect(c)
    s.sendall(GET[:10])
    s.shutdown(socket.SHUT_WR)
    was_reset(s)
    equal(k.event("gate", peer_port=s.getsockname()[1])["error"], errno.ENODATA, "why")
    gate = listeners("nginx")[80]
    equal((gate["dropped"] >= 6, gate["passed"], gate["held"], gate["deadline"], gate["limit"]), (True, 1, 0, 0.5, 1024), "mw gate")


@case("a slow client keeps its connection when it is done in time, whatever the deadline of others", limit=30, nets=("host",))
def own_deadline(c):
    start(c, "http")
    quick("gate", "nginx", "80", "http", "--deadline", "10s")
    quick("gate", "nginx", "81", "http", "--deadline", "300ms")
    slow, fast = connect(c, 80), connect(c, 81)
    began = time.monotonic()
    was_reset(fast)
    check(time.monotonic() - began < 5, "the shorter one")
    time.sleep(0.3)
    slow.sendall(GET)
    answer(slow)


@case("of one peer's held connections the oldest goes when there are too many; others' stay", limit=30, nets=NETS)
def per_peer(c):
    app = start(c)
    quick("gate", "nginx", "80", "http", "--per-peer", "3")
    other = connect(c, source_address=("127.0.0.9", 0)) if c.net == "host" else None
    mine = [connect(c) for _ in range(5)]
    for s in mine[:2]:
        was_reset(s)
    until(5, lambda: len(held(app)) == (4 if other else 3), lambda: f"held: {held(app)}")
    honest = connect(c)
    honest.sendall(GET)
    answer(honest)
    for s in mine[3:] + [other] * bool(other):
        s.sendall(GET)
        answer(s)


@case("set while it runs: those that are held are looked at anew, and new listeners have it", limit=40, nets=NETS)
def live(c):
    app = start(c)
    equal({g["mode"] for g in listeners("nginx").values()}, {"none"}, "at first")
    s = connect(c)
    until(5, lambda: state(app, s) == "established", "not held")
    status, out, err = quick("gate", "nginx", "80", "http")
    equal((status, "http" in out), (0, True), f"mw gate: {out}{err}")
    equal({p: g["mode"] for p, g in listeners("nginx").items()}, {80: "http", 81: "none"}, "afterwards")
    empty, some, whole = connect(c), connect(c), connect(c)
    some.sendall(b"GET / HT")
    whole.sendall(b"get /page.bin HTTP/1.0\r\nX: y\r\n")
    is_held(app, empty)
    is_held(app, some, "partial", 8)
    is_held(app, whole, "partial", 30)
    equal(order(c, "gate", ":80", mode="auto")["hit"], 2, "auto, of IPv4 and IPv6")
    until(5, lambda: state(app, whole) == "established", "auto lets what is no method go")
    order(c, "gate", ":80", mode="data")
    equal(listeners("nginx")[80]["held"], 1, "data lets go what has sent some")
    some.sendall(b"TP/1.0\r\n\r\n")
    answer(some, b"HTTP/1.1 ")
    is_held(app, empty)
    order(c, "gate", ":80", mode="none")
    equal(listeners("nginx")[80]["held"], 0, "none lets all go")
    empty.sendall(GET)
    answer(empty)
    for target, wrong in ((":80", {"mode": "x"}), (":0", {}), (":80", {"deadline": 0}), (":80", {"limit": 1 << 20}), (":80", {"limit": -1}),
                          (":80", {"per_peer": "1"}), (":9", {}), ("7", {}), ("all", {}), (":80", {"deadline": 1e300}), (":80", {"mode": 3}),
                          ("rx_bytes > 1", {}), (":65536", {}), (":80", {"mode": None})):
        equal(order(c, "gate", target, **{"mode": "http", **wrong})["ok"], False, f"{target} {wrong}")
    for argv in (("nginx", "80"), ("nginx", "x", "http"), ("nginx", "80", "x"), ("nginx", "80", "http", "--deadline", "x"),
                 ("nginx", "80", "http", "--limit", "65k"), ("--per-peer", "3"), ("nginx", "--limit", "3"),
                 ("nginx", "--ttl", "1s"), ("nginx", "80", "http", "--ttl", "x"), ("nginx", "80", "http", "--per-peer", "-1")):
        equal(quick("gate", *argv)[0], 2, f"mw gate {argv}")
    equal((quick("gate", "nginx", "9", "http")[0], quick("gate", "nobody")[0]), (1, 1), "nobody there")


@case("wrong --gate is said before anything starts")
def usage(c):
    for text in ("x", "80=", "=http", "0=http", "65536=http", "80=http,", "", "http=80", "http,", "http,x=1", "http,deadline", "http,deadline=",
                 "http,deadline=0s", "http,deadline=2h", "http,deadline=5x", "http,limit=0", "http,limit=65k", "http,per-peer=-1",
                 "http,per-peer=65537", "deadline=5s", "80=80=http", "http,80=tls", "http" + ",limit=1" * 20):
        equal(quick("run", "--gate", text, "--", "true")[0], 2, f"--gate {text}")
    c.net = "host"
    start(c, "http", "81=none")
    equal({p: g["mode"] for p, g in listeners("nginx").items()}, {80: "http", 81: "none"}, "all but one")


def settings(port):
    gate = listeners("nginx")[port]
    return [gate[k] for k in ("mode", "deadline", "limit", "per_peer")]


@case("--gate with settings: in force from the start, changed live, and back", limit=40, nets=NETS)
def given(c):
    app = start(c, "81=data,deadline=1001ms,per-peer=2", "http,deadline=1h,limit=2k")
    equal((settings(80), settings(81)), (["http", 3600.0, 2048, 100], ["data", 1.001, 32768, 2]), "as it was told")
    first = [connect(c, 81) for _ in range(3)]
    check(reset_soon(first[0]), "the third one of a peer resets the first")
    began = time.monotonic()
    check(reset_soon(first[2]), "the deadline")
    check(0.5 < time.monotonic() - began < 3, "its time")
    long = connect(c)
    long.sendall(b"GET / HTTP/1.1\r\nX: " + b"y" * 2100)
    check(reset_soon(long), "the limit")
    equal(quick("gate", "nginx", "80", "tls", "--per-peer", "7")[0], 0, "a live change")
    equal(settings(80), ["tls", 3600.0, 2048, 7], "what was not said stays")
    equal(quick("gate", "nginx", "80", "none", "--deadline", "3s")[0], 0, "another")
    equal((settings(80), settings(81)), (["none", 3.0, 2048, 7], ["data", 1.001, 32768, 2]), "that port alone")
    equal(quick("undo", "nginx", "2")[0], 0, "mw undo")
    equal(settings(80), ["http", 3600.0, 2048, 100], "as `mw run` had it")
    equal(held(app), [], "nobody is left")


def reset_soon(s):
    """Whether it is reset, within 5 s."""
    try:
        return s.recv(1) is None
    except ConnectionResetError:
        return True


@case("2,000 idle connections are held while others pass; they wake nothing but for their deadline", limit=60, nets=NETS)
def many(c):
    app = start(c, "http")
    quick("gate", "nginx", "80", "http", "--per-peer", "0", "--deadline", "15s")
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, HOLDER, "127.0.0.1", "80", "2000"], text=True, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    c.callback(lambda: (child.kill(), child.communicate()))
    ports = set(map(int, child.stdout.readline().split()))
    equal({f["peer_port"] for f in held(app)}, ports, "held")
    times = []
    for _ in range(300):
        at = time.monotonic()
        equal(http.get("/page.bin").status, 200, "an honest request")
        times.append(time.monotonic() - at)
    c.note(f"an honest request takes {sorted(times)[150] * 1000:.2f} ms, at most {max(times) * 1000:.1f} ms")
    until(5, lambda: not app.connections(), "no connection is the application's")
    check(procs.rest([app.ins_pid()], 3), "mw-ins wakes while they are held")
    until(30, lambda: not held(app), "all are gone at their deadline", 0.2)
    check(14.5 < time.monotonic() - began < 25, f"after {time.monotonic() - began:.1f} s")
    check(procs.rest([app.ins_pid()], 3), "mw-ins wakes when nobody is held any more")


@case("held connections take at most half of the slots, and the oldest goes", limit=30, nets=NETS)
def half(c):
    app = start(c, "http", options=("--max-sockets", "128"))
    mine = [connect(c, source_address=(f"127.0.1.{i}", 0) if c.net == "host" else None) for i in range(1, 91)]
    until(5, lambda: len(held(app)) == 64, lambda: f"{len(held(app))} are held")
    for s in mine[:26]:
        was_reset(s)
    for s in mine[26:]:
        s.sendall(GET)
    for s in mine[26:]:
        answer(s)


@each_lane("many are complete while the application is behind: all reach it, with what they said", 60, ("host",))
def behind(c, lane):
    Path("/run/now").unlink(missing_ok=True)
    app = python(c, "late", "/run/now", options=("--gate", "data", "--lane", lane)).ready(7000)
    quick("gate", "app", "7000", "data", "--per-peer", "0", "--deadline", "30s")
    resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
    mine = [connect(c, 7000) for _ in range(4500)]
    until(10, lambda: listeners("app")[7000]["held"] == 4500, lambda: f"held: {listeners('app')}")
    for i, s in enumerate(mine):
        s.sendall(b"%d\n" % i)
    until(10, lambda: listeners("app")[7000]["held"] == 0, "all are complete")
    late = [connect(c, 7000) for _ in range(20)]
    for i, s in enumerate(late):
        s.sendall(b"late %d\n" % i)
    handed = sum(f["handed"] is not None for f in app.flows())
    c.note(f"{handed} are in the accept queue")
    check(handed < 4500, "it has room for all")
    Path("/run/now").write_text("")
    for i, s in enumerate(mine):
        answer(s, b"%d\n" % i, 20)
    for i, s in enumerate(late):
        answer(s, b"late %d\n" % i, 20)


@case("nginx is reloaded while connections are held: its new workers get them", limit=30, nets=NETS)
def reload(c):
    app = start(c, "http")
    mine = [connect(c) for _ in range(20)]
    for s in mine:
        s.sendall(GET[:-1])
    until(5, lambda: len(held(app)) == 20, "held")
    workers = {p.pid for p in procs.below(app.app_pid())}
    os.kill(app.app_pid(), signal.SIGHUP)
    until(10, lambda: not workers - {app.app_pid()} & {p.pid for p in procs.below(app.app_pid())}, "the old workers are gone")
    equal(len(held(app)), 20, "still held")
    for s in mine:
        s.sendall(b"\n")
    for s in mine:
        answer(s)


@case("several listeners of one port, which the kernel itself keeps from waking without data", limit=30, nets=NETS)
def reuseport(c):
    app = start(c, config="""
worker_processes 3;
pid /run/nginx.pid;
error_log /run/nginx-error.log;
events {}
http { access_log off; server { listen 80 reuseport deferred; root /var/www/html; } }
""")
    equal(quick("gate", "nginx", "80", "http")[0], 0, "mw gate")
    gates = json_lines("gate", "--json", "nginx")
    equal([(g["port"], g["mode"]) for g in gates], [(80, "http")] * 3, "each of them")
    mine = [connect(c) for _ in range(30)]
    for s in mine:
        s.sendall(GET[:9])
    until(5, lambda: len(held(app)) == 30, "held")
    for s in mine:
        s.sendall(GET[9:])
    for s in mine:
        answer(s)


@case("a listener is closed while connections are held: they are reset; the port's next has the same gate", limit=30, nets=NETS)
def closed(c):
    Path("/run/go").unlink(missing_ok=True)
    subprocess.run(["mkfifo", "/run/go"], check=True)
    app = App(c, "sh", "-c", f"exec {sys.executable} {SERVER} closing </run/go", options=("--gate", "http"))
    with open("/run/go", "w", encoding="ascii") as go:
        app.ready(7000)
        quick("gate", "app", "7000", "data", "--deadline", "3s")
        mine = [connect(c, 7000) for _ in range(10)]
        until(5, lambda: len(held(app)) == 10, "held")
        go.write("\n")
        go.flush()
        for s in mine:
            was_reset(s)
        until(5, lambda: not held(app), "none is held")
        equal(listeners("app"), {}, "no listener")
        go.write("\n")
        go.flush()
        gate = until(5, lambda: listeners("app").get(7000), "another listener")
        equal((gate["mode"], gate["deadline"], gate["dropped"]), ("data", 3.0, 0), "its gate")


@each_lane("urgent data completes nothing: it is not among what the application reads", 30)
def urgent(c, lane):
    app = start(c, "http", lane=lane)
    k = Control(c, "nginx").follow()
    s = connect(c)
    s.sendall(GET[:-1])
    is_held(app, s, "partial", len(GET) - 1)
    s.send(b"\n", socket.MSG_OOB)
    was_reset(s)
    port = s.getsockname()[1]
    equal(k.event("gate", peer_port=port)["error"], errno.EPROTO, "why")
    equal([f for f in app.connections() if f["peer_port"] == port], [], "what the application has")


@case("a verb ends a held connection", limit=20, nets=("host",))
def verb(c):
    app = start(c, "http")
    for name in ("reset", "close"):
        s = connect(c)
        is_held(app, s)
        equal(order(c, name, "state = held")["hit"], 1, name)
        s.settimeout(5)
        try:
            equal((name, s.recv(10)), ("close", b""), "what the peer sees")
        except ConnectionResetError:
            equal(name, "reset", "what the peer sees")
        equal(held(app), [], "it is gone")


@case("an order as any other: listed, written down, replaced, undone, and over after its time", limit=40, nets=NETS)
def ordered(c):
    log = Path("/run/audit.log")
    log.unlink(missing_ok=True)
    app = start(c, "80=data", options=("--audit-log", str(log)))
    s = connect(c)
    is_held(app, s)
    equal(quick("gate", "nginx", "80", "none", "--dry-run")[1].splitlines()[0], "gate none would hit 1 connections", "a dry run")
    is_held(app, s)
    equal(quick("gate", "nginx", "80", "http", "--deadline", "5s", "--why", "a test")[0], 0, "one")
    equal(quick("gate", "nginx", "80", "tls", "--limit", "2k", "--per-peer", "7")[0], 0, "another")
    equal(verdicts("nginx"), [("gate http, 5 s", ":80", "replaced", 2), ("gate tls, 2048 bytes, 7 a peer", ":80", "holds", 2)], "mw list")
    equal(settings(80), ["tls", 5.0, 2048, 7], "what was not said stays")
    equal(quick("undo", "nginx", "2")[0], 0, "mw undo")
    equal(settings(80), ["data", 10.0, 32768, 100], "as `mw run` had it")
    equal(quick("undo", "nginx", "2")[0], 1, "twice")
    is_held(app, s)
    equal(quick("gate", "nginx", "81", "http", "--ttl", "1s")[0], 0, "for a second")
    equal(listeners("nginx")[81]["mode"], "http", "meanwhile")
    part = connect(c, 81)
    part.sendall(GET[:-1])
    is_held(app, part, "partial", len(GET) - 1)
    until(5, lambda: state(app, part) == "established", "nobody is held when it is over")
    equal((listeners("nginx")[81]["mode"], [v[2] for v in verdicts("nginx")]), ("none", ["replaced", "undone", "expired"]), "afterwards")
    seen = [(e["verdict"], e["event"], e["why"]) for e in map(json.loads, log.read_text().splitlines())]
    equal(seen, [(1, "gate", "a test"), (1, "replaced", "a test"), (2, "gate", ""), (2, "undone", ""), (3, "gate", ""), (3, "expired", "")], "audit")
    equal(verdicts("nginx")[1][3], 2, "listeners that it hit")


@case("the gate is as it was told when mw-telem is another", limit=30, nets=("host",))
def another_telem(c):
    app = start(c)
    quick("gate", "nginx", "80", "http", "--ttl", "4s")
    pid = app.info()["telem_pid"]
    os.kill(pid, signal.SIGKILL)
    until(5, lambda: app.info()["telem_pid"] not in (0, pid), "another telemetry process")
    equal(listeners("nginx")[80]["mode"], "http", "meanwhile")
    until(10, lambda: listeners("nginx")[80]["mode"] == "none", "it expires all the same")


@case("who is blocked, or above a cap, is refused before it is held; caps count whom the gate holds", limit=30, nets=("host",))
def refusals(c):
    app = start(c, "http")
    k = Control(c, "nginx").follow()
    old = connect(c, source_address=("127.0.0.9", 0))
    is_held(app, old)
    equal(order(c, "block", "127.0.0.9")["hit"], 1, "the one that is held")
    was_reset(old)
    equal(k.event("close", peer_port=refused(c, "127.0.0.9"))["state"], "established", "it was never held")
    equal(quick("cap", "nginx", "all", "2")[0], 0, "mw cap")
    mine = [connect(c) for _ in range(2)]
    for one in mine:
        is_held(app, one)
    equal(k.event("close", peer_port=refused(c))["state"], "established", "nor this")
    mine.pop().close()
    until(5, lambda: len(held(app)) == 1, "one has gone")
    s = connect(c)
    s.sendall(GET)
    answer(s)
    gate = listeners("nginx")[80]
    equal((gate["held"], gate["passed"]), (1, 1), "of the gate")


@case("held connections are suspect for what the peer has not sent; a verb finds them by that", limit=30, nets=NETS)
def suspects(c):
    app = start(c, "http")
    k = Control(c, "nginx")
    silent, part = connect(c), connect(c)
    part.sendall(GET[:-1])
    is_held(app, part, "partial", len(GET) - 1)
    time.sleep(1.2)
    equal(set(flow(app, silent)["suspect"].split(",")), {"no-byte", "silent"}, "who has sent nothing")
    equal(set(flow(app, part)["suspect"].split(",")), {"head", "silent"}, "who has sent a part")
    k.ask(do="follow", samples=True)
    k.event("sample", peer_port=part.getsockname()[1], state="held")
    equal(order(c, "reset", "suspect = head")["hit"], 1, "mw reset")
    was_reset(part)
    is_held(app, silent)


@case("the operator's small buffer is not too small for a header that the gate waits for", limit=30, nets=NETS)
def small_buffer(c):
    app = start(c, "http")
    equal(quick("set", "nginx", ":80", "rcvbuf=4096")[0], 0, "mw set")
    equal(quick("gate", "nginx", "80", "http", "--limit", "64k")[0], 0, "mw gate")
    s = connect(c)
    big = GET[:-2] + b"".join(b"X%d: " % i + b"y" * 4000 + b"\r\n" for i in range(7)) + b"\r\n"
    s.sendall(big[:-1])
    is_held(app, s, "partial", len(big) - 1)
    s.sendall(big[-1:])
    answer(s)


tap.main()
