# SPDX-License-Identifier: Apache-2.0
"""mw frontend: new connections spread over INSs that the registry names. Stand-ins serve here; the entries are the test's."""
import json
import os
import resource
import socket
import subprocess
import threading
import time
from pathlib import Path

from lib import machine, rules, tap
from lib.hosts import FOREIGN, Client, Directory, Etcd, Frontend, Ins, Lasting, connect, network, same_rules, table
from lib.mw import nothing_left, remains
from lib.tap import case, check, equal, matches, until

HERE = socket.gethostname()
def members(c, host, count):
    return [Ins(c, host, 2 + i, i) for i in range(count)]


def keys(*members_):
    return [f"{m.entry['host']}/web/{m.ins}" for m in members_]


def served(c, count):
    """INSs on one host, and their entries."""
    client, a = network(c, "a")
    directory = Directory(c)
    ins = members(c, a, count)
    directory.add(*ins)
    return client, directory, ins


def spread(c, count, *options):
    """And a frontend that knows them."""
    client, directory, ins = served(c, count)
    return client, directory, ins, Frontend(c, "--balance", "rr", *options).ready(*keys(*ins))


def shares(seen, wanted):
    """Each within 5 % of its share."""
    total = sum(seen.values())
    for name, share in wanted.items():
        got = seen.get(name, 0) / total
        check(abs(got - share) <= 0.05 * share, f"{name} got {got:.3f} of {total}, not {share:.3f}: {seen}")


@case("rr: each INS its share, clients keep their addresses, IPv6 too; rules are those planned, and gone at the end", limit=60)
def round_robin(c):
    client, a, b = network(c, "a", "b")
    before = remains()
    directory = Directory(c)
    ins = [Ins(c, a, 2, 0), Ins(c, a, 3, 1), Ins(c, b, 2, 2)]
    directory.add(*ins)
    front = Frontend(c, "--balance", "rr").ready(*keys(*ins))
    seen = connect(client, 900)
    equal(seen["failed"], [], "failures")
    shares(seen["seen"], {"a0": 1 / 3, "a1": 1 / 3, "b2": 1 / 3})
    equal(seen["peers"], ["10.1.0.2"], "who the servers saw")
    seen = connect(client, 60, to="fd01::1")
    equal((seen["failed"], seen["peers"]), ([], ["fd01::2"]), "by IPv6")
    shares(seen["seen"], {"a0": 1 / 3, "a1": 1 / 3, "b2": 1 / 3})
    front.exact()
    front.end()
    same_rules(table(), "", "rules at the end")
    check(connect(client, 1)["failed"], "the port is not there any more")
    directory.end()
    for m in ins:
        m.stop()
    nothing_left({**before, "registry": ["web"]})


@case("load: a busy INS gets less, within 5 % of its weight; hash: a client keeps its INS; least: who has few gets more", limit=90)
def balances(c):
    client, directory, ins = served(c, 3)
    ins[2].entry["load"]["cpu"] = 0.75
    directory.show()
    front = Frontend(c).ready(*keys(*ins))
    shares(connect(client, 1000)["seen"], {"a0": 0.4, "a1": 0.4, "a2": 0.2})
    front.end()

    front = Frontend(c, "--balance", "hash").ready(*keys(*ins))
    sources = [client.address(100 + i)[0] for i in range(30)]
    once = [connect(client, 3, sources=[source])["seen"] for source in sources]
    check(all(len(seen) == 1 for seen in once), f"each client has one INS: {once}")
    check({name for seen in once for name in seen} == {"a0", "a1", "a2"}, f"all are used: {once}")
    ins[0].entry["state"] = "drain"
    front.says(f"INS {HERE}/web/0 gets no new connections: it is drained")
    again = [connect(client, 1, sources=[source])["seen"] for source in sources]
    for one, other in zip(once, again):
        check("a0" in one or set(one) == set(other), f"those of others stay: {one} {other}")
    front.end()

    ins[0].entry["state"] = "up"
    for m, connections in zip(ins, (100, 100, 0)):
        m.entry["load"] = {"cpu": 0.1, "connections": connections, "rate": 10}
    directory.show()
    Frontend(c, "--balance", "least").ready(*keys(*ins))
    equal(connect(client, 50)["seen"], {"a2": 50}, "all to the one without connections")


