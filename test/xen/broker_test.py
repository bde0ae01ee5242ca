#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`mw xen broker` and `mw frontend` over Debian's xenstored: INS domains announced, spread over, drained, destroyed, created. xl is a stand-in that
introduces domains; what domains write is written here, and their addresses are those of stand-in servers."""
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "net")]
from lib import machine, pages, tap  # noqa: E402
from lib.hosts import Frontend, Ins, connect, network, table  # noqa: E402
from lib.tap import case, check, equal, matches, until  # noqa: E402
from xenlab.store import Refused, Store  # noqa: E402

HERE, PVM = socket.gethostname(), 3
TEMPLATE = Path(__file__).resolve().parents[2] / "xen/ins.cfg.in"
POOL = "10.2.0.11-10.2.0.14/24"
SEEN = "%(here)s/web/%(number)d"

XL = f"""#!{sys.executable}
import re, sys
from pathlib import Path
sys.path[:0] = {[p for p in sys.path[:2]]!r}
from xenlab.store import Client
here = Path(sys.argv[0]).parent
with open(here / "log", "a") as log:
    print(*sys.argv[1:], file=log)
if (here / "fails").exists():
    print("libxl: error: one\\nxl: " + (here / "fails").read_text(), file=sys.stderr)
    sys.exit(1)
if sys.argv[1] == "destroy" and (here / "stays").exists():
    sys.exit("xl: it stays")
dom0 = Client(__import__("os").environ["XENSTORED_PATH"])
if sys.argv[1] == "create":
    text = Path(sys.argv[3]).read_text()
    name, number = re.search(r'^name += "(.*)"', text, re.M)[1], len(list(here.glob("*.cfg"))) + 20
    (here / (name + ".cfg")).write_text(text)
    dom0.ask(8, number, 0, 1)
    for key, value in (("", ""), ("/domid", number), ("/name", name)):
        dom0.write(f"/local/domain/{{number}}{{key}}", value)
        dom0.set_permissions(f"/local/domain/{{number}}{{key}}", f"n{{number}}")
    if (here / "half").exists():
        sys.exit("xl: it has no network")
else:
    dom0.remove(f"/local/domain/{{sys.argv[2]}}")
    dom0.ask(9, int(sys.argv[2]))
