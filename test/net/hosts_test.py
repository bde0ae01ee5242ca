# SPDX-License-Identifier: Apache-2.0
"""INSs of several hosts: etcd, mirrors, and a frontend on a third."""
import json
import os
import resource
import subprocess
import time
from pathlib import Path

from lib import machine, procs, tap
from lib.hosts import Client, Directory, Etcd, Frontend, Ins, Lasting, Mirror, connect, network, table
from lib.mw import preloaded
from lib.tap import case, check, equal, until

URL = "http://127.0.0.1:2379"


def spread(c, *options):
    """Two hosts with an INS each, mirrored into etcd, and a frontend here."""
    client, a, b = network(c, "a", "b")
    etcd = Etcd(c)
    ins, directories, mirrors = [], [], []
    for number, host in enumerate((a, b)):
        root = Path(f"/run/{host.name}")
        directories.append(Directory(c, root=root))
        ins.append(Ins(c, host, 2, number, here=host.name))
        directories[-1].add(ins[-1])
        mirrors.append(Mirror(c, host, root, f"http://10.{host.net}.0.1:2379"))
    front = Frontend(c, "--balance", "rr", "--etcd", URL, *options).ready("a/web/0", "b/web/1")
    return client, (a, b), etcd, ins, directories, mirrors, front


def who(client, count=20):
    seen = connect(client, count)
    return set(seen["seen"]), seen["failed"]


@case("INSs of two hosts are one application; one host is cut off: traffic moves within 2 heartbeats, its lease goes", limit=90)
def cut_off(c):
    client, (_, b), etcd, ins, directories, mirrors, front = spread(c)
    equal(who(client), ({"a0", "b1"}, []), "who serves")
    equal(connect(client, 2)["peers"], ["10.1.0.2"], "who the servers saw")
    started = time.monotonic()
    b.cut()
    front.says("INS b/web/1 gets no new connections")
    check(time.monotonic() - started < 2.2, "within two heartbeats")
    equal(who(client, 100), ({"a0"}, []), "who serves")
    until(20, lambda: etcd.keys() == ["a/web/0"], "the lease goes", step=0.2)
    check(time.monotonic() - started > 5, "but not at once")
    second = Ins(c, next(h.host for h in ins if h.name == "a0"), 3, 5, here="a")
    directories[0].add(second)
    front.ready("a/web/5")
    equal(who(client), ({"a0", "a5"}, []), "who serves")
    front.exact()
    mirrors[0].end()
    until(5, lambda: etcd.keys() == [], "an orderly end takes the entries along")
    until(5, lambda: "goto" not in table(), "nothing is forwarded")


@case("etcd dies under load, comes back, comes back empty: nothing that works is torn down, and it is said once", limit=120)
def away(c):
    client, _, etcd, ins, directories, _, front = spread(c)
    load = Client(client, seconds=25)
    etcd.kill()
    front.says("etcd at http://127.0.0.1:2379 does not answer")
    time.sleep(5)
    etcd.start()
    front.says("etcd at http://127.0.0.1:2379 answers again")
    until(10, lambda: etcd.keys() == ["a/web/0", "b/web/1"], "the entries")
    time.sleep(2)
    etcd.kill()
    etcd.data = Path("/run/etcd-empty")
    etcd.start()
    until(10, lambda: etcd.keys() == ["a/web/0", "b/web/1"], "they are published again")
    done = load.done()
    equal(done["failed"], [], f"failures among {done['seen']}")
    equal(set(done["seen"]), {"a0", "b1"}, "who served")
    equal(front.said().count("does not answer"), 2, "complaints")
    equal(front.said().count("gets no new connections"), 0, "INSs that were taken out")
    ins[1].entry["state"] = "drain"
    directories[1].show()
    front.says("INS b/web/1 gets no new connections: it is drained", 12)


@case("etcd is away at the start: the rules that were found stay; later it is found", limit=60)
def late(c):
    client, _, etcd, _, _, _, front = spread(c)
    shown = table()
    front.kill()
    etcd.kill()
    front.start()
    front.says("etcd at http://127.0.0.1:2379 does not answer")
    time.sleep(1)
    check(table() == shown, "the rules are what they were")
    equal(who(client), ({"a0", "b1"}, []), "who serves")
    etcd.start()
    front.ready("a/web/0", "b/web/1", seconds=12)
    equal(front.said().count("does not answer"), 1, "complaints")
    front.end()
    equal(table(), "", "rules at the end")


