# SPDX-License-Identifier: Apache-2.0
"""Orders among orders: several that hold, one undone, ports with several listeners, and what each leaves in the audit log."""
import json
import socket
from pathlib import Path

from lib import machine, servers, tap
from lib.control import Control
from lib.mw import json_lines, mw
from lib.tap import NETS, case, check, equal, matches, until

LOG = "/run/audit.log"
BOTH = ("127.0.0.1", "::1")


def start(c, **keys):
    servers.content("page.bin", 1000)
    Path(LOG).unlink(missing_ok=True)
    return servers.nginx(c, options=("--audit-log", LOG), **keys).ready(80).ready(80, host="::1")


def connect(c, host="127.0.0.1"):
    s = socket.create_connection((host, 80), timeout=5)
    c.callback(s.close)
    return s


def statuses(app):
    return [v["status"] for v in json_lines("list", "--json", app.name)]


def log():
    return [json.loads(line) for line in Path(LOG).read_text().splitlines()]


def lives(s):
    s.sendall(b"GET /page.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    try:
        return s.recv(100).startswith(b"HTTP/1.1 200")
    except ConnectionResetError:
        return False


def tries(c, host="127.0.0.1"):
    try:
        return lives(connect(c, host))
    except (ConnectionResetError, BrokenPipeError):
        return False


@case("what is undone, or over, is so also where another order came since", nets=NETS)
def undone(c):
    app = start(c)
    s = connect(c)
    app.flow_of(s)
    mw("set", app.name, "127.0.0.0/8", "keepidle=70")
    mw("set", "--ttl", "1s", app.name, "127.0.0.0/8", "keepintvl=7")
    mw("set", app.name, "127.0.0.1", "keepcnt=3")
    now = app.flow_of(s)
    equal((now["op_keepidle"], now["op_keepintvl"], now["op_keepcnt"]), (70, 7, 3), "all hold")
    mw("undo", app.name, "1")
    until(5, lambda: statuses(app)[1] == "expired", "the second expires")
    now = app.flow_of(s)
    equal((now["op_keepidle"], now["op_keepintvl"], now["op_keepcnt"]), (None, None, 3), "the third alone holds")


@case("the narrower of two orders is in force; when it is undone the wider is, again", nets=NETS)
def narrower(c):
    app = start(c)
    s = connect(c)
    one = app.flow_of(s)["id"]
    said = iter(range(1, 99))

    def order(target, seconds):
        mw("set", app.name, target, f"keepidle={seconds}")
        return str(next(said))

    def now():
        return app.flow_of(s)["op_keepidle"]

    whole, port, conn = order("all", 60), order(":80", 70), order(str(one), 80)
    equal(now(), 80, "the connection's own")
    mw("undo", app.name, conn)
    equal(now(), 70, "the listener's")
    other = connect(c)
    equal(app.flow_of(other)["op_keepidle"], 70, "of a new one too")
    mw("undo", app.name, port)
    equal((now(), app.flow_of(other)["op_keepidle"]), (60, 60), "everybody's")
    equal([f["op_keepidle"] for f in app.flows() if f["state"] == "listen" and f["local_port"] == 80], [60, 60], "of the listeners")
    mw("undo", app.name, whole)
    equal((now(), app.flow_of(other)["op_keepidle"], app.flow_of(connect(c))["op_keepidle"]), (None, None, None), "nobody's")


@case(":PORT means all its listeners: options, backlog, caps, for IPv4 and IPv6", nets=NETS)
def port(c):
    app = start(c)
    mw("set", app.name, ":80", "keepidle=70")
    for host in BOTH:
        equal(app.flow_of(connect(c, host))["op_keepidle"], 70, f"a new one at {host}")
    mw("backlog", app.name, ":80", "7")

    def backlogs():
        text = machine.run("nsenter", f"--net=/proc/{app.ins_pid()}/ns/net", "--", "ss", "-Hltn", "sport", "=", ":80")
        return {int(line.split()[2]) for line in text.splitlines()}

    equal(backlogs(), {7}, "backlogs")
    mw("undo", app.name, "1", "2")
    equal(backlogs(), {511}, "nginx's own")
    for host in BOTH:
        equal(app.flow_of(connect(c, host))["op_keepidle"], None, f"a new one at {host}")
    for per, host in (("32", "127.0.0.1"), ("128", "::1")):
        mw("cap", "--per", per, app.name, ":80", "0")
        check(not tries(c, host), f"{host} is above the cap")
    mw("undo", app.name, "3", "4")
    for host in BOTH:
        check(tries(c, host), f"{host} is not")


@case("a cap of another length replaces that of the same scope", nets=("host",))
def caps(c):
    app = start(c)
    mw("cap", app.name, ":80", "5")
    mw("cap", "--per", "24", app.name, ":80", "0")
    equal(statuses(app), ["replaced", "holds"], "the list")
    check(not tries(c), "above the second")
    mw("undo", app.name, "1", status=1)
    check(not tries(c), "above it still")
    mw("undo", app.name, "2")
    check(tries(c), "no cap")


@case("every dry run says what would be, and changes nothing", nets=("host",))
def dry(c):
    app = start(c)
    s = [connect(c) for _ in range(3)]
    for x in s:
        app.flow_of(x)
    mw("block", app.name, "127.0.0.9")
    matches(mw("unblock", "--dry-run", app.name, "127.0.0.9"), "would hit 0 connections", "unblock")
    equal(statuses(app), ["holds"], "the block")
    mw("unblock", "--dry-run", app.name, "127.0.0.8", status=1)
    for cap, hit in (("2", 3), ("3", 0)):
        matches(mw("cap", "--dry-run", app.name, "all", cap), f"would hit {hit} connections", f"a cap of {cap}")
    matches(mw("backlog", "--dry-run", app.name, ":80", "7"), "would hit 2 connections", "the listeners")
    mw("backlog", "--dry-run", app.name, ":9", "7", status=1)
    equal(mw("set", "--dry-run", app.name, ":80", "keepidle=7").count("\n"), 6, "three connections and two listeners")
    equal(statuses(app), ["holds"], "no other verdict")
    check(all(lives(x) for x in s), "they live")


@case("whatever is on the list is in the audit log, and what is refused is in neither", nets=("host",))
def failed(c):
    app = start(c)
    mw("backlog", "--why", "none there", app.name, ":9", "5", status=1)
    mw("set", app.name, str(1 << 32 | 63), "keepidle=7", status=1)
    equal(statuses(app), ["failed"], "the list")
    equal([(e["verdict"], e["event"], e["result"]) for e in log()], [(1, "set", "that connection has ended")], "the log")


@case("more minimum rates than can be watched are refused, not forgotten", nets=("host",), limit=40)
def minrates(c):
    app = start(c)
    k = Control(c, app.name)
    for n in range(64):
        a = k.ask(do="order", verb="minrate", target=f"127.0.1.{n}", number=10, grace=10)
        check(a["ok"], f"rule {n}: {a}")
    a = k.ask(do="order", verb="minrate", target="127.0.0.1", number=10, grace=10)
    equal((a["ok"], "64" in str(a["error"])), (False, True), f"one more: {a}")
    check(k.ask(do="order", verb="minrate", target="127.0.1.3", number=20, grace=10)["ok"], "one that replaces another")


tap.main()
