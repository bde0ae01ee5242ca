# SPDX-License-Identifier: Apache-2.0
"""Several INSs for one application: spread, drained, killed, added; one accept queue."""
import json
import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from lib import http, machine, procs, servers, tap
from lib.inss import Clients, connections, even, ins, inss, order
from lib.mw import App, command, quick
from lib.tap import case, check, equal, until

PORT = 7000
SERVER = """
import resource, selectors, socket
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
listener = socket.socket(socket.AF_INET6)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
listener.bind(("::", 7000))
listener.listen(4096)
sel = selectors.DefaultSelector()
sel.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in sel.select():
        c, peer = listener.accept() if key.fileobj is listener else (key.fileobj, None)
        try:
            if peer:
                sel.register(c, selectors.EVENT_READ)
                c.sendall(("%s %d\\n" % peer[:2]).encode())
                continue
            part = c.recv(65536)
            if part:
                c.sendall(part)
                continue
        except OSError as e:
            print(f"lost {e.errno}\\n", end="", flush=True)     # in one piece: mw writes there too
        sel.unregister(c)
        c.close()
"""
def start(c, count, *argv, options=(), **keys):
    return App(c, *(argv or ("python3", "-u", "-c", SERVER)), net="isolated", options=("--ins", str(count), *options), **keys).ready(PORT)


def rules():
    return command("nft", "list", "ruleset")[1]


@case("4,000 connections: each of four INSs has its share, and the application one accept queue", limit=60)
def spread(c):
    start(c, 4)
    clients = Clients(c, 4000)
    equal((clients.opened, clients.failed, clients.wrong), (4000, 0, 0), "opened, failed, with a wrong address")
    counts = connections()
    c.note(f"connections: {counts}")
    even(counts, 4000, "connections")
    equal(clients.alive(), 4000, "still echo")



@case("one is drained, one killed outright, one added: nothing but the killed one's connections is lost", limit=90)
def changes(c):
    app = start(c, 4)
    first = Clients(c, 1200)
    resets = app.said().count("lost 104")   # of the connections that said that it is there
    before = connections()
    even(before, 1200, "connections at first")

    order("drain", "app", "2")
    equal(ins(2)["state"], "drain", "state of the drained one")
    second = Clients(c, 300)
    equal((second.opened, second.failed), (300, 0), "opened and failed while one is drained")
    now = connections()
    equal(now[2], before[2], "the drained one's connections")
    even({i: now[i] - before[i] for i in (0, 1, 3)}, 300, "new ones of the rest")

    order("kill", "app", "1")
    until(2, lambda: ins(1) is None, "the killed one leaves the list")
    third = Clients(c, 200)
    equal((third.opened, third.failed, third.wrong), (200, 0, 0), "opened and failed after one was killed")
    later = connections()
    equal(sorted(later), [0, 2, 3], "who is left")
    even({i: later[i] - now[i] for i in (0, 3)}, 200, "new ones of the rest")

    equal(int(order("add", "app")), 4, "a number is never used twice")
    fourth = Clients(c, 300)
    equal((fourth.opened, fourth.failed, fourth.wrong), (300, 0, 0), "opened and failed after one was added")
    last = connections()
    even({0: last[0] - later[0], 3: last[3] - later[3], 4: last[4]}, 300, "new ones, with one added")
    lost = (before[1] + now[1] - before[1])
    alive = [x.alive() for x in (first, second, third, fourth)]
    equal(sum(alive), 1200 + 300 + 200 + 300 - lost, f"echo still: {alive}")
    equal(app.said().count("lost 104") - resets, lost, "connections that the application saw reset")


def held(pid):
    """(descriptors, arenas mapped)"""
    return procs.fd_count(pid), len(re.findall(r"/memfd:mwcomms \(deleted\)$", Path(f"/proc/{pid}/maps").read_text(), re.M))


