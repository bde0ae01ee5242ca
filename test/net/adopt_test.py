# SPDX-License-Identifier: Apache-2.0
"""The broker is killed, or `mw run`, or both: all goes on, `mw run --adopt` takes over, and in the end nothing is left."""
import json
import os
import pty
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from lib import machine, mixed, procs, servers, stepkill, tap
from lib.control import Control
from lib.mw import App, NOBODY, connects, for_nobody, nothing_left, preloaded, quick, remains
from lib.tap import NETS, case, check, equal, matches, until

PYTHON = "/usr/bin/python3"
MIXED = mixed.__file__
LONG = "MW_LONG" in os.environ
SANITIZED = "MW_PRELOAD" in os.environ
PORT = 7000
SERVER = """
import socket, subprocess, sys, threading

def work(c):
    f = c.makefile("w")
    for line in c.makefile("r"):
        what, *args = line.split()
        try:
            if what == "name":
                said = socket.gethostbyname(args[0])
            elif what == "out":
                said = socket.create_connection((args[0], int(args[1])), 10).recv(100).decode()
            elif what == "listen":
                threading.Thread(target=serve, args=(int(args[0]), started := threading.Event()), daemon=True).start()
                said = started.wait(30)
            elif what == "unlisten":
                listeners.pop(int(args[0])).shutdown(socket.SHUT_RDWR)
                said = "True"
            elif what == "udp":
                u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                u.settimeout(5)
                u.sendto(b"hello", (args[0], int(args[1])))
                said = u.recv(100).decode()
            elif what == "end":
                import os
                os._exit(int(args[0]))
            else:
                said = " ".join(args)
        except OSError as e:
            said = f"errno {e.errno}"
        f.write(f"{said}\\n")
        f.flush()

listeners = {}

def serve(port, started=threading.Event()):
    l = listeners[port] = socket.create_server(("", port), backlog=200)
    started.set()
    try:
        while True:
            threading.Thread(target=work, args=(l.accept()[0],), daemon=True).start()
    except OSError:
        l.close()

serve(7000)
"""


class Talk:
    """A connection to SERVER."""

    def __init__(self, c, port=PORT, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), 20)
        self.to, self.come = self.socket.makefile("w"), self.socket.makefile("r")
        c.callback(self.close)

    def ask(self, line):
        self.send(line)
        return self.hear()

    def send(self, line):
        self.to.write(line + "\n")
        self.to.flush()

    def hear(self):
        return self.come.readline().strip()

    def close(self):
        self.to.close()
        self.come.close()
        self.socket.close()


class Heir:
    """`mw run --adopt` in the background; the same names as App's."""

    def __init__(self, c, name="app", wait=True, argv=(), prefix=(), env=None):
        self.name = name
        self.log = Path(tempfile.mkstemp(prefix="heir-", suffix=".log", dir="/run")[1])
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen([*prefix, machine.MW, "run", *(argv or ("--adopt", name))], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          start_new_session=True, env={**os.environ, **(preloaded(env) or env or {})})
        self.pid = self.child.pid
        c.callback(self.end)
        if wait:
            until(15, lambda: "taken over" in self.said() or self.child.poll() is not None, "it takes over")
            check(self.child.poll() is None, self.said)

    said = App.said
    end = App.end
    wait = App.wait
    running = App.running
    listed = App.listed
    info = App.info

    def broker_pid(self):
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()[0])


def first_broker(app):
    """Below the depot, which is below `mw run`."""
    depot = int(Path(f"/proc/{app.pid}/task/{app.pid}/children").read_text().split()[0])
    return depot, int(Path(f"/proc/{depot}/task/{depot}/children").read_text().split()[0])


def killed(pid):
    procs.end(pid)
    until(5, lambda: not procs.alive(pid), f"{pid} has ended", 0.002)


def kill(app, who):
    """*app*: App or Heir, whose `mw run` and broker live."""
    broker = app.broker_pid()
    for one in who.split(" and "):
        killed({"the broker": broker, "mw run": app.pid}[one])
    app.child.wait(10)


