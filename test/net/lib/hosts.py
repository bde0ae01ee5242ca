# SPDX-License-Identifier: Apache-2.0
"""Several hosts on a network, for the frontend: this machine forwards between a client and hosts that have INSs, or stand-ins for them.

    client 10.1.0.2 ── 10.1.0.1 this machine 10.2.0.1 ── 10.2.0.2, .3 ... host a
                                             10.3.0.1 ── 10.3.0.2, .3 ... host b        (fd01::, fd02::, fd03:: alike)
"""
import base64
import difflib
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from . import machine
from .tap import check, until

ROOT = Path("/run/mw")

SERVER = """
import socket, sys, threading
name, *wheres = sys.argv[1:]
def serve(s):
    while True:
        c, peer = s.accept()
        threading.Thread(target=talk, args=(c, peer), daemon=True).start()
def talk(c, peer):
    try:
        while data := c.recv(1000):
            c.sendall(f"{name} {peer[0]}".encode() + b"\\n")
    except OSError:
        pass
    c.close()
for where in wheres:
    host, port = where.rsplit(",", 1)
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, int(port)))
    s.listen(1000)
    threading.Thread(target=serve, args=(s,), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""

# One line for each: how often each server answered, and what failed.
CLIENT = """
import collections, json, socket, sys, time
host, port, count, seconds, sources = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5:]
seen, failed, done, end = collections.Counter(), [], 0, time.monotonic() + seconds
peers = set()
while done < count if count else time.monotonic() < end:
    try:
        s = socket.create_connection((host, port), timeout=10, source_address=(sources[done % len(sources)], 0) if sources else None)
        s.sendall(b"x")
        name, peer = s.recv(100).decode().split()
        seen[name] += 1
        peers.add(peer)
        s.close()
    except (OSError, ValueError) as e:
        failed.append(str(e))
    done += 1
print(json.dumps({"seen": seen, "failed": failed, "peers": sorted(peers)}))
"""


class Host:
    """A network namespace with a link to this machine."""

    def __init__(self, case, name, net):
        self.name, self.net = name, net
        child = subprocess.Popen(["unshare", "--net", "--uts", "sleep", "infinity"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        case.callback(lambda: (child.kill(), child.wait()))
        own = os.readlink("/proc/self/ns/uts")
        until(5, lambda: os.readlink(f"/proc/{child.pid}/ns/uts") != own, "its namespaces")
        self.pid, self.inside = child.pid, ("nsenter", f"--net=/proc/{child.pid}/ns/net", f"--uts=/proc/{child.pid}/ns/uts", "--")
        link = self.link = f"to-{name}"
        machine.run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(child.pid))
        case.callback(lambda: subprocess.run(["ip", "link", "del", link], check=False, stderr=subprocess.DEVNULL))
        machine.run("ip", "addr", "add", f"10.{net}.0.1/24", "dev", link)
        machine.run("ip", "-6", "addr", "add", f"fd0{net}::1/64", "dev", link, "nodad")
        machine.run("ip", "link", "set", link, "up")
        self.run("hostname", name)
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "link", "set", "eth0", "up")
        self.addresses, self.mac = [], self.run("ip", "-br", "link", "show", "eth0").split()[2]
        here = machine.run("ip", "-br", "link", "show", link).split()[2]
        for gateway in (f"10.{net}.0.1", f"fd0{net}::1"):
            self.run("ip", "neigh", "replace", gateway, "lladdr", here, "dev", "eth0")
        self.address(2)
        self.run("ip", "route", "add", "default", "via", f"10.{net}.0.1")
        self.run("ip", "-6", "route", "add", "default", "via", f"fd0{net}::1")

    def run(self, *argv):
        return machine.run(*self.inside, *argv)

    def address(self, number):
        """One more address of it, IPv4 and IPv6."""
        if number not in self.addresses:
            self.addresses.append(number)
            self.run("ip", "addr", "add", f"10.{self.net}.0.{number}/24", "dev", "eth0")
            self.run("ip", "-6", "addr", "add", f"fd0{self.net}::{number}/64", "dev", "eth0", "nodad")
            self.known(number)
        return f"10.{self.net}.0.{number}", f"fd0{self.net}::{number}"

    def known(self, number):
        """A busy machine is slow to answer who has it."""
        for address in (f"10.{self.net}.0.{number}", f"fd0{self.net}::{number}"):
            machine.run("ip", "neigh", "replace", address, "lladdr", self.mac, "dev", self.link)

    def cut(self):
        machine.run("ip", "link", "set", self.link, "down")

    def mend(self):
        """Linux forgot neighbours and IPv6 addresses with the link."""
        machine.run("ip", "link", "set", self.link, "up")
        machine.run("ip", "-6", "addr", "replace", f"fd0{self.net}::1/64", "dev", self.link, "nodad")
        for number in self.addresses:
            self.known(number)


def forget_connections():
    """Those that an earlier case left have the addresses of this one's: the kernel would send a client that takes their port to who is gone."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:      # NETLINK_NETFILTER
        netlink.send(struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 1 | 4, 1, 0, 0, 0, 0))   # IPCTNL_MSG_CT_DELETE, all
        netlink.recv(4096)