@case("an INS that is replaced leaves no descriptor and no memory in the application", limit=90)
def replaced(c):
    app, counts = start(c, 2), []
    for new in range(2, 8):
        old = inss()[0]
        equal(int(order("add", "app")), new, "the new one's number")
        order("drain", "app", str(old["ins"]))
        clients = Clients(c, 4)
        equal((clients.opened, clients.alive()), (4, 4), "connections, of both that are up")
        procs.end(old["keeper_pid"])
        until(5, lambda old=old: ins(old["ins"]) is None, "it leaves the list")
        counts.append(held(app.app_pid()))
    equal(counts[2:], counts[1:-1], "descriptors and arenas after each")


@case("mw flows --follow tells of INSs that come later, and goes on when the first one ends", limit=40)
def followed(c):
    app = start(c, 1)
    until(5, lambda: not app.connections(), "our own trials are gone")
    out = open("/run/followed", "w+", encoding="ascii")
    child = subprocess.Popen([machine.MW, "flows", "app", "--follow", "--json"], stdout=out)
    c.callback(lambda: (child.kill(), child.wait(), out.close()))

    def seen(event):
        lines = [json.loads(line) for line in Path("/run/followed").read_text().splitlines() if line.endswith("}")]
        return Counter(f["ins"] for f in lines if f["event"] == event and f.get("listener"))

    Clients(c, 5)
    until(5, lambda: seen("open") == {0: 5}, lambda: f"connections of the first: {seen('open')}")
    order("add", "app")
    order("drain", "app", "0")
    Clients(c, 20)
    until(5, lambda: seen("open") == {0: 5, 1: 20}, lambda: f"and of the second: {seen('open')}")
    order("kill", "app", "0")
    Clients(c, 10)
    until(5, lambda: seen("open") == {0: 5, 1: 30}, lambda: f"when the first has ended: {seen('open')}")
    check(child.poll() is None, "it goes on")
    app.end()
    equal(child.wait(5), 0, "it ends with the application")


@case("drain --wait ends an INS when its last connection has", limit=40)
def drain_wait(c):
    start(c, 2)
    clients = Clients(c, 10)
    done = []
    waiter = threading.Thread(target=lambda: done.append(quick("ins", "drain", "--wait", "app", "1", limit=30)))
    waiter.start()
    time.sleep(1)
    check(ins(1) and not done, "it is there as long as it has connections")
    clients.end()
    waiter.join(10)
    equal([d[0] for d in done], [0], "mw ins drain --wait")
    until(3, lambda: [i["ins"] for i in inss()] == [0], "only one is left")
    equal(Clients(c, 10).opened, 10, "new ones")
    status, out, err = quick("ins", "drain", "app", "0")
    equal(status, 1, "the last one is not drained")
    check("only one" in err, err)


@case("the first INS, with the listener's own socket, is killed: the application goes on", limit=60)
def home(c):
    app = start(c, 3)
    until(5, lambda: http_like("127.0.0.1"), "the host's loopback")
    order("kill", "app", "0")
    until(2, lambda: ins(0) is None, "it leaves the list")
    clients = Clients(c, 200)
    equal((clients.opened, clients.failed, clients.wrong), (200, 0, 0), "opened and failed")
    even(connections(), 200, "connections")
    check(http_like("127.0.0.1") and http_like("::1"), "the host's loopback leads to another")
    equal(clients.alive(), 200, "echo")
    order("kill", "app", "1")
    equal(Clients(c, 50).opened, 50, "with one left")
    procs.end(ins(2)["keeper_pid"])
    equal(app.wait(8), 125, "status when the last has ended")


def http_like(host):
    try:
        with socket.create_connection((host, PORT), timeout=2) as s:
            return s.recv(10) != b""
    except OSError:
        return False


