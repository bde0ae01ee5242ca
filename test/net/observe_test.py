# SPDX-License-Identifier: Apache-2.0
"""What is seen from outside while a server runs: no socket of its own, every connection with its true peer."""
import errno
import json
import os
import select
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

from lib import http, machine, procs, servers, tap
from lib.mw import App, command, protected
from lib.tap import NETS, case, check, equal, until

REMOTE = """
import socket, sys
s = socket.create_connection((sys.argv[1], 80), timeout=5)
print(*s.getsockname()[:2], flush=True)
sys.stdin.readline()
"""


def start(c, **keys):
    servers.content("page.bin", 100_000)
    app = servers.nginx(c, **keys).ready(80).ready(80, host="::1")
    until(5, lambda: not app.connections(), "our own trials are gone")
    return app


@case("nothing of the application is in its own network namespace", nets=NETS)
def no_socket(c):
    app = start(c)
    with http.Connection() as connection, http.Connection("::1") as other:
        connection.ask("/page.bin")
        other.ask("/page.bin")
        for p in procs.below(app.app_pid()):
            for name in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "udplite", "icmp"):
                path = Path(f"/proc/{p.pid}/net/{name}")
                lines = path.read_text().splitlines()[1:] if path.exists() else []
                equal(lines, [], f"sockets in net/{name} of {p.pid}")
            for line in Path(f"/proc/{p.pid}/net/dev").read_text().splitlines()[2:]:
                name, _, counters = line.partition(":")
                equal((name.strip(), set(counters.split())), ("lo", {"0"}), "interfaces and their counters")
            check(procs.namespace(p.pid) != procs.namespace("self"), "it is in the machine's namespace")
        in_ins = procs.namespace(app.ins_pid()) == procs.namespace("self")
        equal(in_ins, c.net == "host", "the INS is in the machine's namespace")


@case("a program that looks for IPv6 in /proc finds an address, on an interface that is down", nets=NETS)
def has_ipv6(c):
    status, out, err = protected("--net", c.net, "--", "cat", "/proc/net/if_inet6")
    equal((status, out.split()[:1]), (0, ["0" * 31 + "1"]), f"it sees {out}{err}")
    app = App(c, "sleep", "100")
    out = machine.run("nsenter", f"--net=/proc/{app.app_pid()}/ns/net", "ip", "-br", "link")
    equal(out.split()[:2], ["lo", "DOWN"], "in its own network")


@case("mw flows names the true peer: loopback, IPv4 and IPv6", nets=NETS)
def loopback_peers(c):
    app = start(c)
    with tap.ExitStack() as stack:
        clients = [stack.enter_context(http.Connection(host)) for host in ("127.0.0.1", "::1") for _ in range(5)]
        if c.net == "host":
            clients += [stack.enter_context(http.Connection("127.0.0.1", source=(f"127.0.0.{i}", 0)))
                        for i in range(2, 9)]
            clients.append(stack.enter_context(http.Connection("127.9.9.9")))
        wanted = {client.name() for client in clients}
        until(3, lambda: app.peers() == wanted, lambda: f"flows of {wanted}: {app.peers()}")
        for client in clients:
            client.ask("/page.bin")
        equal(app.peers(), wanted, "after a request")
    until(3, lambda: not app.connections(), "all gone")


@case("how long and how fast a peer asks: from each request's first byte to its answer's, and not while it idles", nets=NETS)
def asking(c):
    app = start(c)
    with http.Connection() as client:
        def flow():
            return next(f for f in app.connections() if f["peer_port"] == client.name()[1])
        client.ask("/page.bin")
        time.sleep(1)
        one = flow()
        equal(one["asked"], None, "it idles")
        check(0 < one["rx_busy"] < 0.5, f"the first request: {one['rx_busy']}")
        client.send(http.request("/page.bin")[:-1])
        until(5, lambda: flow()["asked"], "it asks")
        time.sleep(1)
        two = flow()
        check(1 <= two["rx_busy"] - one["rx_busy"] < 1.8, f"meanwhile: {two['rx_busy']}")
        check(abs(two["rx_rate"] - two["rx_bytes"] / two["rx_busy"]) <= 1, f"its rate: {two}")
        client.send(b"\n")
        client.answer()
        three = flow()
        equal(three["asked"], None, "it has its answer")
        check(two["rx_busy"] <= three["rx_busy"] < two["rx_busy"] + 0.8, f"afterwards: {three['rx_busy']}")
        time.sleep(0.2)
        equal(flow()["rx_busy"], three["rx_busy"], "while it idles")