@case("a limit on descriptors while etcd comes and goes: said once, what is forwarded stays; then all is as before", limit=60)
def descriptors(c):
    client, _, etcd, ins, directories, mirrors, front = spread(c)
    hard = resource.prlimit(front.child.pid, resource.RLIMIT_NOFILE)[1]
    children = front.child, *(mirror.child for mirror in mirrors)
    for child in children:
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (4, hard))
    etcd.kill()
    etcd.start()
    time.sleep(8)
    equal(who(client), ({"a0", "b1"}, []), "who serves")
    equal(front.said().count("etcd at http://127.0.0.1:2379 does not answer"), 1, f"complaints: {front.said()}")
    equal(front.said().count("gets no new connections"), 0, "INSs that were taken out")
    for child in children:
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (hard, hard))
    front.says("etcd at http://127.0.0.1:2379 answers again")
    until(10, lambda: etcd.keys() == ["a/web/0", "b/web/1"], "the entries")
    ins[1].entry["state"] = "drain"
    directories[1].show()
    front.says("INS b/web/1 gets no new connections: it is drained", 12)
    equal([mirror.log.read_text().count("does not answer") for mirror in mirrors], [1, 1], "the mirrors' complaints")
    front.exact()


@case("in etcd anybody may write: entries without a lease, of other hosts, huge or no entries at all are ignored, once", limit=60)
def foreign(c):
    client, _, etcd, ins, _, _, front = spread(c)
    mine = json.loads(ins[0].json())
    lease = etcd.ask("lease/grant", TTL="60")["ID"]
    etcd.put("c/web/0", json.dumps({**mine, "host": "c", "address": "10.2.0.77"}))
    etcd.put("d/web/0", json.dumps(mine), lease=lease)
    etcd.put("e/web/0", b"\xff\x00\x01" * 100, lease=lease)
    etcd.put("f/web/0", "x" * 100_000, lease=lease)
    etcd.put("g/other/0", "{", lease=lease)
    etcd.put("nonsense", "{", lease=lease)
    etcd.put("h/web/0/more", "{", lease=lease)
    etcd.put("\n\x1b[31m/web/0", "{", lease=lease)
    for key, why in (("c/web/0", "it has no lease"), ("d/web/0", "it says that it is another's"), ("e/web/0", "it is not JSON"),
                     ("f/web/0", "it is too large"), ("h/web/0/more", "it is not JSON"),
                     ("??[31m/web/0", "it is not JSON")):
        front.says(f"the registry's entry {key} is ignored: {why}")
    etcd.put("e/web/0", b"again", lease=lease)
    time.sleep(0.5)
    equal(front.said().count("is ignored"), 6, "complaints")
    equal(who(client), ({"a0", "b1"}, []), "who serves")
    etcd.put("a/web/0", "{", lease=lease)       # over the good one: it stays, and is there again with the next heartbeat
    front.says("the registry's entry a/web/0 is ignored: it is not JSON")
    equal(who(client), ({"a0", "b1"}, []), "who serves")


SERVER = """
import socket, sys, threading
name = sys.argv[1]
s = socket.create_server(("0.0.0.0", 80))
def talk(c, peer):
    try:
        while c.recv(1000):
            c.sendall(f"{name} {peer[0]}".encode() + b"\\n")
    except OSError:
        pass
    c.close()
while True:
    threading.Thread(target=talk, args=s.accept(), daemon=True).start()
"""