OPTIONS = """
import os, socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 0))
s.listen()
port = s.getsockname()[1]
print("port", port, flush=True)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
def several(n):
    got = []
    for _ in range(n):
        c, peer = s.accept()
        got.append((c.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), c.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)))
        c.close()
    return got
print("options", several(12), flush=True)
sys.stdin.readline() if not sys.stdin.isatty() else None
while os.path.exists("/run/wait"):
    time.sleep(0.05)
s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
print("still", s.getsockname()[1] == port, s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), flush=True)
print("options", several(12), flush=True)
if os.fork() == 0:
    os.execvp(sys.executable, [sys.executable, "-c", "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); "
              "print('exec', s.getsockname()[1], s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)); c, p = s.accept(); print('exec accepted', flush=True)", str(os.dup(s.fileno()))])
os.set_inheritable(s.fileno(), True)
os.wait()
s.shutdown(socket.SHUT_RDWR)
try:
    s.accept()
except OSError as e:
    print("shut", e.errno, flush=True)
s.close()
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", port))
s.listen()
print("again", flush=True)
s.accept()
s.close()
print("end", flush=True)
time.sleep(100)
"""


@case("port 0, options, shutdown and close of a listener are those of all INSs, also after the first one's death", limit=60)
def listener(c):
    Path("/run/wait").touch()
    app = App(c, "python3", "-u", "-c", OPTIONS.replace("str(os.dup(s.fileno()))", "str(inherit(s))").replace(
        "def several", "def inherit(s):\n    fd = os.dup(s.fileno())\n    os.set_inheritable(fd, True)\n    return fd\ndef several"),
        net="isolated", options=("--ins", "3"))
    port = int(until(10, lambda: app.running() and "port" in app.said() and app.said().split("port ")[1].split()[0], "a port"))
    def knock(n):
        for _ in range(n):
            status, out, err = command(*machine.in_neighbour(), "python3", "-c",
                f"import socket; s = socket.create_connection(('{machine.HERE4}', {port}), timeout=3); s.recv(1)")
            equal(status, 0, f"a connection: {err}")
    equal([i["ports"][0]["port"] for i in inss()], [port] * 3, "one port on all")
    knock(12)
    equal(app.said().count("(1, 1)"), 12, f"options of accepted ones on all: {app.said()}")
    order("kill", "app", "0")
    until(2, lambda: ins(0) is None, "it leaves the list")
    Path("/run/wait").unlink()
    until(5, lambda: "still" in app.said(), lambda: f"the listener answers: {app.said()}")
    check("still True 1 1" in app.said(), app.said())
    knock(12)
    equal(app.said().count("(1, 0)"), 12, f"a later option, on all that are left: {app.said()}")
    until(5, lambda: f"exec {port} 1" in app.said() or knock(1) or True, "exec")
    until(5, lambda: "exec accepted" in app.said() or (knock(1) or "exec accepted" in app.said()), lambda: app.said())
    until(5, lambda: "again" in app.said(), lambda: f"shut down and again: {app.said()}")
    check("shut 22" in app.said(), app.said())
    knock(1)
    until(5, lambda: "end" in app.said(), lambda: app.said())
    until(3, lambda: not any(i["ports"] for i in inss()), lambda: f"no port is left: {[i['ports'] for i in inss()]}")
    check("dnat ip to" not in rules(), rules())