"""


class Domain:
    """An INS domain that is well: a client of xenstored that writes what mw-ins writes, and a server at its address."""

    def __init__(self, world, number, last, serves=True):
        self.world, self.number, self.address = world, number, f"10.2.0.{last}"
        self.client = world.store.connect(number)
        self.client.socket.settimeout(3)  # xenstored does not answer a domain that is gone
        self.lock, self.beat, self.over = threading.Lock(), 0, threading.Event()
        self.server = Ins(world.t, world.host, last, number, here=HERE) if serves else None
        self.put(ip_addrs=self.address, listening_ports="16 50 bb", network_stats="80:3:0:0", load="0:0:0", ins_state="ready", ins_dom_id=number)
        world.pvm.write(f"/mw/{number}/pvm_state", "ready")
        self.thread = threading.Thread(target=self._beats, daemon=True)
        self.thread.start()
        world.t.callback(self.stop)

    def put(self, **keys):
        with self.lock:
            for key, value in keys.items():
                self.client.write(f"/mw/{self.number}/{key}", value)

    def _beats(self):
        while not self.over.wait(0.3):
            self.beat += 1
            try:
                self.put(heartbeat=self.beat)
            except (Refused, OSError):
                return

    def stop(self):
        """Its heart."""
        self.over.set()
        self.thread.join()

    def key(self):
        return SEEN % {"here": HERE, "number": self.number}


class World:
    def __init__(self, t, setup=True):
        self.t = t
        self.client, self.host = network(t, "xen")
        self.store = t.enter_context(Store())
        self.bin = Path(self.store.directory) / "bin"
        self.bin.mkdir()
        (self.bin / "xl").write_text(XL)
        (self.bin / "xl").chmod(0o755)
        self.image = self.bin / "image"
        self.image.mkdir()
        for name in ("vmlinux", "initramfs"):
            (self.image / name).write_text("")
        self.env = {**self.store.env, "PATH": f"{self.bin}:{os.environ['PATH']}"}
        self.log, self.child = self.bin / "said", None
        self.pvm = self.store.introduce(PVM, "web")
        if setup:
            self.mw("setup", "--pvm", PVM)

    def mw(self, *words):
        status, said = self.store.mw(*words)
        equal((status, said if status else ""), (0, ""), f"mw xen {words}")

    def by_hand(self, number, last, name=None):
        """A domain that somebody created and set up without the broker."""
        self.store.introduce(number, name or f"hand{number}").close()
        self.mw("setup", "--ins", number)
        return Domain(self, number, last)

    def words(self, *more, pool=POOL, publish="8080:80"):
        return [machine.MW, "xen", "broker", "--publish", publish, "--pool", pool, "--gateway", "10.2.0.1", *map(str, more), "web"]

    def templated(self):
        return ["--template", TEMPLATE, "--image", self.image]

    def broker(self, *more, **options):
        self.start(self.words(*more, **options))

    def start(self, words):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(words, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.t.callback(self.end)
        until(10, lambda: self.ask("list").returncode == 0, lambda: f"the broker answers; it said:\n{self.said()}", step=0.1)

    def refuses(self, *more, env=None, **options):
        """What it says when it does not start."""
        done = subprocess.run(self.words(*more, **options), env=env or self.env, capture_output=True, text=True, timeout=20, check=False)
        check(done.returncode in (1, 2), f"status {done.returncode}: {done.stderr}")
        return done.stderr

    def end(self):
        if self.child.poll() is None:
            self.child.terminate()
        check(self.child.wait(10) in (0, -9), lambda: f"the broker ended with {self.child.returncode}; it said:\n{self.said()}")

    def said(self):
        return self.log.read_text(errors="replace")

    def says(self, text, seconds=10):
        until(seconds, lambda: text in self.said(), lambda: f"it says {text!r}; it said:\n{self.said()}")

    def ask(self, *words):
        return subprocess.run([machine.MW, "ins", *map(str, words), *(["web"] if len(words) == 1 else [])], capture_output=True, text=True, timeout=90, check=False)

    def add(self):
        done = self.ask("add")
        return int(done.stdout) if done.returncode == 0 else done.stderr

    def entries(self):
        """{number: entry} as a frontend reads them."""
        found = {}
        for path in Path("/run/mw/web/ins").glob("*.json"):
            try:
                found[int(path.stem)] = json.loads(path.read_text())
            except (OSError, ValueError):
                continue
        return found

    def entry(self, number, **wanted):
        def fits():
            entry = self.entries().get(number, {})
            return all(entry.get(k) == v for k, v in wanted.items()) and entry
        return until(10, fits, lambda: f"entry {number} with {wanted}: {self.entries()}; it said:\n{self.said()}")

    def gone(self, number):
        until(15, lambda: number not in self.entries(), lambda: f"no entry {number}: {self.entries()}; it said:\n{self.said()}")
        until(10, lambda: str(number) not in self.store.dom0.list("/mw"), f"no keys of {number}")

    def xl(self):
        return (self.bin / "log").read_text().splitlines() if (self.bin / "log").exists() else []

    def frontend(self, *options):
        return Frontend(self.t, "--balance", "rr", *options)


@case("INS domains are announced with address, published ports, load and state, whoever created them; and gone when they are", limit=90)
def announced(t):
    w = World(t)
    w.broker()
    a, b = w.by_hand(5, 11), w.by_hand(6, 12)
    a.put(load="fa:7:3", listening_ports="1 50 1f90")
    entry = w.entry(5, state="up", load={"cpu": 0.25, "connections": 7.0, "rate": 3.0})
    equal((entry["app"], entry["host"], entry["address"], entry["domain"]), ("web", HERE, "10.2.0.11", "hand5"), "entry")
    equal(entry["ports"], [{"proto": "tcp", "port": 80, "host": "", "host_port": 8080}], "published and listened on")
    b.put(listening_ports="1f90")
    equal(w.entry(6, state="up", ports=[])["address"], "10.2.0.12", "another's")
    b.put(ins_state="closing")
    w.entry(6, state="down")
    w.store.release(6)
    w.gone(6)
    w.says("INS domain 6 hand6 is gone")
    w.mw("remove", "--ins", 5)
    w.gone(5)
    matches(w.ask("list").stdout, "^$", "mw ins list")


@case("the frontend spreads over them; a drained one gets nothing new, goes on while it has connections, and is destroyed when it has none", limit=120)
def drained(t):
    w = World(t)
    w.broker()
    members = [w.by_hand(5 + i, 11 + i) for i in range(3)]
    front = w.frontend().ready(*(m.key() for m in members))
    seen = connect(w.client, 90)
    equal((seen["failed"], seen["peers"], sorted(seen["seen"].values())), ([], ["10.1.0.2"], [30, 30, 30]), "shares")
    members[0].put(load="0:2:0")
    w.entry(5, load={"cpu": 0.0, "connections": 2.0, "rate": 0.0})
    equal(w.ask("drain", "web", 5).returncode, 0, "mw ins drain")
    equal(w.pvm.read("/mw/5/drain"), "1", "what the protected machine reads")
    equal(members[0].client.read("/mw/5/drain"), "1", "what the INS reads")
    front.says(f"INS {members[0].key()} gets no new connections: it is drained")
    seen = connect(w.client, 60)
    equal((seen["failed"], sorted(seen["seen"])), ([], ["xen6", "xen7"]), "who gets connections")
    time.sleep(7)
    equal((w.xl(), 5 in w.entries()), ([], True), "it has connections")
    members[0].put(load="0:0:0")
    w.says("INS domain 5 is drained and has no connections any more")
    w.gone(5)
    equal(w.xl(), ["destroy 5"], "xl")
    equal(connect(w.client, 30)["failed"], [], "failures")


@case("a drained one that never empties, or does not say how it is, is destroyed after its time; the last is neither drained nor killed", limit=90)
def after_its_time(t):
    w = World(t)
    w.broker("--drain", "3s")
    a, b, c = (w.by_hand(5 + i, 11 + i) for i in range(3))
    for m in (a, b, c):
        w.entry(m.number, state="up")
    a.put(load="0:9:0")
    b.put(load="nonsense")
    for m in (a, b):
        equal(w.ask("drain", "web", m.number).returncode, 0, "mw ins drain")
    for what in ("drain", "kill"):
        matches(w.ask(what, "web", c.number).stderr, "it is the only one that takes connections: add another first", what)
    matches(w.ask("kill", "web", 77).stderr, "there is no INS of that number", "another")
    matches(w.ask("upgrade", "web", c.number).stderr, "an INS domain is not upgraded", "upgrade")
    for m in (a, b):
        w.says(f"INS domain {m.number} was drained, and still has connections: it is destroyed")
        w.gone(m.number)
    equal(sorted(w.xl()), ["destroy 5", "destroy 6"], "xl")


@case("domains are created from the template when asked for and by the frontend, under names and addresses that are free, and retired", limit=120)
def created(t):
    w = World(t)
    first = w.by_hand(5, 11, name="web-ins1")
    w.broker(*w.templated())
    w.entry(5, state="up")
    front = w.frontend("--min", "2", "--max", "3", "--hold", "1")
    w.says("INS domain 20, web-ins2, is created; its address is 10.2.0.12", 20)
    config = (w.bin / "web-ins2.cfg").read_text()
    for line in ('name    = "web-ins2"', f'kernel  = "{w.image}/vmlinux"', f'ramdisk = "{w.image}/initramfs"',
                 'extra   = "console=hvc0 quiet panic=-1 ip=10.2.0.12/24 gw=10.2.0.1"'):
        check(line in config, f"{line!r} is not in\n{config}")
    equal(w.store.dom0.permissions("/mw/20/ins_state"), f"n20,r{PVM}", "its keys are prepared")
    equal(w.entry(20)["state"], "starting", "before it is ready")
    second = Domain(w, 20, 12)
    front.ready(SEEN % {"here": HERE, "number": 20}, seconds=15)
    equal(sorted(connect(w.client, 40)["seen"]), ["xen20", "xen5"], "who gets connections")
    for m in (first, second):
        m.put(load="3e8:5:9")
    w.says("INS domain 21, web-ins3, is created; its address is 10.2.0.13", 20)
    third = Domain(w, 21, 13)
    front.ready(third.key(), seconds=15)
    for m in (first, second):
        m.put(load="0:5:0")
    front.says("is retired: it gets no new connections", 20)
    until(30, lambda: "destroy 21" in w.xl(), lambda: f"retired: {w.xl()}\n{front.said()}")
    w.gone(21)
    equal(connect(w.client, 40)["failed"], [], "failures")


@case("a domain that is not ready in time is destroyed, and its address is free again; what xl says is said", limit=90)
def late(t):
    w = World(t)
    w.broker(*w.templated(), "--ready", "2s", pool="10.2.0.11-10.2.0.11/24")
    equal(w.add(), 20, "mw ins add")
    matches(w.add(), "all addresses of the pool are in use", "another")
    w.says("INS domain 20 is not ready in time")
    w.gone(20)
    equal(w.xl()[1:], ["destroy 20"], "xl")
    (w.bin / "fails").write_text("there is no room for it\n")
    matches(w.add(), "web: xl: there is no room for it", "xl's last words")
    w.says("cannot create an INS domain: xl: there is no room for it")
    (w.bin / "fails").unlink()
    (w.bin / "xl").rename(w.bin / "no-xl")
    w.env["PATH"] = os.environ["PATH"]
    matches(w.add(), "xl cannot be run: No such file or directory; is this dom0", "no xl")
    (w.bin / "no-xl").rename(w.bin / "xl")
    w.store.release(PVM)
    matches(w.add(), "no protected domain runs; `mw xen setup --pvm DOMAIN` makes it known", "no protected domain")


@case("a domain that xl leaves half made is destroyed, again until it is gone; none is created before", limit=90)
def half_made(t):
    w = World(t)
    w.broker(*w.templated())
    for flag in ("half", "stays"):
        (w.bin / flag).touch()
    matches(w.add(), "web: xl: it has no network", "xl's last words")
    w.says("cannot destroy domain 20: xl: it stays")
    (w.bin / "half").unlink()
    matches(w.add(), "web: xl left the last one half made, and could not destroy it yet", "another")
    equal(w.xl()[1:], ["destroy 20"], "xl")
    (w.bin / "stays").unlink()
    until(20, lambda: w.xl()[2:] == ["destroy 20"], lambda: f"it is destroyed: {w.xl()}; it said:\n{w.said()}")
    equal(w.add(), 21, "mw ins add")


@case("who asked for a domain goes away as xl ends and another one asks: that one is answered, and the broker goes on", limit=60)
def leaves(t):
    w = World(t)
    (w.bin / "xl").write_text(f"#!/bin/sh\ntouch {w.bin}/runs\nwhile [ ! -e {w.bin}/go ]; do sleep 0.1; done\nexit 1\n")
    w.broker(*w.templated())
    first, second = (t.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) for _ in range(2))
    for client in (first, second):
        client.connect("/run/mw/web/ins-ctl")
        client.settimeout(10)
    first.send(b'{"do":"add"}')
    until(10, (w.bin / "runs").exists, "xl is started")
    time.sleep(0.3)
    worker = int(Path(f"/proc/{w.child.pid}/task/{w.child.pid}/children").read_text())
    os.kill(worker, signal.SIGSTOP)     # so that all of it is one round of its loop
    second.send(b'{"do":"list"}')
    first.close()
    (w.bin / "go").touch()
    time.sleep(1)
    os.kill(worker, signal.SIGCONT)
    equal(json.loads(second.recv(1000)), {"ins": []}, "the answer")
    w.says("cannot create an INS domain")
    for _ in range(3):
        equal(w.ask("list").returncode, 0, "mw ins list")
    check("takes over" not in w.said(), w.said)


@case("the broker of mw-xen(8)'s examples, as it is typed", limit=60)
def example(t):
    world = World(t)
    line, = [line for line in pages.commands("mw-xen.8") if " broker " in line]
    world.start([machine.MW, *shlex.split(line)[1:]])
    world.end()


@case("what cannot be is said at the start: options, files, ports, another broker, no xenstored, not dom0", limit=60)
def refused(t):
    w = World(t)
    template = w.bin / "template"
    for words, text in ((["--pool", "10.2.0.9-10.2.0.1/24"], "--pool is FIRST-LAST/PREFIX, in one network, not '10.2.0.9-10.2.0.1/24'"),
                        (["--pool", "10.2.0.1-10.2.1.1/24"], "--pool is"), (["--pool", "fd00::1-10.0.0.1/24"], "--pool is"),
                        (["--publish", "127.0.0.1:80:80"], "on an address that others reach"), (["--publish", "0"], "'0' is not"),
                        (["--gateway", "me"], "--gateway is an address, not 'me'"), (["--ready", "0"], "--ready is a time from 1s"),
                        (["--template", template], f"the template {template} cannot be read: No such file or directory"),
                        (["--template", TEMPLATE, "--image", w.bin], f"there is no {w.bin}/vmlinux: No such file or directory; `make ins-image`"),
                        (["more"], "one NAME is needed")):
        check(text in (said := w.refuses(*words)), f"{words}: {said}")
    server = subprocess.Popen([sys.executable, "-c", "import socket, time; s = socket.create_server(('', 8080)); print(1, flush=True); time.sleep(60)"],
                              stdout=subprocess.PIPE)
    t.callback(lambda: (server.kill(), server.wait(), server.stdout.close()))
    server.stdout.readline()
    matches(w.refuses(), "TCP port 8080 cannot be published: a server of this host has it; end that, or publish another", "a port")
    server.kill()
    server.wait()
    matches(w.refuses(env={**w.env, "XENSTORED_PATH": "/nowhere", "XENSTORED_RUNDIR": "/nowhere"}), "cannot reach xenstored", "no xenstored")
    w.pvm.close()
    matches(w.refuses(env={**w.env, "XENSTORED_PATH": str(w.store.socket_of(PVM))}), "cannot reach xenstored: Permission denied; is this dom0", "a domain")
    w.broker("--template", TEMPLATE)
    matches(w.refuses(publish="8081:80"), "something of that name runs on this host already", "twice")
    w.end()
    for text, why in (("name = \"@name@\"\n", "has no @ip@, so each domain would be the same one"), ("ip=@ip@", "has no @name@"), ("\0", "is no configuration for xl")):
        template.write_text(text)
        w.broker("--template", template)
        matches(w.add(), why, why)
        template.unlink()
        matches(w.add(), "cannot be read: No such file", "a template that has gone")
        w.end()
    w.broker()
    matches(w.add(), "the broker was given no --template, so it creates none", "no template")


@case("a domain that lies gets no other's address, no port that is not published, and harms itself alone", limit=120)
def lies(t):
    w = World(t)
    w.broker(publish="8080:80")
    good, bad = w.by_hand(5, 11), w.by_hand(6, 12)
    w.entry(5, state="up")
    w.entry(6, state="up", address="10.2.0.12")
    bad.put(ip_addrs="10.2.0.11", listening_ports="16 50 1bb 50")
    w.says("INS domain 6 does not have the address that it was given, 10.2.0.12")
    equal(w.entry(6, state="down")["address"], "10.2.0.12", "its address")
    equal(w.entry(5, state="up")["address"], "10.2.0.11", "the other's")
    bad.put(ip_addrs="10.2.0.12 10.2.0.11")
    equal(w.entry(6, state="up")["ports"], [{"proto": "tcp", "port": 80, "host": "", "host_port": 8080}], "ports")
    w.store.introduce(7, "thief").close()
    w.mw("setup", "--ins", 7)
    thief = Domain(w, 7, 13, serves=False)
    w.entry(7, address="10.2.0.13")
    w.store.introduce(8, "late").close()
    w.mw("setup", "--ins", 8)
    second = w.store.connect(8)
    for ips, why in (("10.2.0.11", "says that it has 10.2.0.11, which is INS domain 5's"), ("10.1.0.2 127.0.0.1 224.0.0.1 ::1", "has no address of the pool"),
                     ("10.2.0.012", None), ("x" * 2000, None), ("10.2.0.14/24", None)):
        second.write("/mw/8/ip_addrs", ips)
        if why:
            w.says(f"INS domain 8 {why}")
        time.sleep(0.4)
        check(8 not in w.entries(), f"{ips[:40]}: {w.entries().get(8)}")
    for key in ("address", "drain", "made"):
        for client in (second, w.pvm, thief.client):
            try:
                client.write(f"/mw/8/{key}", "1")
            except Refused:
                continue
            raise tap.Failed(f"{key} can be written")
    chance = random.Random(1)
    alphabet = ["0", "1", "f", "ffffffffffffffffffff", ":", " ", "-1", "x", "\x01", "é", "{", '"', "ready", "up", "10.2.0.11", "10.2.0.12", "%s", "9" * 30]
    keys = ("ip_addrs", "heartbeat", "network_stats", "load", "listening_ports", "ins_state", "ins_version", "ins_dom_id", "sockopts")
    for _ in range(1500):
        thief.put(**{chance.choice(keys): "".join(chance.choice(alphabet) for _ in range(chance.randrange(40)))})
    w.entry(5, state="up", address="10.2.0.11")
    for number, entry in w.entries().items():
        check(entry["address"] == {5: "10.2.0.11", 6: "10.2.0.12", 7: "10.2.0.13"}[number], f"{number}: {entry}")
        check(0 <= entry["load"]["cpu"] <= 1 and entry["load"]["connections"] <= 1e9, f"{entry}")
    with thief.lock:
        for key in keys:
            thief.client.remove(f"/mw/7/{key}")
    time.sleep(1)
    equal(w.entry(5, state="up")["state"], "up", "the good one")
    good.stop()


@case("a heartbeat that stands still takes it out of the rules; a domain that vanishes under load costs the others nothing", limit=90)
def still(t):
    w = World(t)
    w.broker()
    members = [w.by_hand(5 + i, 11 + i) for i in range(3)]
    front = w.frontend().ready(*(m.key() for m in members))
    members[0].stop()
    front.says(f"INS {members[0].key()} gets no new connections: it has no heartbeat")
    equal(sorted(connect(w.client, 40)["seen"]), ["xen6", "xen7"], "who gets connections")
    w.store.release(6)
    front.says(f"INS {members[1].key()} is gone")
    until(3, lambda: "ins-%s-6" % HERE not in table(), "no rule leads there")
    seen = connect(w.client, 40)
    equal((seen["failed"], sorted(seen["seen"])), ([], ["xen7"]), "who gets connections")


@case("the broker's worker is killed: nobody notices; the broker ends and another begins: it finds who is there, what they have and who is drained", limit=90)
def broker_dies(t):
    w = World(t)
    w.broker()
    members = [w.by_hand(5 + i, 11 + i) for i in range(3)]
    members[2].put(load="0:1:0")
    front = w.frontend().ready(*(m.key() for m in members))
    worker = int(Path(f"/proc/{w.child.pid}/task/{w.child.pid}/children").read_text())
    os.kill(worker, signal.SIGKILL)
    until(10, lambda: connect(w.client, 20)["failed"] == [] and "another one takes over" in w.said(), w.said)
    until(10, lambda: w.ask("list").returncode == 0, "it answers")
    equal(front.said().count("gets no new connections"), 0, "what the frontend noticed")
    equal(connect(w.client, 30)["failed"], [], "failures")
    w.ask("drain", "web", 7)
    w.end()
    check(not Path("/run/mw/web").exists(), "what it leaves")
    w.store.release(6)
    w.broker(pool="10.2.0.1-10.2.0.100/24")
    w.entry(5, state="up", address="10.2.0.11")
    w.entry(7, state="drain", address="10.2.0.13")
    equal(sorted(w.entries()), [5, 7], "who is there")


if __name__ == "__main__":
    tap.main()