@case("mw flows names the true peer: other loopback addresses", nets=("isolated",))
def other_loopback(c):
    app = start(c)
    with http.Connection("127.0.0.1", source=("127.0.0.7", 0)) as client:
        until(3, lambda: app.peers() == {client.name()}, lambda: f"{client.name()}: {app.peers()}")


@case("mw flows names the true peer: the machine's own addresses", nets=NETS)
def own_address(c):
    app = start(c)
    with http.Connection(machine.HERE4) as four, http.Connection(machine.HERE6) as six:
        wanted = {four.name(), six.name()}
        until(3, lambda: app.peers() == wanted, lambda: f"{wanted}: {app.peers()}")


@case("mw flows names the true peer: a neighbour, IPv4 and IPv6", nets=NETS)
def neighbour_peers(c):
    app = start(c)
    wanted = set()
    for host in (machine.HERE4, machine.HERE6) * 3:
        child = subprocess.Popen([*machine.in_neighbour(), "/usr/bin/python3", "-c", REMOTE, host], text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        c.callback(child.communicate)
        address, port = child.stdout.readline().split()
        wanted.add((address, int(port)))
    equal({address for address, _ in wanted}, {machine.THERE4, machine.THERE6}, "the neighbour's own view")
    until(3, lambda: app.peers() == wanted, lambda: f"{wanted}: {app.peers()}")
    check(all(f["local"] and f["local_port"] == 80 for f in app.connections()), lambda: f"local: {app.connections()}")


@case("nginx logs the client's true address", nets=NETS)
def logged(c):
    start(c)
    Path("/var/log/nginx/access.log").write_text("")
    http.get("/page.bin", "127.0.0.1")
    http.get("/page.bin", "::1")
    command(*machine.in_neighbour(), "curl", "-s", "-o", "/dev/null", f"http://{machine.HERE4}/page.bin")
    until(3, lambda: [line.split()[0] for line in Path("/var/log/nginx/access.log").read_text().splitlines()] ==
          ["127.0.0.1", "::1", machine.THERE4], lambda: Path("/var/log/nginx/access.log").read_text())


@case("a connection that never sends a byte is listed, with its age and no bytes", nets=NETS)
def silent(c):
    app = start(c)
    with http.Connection() as connection:
        flow = until(3, lambda: app.connections(), "it is listed")[0]
        equal((flow["peer"], flow["peer_port"]), connection.name(), "peer")
        equal((flow["rx_bytes"], flow["tx_bytes"], flow["first_rx"]), (0, 0, None), "bytes")
        check(abs(flow["opened"] - time.time()) < 3, "opened")
    until(3, lambda: not app.connections(), "it is gone")


REFUSED = """
import socket, time
s = socket.socket()
for port in (1, 1, 80):
    try:
        s.connect(("127.0.0.1", port))
    except ConnectionRefusedError:
        pass
s.close()
s = socket.socket()
try:
    s.connect(("127.0.0.1", 1))
except ConnectionRefusedError:
    s.close()
time.sleep(100)
"""


@case("a connection that was refused says so; one that another try made does not", nets=NETS)
def refused(c):
    out = open("/run/refused", "w+", encoding="ascii")
    script = f"import socket\nl = socket.create_server(('127.0.0.1', 80))\n{REFUSED}"
    App(c, "/usr/bin/python3", "-c", f"import time; time.sleep(1)\n{script}").listed()
    child = subprocess.Popen([machine.MW, "flows", "app", "--follow", "--json"], stdout=out, stderr=subprocess.PIPE)
    c.callback(lambda: (child.kill(), child.communicate(), out.close()))

    def ends():
        lines = [json.loads(line) for line in Path("/run/refused").read_text().splitlines() if line.endswith("}")]
        return [(f["peer_port"], f["end"], f["error"]) for f in lines if f["event"] == "close" and f["peer_port"] and not f["listener"]]

    equal(until(8, lambda: len(ends()) == 2 and ends(), "both have ended"), [(80, "closed", 0), (1, "refused", errno.ECONNREFUSED)], "how")


@case("bytes, calls and unread of a flow are right", nets=NETS)
def counters(c):
    app = start(c)
    with http.Connection() as connection:
        asked = http.request("/page.bin")
        heads = 0
        for _ in range(10):
            connection.send(asked)
            while b"\r\n\r\n" not in connection.buffer:
                connection.more()
            heads += connection.buffer.index(b"\r\n\r\n") + 4
            connection.answer()
        flow = until(3, lambda: [f for f in app.connections() if f["tx_bytes"] >= 1_000_000], "sent bytes")[0]
        equal((flow["rx_bytes"], flow["tx_bytes"]), (10 * len(asked), heads + 1_000_000), "bytes")
        equal((flow["unread"], flow["unsent"], flow["state"]), (0, 0, "established"), "left")
        check(flow["first_rx"] <= flow["first_tx"] <= flow["last_tx"], lambda: f"times of {flow}")
        check(procs.look(flow["pid"]).comm == "nginx" == flow["command"], lambda: f"owner of {flow}")


@case("mw flows --follow --json: an open and a close for each of 200 connections", limit=30, nets=NETS)
def follow(c):
    app = start(c)
    out = open("/run/followed", "w+", encoding="ascii")
    child = subprocess.Popen([machine.MW, "flows", "nginx", "--follow", "--json"], stdout=out, stderr=subprocess.PIPE)
    c.callback(lambda: (child.kill(), child.communicate(), out.close()))
    time.sleep(0.5)
    names = set()
    for _ in range(200):
        with http.Connection() as connection:
            connection.ask("/page.bin")
            names.add(connection.name())

    def seen(event):
        lines = [json.loads(line) for line in Path("/run/followed").read_text().splitlines() if line.endswith("}")]
        return [(f["peer"], f["peer_port"]) for f in lines if f["event"] == event and f.get("peer_port")]

    until(5, lambda: set(seen("close")) >= names, lambda: f"{len(names - set(seen('close')))} closes missing")
    for event in ("open", "close"):
        extra, missing = Counter(seen(event)) - Counter(names), Counter(names) - Counter(seen(event))
        equal((dict(extra), dict(missing)), ({}, {}), f"{event}s too many and missing")
    app.end()
    equal(child.wait(5), 0, "it ends with the application")


@case("mw flows --follow ends at once when nobody reads what it says, also while nothing happens", limit=30, nets=NETS)
def unread_follower(c):
    start(c)
    for how in ((), ("--json",)):
        child = subprocess.Popen([machine.MW, "flows", "nginx", "--follow", *how], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        c.callback(lambda child=child: (child.kill(), child.wait()))
        with http.Connection() as connection:
            until(5, lambda: (connection.ask("/page.bin"), select.select([child.stdout], [], [], 0.2)[0])[1], "a line")
        while select.select([child.stdout], [], [], 1)[0]:
            os.read(child.stdout.fileno(), 65536)
        child.stdout.close()
        equal(child.wait(3), -signal.SIGPIPE, "how it ends")


@case("ab, wrk and curl through the published port have no error", limit=40, nets=NETS)
def tools(c):
    servers.need("ab", "wrk", "curl")
    app = start(c)
    for argv, good in ((("ab", "-q", "-k", "-n", "2000", "-c", "50"), r"^Failed requests: +0$"),
                       (("ab", "-q", "-n", "2000", "-c", "50"), r"^Failed requests: +0$"),
                       (("wrk", "-t2", "-c50", "-d2"), r"^Requests/sec:")):
        status, out, err = command(*machine.in_neighbour(), *argv, f"http://{machine.HERE4}/page.bin", limit=30)
        equal(status, 0, f"{argv[0]}: {out}{err}")
        tap.matches(out, good, argv[0])
        check("Socket errors" not in out and "Non-2xx" not in out, f"{argv[0]}: {out}")
    until(3, lambda: not app.connections(), lambda: f"all gone: {len(app.connections())}")


@case("an idle server and its stack never wake", limit=60, nets=NETS)
def idle(c):
    app = start(c)
    with http.Connection() as connection:
        connection.ask("/page.bin")
        check(procs.rest([p.pid for p in procs.below(app.pid)], 3), "something wakes")


tap.main()