@case("nginx, with chrooted workers of another user, accepts from all INSs and knows its clients", limit=60)
def nginx(c):
    servers.nginx(c, options=("--ins", "3"), net="isolated").ready(80)
    name = inss_name()
    wanted = servers.content("small.txt", 1200)
    for _ in range(60):
        status, out, err = command(*machine.in_neighbour(), "sh", "-c",
                                   f"curl -sSgf --max-time 5 http://{machine.HERE4}/small.txt | sha256sum")
        equal((status, out.split()[0]), (0, wanted), err)
    log = Path("/var/log/nginx/access.log").read_text().splitlines() if Path("/var/log/nginx/access.log").exists() else []
    c.note(f"{len(log)} lines in the access log")
    check(all(line.startswith(machine.THERE4) for line in log if "small.txt" in line and not line.startswith("127.")), "\n".join(log[-3:]))
    opened = {i["ins"]: flows_closed(name, i["ins"]) for i in inss(name)}
    c.note(f"opened: {opened}")
    order("kill", name, "0")
    until(2, lambda: ins(0, name) is None, "it leaves the list")
    for _ in range(20):
        status, out, err = command(*machine.in_neighbour(), "curl", "-sSgf", "-o", "/dev/null", "--max-time", "5", f"http://{machine.HERE4}/small.txt")
        equal(status, 0, err)
    status, out, err = command("nginx", "-s", "reload")
    equal(status, 0, f"nginx -s reload: {out}{err}")
    time.sleep(1)
    for _ in range(20):
        status, out, err = command(*machine.in_neighbour(), "curl", "-sSgf", "-o", "/dev/null", "--max-time", "5", f"http://{machine.HERE4}/small.txt")
        equal(status, 0, err)


def inss_name():
    return inss_all()[0]["app"]


def inss_all():
    return [json.loads(line) for line in quick("ins", "list", "--json")[1].splitlines()]


def flows_closed(name, number):
    return ins(number, name)["load"]


OUTBOUND = """
import os, socket, sys, threading, time
n = int(sys.argv[2])
socks = [socket.create_connection((sys.argv[1], 9000)) for _ in range(n)]
print("there", len(socks), len({s.getsockname()[0] for s in socks}), flush=True)
while not os.path.exists("/run/go"):
    time.sleep(0.02)
listener = socket.socket()
listener.bind(("127.0.0.1", 5000))
listener.listen(100)
wild = socket.socket(socket.AF_INET6)
wild.bind(("::", 5001))
wild.listen(100)
pairs = [(socket.create_connection(("127.0.0.1", 5000)), listener.accept()[0]) for _ in range(12)]
pairs += [(socket.create_connection(("::1", 5001)), wild.accept()[0]) for _ in range(12)]
for a, b in pairs:
    a.sendall(b"here")
    assert b.recv(10) == b"here" and a.getpeername() == b.getsockname() and a.getsockname() == b.getpeername()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("127.0.0.1", 5002))
v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
v.sendto(b"datagram", ("127.0.0.1", 5002))
assert u.recv(100) == b"datagram"
try:
    again = socket.socket()
    again.bind(("127.0.0.1", 5000))
    print("bound twice")
except OSError as e:
    print("errno", e.errno, flush=True)
print("loopback", flush=True)
time.sleep(100)
"""


@case("connections that the application makes are spread; its loopback is one", limit=40)
def outbound(c):
    import subprocess
    far = subprocess.Popen([*machine.in_neighbour(), "python3", "-c",
                            "import socket, time\ns = socket.create_server(('', 9000), backlog=500)\nkeep = []\nwhile True: keep.append(s.accept())"])
    c.callback(far.wait)
    c.callback(far.kill)
    time.sleep(0.5)
    app = App(c, "python3", "-u", "-c", OUTBOUND, machine.THERE4, "120", net="isolated", options=("--ins", "4"))
    until(10, lambda: app.running() and "there" in app.said(), "connections")
    check("there 120 4" in app.said(), app.said())
    even(connections(), 120, "outbound connections")
    Path("/run/go").touch()
    until(10, lambda: app.running() and "loopback" in app.said(), lambda: f"loopback: {app.said()}")
    check("errno 98" in app.said(), app.said())