FOREIGN = "table inet other {\n\tchain c {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n\t\ttcp dport 9 dnat ip to 10.9.9.9:9\n\t}\n}\n"


def exact_rules(case):
    """When all that the case started has ended, this machine has none of our rules, and somebody else's as they were."""
    subprocess.run(["nft", "-f", "-"], input=FOREIGN, text=True, check=True)
    case.callback(machine.run, "nft", "delete", "table", "inet", "other")
    shown = machine.run("nft", "list", "ruleset")

    def same():
        seen = machine.run("nft", "list", "ruleset")
        same_rules(seen, shown, "this machine's rules in the end")
    case.callback(same)


def network(case, *hosts):
    """A client and hosts with these names; this machine forwards for them."""
    forget_connections()
    exact_rules(case)
    for path in ("/proc/sys/net/ipv4/conf/all/forwarding", "/proc/sys/net/ipv6/conf/all/forwarding"):
        before = Path(path).read_text()
        Path(path).write_text("1")
        case.callback(Path(path).write_text, before)
    return [Host(case, name, i) for i, name in enumerate(["client", *hosts], 1)]


class Ins:
    """A server that stands for an INS on a host, and its entry."""

    def __init__(self, case, host, number, ins, app="web", here=None):
        self.case, self.host, self.ins, self.app = case, host, ins, app
        self.ip4, self.ip6 = host.address(number)
        self.name = f"{host.name}{ins}"
        self.entry = {"v": 1, "app": app, "ins": ins, "host": here or socket.gethostname(), "address": self.ip4, "address6": self.ip6,
                      "state": "up", "heartbeat": time.time(), "load": {"cpu": 0.1, "connections": 0, "rate": 0},
                      "ports": [{"proto": "tcp", "port": 80, "host": "", "host_port": 8080}], "slots": 100, "keeper_pid": 1,
                      "worker_pid": 2, "restarts": 0, "started": int(time.time())}
        self.server, self.beats = None, True
        self.serve()

    def serve(self):
        self.server = subprocess.Popen([*self.host.inside, sys.executable, "-c", SERVER, self.name, f"{self.ip4},80", f"{self.ip6},80"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.case.callback(self.stop)
        check(self.server.stdout.readline() == "ready\n", "the stand-in serves")

    def stop(self):
        """It serves no more; connections die with it."""
        self.server.kill()
        self.server.wait()
        self.server.stdout.close()

    def cut(self):
        """Its addresses are nobody's. Not for the host's first: with that, Linux takes the others of its network."""
        for address, bits in ((self.ip4, 24), (self.ip6, 64)):
            self.host.run("ip", "addr", "del", f"{address}/{bits}", "dev", "eth0")

    def json(self):
        self.entry["heartbeat"] = time.time()
        return json.dumps(self.entry)


class Directory:
    """What a broker keeps in /run/mw/NAME: its lock and its entries, written twice a second."""

    def __init__(self, case, name="web", root=ROOT):
        self.path = root / name / "ins"
        self.path.mkdir(parents=True, exist_ok=True)
        for path in (root, root / name, self.path):
            path.chmod(0o700)
        self.lock = open(root / name / "lock", "w", encoding="ascii")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.members, self.over, self.guard, self.beat_s = [], threading.Event(), threading.Lock(), 0.5
        self.thread = threading.Thread(target=self.beat, daemon=True)
        self.thread.start()
        case.callback(self.end)

    def write(self, name, text, mode=0o600, owner=0):
        (self.path / f".{name}").write_text(text)
        (self.path / f".{name}").chmod(mode)
        os.chown(self.path / f".{name}", owner, owner)
        (self.path / f".{name}").rename(self.path / name)

    def show(self):
        with self.guard:
            for m in self.members:
                if m.beats:
                    self.write(f"{m.ins}.json", m.json())

    def beat(self):
        while not self.over.wait(self.beat_s):
            self.show()

    def add(self, *members):
        self.members += members
        self.show()

    def remove(self, member):
        with self.guard:
            self.members.remove(member)
            (self.path / f"{member.ins}.json").unlink()

    def end(self):
        self.over.set()
        self.thread.join()
        self.lock.close()
        for path in self.path.iterdir():
            path.unlink()


class Etcd:
    """On this machine, reached from every host."""

    def __init__(self, case):
        self.data = Path(tempfile.mkdtemp(prefix="etcd-", dir="/run"))
        self.child = None
        self.start()
        case.callback(self.kill)

    def start(self):
        with open("/run/etcd.log", "ab") as log:
            self.child = subprocess.Popen(["etcd", "--data-dir", self.data, "--listen-client-urls", "http://0.0.0.0:2379", "--advertise-client-urls",
                                           "http://127.0.0.1:2379", "--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "error"],
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(15, self.answers, lambda: f"etcd answers; it said: {Path('/run/etcd.log').read_text()[-1000:]}", step=0.1)

    def answers(self):
        try:
            return self.ask("kv/range", key=b"x")
        except OSError:
            return None

    def kill(self):
        self.child.kill()
        self.child.wait()

    def ask(self, what, **fields):
        body = {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in fields.items()}
        with urllib.request.urlopen(f"http://127.0.0.1:2379/v3/{what}", json.dumps(body).encode(), timeout=3) as answer:
            return json.load(answer)

    def keys(self):
        answer = self.ask("kv/range", key=b"/mwcomms/", range_end=b"/mwcomms0")
        return sorted(base64.b64decode(kv["key"]).decode().removeprefix("/mwcomms/") for kv in answer.get("kvs", []))

    def put(self, key, value, **fields):
        self.ask("kv/put", key=f"/mwcomms/{key}".encode(), value=value if isinstance(value, bytes) else value.encode(), **fields)


class Mirror:
    """`mw registry` on a host."""

    def __init__(self, case, host, root, url, name="web"):
        self.log = Path(f"/run/mirror-{host.name}.log")
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen([*host.inside, machine.MW, "registry", "--etcd", url, name], stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=log, env={**os.environ, "MW_RUNTIME_DIR": str(root)})
        case.callback(self.end)

    def end(self):
        if self.child.poll() is None:
            self.child.terminate()
        check(self.child.wait(5) in (0, -9), lambda: f"mw registry ended with {self.child.returncode}: {self.log.read_text()}")


class Frontend:
    """`mw frontend` in the background."""

    def __init__(self, case, *options, name="web", prefix=(), env=None):
        self.argv, self.options, self.env, self.name, self.prefix = [*prefix, machine.MW, "frontend", *options, name], options, env, name, prefix
        self.log = Path(f"/run/frontend-{name}.log")
        self.start()
        case.callback(self.end)

    def start(self):
        self.log.write_text("")
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(self.env or {})})

    def said(self):
        return self.log.read_text(errors="replace")

    def says(self, text, seconds=8):
        until(seconds, lambda: text in self.said(), lambda: f"it says {text!r}; it said:\n{self.said()}")
        return self

    def ready(self, *keys, seconds=8):
        """Each of them gets connections."""
        for key in keys:
            self.says(f"INS {key} gets connections", seconds)
            host, _, ins = key.split("/")
            until(seconds, lambda rule=f"chain ins-{host}-{ins} ": rule in table(self.name, self.prefix), f"a rule for {key}")
        return self

    def end(self, status=0):
        if self.child.poll() is None:
            self.child.terminate()
        check(self.child.wait(8) in (status, -9), lambda: f"mw frontend ended with {self.child.returncode}; it said:\n{self.said()}")

    def exact(self):
        """Its rules are those that a frontend would make now, once it has seen what is new."""
        def differ():
            return table(self.name, self.prefix) != planned(*self.options, name=self.name, prefix=self.prefix, env=self.env)
        until(4, lambda: not differ(), lambda: same_rules(table(self.name, self.prefix), planned(*self.options, name=self.name, prefix=self.prefix, env=self.env), "the rules"))

    def kill(self):
        self.child.kill()
        self.child.wait()


def table(name="web", prefix=()):
    """Its table as nft shows it, chains and maps in their own order; empty when there is none."""
    shown = subprocess.run([*prefix, "nft", "list", "table", "inet", f"mwf-{name}"], capture_output=True, text=True, check=False)
    return in_order(shown.stdout)


def in_order(text):
    first, _, rest = text.replace("\n\n", "\n").partition("\n")   # the table's name is no part of what comes first in it
    return "\n".join([first, *sorted(rest.split("\n\t}\n"))]).rstrip()


def planned(*options, name="web", prefix=(), env=None):
    """What the kernel shows of the plan that mw frontend prints."""
    printed = subprocess.run([*prefix, machine.MW, "frontend", "--plan", *options, name], capture_output=True, text=True, check=False,
                             env={**os.environ, **(env or {})})
    check(printed.returncode == 0, lambda: f"--plan: {printed.stderr}")
    shown = subprocess.run(["unshare", "--net", "sh", "-c", "nft -f - && nft list ruleset"], input=printed.stdout, capture_output=True,
                           text=True, check=False)
    check(shown.returncode == 0, lambda: f"nft takes the plan: {shown.stderr}")
    return in_order(shown.stdout)


def same_rules(seen, wanted, what):
    check(seen == wanted, lambda: f"{what}, and behind + what they should be:\n" + "\n".join(list(
        difflib.unified_diff(seen.splitlines(), wanted.splitlines(), n=1, lineterm=""))[2:20]))


class Client:
    """Connections one after the other, from the client's host."""

    def __init__(self, host, to="10.1.0.1", port=8080, count=0, seconds=0.0, sources=()):
        self.child = subprocess.Popen([*host.inside, sys.executable, "-c", CLIENT, to, str(port), str(count), str(seconds), *sources],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def done(self, limit=60):
        out, _ = self.child.communicate(timeout=limit)
        return json.loads(out)


LASTING = """
import socket, sys
def start():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("10.1.0.2", int(sys.argv[1])))
    s.settimeout(2)
    s.connect(("10.1.0.1", 8080))
    return s
def ask(s):
    s.sendall(b"x")
    return s.recv(100).decode().split()[0]
s = start()
print(ask(s), flush=True)
for line in sys.stdin:
    try:
        if line == "again\\n":                           # the same port; the old connection is forgotten here, not ended
            if s.fileno() >= 0:
                s.setsockopt(socket.IPPROTO_TCP, 19, 1) # TCP_REPAIR
                s.close()
            s = start()
        print(ask(s), flush=True)
    except (OSError, IndexError) as e:
        print(e, flush=True)
"""


class Lasting:
    """One connection from the client's host; who answers, or the error."""

    def __init__(self, c, client, port):
        self.child = subprocess.Popen([*client.inside, "python3", "-c", LASTING, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        c.callback(lambda: (self.child.stdin.close(), self.child.stdout.close(), self.child.kill(), self.child.wait()))
        self.first = self.child.stdout.readline().strip()

    def says(self, word):
        self.child.stdin.write(word + "\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().strip()


def connect(host, count=20, to="10.1.0.1", port=8080, sources=()):
    return Client(host, to, port, count=count, sources=sources).done()