def talks(c):
    """All that must go on without a broker."""
    for host in ("127.0.0.1", machine.HERE4):
        t = Talk(c, host=host)
        equal(t.ask("echo hello"), "hello", f"a new connection to {host}")
        equal(t.ask("name localhost"), "127.0.0.1", "a name")
        equal(t.ask(f"out {machine.HERE4} {PORT + 1}"), "outside", "a connection to outside")
        equal(t.ask(f"udp {machine.HERE4} {PORT + 1}"), "hello", "a datagram to outside and back")
        equal(t.ask(f"out 127.0.0.1 {PORT + 9}"), "errno 111", "loopback that nobody has")
        t.close()


def outside(c):
    """A server of the host's, which the application connects to."""
    s = socket.create_server((machine.HERE4, PORT + 1), backlog=100)
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind((machine.HERE4, PORT + 1))

    def datagrams():
        with u:
            while True:
                data, peer = u.recvfrom(1000)
                if data == b"end":
                    return
                u.sendto(data, peer)

    def loop():
        while True:
            try:
                one = s.accept()[0]
            except OSError:
                return
            one.sendall(b"outside")
            one.close()
    for one in (loop, datagrams):
        threading.Thread(target=one, daemon=True).start()
    c.callback(s.shutdown, socket.SHUT_RDWR)
    c.callback(u.sendto, b"end", (machine.HERE4, PORT + 1))


def said_to(address):
    try:
        with socket.create_connection(("127.0.0.1", PORT), 10, (address, 0)) as s:
            s.sendall(b"echo hello\n")
            return s.recv(100)
    except ConnectionResetError:
        return b""