@case("telemetry and verbs: flows of all INSs, by id of one, by filter of all; metrics with the INS's number", limit=40)
def telemetry(c):
    app = App(c, "python3", "-u", "-c", SERVER, net="isolated", options=("--ins", "3", "--metrics", "9464")).ready(PORT)
    clients = Clients(c, 30)
    flows = [f for f in app.connections() if f["peer"] == machine.THERE4]
    equal({n: sum(f["ins"] == n for f in flows) for n in range(3)}, {0: 10, 1: 10, 2: 10}, "mw flows")
    check(app.listed()["sockets"] >= 33, f"mw ps: {app.listed()}")
    one = next(f for f in flows if f["ins"] == 2)
    status, out, err = quick("reset", "app", str(one["id"]))
    equal(status, 2, f"an id alone: {err}")
    check("several INSs" in err, err)
    for number in (3, 2 + (1 << 32), 1 << 64):
        status, out, err = quick("reset", "app", f"{number}/{one['id']}")
        equal((status, out), (2, ""), f"an INS that there is not: {err}")
        check(f"app has no INS {number}: " in err, err)
    equal(quick("undo", "app", "7/1")[0], 2, "a verdict of an INS that there is not")
    status, out, err = quick("reset", "app", f"2/{one['id']}")
    equal((status, out.count("1 hit")), (0, 1), f"an id with its INS: {out}{err}")
    until(3, lambda: sum(f["peer"] == machine.THERE4 for f in app.connections()) == 29, "one is gone")
    check(not any(f["ins"] == 2 and f["id"] == one["id"] for f in app.connections()), "the right one")
    status, out, err = quick("reset", "app", f"peer = {machine.THERE4} and ins != 1")
    equal(status, 0, err)
    until(3, lambda: {f["ins"] for f in app.connections() if f["peer"] == machine.THERE4} == {1},
          lambda: f"those of two INSs are gone: {out}{err}")
    status, out, err = quick("block", "app", machine.THERE4)
    equal(status, 0, err)
    until(3, lambda: not [f for f in app.connections() if f["peer"] == machine.THERE4], "a block on all")
    equal(Clients(c, 6).opened, 0, "new ones of a blocked peer")
    status, out, err = quick("list", "--json", "app")
    equal(sorted({json.loads(line)["ins"] for line in out.splitlines()}), [0, 1, 2], "mw list")
    order("add", "app")
    check("held" in quick("list", "app")[1] or "holds" in quick("list", "app")[1], "a verdict holds")
    order("drain", "app", "0")
    order("drain", "app", "1")
    order("drain", "app", "2")
    equal(Clients(c, 3).opened, 0, "a blocked peer, on an INS that was added")
    answer = http.get("/metrics", "127.0.0.1", 9464)
    check(all(f'ins="{n}"'.encode() in answer.body for n in range(4)), f"metrics of all: {answer.body[:300]}")
    clients.end()


@case("an INS that is added takes over what holds for all that is to come: caps of a port and backlogs too", limit=30)
def inherits(c):
    start(c, 1)
    status, out, err = quick("cap", "app", f":{PORT}", "2")
    equal(status, 0, f"cap: {out}{err}")
    status, out, err = quick("backlog", "app", "all", "9")
    equal(status, 0, f"backlog: {out}{err}")
    order("add", "app")

    def verdicts():
        lines = map(json.loads, quick("list", "--json", "app")[1].splitlines())
        return [(v["what"], v["target"], v["status"]) for v in lines if v["ins"] == 1]

    def backlog():
        said = machine.run("nsenter", f"--net=/proc/{ins(1)['keeper_pid']}/ns/net", "--", "ss", "-Hltn")
        return [line.split()[2] for line in said.splitlines() if f":{PORT} " in line]

    held = [("cap 2 per /32 of IPv4", f":{PORT}", "holds"), ("backlog 9", "all", "holds")]
    until(3, lambda: verdicts() == held, verdicts)
    until(3, lambda: backlog() == ["9"], backlog)
    order("drain", "app", "0")
    equal(Clients(c, 5).opened, 2, "connections of a capped peer")