@case("a drained INS gets no new connections and keeps its own; a withdrawn, a mute and a deaf one leave in time", limit=90)
def leaves(c):
    client, directory, ins, front = spread(c, 4)

    def only(*names):
        until(3, lambda: set(connect(client, 12)["seen"]) == set(names), f"only {names} get connections; it said:\n{front.said()}")
        equal(connect(client, 40)["failed"], [], "failures")

    held = subprocess.Popen([*client.inside, "python3", "-c", """
import socket, sys
all = [socket.create_connection(("10.1.0.1", 8080)) for _ in range(8)]
print("open", flush=True)
for line in sys.stdin:
    names = set()
    for s in all:
        s.sendall(b"x")
        names.add(s.recv(100).decode().split()[0])
    print(" ".join(sorted(names)), flush=True)
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    c.callback(lambda: (held.stdin.close(), held.stdout.close(), held.kill(), held.wait()))
    equal(held.stdout.readline(), "open\n", "connections through the frontend")
    ins[0].entry["state"] = "drain"
    directory.show()
    only("a1", "a2", "a3")
    held.stdin.write("go\n")
    held.stdin.flush()
    equal(held.stdout.readline().split(), ["a0", "a1", "a2", "a3"], "who answers on old connections")

    started = time.monotonic()
    ins[1].beats = False
    front.says(f"INS {HERE}/web/1 gets no new connections: it has no heartbeat", 4)
    check(time.monotonic() - started < 2.9, "within two heartbeats of its last")
    only("a2", "a3")
    started = time.monotonic()
    ins[2].stop()
    front.says(f"INS {HERE}/web/2 gets no new connections: it does not serve", 4)
    check(time.monotonic() - started < 2.2, "within two heartbeats")
    only("a3")
    ins[2].serve()
    ins[1].beats = True
    only("a1", "a2", "a3")
    directory.remove(ins[3])
    front.says(f"INS {HERE}/web/3 is gone")
    only("a1", "a2")
    front.exact()
    directory.lock.close()
    front.says(f"INS {HERE}/web/1 is gone")
    until(3, lambda: "goto" not in table(), "nothing of a dead broker is forwarded to")


@case("an INS whose address changes while the old one is being asked: the new one's answer alone counts")
def moved(c):
    _, directory, ins = served(c, 1)
    there, ins[0].entry["address"] = ins[0].entry["address"], "10.2.0.66"       # nobody's, and silent
    directory.show()
    front = Frontend(c, "--balance", "rr", "--heartbeat", "5")
    until(5, lambda: "10.2.0.66:80" in machine.run("ss", "-Htn", "state", "syn-sent"), "it is being asked")
    ins[0].entry["address"] = there
    directory.show()
    front.ready(*keys(*ins))
    check("does not serve" not in front.said(), lambda: f"it said:\n{front.said()}")


@case("an INS that is gone and silent: who takes an old port is led to another; one that only left the registry keeps its connections", limit=60)
def forgotten(c):
    client, directory, ins = served(c, 4)
    directory.beat_s = 0.05
    front = Frontend(c, "--balance", "rr", "--heartbeat", "0.2").ready(*keys(*ins))
    held = {}
    for port in range(40000, 40100):
        one = Lasting(c, client, port)
        held.setdefault(one.first, one)
        if len(held) == 4:
            break
    kept, early, late, other = (held[f"a{i}"] for i in range(4))
    front.kill()                                        # it finds who left meanwhile in the rules
    directory.remove(ins[1])
    ins[1].cut()
    front.start()
    front.ready(*keys(ins[0], *ins[2:]))
    directory.remove(ins[0])
    directory.remove(ins[2])
    ins[2].cut()
    front.says(f"INS {HERE}/web/2 is gone")
    started = time.monotonic()
    for lost in early, late:
        until(12, lambda lost=lost: lost.says("again") == "a3", "the old port leads to the one that is left", step=0.5)
    check(time.monotonic() - started > 3, "not at once: it may come back")
    time.sleep(3)
    equal((kept.says("go"), other.says("go")), ("a0", "a3"), "who answers on connections of those that answer")


@case("killed and started again under load: no connection fails, the rules are taken over; --keep leaves them", limit=60)
def killed(c):
    client, _, ins, front = spread(c, 3)
    load = Client(client, seconds=6)
    for _ in range(3):
        shown = table()
        front.kill()
        same_rules(table(), shown, "rules of a killed frontend")
        time.sleep(0.5)
        front.start()
        front.ready(*keys(*ins))
    done = load.done()
    equal(done["failed"], [], f"failures among {sum(done['seen'].values())}")
    front.exact()
    check(sum(done["seen"].values()) > 500, f"it was under load: {done}")
    status, _, err = machine_quick("frontend", "web")
    check(status == 1 and "another frontend of that name" in err, f"a second frontend: {err}")
    front.end()
    same_rules(table(), "", "rules at the end")
    front = Frontend(c, "--balance", "rr", "--keep").ready(*keys(*ins))
    shown = table()
    front.end()
    same_rules(table(), shown, "rules that are kept")
    Frontend(c, "--balance", "rr").ready(*keys(*ins)).end()
    same_rules(table(), "", "rules at the end")


@case("one ends between another's open() and flock() of the lock, a third comes: there are never two", limit=60)
def one_at_a_time(c):
    _, _, ins, first = spread(c, 1)
    lock = "/run/mw/.frontend-web"
    late = subprocess.Popen(["strace", "-D", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:delay_enter=4000000:when=1",
                             machine.MW, "frontend", "web"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    c.callback(lambda: (late.kill(), late.communicate()))

    def opened():
        try:
            return lock in (os.readlink(f"/proc/{late.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{late.pid}/fd"))
        except OSError:
            return False
    until(5, opened, "it has the lock's file open")
    first.end()
    check(not os.path.exists(lock), "the first one's lock is removed")
    Frontend(c, "--balance", "rr").ready(*keys(*ins))
    _, err = late.communicate(timeout=15)
    check(late.returncode == 1 and "another frontend" in err, f"the one that was late: {late.returncode}, {err}")


def machine_quick(*argv):
    done = subprocess.run([machine.MW, *argv], capture_output=True, text=True, check=False, timeout=20)
    return done.returncode, done.stdout, done.stderr


@case("entries that are malformed, huge, another's, stale, and more than there may be: each said once, and the good one serves", limit=90)
def bad_entries(c):
    client, a = network(c, "a")
    directory = Directory(c)
    good = Ins(c, a, 2, 0)
    directory.add(good)
    front = Frontend(c).ready(*keys(good))
    base = json.loads(good.json())

    def write(ins, how=(), **change):
        directory.write(f"{ins}.json", json.dumps({**base, "ins": ins, "address": f"10.2.0.{50 + ins}", "address6": "", **change}), *how)

    directory.write("1.json", "{")
    directory.write("2.json", json.dumps({**base, "ins": 2, "x": "y" * 40000}))
    write(3, app="other")
    write(4, host="elsewhere")
    write(5, address="127.0.0.1")
    write(6, ports=[{"proto": "tcp", "port": 0, "host_port": 1}])
    write(7, address="10.2.0.2")            # the good one's
    write(8, heartbeat=1)                   # never again
    directory.write("9.json", "[1]")
    directory.write("x.json", "{}")
    write(10, how=(0o644, 65534))
    write(11, how=(0o666,))
    os.symlink("/etc/passwd", directory.path / "12.json")
    os.mkfifo(directory.path / "13.json")
    directory.write("14.json", "[" * 30000)
    directory.write("15.json", json.dumps(base))     # says it is 0
    for i in range(3):
        time.sleep(0.5)
        directory.write("1.json", "{" * (i + 2))
    front.says("entry %s/web/15 is ignored" % HERE)
    for ins, why in ((1, "it is not JSON"), (2, "it is too large"), (3, "it says that it is another's"), (4, "it says that it is another's"),
                     (5, "its address is none that an INS has"), (6, "one of its ports is no port"), (9, "it is not a JSON object"),
                     (10, "others than this user"), (11, "others than this user"), (12, "it is no file"), (13, "it is no file"),
                     (14, "it is not JSON"), (15, "it says that it is another's")):
        equal(front.said().count(f"entry {HERE}/web/{ins} is ignored: {why}"), 1, f"complaints about entry {ins} in:\n{front.said()}")
    equal(front.said().count("x.json is ignored: its name"), 1, "complaints about a name")
    front.says(f"INS {HERE}/web/7 gets no new connections: another INS has its address")
    equal(connect(client, 20)["seen"], {"a0": 20}, "who serves")
    check("ins-" + HERE + "-8 " not in table(), "a stale one is not used")
    time.sleep(2)
    equal(front.said().count(f"INS {HERE}/web/8 "), 1, f"complaints about a stale one that does not serve either, in:\n{front.said()}")
    for i in range(16, 100):
        write(i)
    front.says("more than 64 INSs")
    equal(connect(client, 20)["seen"], {"a0": 20}, "who serves")
    for path in directory.path.iterdir():
        if path.name != "0.json":
            path.unlink()
    second = Ins(c, a, 3, 1)
    directory.add(second)
    front.ready(*keys(second))
    equal(set(connect(client, 20)["seen"]), {"a0", "a1"}, "who serves")
    front.exact()


@case("nftables that refuses, rules that somebody flushes, ports that a server of this host has: said once, nothing is torn down", limit=90)
def refusals(c):
    client, _, ins, front = spread(c, 2)
    connect(client, 2)
    subprocess.run(["nft", "-f", "-"], input="flush ruleset\n" + rules.FOREIGN + FOREIGN, text=True, check=True)       # a firewall is reloaded
    front.says("somebody removed table inet mwf-web")
    until(3, lambda: set(connect(client, 4)["seen"]) == {"a0", "a1"}, "connections are spread again")
    front.end()

    # a server of this host, and INSs of another: its port is not taken from it, the other one is forwarded
    for m in ins:
        m.entry["ports"] = [{"proto": "tcp", "port": 80, "host": "", "host_port": port} for port in (8080, 9090)]
    etcd = Etcd(c)
    lease = etcd.ask("lease/grant", TTL="60")["ID"]
    for m in ins:
        m.entry["host"] = "a"

    def publish():
        for m in ins:
            etcd.put(f"a/web/{m.ins}", m.json(), lease=lease)
    with socket.create_server(("0.0.0.0", 9090)) as server:
        publish()
        front = Frontend(c, "--etcd", "http://127.0.0.1:2379", "--heartbeat", "60").ready(*keys(*ins))
        front.says("a server of this host has TCP port 9090: it is not forwarded")
        equal(set(connect(client, 10)["seen"]), {"a0", "a1"}, "who has the other port")
        silent = Client(client, port=9090, count=1)
        server.settimeout(5)
        channel, _ = server.accept()
        channel.sendall(b"mine me\n")
        equal(silent.done()["seen"], {"mine": 1}, "who has the server's port")
        channel.close()
        publish()
        time.sleep(0.5)
        equal(front.said().count("TCP port 9090"), 1, "complaints")
    publish()
    until(5, lambda: "dport 9090" in table(), "the port is forwarded when its server is gone")
    equal(set(connect(client, 10, port=9090)["seen"]), {"a0", "a1"}, "who has it then")
    with socket.create_server(("0.0.0.0", 8080)):       # too late: what works stays
        publish()
        front.kill()
        front.start()
        front.ready(*keys(*ins))
        equal(set(connect(client, 10)["seen"]), {"a0", "a1"}, "who has the port of a server that came later")
    # nftables that refuses: a chain that somebody else's rule refers to cannot go
    machine.run("nft", "add rule inet mwf-web output jump ins-a-1")
    shown = table()
    front.kill()
    machine.run("nft", "add chain inet mwf-web extra")
    machine.run("nft", "add rule inet mwf-web extra jump ins-a-1")
    front.start()
    front.ready(*keys(*ins))
    check("extra" not in table() and shown != table(), "what is no plan of ours goes")
    front.end()
    equal(table(), "", "rules at the end")
    # nftables that refuses: a table of that name is another's
    with subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as owner:
        owner.stdin.write("add table inet mwf-web { flags owner; }\n")
        owner.stdin.flush()
        until(5, lambda: "owner" in table(), "another's table")
        front.start()
        front.says("nftables refuses table inet mwf-web: ")
        time.sleep(4)
        equal(front.said().count("refuses"), 1, f"complaints: {front.said()}")
        owner.stdin.close()
    until(20, lambda: "goto" in table(), "the rules, when it is gone")
    front.says("the rules are in force again")
    front.exact()


@case("a limit on descriptors: it says so, and what is forwarded stays", limit=60)
def descriptors(c):
    client, _, ins, front = spread(c, 3)
    used = len(os.listdir(f"/proc/{front.child.pid}/fd"))
    _, hard = resource.prlimit(front.child.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(front.child.pid, resource.RLIMIT_NOFILE, (used, hard))
    time.sleep(5)
    equal(set(connect(client, 12)["seen"]), {"a0", "a1", "a2"}, "who serves")
    equal(front.said().count("Too many open files"), 1, f"complaints: {front.said()}")
    resource.prlimit(front.child.pid, resource.RLIMIT_NOFILE, (hard, hard))
    front.says("can look into /run/mw again")
    ins[0].stop()
    front.says(f"INS {HERE}/web/0 gets no new connections: it does not serve")
    front.exact()


@case("INSs and ports come and go under load: no connection fails", limit=60)
def changes(c):
    client, directory, ins, front = spread(c, 3)
    load, turn = Client(client, seconds=10), 0
    while load.child.poll() is None:
        ins[2].entry["ports"] = [{"proto": "tcp", "port": 80, "host": "", "host_port": port} for port in (8080, 8081)[:1 + turn % 2]]
        ins[1].entry["state"] = "up" if turn // 3 % 2 else "drain"
        directory.show()
        turn += 1
        time.sleep(0.02)
    done = load.done()
    equal(done["failed"], [], f"failures among {sum(done['seen'].values())}, {turn} changes")
    check(all(done["seen"].get(f"a{i}", 0) > 100 for i in range(3)), f"all served: {done['seen']}")
    front.exact()


@case("more INSs when they are busy, fewer when not, between --min and --max, without flapping", limit=120)
def scales(c):
    _, a = network(c, "a")
    directory = Directory(c)
    broker = Broker(c, directory, a)
    broker.add()
    front = Frontend(c, "--min", "2", "--max", "4", "--hold", "1", "--high", "60", "--low", "30")
    until(6, lambda: len(broker.up()) == 2, lambda: f"the minimum runs; it said:\n{front.said()}")
    broker.load(0.9)
    until(15, lambda: len(broker.up()) == 4, lambda: f"all that may run do; it said:\n{front.said()}")
    time.sleep(3)
    equal(len(broker.up()), 4, "no more than the maximum")
    done = len(broker.asked)
    for i in range(8):                      # around both thresholds, and never there for long
        broker.load((0.9, 0.1)[i % 2])
        time.sleep(0.5)
    equal(broker.asked[done:], [], "what was asked meanwhile")
    broker.load(0.5)
    time.sleep(2.5)
    equal(broker.asked[done:], [], "what was asked between the thresholds")
    for m in broker.up():
        m.entry["load"]["connections"] = 5
    broker.load(0.1)
    until(20, lambda: len(broker.up()) == 2, lambda: f"the minimum runs again; it said:\n{front.said()}")
    time.sleep(4)
    equal([ask["do"] for ask in broker.asked[done:]], ["drain", "drain"], "drained, not ended: they have connections")
    for m in directory.members:
        m.entry["load"]["connections"] = 0
    until(15, lambda: len(directory.members) == 2, lambda: f"the drained ones are ended; it said:\n{front.said()}")
    started = front.said().count("another one is started")
    broker.refuse = "no more addresses"
    broker.load(0.9)
    front.says("the broker refuses: no more addresses")
    time.sleep(3)
    equal((front.said().count("no more addresses"), front.said().count("another one is started")), (1, started), "complaints, and INSs that are started")
    equal(len(broker.watchers), 1, "connections that ask for heartbeats")


class Broker:
    """The ins-ctl socket of one that starts stand-ins."""

    def __init__(self, c, directory, host):
        self.case, self.directory, self.host, self.asked, self.refuse, self.next = c, directory, host, [], None, 0
        self.watchers = []
        path = directory.path.parent / "ins-ctl"
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(str(path))
        self.socket.listen()
        thread = threading.Thread(target=self.serve, daemon=True)
        thread.start()
        c.callback(lambda: (self.socket.shutdown(socket.SHUT_RDWR), thread.join(), self.socket.close()))

    def serve(self):
        try:
            while True:
                channel, _ = self.socket.accept()
                ask = json.loads(channel.recv(1000))
                if ask["do"] == "watch":        # it stays
                    self.watchers.append(channel)
                    continue
                self.asked.append(ask)
                channel.send(json.dumps(self.answer(ask)).encode())
                channel.close()
        except OSError:
            pass

    def answer(self, ask):
        if self.refuse:
            return {"error": self.refuse}
        if ask["do"] == "add":
            return {"ins": self.add()}
        member = next(m for m in self.directory.members if m.ins == ask["ins"])
        if ask["do"] == "drain":
            member.entry["state"] = "drain"
            self.directory.show()
        else:
            self.directory.remove(member)
            member.stop()
        return {"ins": ask["ins"]}

    def add(self):
        self.next += 1
        self.directory.add(Ins(self.case, self.host, 1 + self.next, self.next - 1))
        return self.next - 1

    def up(self):
        return [m for m in self.directory.members if m.entry["state"] == "up"]

    def load(self, cpu):
        for m in self.directory.members:
            m.entry["load"]["cpu"] = cpu
        self.directory.show()


@case("systemd is told when it is ready, that it lives, and that it ends", limit=30)
def notifies(c):
    _, a = network(c, "a")
    directory = Directory(c)
    directory.add(Ins(c, a, 2, 0))
    Path("/run/notify").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind("/run/notify")
        told.settimeout(5)
        front = Frontend(c, env={"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "900000"})
        words = [told.recv(100) for _ in range(4)]
        check(b"READY=1" in words and b"WATCHDOG=1" in words, f"what it told: {words}")
        check("goto" in table(), "ready means that the rules are there")
        front.end()
        until(5, lambda: told.recv(100) == b"STOPPING=1", "its end")


@case("called wrongly", limit=30)
def wrong(_):
    for argv, words in ((["frontend"], "one NAME"), (["frontend", "a", "b"], "one NAME"), (["frontend", ".."], "a name has"),
                        (["frontend", "--balance", "best", "a"], "--balance is"), (["frontend", "--etcd", "here:2379", "a"], "--etcd is"),
                        (["frontend", "--min", "3", "--max", "2", "a"], "--min is at most"), (["frontend", "--min", "2", "a"], "--max"),
                        (["frontend", "--low", "80", "a"], "--low is below"), (["frontend", "--hold", "x", "a"], "--hold is"),
                        (["registry", "a"], "--etcd URL is needed"), (["registry", "--etcd", "http://[::1]:2379"], "one NAME")):
        status, _, err = machine_quick(*argv)
        equal(status, 2, " ".join(argv))
        matches(err, words, " ".join(argv))
        matches(err, "; see `mw " + argv[0] + " --help`", " ".join(argv))
    for word in "frontend", "registry":
        status, out, _ = machine_quick(word, "--help")
        check(status == 0 and out.startswith(f"Usage: mw {word}"), f"mw {word} --help")


if __name__ == "__main__":
    tap.main()