def answers_datagrams(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.connect(("127.0.0.1", port))
        u.settimeout(0.2)
        try:
            u.send(b"x")
            return u.recv(10) == b"x"
        except OSError:
            return False


WHO = ("the broker", "mw run", "the broker and mw run", "mw run and the broker")


@case("the broker, mw run or both are killed under traffic, and adopted: no byte is lost, and nothing is left", limit=120, nets=NETS)
def goes_on(c):
    before = remains()
    app = App(c, PYTHON, MIXED, "/run/own").ready(mixed.PORT, mixed.PORT + 1)
    until(5, lambda: answers_datagrams(mixed.PORT + 2), "the port of datagrams")
    clients = mixed.Clients("/run/own")
    c.callback(clients.end)
    keeper, started = app.ins_pid(), app.info()["started"]

    def on(what):
        seen = clients.seen()
        until(15, lambda: clients.wrong or clients.all_beyond(seen), lambda: f"{what}: all go on: {seen}, now {clients.seen()}")
        check(not clients.wrong, lambda: f"{what}: {clients.wrong}")
    on("at first")
    for who in WHO:
        kill(app, who)
        on(f"{who} killed")
        if who == "the broker":
            matches(app.said(), r"the broker was killed: what it ran goes on; take over by: mw run --adopt app", "what mw run says")
        app = Heir(c)
        on(f"{who} killed, and adopted")
        info = app.listed()
        equal((info["ins_pid"], info["started"], info["pid"]), (keeper, started, app.pid), "the INS, the start, who runs it")
    clients.end()
    check(not clients.wrong, lambda: clients.wrong)
    app.child.send_signal(signal.SIGTERM)
    equal(app.wait(8), 128 + signal.SIGTERM, f"its exit status; it said: {app.said()}")
    nothing_left(before)


@case("meanwhile: new connections, names, outbound ones, telemetry and orders; a new listener waits for the heir", limit=60, nets=NETS)
def meanwhile(c):
    outside(c)
    before = remains()
    app = App(c, PYTHON, "-c", SERVER, options=("-p", f"{PORT}:{PORT}", "-p", "7777:7005") if c.net == "isolated" else ()).ready(PORT)
    talks(c)
    old = Talk(c)
    kill(app, "the broker and mw run")
    talks(c)
    equal(old.ask("echo on"), "on", "an old connection")
    answer = Control(c, "app").ask(do="order", verb="block", target="127.0.9.0/24")
    check(answer["ok"], f"an order: {answer}")
    equal(said_to("127.0.9.7"), b"", "what a blocked peer hears")
    old.send("listen 7005")
    time.sleep(0.3)
    for argv in (("ps",), ("flows", "app"), ("ins", "list", "app")):
        matches(quick(*argv)[2], "app runs without a broker, which was killed; take over by: mw run --adopt app", f"mw {' '.join(argv)}")
    heir = Heir(c)
    equal(old.hear(), "True", "the listener that waited")
    until(5, lambda: connects("127.0.0.1", 7777 if c.net == "isolated" else 7005), "its port")
    talks(c)
    if c.net == "isolated":
        equal(sorted(p["host_port"] for p in heir.listed()["published"]), [PORT, 7777], "published")
    equal(said_to("127.0.9.7"), b"", "what a blocked peer hears, after that")
    old.send("end 7")
    equal(heir.wait(8), 7, "the application's exit status, from an heir")
    nothing_left(before)


@case("who may not adopt: a second one, one whose broker lives, of a name that nobody has, of another version", limit=40, nets=NETS)
def refused(c):
    app = App(c, PYTHON, "-c", SERVER).ready(PORT)

    def asks(name="app"):
        status, out, err = quick("run", "--adopt", name, env=preloaded())
        equal((status, out), (125, ""), f"status and output; it said: {err}")
        return err
    matches(asks(), rf"app has a broker, process {app.broker_pid()}: there is nothing to adopt", "its broker lives")
    matches(asks("nobody"), "nothing runs under the name nobody, so there is nothing to adopt", "no such name")
    status, _, err = quick("run", "--adopt", "app", "--ins", "2")
    equal(status, 2, "more than --adopt NAME")
    kill(app, "the broker and mw run")
    heirs = [Heir(c, wait=False) for _ in range(4)]
    until(10, lambda: sum(h.child.poll() is not None for h in heirs) == 3, "three of four are refused")
    heir = next(h for h in heirs if h.child.poll() is None)
    until(10, lambda: "taken over" in heir.said(), "one takes over")
    for other in heirs:
        if other is not heir:
            equal(other.wait(1), 125, "status")
            matches(other.said(), rf"has a broker, process {heir.broker_pid()}", "what it is told")
    talks_local(c)
    killed(heir.broker_pid())
    heir.wait(5)
    equal(version_two("app"), 1, "the version that another one is told")
    Heir(c)
    talks_local(c)


def talks_local(c):
    equal(Talk(c).ask("echo hello"), "hello", "a new connection")


def version_two(name):
    """As an mw of another version would ask: what it reads first of the answer is this one's version."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.connect(f"/run/mw/{name}/adopt")
        s.sendall((2).to_bytes(4, "little") + (5).to_bytes(4, "little") + bytes(80))
        return int.from_bytes(s.recv(4), "little")


def left_alone(c, end, **keys):
    before = remains()
    app = App(c, PYTHON, "-c", SERVER, **keys).ready(PORT)
    talk = Talk(c)
    pid = app.app_pid()
    kill(app, "the broker and mw run")
    end(talk, pid)
    nothing_left({**before, "registry": ["app"]}, 6)
    status, _, err = quick("run", "--adopt", "app", env=preloaded())
    equal(status, 125, "adoption of what has ended")
    matches(err, "nothing runs under the name app", "what it says")
    app = App(c, PYTHON, "-c", SERVER, **keys).ready(PORT)
    app.child.send_signal(signal.SIGTERM)
    app.wait(8)
    nothing_left(before)


@case("the application ends while there is no broker: nothing is left, and the name is free", limit=60, nets=NETS)
def ends_alone(c):
    left_alone(c, lambda talk, pid: talk.send("end 0"))
    left_alone(c, lambda talk, pid: procs.end(pid))


@case("the INS dies while there is no broker: the application is ended, nothing is left", limit=60, nets=NETS)
def ins_dies_alone(c):
    left_alone(c, lambda talk, pid: procs.end(next(p.pid for p in procs.table().values() if p.comm == "mw-ins")))


@case("the depot is killed: all goes on with the broker; both: all ends", limit=60, nets=NETS)
def depot(c):
    before = remains()
    app = App(c, PYTHON, "-c", SERVER).ready(PORT)
    talk = Talk(c)
    killed(first_broker(app)[0])
    until(5, lambda: "the depot died" in app.said(), "the broker says so")
    equal(talk.ask("echo on"), "on", "an old connection")
    equal(talk.ask("listen 7005"), "True", "a new listener")
    talks_local(c)
    broker = next(p for p in procs.below(app.pid) if p.comm == "mw" and p.parent == app.pid)
    killed(broker.pid)
    equal(app.wait(5), 125, "status")
    matches(app.said(), "the broker was killed, and the depot: ending the application", "what it says")
    nothing_left(before, 4)


@case("a helper and an INS that die under an heir are replaced and noticed; INSs are added, drained, killed", limit=90)
def supervised(c):
    before = remains()
    app = App(c, PYTHON, "-c", SERVER, net="isolated", options=("--ins", "2")).ready(PORT)
    kill(app, "the broker and mw run")
    procs.end(next(p.pid for p in procs.table().values() if p.comm == "mw-names"))
    heir = Heir(c)
    talk = Talk(c)
    equal(talk.ask("name localhost"), "127.0.0.1", "a name")
    order("add")
    order("drain", "0")
    procs.end(ins(1)["keeper_pid"])
    until(5, lambda: ins(1) is None, "the dead one leaves the list")
    order("add")
    equal([i["ins"] for i in inss()], [0, 2, 3], "INSs")
    for _ in range(2):
        kill(heir, "the broker and mw run")
        heir = Heir(c)
        equal([(i["ins"], i["state"]) for i in inss()], [(0, "drain"), (2, "up"), (3, "up")], "INSs, adopted once more")
        talks_local(c)
    procs.end(ins(3)["keeper_pid"])
    until(5, lambda: ins(3) is None, "one that an heir before us had started leaves the list")
    telem = heir.listed()["telem_pid"]
    procs.end(telem)
    until(5, lambda: heir.info() and heir.info()["telem_pid"] not in (0, telem), "telemetry is started again")
    equal(int(order("add")), 4, "a number is never used twice")
    heir.child.send_signal(signal.SIGTERM)
    heir.wait(8)
    nothing_left(before)


def order(what, *argv):
    status, out, err = quick("ins", what, "app", *argv)
    equal(status, 0, f"mw ins {what}: {out}{err}")
    return out


def inss():
    status, out, err = quick("ins", "list", "--json", "app")
    equal(status, 0, f"mw ins list: {err}")
    return [json.loads(line) for line in out.splitlines()]


def ins(number):
    return next((i for i in inss() if i["ins"] == number), None)


@case("killed at any moment, while INSs are added, drained and killed and listeners come and go: adopted, all is right", limit=300 if LONG else 120)
def any_moment(c):
    before = remains()
    app = App(c, PYTHON, "-c", SERVER, net="isolated", options=("--ins", "2")).ready(PORT)
    old = Talk(c)
    listeners, numbers = 0, [0, 1]
    for i in range(200 if LONG else 25):
        broker = app.broker_pid()
        work = subprocess.Popen([machine.MW, "ins", "add", "app"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        listeners += 1
        old.send(f"listen {PORT + 100 + listeners}")
        time.sleep(random.uniform(0, 0.08))
        killed(broker)
        work.communicate()
        app.child.wait(10)
        app = Heir(c)
        equal(old.hear(), "True", "listen()")
        until(5, lambda: connects("127.0.0.1", PORT + 100 + listeners), f"the listener that was made meanwhile, round {i}")
        numbers = [one["ins"] for one in inss()]
        check(numbers[:2] == [0, 1], f"INSs: {numbers}")
        for _ in range(2 * len(numbers)):
            one = Talk(c, PORT + 100 + listeners, machine.HERE4)
            equal(one.ask("echo hello"), "hello", "on every INS")
            one.close()
        for n in numbers[2:]:
            order("kill", str(n))
        until(5, lambda: len(inss()) == 2, "the added ones end")
        equal(old.ask("echo on"), "on", "an old connection")
        equal(len([p for p in procs.table().values() if p.comm == "mw-ins"]), 4, "processes of INSs")
    published = sorted(p["host_port"] for p in app.listed()["published"])
    equal(published, [PORT, *range(PORT + 101, PORT + 101 + listeners)], "published")
    app.child.send_signal(signal.SIGTERM)
    app.wait(8)
    nothing_left(before)


def metrics_of(port):
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: s.recv(65536), b"")).decode()


@case("an heir upgrades INSs, and has the ports of all; INSs that a dead broker upgraded are its own", limit=120)
def upgraded(c):
    before = remains()
    ports = PORT + 20, PORT + 21
    app = App(c, PYTHON, "-c", SERVER, net="isolated", options=("--ins", "2", "--metrics", f"127.0.0.1:{ports[0]}", "--netflow", f"127.0.0.1:{ports[1]}")).ready(PORT)
    old = Talk(c)
    for i in range(2):
        order("upgrade", "all")
        upgraded_to = [one["keeper_pid"] for one in inss()]
        kill(app, "the broker and mw run")
        app = Heir(c)
        equal([one["keeper_pid"] for one in inss()], upgraded_to, "keepers")
        equal(old.ask("echo on"), "on", "an old connection")
        equal(int(order("add")), i + 2, "the INS that is added")
        for number in range(i + 3):
            matches(metrics_of(ports[0]), f'ins="{number}"', "metrics of all INSs")
    procs.end(inss()[0]["keeper_pid"])
    until(5, lambda: len(inss()) == 3, "the first INS has ended")
    check(connects("127.0.0.1", ports[1]), "the stream goes to the next INS")
    app.child.send_signal(signal.SIGTERM)
    app.wait(8)
    nothing_left(before)


@case("killed as drain --wait waits: that says so and fails, the connections go on", limit=60)
def amid_wait(c):
    before = remains()
    app = App(c, PYTHON, "-c", SERVER, net="isolated", options=("--ins", "2")).ready(PORT)
    old = Talk(c)
    number = until(10, lambda: [i["ins"] for i in inss() if i["load"]["connections"]], "whose connection it is")[0]
    work = subprocess.Popen([machine.MW, "ins", "drain", "--wait", "app", str(number)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(5, lambda: ins(number)["state"] == "drain", "it is drained")
    kill(app, "the broker")
    out, err = work.communicate(timeout=10)
    equal((work.returncode, out), (1, ""), f"mw ins drain --wait: {err}")
    equal(err, "mw: app runs without a broker, which was killed; take over by: mw run --adopt app\n", "what it says")
    app = Heir(c)
    equal(old.ask("echo on"), "on", "the connection")
    app.child.send_signal(signal.SIGTERM)
    app.wait(8)
    nothing_left(before)


@case("killed between the parts of a drain: its heir drains the INS, which gets nothing new", limit=60)
def amid_drain(c):
    before = remains()
    app = App(c, PYTHON, "-c", SERVER, net="isolated", options=("--ins", "2")).ready(PORT)
    with stepkill.begin(app.broker_pid(), "memfd_create", 0, 5000, nth=2) as killer: # the first keeps that the INS is drained
        work = subprocess.Popen([machine.MW, "ins", "drain", "app", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        equal(killer.wait(20), 0, "stepkill")
    work.wait(10)
    app.child.wait(10)
    app = Heir(c)
    equal([(i["ins"], i["state"]) for i in inss()], [(0, "drain"), (1, "up")], "INSs")
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout
    check(f"dnat ip to {ins(1)['address']}:{PORT}" in rules and "numgen" not in rules, rules)
    talks_local(c)
    app.child.send_signal(signal.SIGTERM)
    app.wait(8)
    nothing_left(before)


@case("killed at any moment of an upgrade: whichever program the INS is then, the heir knows it", limit=200 if LONG else 90)
def amid_upgrade(c):
    before = remains()
    app = App(c, PYTHON, "-c", SERVER, net="isolated").ready(PORT)
    old = Talk(c)
    moved = 0
    for i in range(60 if LONG else 12):
        broker, keeper = app.broker_pid(), inss()[0]["keeper_pid"]
        work = subprocess.Popen([machine.MW, "ins", "upgrade", "app"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.002, 0.03))
        killed(broker)
        work.wait()
        app.child.wait(10)
        app = Heir(c)
        until(20, lambda: len([p for p in procs.table().values() if p.comm == "mw-ins"]) == 2, f"one keeper and its worker, round {i}")
        until(5, lambda: procs.alive(inss()[0]["keeper_pid"]), "the keeper that is listed lives")
        moved += inss()[0]["keeper_pid"] != keeper
        equal(old.ask("echo on"), "on", "an old connection")
        talks_local(c)
    c.note(f"{moved} of them were moved already, or by then")
    order("upgrade")
    procs.end(inss()[0]["keeper_pid"])
    app.wait(8)
    nothing_left(before)


@case("the old program of an INS ends before the next one can say that it serves: the heir waits for that", limit=60)
def late_word(c):
    before = remains()
    app = App(c, PYTHON, "-c", SERVER, net="isolated").ready(PORT)
    old = Talk(c)
    for _ in range(5):
        broker, keeper = app.broker_pid(), inss()[0]["keeper_pid"]
        worker = next(p.pid for p in procs.below(keeper) if p.parent == keeper and p.comm == "mw-ins")
        procs.end(keeper, signal.SIGSTOP)
        work = subprocess.Popen([machine.MW, "ins", "upgrade", "app"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(10, lambda worker=worker: not procs.alive(worker), "the old worker has ended for the next program")
        following = max(p.pid for p in procs.table().values() if p.comm == "mw-ins" and p.pid != keeper)
        killed(broker)
        work.wait()
        app.child.wait(10)
        app = Heir(c)
        procs.end(keeper, signal.SIGCONT)
        while procs.alive(keeper):
            pass
        procs.end(following, signal.SIGSTOP)
        time.sleep(0.2)
        procs.end(following, signal.SIGCONT)
        until(5, lambda following=following: inss()[0]["keeper_pid"] == following, "the next program is the INS")
        equal(old.ask("echo on"), "on", "an old connection")
        talks_local(c)
    procs.end(following)
    app.wait(8)
    nothing_left(before)


@case("both lanes, for the user nobody, in a directory of its own", limit=60)
def unprivileged(c):
    directory, _ = for_nobody(c, __file__)
    env = {"MW_RUNTIME_DIR": str(directory)}
    for lane in ("ring", "stream"):
        app = App(c, PYTHON, "-c", SERVER, net="host", prefix=NOBODY, env=env, options=("--lane", lane)).ready(PORT)
        pid = first_broker(app)[1]
        talk = Talk(c)
        killed(pid)
        app.child.wait(5)
        talks_local(c)
        heir = Heir(c, prefix=NOBODY, env=env)
        talks_local(c)
        equal(talk.ask("name localhost"), "127.0.0.1", f"a name, {lane}")
        equal(talk.ask("listen 7005"), "True", f"a new listener, {lane}")
        heir.child.send_signal(signal.SIGTERM)
        heir.wait(8)
        until(5, lambda: not os.listdir(directory), "its directory is empty")


@case("a key of the heir's terminal reaches the application, as one of the first's did", limit=30)
def keys(c):
    app = App(c, PYTHON, "-c", "import time; print('ready', flush=True); time.sleep(60)", net="host")
    until(10, lambda: "ready" in app.said(), "it runs")
    kill(app, "the broker")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(machine.MW, [machine.MW, "run", "--adopt", "app"], {**os.environ, **(preloaded() or {})})
    said = b""
    while b"taken over" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    equal(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 128 + signal.SIGINT, "status")
    os.close(terminal)


@case("an application that became a daemon: its processes go on, and are ended with the heir", limit=60, nets=NETS)
def daemon(c):
    before = remains()
    app = App(c, "sh", "-c", f"setsid {PYTHON} -c '{SERVER}' & exit 0").ready(PORT)
    until(5, lambda: not procs.alive(app.app_pid()), "the command has ended")
    kill(app, "the broker and mw run")
    talks_local(c)
    heir = Heir(c)
    kill(heir, "the broker")
    heir = Heir(c)
    talks_local(c)
    heir.child.send_signal(signal.SIGTERM)
    equal(heir.wait(8), 0, "status")
    nothing_left({**before, "registry": []})
    app = App(c, "sh", "-c", f"setsid {PYTHON} -c '{SERVER}' & exit 0").ready(PORT)
    kill(app, "the broker and mw run")
    with socket.create_connection(("127.0.0.1", PORT)) as s:
        s.sendall(b"end 0\n")
        nothing_left({**before, "registry": ["app"]}, 5)


@case("killed while it starts: nothing runs, nothing is left; --resume starts what does not run, and takes over what does", limit=60, nets=NETS)
def starts(c):
    before = remains()
    for i in range(12):
        with open("/dev/null", "ab") as log:
            child = subprocess.Popen([machine.MW, "run", "--name", "app", "--net", c.net, "--", PYTHON, "-c", SERVER], stdin=subprocess.DEVNULL,
                                     stdout=log, stderr=log, start_new_session=True, env={**os.environ, **(preloaded() or {})})
        time.sleep(0.005 * i)
        below = procs.below(child.pid)
        for p in below[2:3]:
            killed(p.pid)
        if len(below) < 3:
            procs.end(child.pid, signal.SIGTERM)
        else:
            heir = Heir(c, wait=False)
            until(8, lambda heir=heir: heir.child.poll() is not None or "taken over" in heir.said(), "it ends or takes over")
            heir.end()
        child.wait(8)
        nothing_left({key: value for key, value in before.items() if key != "registry"}, 6)
    argv = ("--name", "app", "--net", c.net, "--resume", "--", PYTHON, "-c", SERVER)
    app = Heir(c, wait=False, argv=argv)
    until(10, lambda: connects("127.0.0.1", PORT), "it starts")
    pid = app.info()["app_pid"]
    killed(app.pid)
    app.child.wait(5)
    app = Heir(c, argv=argv)
    equal(app.listed()["app_pid"], pid, "the application")
    app.child.send_signal(signal.SIGTERM)
    app.wait(8)
    nothing_left({**before, "registry": []})


# what the broker calls for a listener, or an INS, that comes or goes
CALLS = ("sendmsg", "recvmsg", "recvmmsg", "sendmmsg", "poll", "memfd_create", "write", "close", "bind", "socket", "listen", "setsockopt", "fcntl",
         "sendto", "any")
STEPS = [0, 1, 2, 4, 8, 16, *(random.randrange(20, 4000) for _ in range(20 if LONG else 2))]


@case("killed behind a system call, and at instructions that follow, as listeners come and go: each is made once, and unmade",
      limit=1500 if LONG else 180)
def at_instructions(c):
    app = App(c, PYTHON, "-c", SERVER, net="isolated", options=("--ins", "2")).ready(PORT)
    old, port, kills, deadline = Talk(c), PORT + 100, 0, time.monotonic() + (1200 if LONG else 60)
    check(old.ask(f"listen {port}"), "a first listener")
    for step, name in ((step, name) for step in STEPS for name in CALLS):
        if time.monotonic() > deadline:
            break
        broker, what = app.broker_pid(), f"killed {step} instructions behind {name}"
        with stepkill.begin(broker, name, step, 2000) as killer:
            old.send(f"unlisten {port}")
            old.send(f"listen {port + 1}")
            status = killer.wait(20)
        check(status in (0, stepkill.NOT_MADE), f"stepkill: {status}")
        if status == 0:
            kills += 1
            until(5, lambda pid=broker: not procs.alive(pid), "the broker ends", 0.002)
            app.child.wait(10)
            app = Heir(c)
        equal((old.hear(), old.hear()), ("True", "True"), f"{what}: the answers")
        port += 1
        until(5, lambda: published(app) == [PORT, port], lambda: f"{what}: published: {published(app)}, not {[PORT, port]}")
        for host in ("127.0.0.1", machine.HERE4, machine.HERE4):
            one = Talk(c, port, host)
            equal(one.ask("echo hello"), "hello", what)
            one.close()
    c.note(f"{kills} kills")
    check(kills >= 20, f"{kills} kills")


def published(app):
    return sorted(p["host_port"] for p in app.listed()["published"])


@case("nginx under wrk with 200 idle connections: no request fails, whoever is killed", limit=120)
def under_wrk(c):
    servers.need("nginx", "wrk")
    before = remains()
    config = servers.roomy("listen 80; location / { return 200 ok; }", "keepalive_requests 100000000;")
    app = servers.nginx(c, config=config, net="isolated").ready(80)
    idle = [socket.create_connection(("127.0.0.1", 80), 10) for _ in range(200)]
    wrk = subprocess.Popen([*machine.in_neighbour(), "wrk", "-t", "1", "-c", "20", "-d", "8s", f"http://{machine.HERE4}/"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    c.callback(wrk.kill)
    for who in WHO[:3]:
        time.sleep(0.7)
        kill(app, who)
        time.sleep(0.7)
        app = Heir(c, app.name)
    out = wrk.communicate(timeout=30)[0]
    check("Socket errors" not in out and "Non-2xx" not in out, lambda: out)
    c.note(next(line.strip() for line in out.splitlines() if "requests in" in line))
    for s in idle:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    equal(sum(s.recv(4096).startswith(b"HTTP/1.1 200") for s in idle), len(idle), "idle connections that are answered")
    for s in idle:
        s.close()
    app.child.send_signal(signal.SIGTERM)
    app.wait(8)
    nothing_left(before)


tap.main()