@case("what is being undone when an INS is added does not hold on it", limit=30)
def ending(c):
    start(c, 1)
    for target in ("192.0.2.1", "192.0.2.2"):
        status, out, err = quick("block", "app", target)
        equal(status, 0, f"block: {out}{err}")
    pids = [ins(0)["keeper_pid"], ins(0)["worker_pid"]]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)    # so it does not answer yet
    undo = threading.Thread(target=lambda: quick("unblock", "app", "192.0.2.1"))
    undo.start()
    until(5, lambda: "ending" in quick("list", "app")[1], lambda: f"it is being undone: {quick('list', 'app')[1]}")
    order("add", "app")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    undo.join()

    def there():
        return sorted((v["ins"], v["target"]) for v in map(json.loads, quick("list", "--json", "app")[1].splitlines()) if v["status"] == "holds")
    until(3, lambda: len(there()) == 2, lambda: f"verdicts that hold: {there()}")
    equal([v[0] for v in there()], [0, 1], f"who has the other one: {there()}")


FORKED = """
import os, socket
s = socket.create_server(("", 7000), backlog=200)
os.makedirs("/run/jail", exist_ok=True)
for _ in range(3):
    if os.fork() == 0:
        os.chroot("/run/jail")
        os.chdir("/")
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        while True:
            c, peer = s.accept()
            c.sendall(("%s %d %d %s\\n" % (*peer[:2], os.getuid(), os.listdir("/"))).encode())
            c.close()
s.close()
os.wait()
"""


@case("forked, chrooted workers of another user accept from all INSs, also from one that was added", limit=40)
def forked(c):
    start(c, 2, "python3", "-u", "-c", FORKED)
    def knock(n, what):
        for _ in range(n):
            status, out, err = command(*machine.in_neighbour(), "python3", "-c", "import socket; "
                                       f"s = socket.create_connection(('{machine.HERE4}', {PORT}), timeout=3); "
                                       "n = s.getsockname(); t = s.recv(200).decode().split(); "
                                       "print(t == [n[0], str(n[1]), '65534', '[]'], t, n)")
            check(status == 0 and out.startswith("True"), f"{what}: {out}{err}")
    knock(8, "two INSs")
    order("add", "app")
    knock(6, "one more")
    equal([i["load"]["connections"] for i in inss()], [0, 0, 0], "connections left")
    order("kill", "app", "0")
    until(2, lambda: ins(0) is None, "it leaves the list")
    knock(6, "without the first")


@case("the limit of descriptors: an addition is refused, once and clearly; nothing else suffers, and later it works", limit=40)
def descriptors(c):
    app = start(c, 2, options=("--metrics", "9464"))
    clients = Clients(c, 20)
    broker = app.broker_pid()
    many = procs.fd_count(broker)
    was = machine.run("prlimit", "--noheadings", "--output", "SOFT,HARD", "--nofile", "--pid", str(broker)).split()
    for more in (1, 3, 6, 9, 12, 15):
        machine.run("prlimit", f"--nofile={many + more}:{was[1]}", "--pid", str(broker))
        status, out, err = quick("ins", "add", "app")
        check(status == 1 and len(err.splitlines()) == 1, f"with {more} free: {status} {out}{err}")
        equal([i["state"] for i in inss()], ["up", "up"], "INSs")
        check(procs.fd_count(broker) <= many + 1, f"descriptors that are left with {more} free: {procs.fd_count(broker)}, not {many}")
    machine.run("prlimit", f"--nofile={was[0]}:{was[1]}", "--pid", str(broker))
    equal(clients.alive(), 20, "echo")
    order("add", "app")
    equal(Clients(c, 30).failed, 0, "that failed")
    check(all(n >= 10 for n in connections().values()) or len(connections()) == 3, f"connections: {connections()}")


UDP = """
import socket
def bound():
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(("0.0.0.0", 7001))
    return u
u = bound()
print("bound", flush=True)
while True:
    try:
        data, peer = u.recvfrom(100)
        u.sendto(data, peer)
    except OSError as e:
        print("error", e.errno, flush=True)
        u.close()
        u = bound()
        print("again", flush=True)
"""


