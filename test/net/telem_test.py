# SPDX-License-Identifier: Apache-2.0
"""Telemetry and verbs: events while a connection lives, orders that reach it and no other, a telemetry process that dies."""
import os
import signal
import socket

from lib import servers, tap
from lib.control import Control
from lib.tap import NETS, case, check, equal, until


def start(c, **keys):
    servers.content("page.bin", 1000)
    return servers.nginx(c, **keys).ready(80)


def connect(c):
    s = socket.create_connection(("127.0.0.1", 80), timeout=5)
    c.callback(s.close)
    return s


@case("a connection's events come while they happen, in order, with its id", nets=NETS)
def events(c):
    start(c)
    k = Control(c, "nginx").follow()
    s = connect(c)
    port = s.getsockname()[1]
    accepted = k.event("accept", peer_port=port)
    check(accepted["id"] != accepted["extra"], "the listener is not the connection")
    one = {"id": accepted["extra"], "peer_port": port, "local_port": 80}
    k.event("handed", **one)
    s.sendall(b"GET /page.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    equal(k.event("recv", **one)["rx_bytes"], 35, "bytes received")
    check(k.event("send", **one)["tx_bytes"] > 100, "bytes of the answer, so far")
    s.shutdown(socket.SHUT_WR)
    k.event("fin", **one)
    closed = k.event("close", **one)
    equal((closed["rx_bytes"], closed["state"], closed["error"]), (35, "closing", 0), "the last event")
    check(closed["tx_bytes"] > 1000, "all of the answer")


@case("reset: the peer and the application see it at once; close: the peer sees an end", nets=NETS)
def end(c):
    app = start(c)
    k = Control(c, "nginx")
    for verb, wanted in (("reset", "ECONNRESET"), ("close", b"")):
        s = connect(c)
        s.sendall(b"GET /page.bin HT")
        flow = app.flow_of(s)
        answer = k.ask(do="order", verb=verb, target=str(flow["id"]))
        equal((answer["ok"], answer["hit"]), (True, 1), verb)
        try:
            seen = s.recv(10)
        except ConnectionResetError:
            seen = "ECONNRESET"
        equal(seen, wanted, f"what the peer sees of {verb}")
        until(5, lambda: not app.connections(), "nginx closes it")
        answer = k.ask(do="order", verb=verb, target=str(flow["id"]))
        equal((answer["ok"], answer["error"]), (False, "that connection has ended"), "the same verb again")


@case("a verb for a connection that has ended never reaches the slot's next", nets=("host",), limit=60)
def stale(c):
    app = start(c)
    k = Control(c, "nginx")
    old = set()
    for _ in range(50):
        s = connect(c)
        old.add(app.flow_of(s)["id"])
        s.close()
        until(5, lambda: not app.connections(), "it is gone")
    alive = connect(c)
    slot = app.flow_of(alive)["id"] & 0xffffffff
    check(any(i & 0xffffffff == slot for i in old), "the slot was used before")
    for i in old:
        equal(k.ask(do="order", verb="reset", target=str(i))["ok"], False, "a stale id is refused")
    alive.sendall(b"GET /page.bin HTTP/1.0\r\n\r\n")
    check(alive.recv(100).startswith(b"HTTP/1.1 200"), "the connection lives")


@case("nonsense on the control socket is answered, or ends that client alone")
def nonsense(c):
    c.net = "host"
    start(c)
    k = Control(c, "nginx")
    for line in (b"{}", b"[]", b"x", b'{"do":1}', b'{"do":"order"}', b'{"do":"order","verb":"reset"}',
                 b'{"do":"order","verb":"reset","target":7}', b'{"do":"order","verb":"reset","target":"7"}',
                 b'{"do":"order","verb":"reset","target":"all","ttl":"x"}', b'{"do":"order","verb":"reset","target":"all","ttl":1e99}',
                 b'{"do":"order","verb":7,"target":"all"}', b'{"do":"undo"}', b'{"do":"undo","verdict":-1}', b"\0"):
        k.socket.sendall(line + b"\n")
        equal(k.line()["ok"], False, f"the answer to {line!r}")
    k.socket.sendall(b"x" * 70000)
    try:
        end = k.socket.recv(100)
    except ConnectionResetError:
        end = b""
    equal(end, b"", "a line without end")
    equal(Control(c, "nginx").ask(do="order", verb="reset", target=str(1 << 32 | 63))["ok"], False, "others are served")


@case("telemetry that is killed is started again; connections and the control socket go on", nets=NETS)
def killed(c):
    app = start(c)
    s = connect(c)
    flow = app.flow_of(s)
    pid = app.info()["telem_pid"]
    os.kill(pid, signal.SIGKILL)
    until(5, lambda: app.info()["telem_pid"] not in (0, pid), "another telemetry process")
    s.sendall(b"GET /page.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    check(s.recv(100).startswith(b"HTTP/1.1 200"), "the connection goes on")
    k = Control(c, "nginx").follow()
    equal(Control(c, "nginx").ask(do="order", verb="reset", target=str(flow["id"]))["ok"], True, "a verb")
    k.event("close", id=flow["id"])


tap.main()