class Protected:
    """`mw run --etcd` on a host."""

    def __init__(self, c, host, block, *options):
        self.root = Path(f"/run/{host.name}")
        self.log = Path(f"/run/mw-{host.name}.log")
        self.to, self.via = f"10.237.{block}.0/24", f"10.{host.net}.0.2"
        self.route()
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen([*host.inside, machine.MW, "run", "--name", "web", "--etcd", f"http://10.{host.net}.0.1:2379", "--block", str(block),
                                           "-p", "8080:80", *options, "--", "python3", "-c", SERVER, host.name], stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log, env={**os.environ, **(preloaded() or {}), "MW_RUNTIME_DIR": str(self.root)})
        c.callback(self.end)

    def route(self):
        machine.run("ip", "route", "replace", self.to, "via", self.via)

    def end(self):
        if self.child.poll() is None:
            self.child.terminate()
        self.child.wait(8)


@case("mw run --etcd on two hosts, frontend and etcd on a third: one is cut off, traffic moves, its lease goes; it comes back", limit=120)
def real(c):
    client, a, b = network(c, "a", "b")
    etcd = Etcd(c)
    before = {host.name: of_host(host) for host in (a, b)}
    first, second = Protected(c, a, 7, "--ins", "2"), Protected(c, b, 9)
    front = Frontend(c, "--balance", "rr", "--etcd", URL).ready("a/web/0", "a/web/1", "b/web/0", seconds=20)
    seen = connect(client, 300)
    equal((seen["failed"], seen["peers"]), ([], ["10.1.0.2"]), "failures, and who the servers saw")
    equal(seen["seen"], {"a": 200, "b": 100}, "who served")
    check("10.237.9.0/24" in second.log.read_text(), "it says what to route")
    front.exact()
    held = [Lasting(c, client, 42000 + i) for i in range(6)]
    equal(sorted(h.first for h in held), ["a"] * 4 + ["b"] * 2, "lasting connections")

    started = time.monotonic()
    b.cut()
    front.says("INS b/web/0 gets no new connections")
    check(time.monotonic() - started < 2.2, "within two heartbeats")
    equal(who(client, 100), ({"a"}, []), "who serves")
    until(20, lambda: etcd.keys() == ["a/web/0", "a/web/1"], "the lease goes", step=0.2)
    check(time.monotonic() - started > 5, "but not at once")
    equal([h.says("go") for h in held if h.first == "a"], ["a"] * 4, "who answers on those of the other host")
    b.mend()
    second.route()
    until(20, lambda: etcd.keys() == ["a/web/0", "a/web/1", "b/web/0"], "it is published again", step=0.2)
    until(10, lambda: who(client, 12) == ({"a", "b"}, []), "traffic goes there again")
    equal([h.says("go") for h in held], [h.first for h in held], "who answers on lasting connections")
    equal([second.log.read_text().count(words) for words in ("does not answer", "answers again")], [1, 1], "what the broker said of etcd")

    load = Client(client, seconds=4)
    first.end()
    until(5, lambda: etcd.keys() == ["b/web/0"], "an orderly end takes the entries along")
    equal(who(client), ({"b"}, []), "who serves")
    done = load.done()
    c.note(f"{len(done['failed'])} of {len(done['failed']) + sum(done['seen'].values())} failed until the end of a server was known")
    second.end()
    until(5, lambda: etcd.keys() == [], "no entry is left")
    front.end()
    equal((table(), {host.name: of_host(host) for host in (a, b)}), ("", before), "what is left, here and on the hosts")


@case("the mirror of an INS that nobody looks at dies young: it is started again a second later, and the lease stays", limit=60)
def young(c):
    _, a = network(c, "a")
    etcd = Etcd(c)
    app = Protected(c, a, 7)
    until(20, lambda: etcd.keys() == ["a/web/0"], "it is published", step=0.2)
    for what in ("it has run for a while, and dies", "its successor dies young"):
        was = mirror()
        machine.run("kill", "-KILL", str(was))
        until(5, lambda was=was: mirror() not in (None, was), lambda what=what: f"{what}: there is another; the broker said: {app.log.read_text()}")
    time.sleep(11)      # a lease's time
    equal(etcd.keys(), ["a/web/0"], "what is published")


def mirror():
    """The process that publishes."""
    return next((p.pid for p in procs.table().values() if p.comm == "mw-front"), None)


def of_host(host):
    """Its rules and links."""
    return host.run("nft", "list", "ruleset"), sorted(line.split()[0] for line in host.run("ip", "-br", "link").splitlines())


if __name__ == "__main__":
    tap.main()