STREAM = """
import socket, sys, time
end = time.monotonic() + float(sys.argv[3])
done, failed = 0, []
while time.monotonic() < end:
    began = time.time()
    try:
        s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
        assert s.recv(10)
        s.close()
        done += 1
    except (OSError, AssertionError) as e:
        failed.append(began)
        print(began, e, file=sys.stderr, flush=True)
    time.sleep(0.002)
print(done, *failed)
"""


@case("a stream of new connections: none fails by a drain or an addition, and by a kill only those of that moment", limit=40)
def stream(c):
    import subprocess
    app = start(c, 4)
    child = subprocess.Popen([*machine.in_neighbour(), "python3", "-c", STREAM, machine.HERE4, str(PORT), "7"],
                             stdout=subprocess.PIPE, text=True)
    c.callback(child.kill)
    time.sleep(1)
    order("drain", "app", "3")
    time.sleep(1)
    order("add", "app")
    time.sleep(1)
    kills = [time.time()]
    order("kill", "app", "2")
    time.sleep(0.5)
    kills.append(time.time())
    procs.end(ins(1)["keeper_pid"])     # outright: nobody was told
    time.sleep(1)
    order("add", "app")
    done, *failed = map(float, child.communicate(timeout=15)[0].split())
    late = [min(t - k for k in kills if t > k - 0.1) if t > kills[0] - 0.1 else -1 for t in failed]
    c.note(f"{done:.0f} connections; failed {[round(t, 3) for t in late[:9]]} s after a kill")
    check(done > 500, f"only {done}")
    check(all(-0.1 < t < 0.5 for t in late) and len(failed) <= 5, f"{len(failed)} failed: {late[:9]}; {app.said()}")


AGAIN = """
import socket, sys, time
def connect(port, patience=0):
    s = socket.socket()
    s.settimeout(3)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", port))
    try:
        s.connect((sys.argv[1], int(sys.argv[2])))
    except ConnectionRefusedError:
        if not patience:
            raise
        s.close()
        time.sleep(0.2)
        return connect(port, patience - 1)
    assert s.recv(100)
    return s
socks = [connect(0) for _ in range(8)]
ports = [s.getsockname()[1] for s in socks]
print("open", flush=True)
sys.stdin.readline()
for s in socks:
    s.setsockopt(socket.IPPROTO_TCP, 19, 1)     # TCP_REPAIR: it ends without a word
    s.close()
for port in ports:
    connect(port, 10)   # the rules follow an INS's death; what must not be is that a port leads to it for days
print("again", flush=True)
"""


