# SPDX-License-Identifier: Apache-2.0
"""The INSs of an application from a test: who there is, orders, whether each has its share, the rules that lead to them."""
import json
import socket
import subprocess
from pathlib import Path

from . import machine
from .mw import quick
from .tap import check, equal


CLIENT = """
import resource, select, socket, sys, time
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
socks, failed, wrong = [], 0, 0
for i in range(count):
    try:
        s = socket.create_connection((host, port), timeout=5)
        name = s.getsockname()[:2]
        line = b""
        while not line.endswith(b"\\n"):
            part = s.recv(100)
            if not part:
                raise OSError("ended")
            line += part
        socks.append(s)
        told = line.decode().split()
        wrong += told[0].replace("::ffff:", "") != name[0] or int(told[1]) != name[1]
    except OSError as e:
        failed += 1
print("open", len(socks), failed, wrong, flush=True)
sys.stdin.readline()
alive = 0
for s in socks:
    try:
        s.sendall(b"x")
        alive += s.recv(1) == b"x"
    except OSError:
        pass
print("alive", alive, flush=True)
"""


class Clients:
    """`count` connections of a neighbour's, each echoing."""

    def __init__(self, c, count, host=machine.HERE4, port=7000):
        self.child = subprocess.Popen([*machine.in_neighbour(), "python3", "-c", CLIENT, host, str(port), str(count)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        c.callback(self.end)
        self.opened, self.failed, self.wrong = map(int, self.child.stdout.readline().split()[1:])

    def alive(self):
        """How many of them still echo; they end with that."""
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return int(self.child.stdout.readline().split()[1])

    def end(self):
        self.child.kill()
        self.child.wait()


def inss(name="app"):
    status, out, err = quick("ins", "list", "--json", name)
    equal(status, 0, f"mw ins list: {err}")
    return [json.loads(line) for line in out.splitlines()]


def ins(number, name="app"):
    return next((i for i in inss(name) if i["ins"] == number), None)


def order(*argv):
    status, out, err = quick("ins", *argv)
    equal(status, 0, f"mw ins {' '.join(argv)}: {out}{err}")
    return out


def connections(name="app"):
    return {i["ins"]: i["load"]["connections"] for i in inss(name)}


def even(counts, total, what, percent=5):
    share = total / len(counts)
    check(all(abs(n - share) <= share * percent / 100 for n in counts.values()), f"{what}: {counts}, each within {percent} % of {share}")


def grown(now, before, *numbers):
    """How many connections each of them has more."""
    return {i: now[i] - before.get(i, 0) for i in numbers}


def guards(bits):
    """Interfaces that forward only because a broker made them (broker/netfwd.c), in the order of their indexes."""
    found = []
    for index, link in socket.if_nameindex():
        tag = Path(f"/proc/sys/net/ipv4/conf/{link}/tag")
        value = int(tag.read_text()) if tag.exists() else 0
        if value >> 4 == 0x6d770000 >> 4 and value & bits:
            found.append(str(index))
    return ",".join(found) or "-"


def planned(name, *ports, gone=None):
    """What nft shows of the plan of an application as `mw ins list` says it is; ports: PROTO/FAMILY/HOST_PORT/INS_PORT.
    gone: the address of number 0, which stays when that has died."""
    members = [f"0/shut/{gone}"] if gone else []
    members += [f"{i['ins']}/{'open' if i['state'] == 'up' else 'shut'}/{i['address']}" for i in inss(name)]
    text = machine.run(str(machine.BUILD / "plan_show"), "shown", guards(1), guards(2), *members, "--", *ports)
    done = subprocess.run(["nft", "-f", "-"], input=text.replace("flags owner", ""), capture_output=True, text=True, check=False)
    check(done.returncode == 0, lambda: f"nft takes the plan: {done.stderr}\n{text}")
    shown = shown_rules("shown")
    machine.run("nft", "delete", "table", "inet", "mw-shown")
    return shown


def shown_rules(name):
    """Without the first lines, which say whose table it is."""
    return [line for line in machine.run("nft", "list", "table", "inet", f"mw-{name}").splitlines()[1:] if line.startswith("\t\t") or "chain" in line]


def as_planned(name, *ports, gone=None):
    """The rules are exactly those; counters are in none of them."""
    seen, wanted = shown_rules(name), planned(name, *ports, gone=gone)
    check(seen == wanted, lambda: f"rules: {[x for x in seen if x not in wanted][:9]}, not {[x for x in wanted if x not in seen][:9]}")
