# SPDX-License-Identifier: Apache-2.0
"""Several applications on one host: each has a stack of its own, and nothing of one is another's."""
import os
import re
import signal
import socket
import struct
import subprocess
from pathlib import Path

from lib import http, machine, procs, servers, tap
from lib.mw import App, command, forwarding, nothing_left, preloaded, protected, ps, quick, registry, remains
from lib.tap import NETS, case, check, equal, matches, until

PYTHON = "/usr/bin/python3"
LIB = Path(__file__).resolve().parent / "lib"
SERVER, CLIENT = str(LIB / "server.py"), str(LIB / "client.py")
NAME = b"\0mwcomms"
HELLO = struct.pack("=HHIIIII", 1, 24, 1, 0, 0, 1, 0)

# Says which arena the INS behind the control name of this namespace gives, or why there is none.
WHOSE = f"""
import array, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
try:
    s.connect({NAME!r})
except OSError as e:
    print(type(e).__name__)
    sys.exit()
s.send({HELLO!r})
_, fds, _, _ = socket.recv_fds(s, 300, 4)
print(os.fstat(fds[0]).st_ino)
"""


def echo(c, port, name, **keys):
    return App(c, PYTHON, SERVER, "echo", str(port), name=name, **keys).ready(port)


def five(c):
    """Different programs, and the same one more than once."""
    return {"nginx": (servers.nginx(c).ready(80), 80), "redis": (servers.redis(c).ready(6379), 6379),
            **{f"echo{i}": (echo(c, 7000 + i, f"echo{i}"), 7000 + i) for i in range(3)}}


def arena(pid):
    """Inode of the shared memory that a process maps, or None."""
    found = set(re.findall(r" (\d+) +/memfd:mwcomms ", Path(f"/proc/{pid}/maps").read_text()))
    check(len(found) < 2, f"{pid} maps {len(found)} arenas")
    return int(found.pop()) if found else None


def kernel_objects(pids):
    """Sockets, pipes and shared memory that these processes hold descriptors of."""
    found = set()
    for pid in pids:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                what = os.readlink(f"/proc/{pid}/fd/{fd}")
                inode = os.stat(f"/proc/{pid}/fd/{fd}").st_ino
            except FileNotFoundError:
                continue
            if what.startswith(("socket:", "pipe:", "/memfd:")):
                found.add((what.partition(":")[0], inode))
    return found


def apart(sets, what):
    """No two of them have anything in common."""
    names = list(sets)
    for i, one in enumerate(names):
        for other in names[i + 1:]:
            equal(sets[one] & sets[other], set(), f"{what} that both {one} and {other} have")


@case("five at once: processes, namespaces, descriptors, memory and control names are apart", limit=60, nets=NETS)
def objects(c):
    apps = {name: app for name, (app, _) in five(c).items()}
    members = {name: [p.pid for p in procs.below(app.app_pid())] for name, app in apps.items()}
    apart({name: set(pids) | {app.ins_pid()} for (name, app), pids in zip(apps.items(), members.values())}, "processes")
    apart({name: {procs.namespace(pid) for pid in pids} for name, pids in members.items()}, "network namespaces")
    apart({name: kernel_objects([*members[name], app.ins_pid()]) for name, app in apps.items()}, "kernel objects")
    arenas = {name: arena(app.ins_pid()) for name, app in apps.items()}
    apart({name: {inode} for name, inode in arenas.items()}, "arenas")
    for name, pids in members.items():
        equal({arena(pid) for pid in pids} - {None}, {arenas[name]}, f"arenas that {name} maps")
        whose = command("nsenter", f"--net=/proc/{pids[0]}/ns/net", PYTHON, "-c", WHOSE)
        equal(whose[:2], (0, f"{arenas[name]}\n"), f"the INS under the control name of {name}: {whose[2]}")
    if c.net == "isolated":
        apart({name: {procs.namespace(app.ins_pid())} for name, app in apps.items()}, "INSs' network namespaces")
    for pid in [os.getpid(), *(app.ins_pid() for app in apps.values() if c.net == "isolated")]:
        equal(command("nsenter", f"--net=/proc/{pid}/ns/net", PYTHON, "-c", WHOSE)[1], "ConnectionRefusedError\n",
              f"the control name outside ({pid})")