@case("a client that takes the port of a connection to an INS that died, or to an earlier application, is served", limit=30)
def ports_again(c):
    import subprocess
    app = start(c, 3)
    def client(between):
        with subprocess.Popen([*machine.in_neighbour(), "python3", "-c", AGAIN, machine.HERE4, str(PORT)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
            equal(child.stdout.readline(), "open\n", "eight connections")
            between()
            out = child.communicate("\n", timeout=20)[0]
            equal((child.returncode, out), (0, "again\n"), "and eight from their ports")
    def die():
        procs.end(ins(0)["keeper_pid"])
        order("kill", "app", "1")
        until(2, lambda: len(inss()) == 1, "one is left")
    client(die)
    def restart():
        order("add", "app")
        app.end()
        start(c, 1)
    client(restart)


@case("UDP: one INS's; when that dies the socket says ENETDOWN, and a new one is another's", limit=20)
def udp(c):
    app = App(c, "python3", "-u", "-c", UDP, net="isolated", options=("--ins", "2"))
    ask = ("python3", "-c", "import socket; u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(2); "
           f"u.sendto(b'hello', ('{machine.HERE4}', 7001)); print(u.recv(100))")
    until(5, lambda: app.running() and "bound" in app.said(), "bound")
    equal(command(*machine.in_neighbour(), *ask)[:2], (0, "b'hello'\n"), "an echo")
    order("kill", "app", "0")
    until(3, lambda: "again" in app.said(), lambda: app.said())
    equal(app.said().count("error 100"), 1, app.said())
    equal(command(*machine.in_neighbour(), *ask)[:2], (0, "b'hello'\n"), "an echo of the next")


@case("one for which there are no descriptors is not added, however far it came, and nothing is closed or left for it", limit=120)
def no_descriptors(c):
    app = start(c, 1)
    pid = app.broker_pid()
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]

    def fds():
        return sorted(int(n) for n in os.listdir(f"/proc/{pid}/fd"))

    def veths():
        return len(command("ip", "-o", "link", "show", "type", "veth")[1].splitlines())

    used, before, failed = fds(), veths(), 0
    free = [n for n in range(used[-1] + 60) if n not in used]
    for limit in free[1:]: # the first is for who asks
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
        status, _, err = quick("ins", "add", "app")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        if status == 0:
            break
        failed += 1
        until(2, lambda: fds() == used, lambda: f"descriptors with room for {free.index(limit)}: {fds()}, not {used}")
        check(err.strip() != "mw: app:", f"it says why: {err}")
        until(5, lambda: veths() == before, lambda: f"veth pairs: {veths()}, not {before}")
    c.note(f"{failed} were not added")
    check(failed > 5, f"{failed} were not added")
    order("add", "app")
    app.end()


@case("rules: those planned while it runs, none of ours afterwards; the registry's entries too", limit=40)
def leaves(c):
    before = rules()
    app = start(c, 2)
    entries = sorted(p.name for p in Path("/run/mw/app/ins").iterdir())
    equal(entries, ["0.json", "1.json"], "entries")
    entry = json.loads(Path("/run/mw/app/ins/1.json").read_text())
    equal((entry["v"], entry["app"], entry["ins"], entry["state"]), (1, "app", 1, "up"), "an entry")
    a = {i["ins"]: i["address"] for i in inss()}
    check(f"numgen inc mod 2 map {{ 0 : {a[0]} . 7000, 1 : {a[1]} . 7000 }}" in rules(), rules())
    order("drain", "app", "0")
    check(f"dnat ip to {a[1]}:7000" in rules() and "numgen" not in rules(), rules())
    beat = json.loads(Path("/run/mw/app/ins/1.json").read_text())["heartbeat"]
    until(4, lambda: json.loads(Path("/run/mw/app/ins/1.json").read_text())["heartbeat"] > beat, "a heartbeat")
    order("kill", "app", "0")
    until(2, lambda: not Path("/run/mw/app/ins/0.json").exists(), "the entry goes")
    s = c.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    s.connect("/run/mw/app/ins-ctl")
    s.sendall(b'{"do":"watch"}')
    equal([i["ins"] for i in json.loads(s.recv(65536))["ins"]], [1], "the answer to a watcher")
    beat = json.loads(Path("/run/mw/app/ins/1.json").read_text())["heartbeat"]
    until(4, lambda: json.loads(Path("/run/mw/app/ins/1.json").read_text())["heartbeat"] > beat + 1, "heartbeats of one that is watched")
    for bad in (b"", b"{", b"[]", b'{"do":1}', b'{"do":"kill"}', b'{"do":"kill","ins":-1}', b'{"do":"drain","ins":"1"}', b'{"do":"drain","ins":1}'):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
            other.connect("/run/mw/app/ins-ctl")
            other.sendall(bad)
            answer = other.recv(65536)
            check(not bad or "error" in json.loads(answer), f"{bad}: {answer}")
    app.end()
    equal(rules(), before, "rules afterwards")
    equal(sorted(str(p) for p in Path("/run/mw").rglob("*")), [], "the registry's directory")
    check("mw-" not in command("ip", "link")[1], "links")


tap.main()
