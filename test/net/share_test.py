# SPDX-License-Identifier: Apache-2.0
"""Four INSs under nginx as Debian has it (a master of root's, workers of www-data) with 4,000 clients of many addresses: shares, a drain,
a death, an addition."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from lib import machine, procs, servers, tap
from lib.inss import as_planned, connections, even, grown, ins, order
from lib.mw import App, command
from lib.tap import case, check, equal, until

SOURCES = [f"10.77.0.{n}" for n in range(20, 36)] + [f"fd77::{n}" for n in range(20, 24)]
LOG = "var/log/nginx/who.log"
RULES = ("tcp/0/80/80",)
CONFIG = """
user www-data;
worker_processes 4;
worker_rlimit_nofile 19000;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events { worker_connections 12000; }
http {
	log_format who '$remote_addr $remote_port $pid';
	access_log /var/log/nginx/who.log who;
	keepalive_timeout 600s;
	keepalive_requests 100000;
	server {
		listen 80 backlog=4096;
		listen [::]:80 backlog=4096;
		location / { return 200 "$remote_addr $remote_port\\n"; }
	}
}
"""
CLIENT = """
import json, resource, socket, sys, time
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
four, six, mode, number, *sources = sys.argv[1:]
ASK = b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"

def asked(s):
    s.sendall(ASK)
    data = b""
    while not data.endswith(b"\\n") or b"\\r\\n\\r\\n" not in data:
        part = s.recv(4096)
        if not part:
            raise OSError("ended")
        data += part
    own = s.getsockname()
    if data.split(b"\\r\\n\\r\\n")[1].decode().split() != [own[0], str(own[1])]:
        wrong.append((data.decode(), own[:2]))

def connected(i):
    source = sources[i % len(sources)]
    s = socket.create_connection((six if ":" in source else four, 80), timeout=4, source_address=(source, 0))
    asked(s)
    return s

socks, failed, wrong = [], [], []
def attempt(i):
    began = time.time()
    try:
        return connected(i)
    except OSError as e:
        failed.append((began, str(e)))

if mode == "hold":
    socks = [s for s in map(attempt, range(int(number))) if s]
    print(json.dumps([len(socks), failed, wrong]), flush=True)
    sys.stdin.readline()
    dead = []
    for s in socks:
        own = s.getsockname()
        try:
            asked(s)
        except OSError:
            dead.append(own[:2])
    print(json.dumps([len(socks) - len(dead), dead, wrong]), flush=True)
else:
    end, done = time.monotonic() + float(number), 0
    while time.monotonic() < end:
        s = attempt(done)
        if s:
            s.close()
        done += 1
        time.sleep(0.004)
    print(json.dumps([done, failed, wrong]), flush=True)