@case("five at once: mw ps lists each, mw flows NAME its own connections alone", limit=60, nets=NETS)
def listed(c):
    apps = five(c)
    equal({line["name"] for line in ps()}, set(apps), "mw ps")
    for name, (app, _) in apps.items():
        until(5, lambda app=app: not app.connections(), f"{name}: our own trials are gone")
    with tap.ExitStack() as stack:
        wanted = {}
        for i, (name, (_, port)) in enumerate(apps.items()):
            made = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5)) for _ in range(i + 1)]
            wanted[name] = {s.getsockname() for s in made}
        for name, (app, _) in apps.items():
            until(5, lambda app=app, name=name: app.peers() == wanted[name],
                  lambda app=app, name=name: f"flows of {name}: {app.connections()}, not {wanted[name]}")
            check(all(f["app"] == name for f in app.flows()), "whose flows")
    for app, port in apps.values():
        for line in app.info()["published"]:
            check(line["port"] in (port, 81), f"{app.name} publishes {line}")


def reaches(net, address, port, options=()):
    """What a third application finds there."""
    status, out, err = protected("--name", "third", "--net", net, *options, "--", PYTHON, CLIENT, "reaches", address,
                                 str(port))
    equal(status, 0, f"third: {out}{err}")
    return out.strip()


@case("one application reaches another only by what that one publishes", limit=60)
def reach(c):
    local = App(c, PYTHON, SERVER, "local", "7100", name="local", net="isolated").ready(7100)
    public = App(c, PYTHON, SERVER, "echo", "7200", name="public", net="isolated", options=("-p", "7201:7200"))
    inside = [app.listed()["address"] for app in (local, public.ready(7201))]
    for address, port, seen in (("127.0.0.1", 7100, "ECONNREFUSED"), ("::1", 7100, "ECONNREFUSED"),
                                (machine.HERE4, 7100, "ECONNREFUSED"), ("127.0.0.1", 7201, "ECONNREFUSED"),
                                (machine.HERE4, 7201, "connected"), (machine.HERE4, 7200, "ECONNREFUSED"),
                                (inside[0], 7100, "no answer"), (inside[1], 7200, "no answer")):
        equal(reaches("isolated", address, port), seen, f"{address} port {port}, from an isolated one")
    on = ("--host-loopback",)
    equal(reaches("isolated", "127.0.0.1", 7100, on), "connected", "a published loopback listener, by --host-loopback")
    equal(reaches("isolated", "127.0.0.1", 7201, on), "connected", "the published port, by --host-loopback")
    equal(reaches("isolated", "127.0.0.1", 7200, on), "ECONNREFUSED", "its own number, by --host-loopback")
    for address, port, seen in (("127.0.0.1", 7100, "connected"), ("127.0.0.1", 7201, "connected"),
                                ("127.0.0.1", 7200, "ECONNREFUSED"), (machine.HERE4, 7201, "connected")):
        equal(reaches("host", address, port), seen, f"{address} port {port}, from one with --net host")


@case("a listener on an IPv4-mapped address is reached as one on the IPv4 address", limit=30, nets=NETS)
def mapped(c):
    App(c, PYTHON, SERVER, "mapped", "7300", "127.0.0.1", name="local").ready(7300)
    equal(reaches("host", machine.HERE4, 7300), "ECONNREFUSED", "from elsewhere")
    equal(reaches("host", "::1", 7300), "ECONNREFUSED", "by IPv6")
    App(c, PYTHON, SERVER, "mapped", "7301", "0.0.0.0", name="all").ready(7301)
    equal(reaches("host", machine.HERE4, 7301), "connected", "all addresses")
    equal(reaches("host", "::1", 7301), "ECONNREFUSED", "all addresses by IPv6")


