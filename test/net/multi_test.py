# SPDX-License-Identifier: Apache-2.0
"""Several INSs for one application: spread, drained, killed, added; one accept queue."""
import json
import os
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from lib import http, machine, procs, servers, tap
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
        if key.fileobj is listener:
            c, peer = listener.accept()
            c.sendall(("%s %d\\n" % peer[:2]).encode())
            sel.register(c, selectors.EVENT_READ)
            continue
        try:
            part = key.fileobj.recv(65536)
            if part:
                key.fileobj.sendall(part)
                continue
        except OSError as e:
            print("lost", e.errno, flush=True)
        sel.unregister(key.fileobj)
        key.fileobj.close()
"""
CLIENT = """
import resource, select, socket, sys, time
host, port, count, hold = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
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
alive = lost = 0
for s in socks:
    try:
        s.sendall(b"x")
        alive += s.recv(1) == b"x"
    except OSError:
        lost += 1
print("alive", alive, flush=True)
"""


class Clients:
    """`count` connections of a neighbour's, each echoing."""

    def __init__(self, c, count, host=machine.HERE4, port=PORT):
        import subprocess
        self.child = subprocess.Popen([*machine.in_neighbour(), "python3", "-c", CLIENT, host, str(port), str(count), "0"],
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


def connections():
    return {i["ins"]: i["load"]["connections"] for i in inss()}


def start(c, count, *argv, **keys):
    return App(c, *(argv or ("python3", "-u", "-c", SERVER)), net="isolated", options=("--ins", str(count)), **keys).ready(PORT)


def even(counts, total, what):
    share = total / len(counts)
    check(all(abs(n - share) <= share / 20 for n in counts.values()), f"{what}: {counts}, each within 5 % of {share}")


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


tap.main()