"""


class Clients:
    """Connections that are held (`hold`, a number), or one after the other (`stream`, seconds), from all sources in turn."""

    def __init__(self, c, mode, number):
        self.child = subprocess.Popen([*machine.in_neighbour(), sys.executable, "-c", CLIENT, machine.HERE4, machine.HERE6, mode, str(number), *SOURCES],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        c.callback(self.child.wait)
        c.callback(self.child.kill)

    def told(self):
        """(how many, which failed); nginx knew each by its own address."""
        count, failed, wrong = json.loads(self.child.stdout.readline())
        equal(wrong, [], "addresses that nginx did not know")
        return count, failed

    def dead(self):
        """Which are not answered any more."""
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return {tuple(name) for name in self.told()[1]}


def sources():
    for address in SOURCES:
        command(*machine.in_neighbour(), "ip", "addr", "add", address + ("/64" if ":" in address else "/24"), "dev", "nb0", *(["nodad"] if ":" in address else []))


def jail(c):
    """A root directory of its own: the same system, but for what is written, and what tests have put elsewhere."""
    root = Path("/run/jail")
    root.mkdir()
    machine.run("mount", "--bind", "/", str(root))
    c.callback(machine.run, "umount", "-R", str(root))
    for name in ("run", "var/log", "tmp"):
        machine.run("mount", "-t", "tmpfs", "tmpfs", str(root / name))
    machine.run("mount", "--bind", "/dev", str(root / "dev"))
    (root / "var/log/nginx").mkdir()
    return root


def start(c, count, root=Path("/")):
    sources()
    servers.need("nginx")
    inside = ("chroot", str(root)) if root != Path("/") else ()
    (root / "var/log/nginx").mkdir(exist_ok=True)
    (root / LOG).unlink(missing_ok=True)
    (root / "run/nginx-test.conf").write_text(CONFIG)
    app = App(c, *inside, "nginx", "-c", "/run/nginx-test.conf", "-g", "daemon off;", net="isolated", options=("--ins", str(count))).ready(80)

    def workers():
        found = [p.pid for p in procs.below(app.app_pid()) if "\nUid:\t33\t" in Path(f"/proc/{p.pid}/status").read_text()]
        return {os.readlink(f"/proc/{pid}/root") for pid in found} == {str(root)} and len(found) == 4
    until(5, workers, f"four workers of www-data in {root}")
    return app


def hold(c, count, what):
    clients = Clients(c, "hold", count)
    equal(clients.told(), (count, []), f"opened and failed {what}")
    return clients


def logged(root):
    """Each client by its own address; each worker had its part."""
    lines = [line.split() for line in (root / LOG).read_text().splitlines()]
    equal({line[0] for line in lines} - {"127.0.0.1"}, set(SOURCES), "addresses in nginx's log")
    equal(len({line[2] for line in lines}), 4, "workers that answered")


@case("nginx behind four INSs: 4,000 connections, one drained, one killed with its keeper, one added", limit=120)
def four(c):
    app = start(c, 4)
    first = hold(c, 4000, "at first")
    before = connections()
    c.note(f"connections: {before}")
    even(before, 4000, "connections")
    as_planned("app", *RULES)

    stream = Clients(c, "stream", 9)
    time.sleep(1)
    order("drain", "app", "2")
    as_planned("app", *RULES)
    base = connections()
    second = hold(c, 300, "while one is drained")
    even(grown(connections(), base, 0, 1, 3), 300, "new ones of the rest", 15)    # the stream's come and go

    held = {(f["peer"].replace("::ffff:", ""), f["peer_port"]) for f in app.flows() if f["ins"] == 1 and f["state"] == "established"}
    killed = time.time()
    procs.end(ins(1)["keeper_pid"])     # outright: nobody was told
    until(2, lambda: ins(1) is None, "the killed one leaves the list")
    gone = time.time()
    as_planned("app", *RULES)
    third = hold(c, 200, "after one was killed")

    began = time.monotonic()
    equal(int(order("add", "app")), 4, "the new one's number")
    later = connections()
    fourth = hold(c, 300, "after one was added")
    even(grown(connections(), later, 0, 3, 4), 300, "new ones, with one added", percent=10)     # others take turns beside them
    check(time.monotonic() - began < 2, f"its share is back after {time.monotonic() - began:.2f} s")
    c.note(f"an INS was added and had its share of 300 connections {time.monotonic() - began:.2f} s later")
    as_planned("app", *RULES)

    done, failed = stream.told()
    late = [round(at - killed, 3) for at, _ in failed]
    c.note(f"{done} connections one after the other; failed {late} s after the death, which took {gone - killed:.3f} s to be known")
    check(done > 500 and all(-0.1 < t < gone - killed + 0.1 for t in late), f"new connections that failed: {failed}")
    dead = set().union(*(x.dead() for x in (first, second, third, fourth)))
    check(dead <= held and len(held - dead) <= 1, f"{len(dead)} connections died, {len(held)} were the killed one's; by mistake {list(dead - held)[:5]}, alive {list(held - dead)[:5]}")     # one: of the stream
    logged(Path("/"))


@case("nginx in a root directory of its own, its workers of another user: all INSs, also one that was added; clients' addresses", limit=60)
def chrooted(c):
    root = jail(c)
    start(c, 2, root)
    clients = hold(c, 400, "with two")
    even(connections(), 400, "connections")
    order("add", "app")
    base = connections()
    more = hold(c, 120, "with three")
    even(grown(connections(), base, 0, 1, 2), 120, "new ones")
    base = connections()
    order("kill", "app", "0")
    until(2, lambda: ins(0) is None, "it leaves the list")
    hold(c, 120, "without the first")
    equal(len(clients.dead()) + len(more.dead()), base[0], "that died")
    logged(root)


tap.main()