@case("a port that another has: EADDRINUSE and a line that says so; free when that one ends", limit=60, nets=NETS)
def same_port(c):
    first = echo(c, 7000, "first")
    second = App(c, PYTHON, SERVER, "insist", "7000", name="second")
    until(10, lambda: "first EADDRINUSE" in second.said(), lambda: f"the second's listen(): {second.said()}")
    if c.net == "isolated":
        matches(second.said(), r"mw: .*port 7000 of this host is in use", "the broker's line")
        equal(second.info()["published"], [], "what the second publishes")
        third = App(c, PYTHON, SERVER, "insist", "7005", name="third", options=("-p", "7000:7005"))
        until(10, lambda: "first EADDRINUSE" in third.said(), lambda: f"the third's listen(): {third.said()}")
        third.end()
    with socket.create_connection(("127.0.0.1", 7000), timeout=5) as s:
        s.sendall(b"whose")
        equal(s.recv(10), b"whose", "the first's answer")
        equal([len(first.connections()), len(second.connections())], [1, 0], "whose connection")
    first.end()
    second.ready(7000)
    equal([line["name"] for line in ps()], ["second"], "who is left")


@case("starting, ending and killing others harms no request", limit=90, nets=NETS)
def comings_and_goings(c):
    app = servers.nginx(c).ready(80)
    with http.Load("/page.bin", servers.content("page.bin", 20_000), threads=3) as load:
        for i in range(5):
            one_round(c, i)
        before = load.done
        until(10, lambda: load.done > before + 20, "it goes on")
    c.note(load.text())
    equal(load.lost, [], "requests lost")
    equal([line["name"] for line in ps()], ["nginx"], "who is left")
    check(app.running(), "nginx runs")


def one_round(c, i):
    """Two others come and have a client; the first ends by itself, or one of its processes is killed."""
    with tap.Case(c.net) as inner:
        others = [echo(inner, 7000 + n, f"other{n}") for n in range(2)]
        with socket.create_connection(("127.0.0.1", 7000), timeout=5) as s:
            s.sendall(b"x" * 100_000)
        victims = {1: [others[0].app_pid()], 2: [others[0].depot_pid(), others[0].broker_pid()], 3: [others[0].ins_pid()]}
        for pid in victims.get(i, ()):
            os.kill(pid, signal.SIGKILL)
        if i in victims:
            others[0].wait(10)
    until(10, lambda: registry() == ["nginx"], "their names are free again")


@case("five started at the same moment, and ended so: nothing is left", limit=60, nets=NETS)
def together(c):
    settings, before = forwarding(), remains()
    for _ in range(2):
        with tap.Case(c.net) as inner:
            apps = [App(inner, PYTHON, SERVER, "echo", str(7000 + i), name=f"echo{i}") for i in range(5)]
            for i, app in enumerate(apps):
                app.ready(7000 + i)
            if c.net == "isolated":
                apart({app.name: {app.info()["address"]} for app in apps}, "addresses")
            for app in apps:
                app.child.terminate()
        nothing_left(before, 5)
    equal(forwarding(), settings, "forwarding settings")


@case("the same name twice is refused; without a name the second gets a number", nets=NETS)
def names(c):
    echo(c, 7000, "twin")
    status, _, err = quick("run", "--name", "twin", "--net", c.net, "--", "true")
    equal(status, 125, "status")
    matches(err, "the name twin is in use", "message")
    children = []
    for port in (7001, 7002):
        child = subprocess.Popen([machine.MW, "run", "--net", c.net, "--", PYTHON, SERVER, "echo", str(port)],
                                 stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 env={**os.environ, **(preloaded() or {})})
        c.callback(lambda child=child: (child.terminate(), child.wait()))
        children.append(child)
        until(10, lambda: len(ps()) == len(children) + 1, "mw ps lists it")
    equal({line["name"] for line in ps()}, {"twin", "python3", "python3-2"}, "mw ps")


tap.main()
