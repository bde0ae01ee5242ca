# SPDX-License-Identifier: Apache-2.0
"""A running INS goes on as the program that is on the disk now: nothing of what it holds is lost, whatever comes in between."""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from lib import machine, mixed, procs, servers, stepkill, tap
from lib.control import Control
from lib.mw import NOBODY, App, command, for_nobody, mw, quick
from lib.tap import NETS, case, check, equal, matches, until

SANITIZED = "MW_PRELOAD" in os.environ
LONG = "MW_LONG" in os.environ
PYTHON = "/usr/bin/python3"
SERVER = str(Path(__file__).resolve().parent / "lib" / "server.py")
MIXED = mixed.__file__
PORT = 7000
OTHER = machine.BUILD / "mw-ins-other"
TIMES = 50 if LONG else 5
PROGRAMS = Path("/run/programs")


def programs(c):
    """Copies of the programs, so that what is on the disk can be another one."""
    PROGRAMS.mkdir(exist_ok=True)
    for name in ("mw", "mw-ins", "mw-names", "mw-telem", "mw-trap", "libmwshim.so"):
        shutil.copy(machine.BUILD / name, PROGRAMS)
    c.callback(setattr, machine, "MW", machine.MW)
    machine.MW = str(PROGRAMS / "mw")


def on_disk(path):
    """From now on mw-ins is that one."""
    shutil.copy(path, PROGRAMS / "new")
    os.rename(PROGRAMS / "new", PROGRAMS / "mw-ins")


def script(text):
    path = PROGRAMS / "script"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def entries(name="app", **keys):
    status, out, err = quick("ins", "list", "--json", name, **keys)
    equal(status, 0, err)
    return [json.loads(line) for line in out.splitlines()]


def upgrade(name="app", number="0", limit=30, **keys):
    """From what to what; the new process is there when it returns."""
    at = int(number)
    old = entries(name, **keys)[at]
    status, out, err = quick("ins", "upgrade", name, number, limit=limit, **keys)
    equal((status, out), (0, ""), f"mw ins upgrade: {err}")
    new = entries(name, **keys)[at]
    check(new["keeper_pid"] != old["keeper_pid"] and new["worker_pid"] != old["worker_pid"], lambda: f"{old}, then {new}")
    equal((new["upgrades"], new["restarts"]), (old["upgrades"] + 1, old["restarts"]), "upgrades and restarts")
    until(5, lambda: not procs.alive(old["keeper_pid"]), "the old process has ended")
    return old, new


def refused(pattern, limit=30, name="app"):
    """Not upgraded; the INS is the same process as before."""
    old = entries(name)[0]
    status, out, err = quick("ins", "upgrade", name, "0", limit=limit)
    equal((status, out), (1, ""), f"mw ins upgrade: {err}")
    matches(err, pattern, "why")
    new = entries(name)[0]
    equal([new[k] for k in ("keeper_pid", "upgrades", "state", "started")], [old[k] for k in ("keeper_pid", "upgrades", "state", "started")], "the INS")
    return old, new


def talk(s, text=b"hello"):
    s.sendall(text)
    return s.recv(100) == text


def connected():
    return socket.create_connection(("127.0.0.1", PORT), 20)


def echo_app(c, **keys):
    return App(c, PYTHON, SERVER, "echo", **keys).ready(PORT)


# --- under load ---

@case(f"{TIMES} upgrades under wrk: no failed request, and idle connections live", limit=60 + 6 * TIMES, nets=NETS)
def under_wrk(c):
    servers.need("wrk")
    app = servers.nginx(c, config=servers.roomy("listen 80; location / { return 200 ok; }", "keepalive_requests 100000000;")).ready(80)
    idle = [socket.create_connection(("127.0.0.1", 80), 10) for _ in range(100 if SANITIZED else 1000)]
    wrk = subprocess.Popen(["wrk", "-t2", "-c64", f"-d{TIMES * (2 if SANITIZED else 1) + 3}", "--latency", "http://127.0.0.1/"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    c.callback(wrk.wait)
    c.callback(wrk.kill)
    first, took = entries(app.name)[0], []
    for _ in range(TIMES):
        time.sleep(0.3)
        began = time.monotonic()
        upgrade(app.name)
        took.append(time.monotonic() - began)
        check(wrk.poll() is None, "wrk still runs")
    out = wrk.communicate(timeout=TIMES * 2 + 60)[0]
    equal((wrk.returncode, "Socket errors" in out, "Non-2xx" in out), (0, False, False), f"wrk: {out}")
    equal(entries(app.name)[0]["started"], first["started"], "since when it runs")
    for s in idle:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    equal(sum(s.recv(4096).startswith(b"HTTP/1.1 200") for s in idle), len(idle), "idle connections that are answered")
    c.note(f"{TIMES} upgrades, {max(took):.2f} s at most with looking; wrk: {' '.join(out.split())}")


def under_checks(c, lane):
    app = App(c, PYTHON, MIXED, "/run/own", options=("--lane", lane)).ready(mixed.PORT, mixed.PORT + 1)
    clients = mixed.Clients("/run/own")
    c.callback(clients.end)
    until(10, lambda: clients.all_beyond(dict.fromkeys(clients.seen(), 0)), lambda: f"every client has begun: {clients.seen()} {clients.wrong}")
    for i in range(TIMES):
        time.sleep(random.uniform(0, 0.2))
        before = clients.seen()
        upgrade()
        until(mixed.WAIT + 2, lambda: clients.wrong or clients.all_beyond(before), lambda: f"all go on: {before}, now {clients.seen()}", 0.002)
        check(not clients.wrong, lambda: f"upgrade {i + 1}: {clients.wrong}; it said: {app.said()}")
    c.note(f"answers that were right: {clients.seen()}")


for one in ("ring", "stream"):
    case(f"{TIMES} upgrades under TCP, UDP and loopback traffic: no byte is lost, repeated or late ({one} lane)", limit=60 + 2 * TIMES,
         nets=NETS)(lambda c, one=one: under_checks(c, one))


# --- what goes on ---

@case("a transfer that waits for its reader, and one that waits for its writer", limit=60, nets=NETS)
def waiting(c):
    echo_app(c)
    text = os.urandom(8 << 20)
    with connected() as full, connected() as empty:
        full.setblocking(False)
        sent = 0
        for _ in range(50):    # until nobody takes any more: both rings, and the stack's buffers, are full
            try:
                sent += full.send(text[sent:sent + 100_000])
            except BlockingIOError:
                time.sleep(0.02)
        upgrade()
        check(talk(empty), "the other one")
        upgrade()
        full.settimeout(20)
        got = bytearray()
        while len(got) < sent:
            got += full.recv(1 << 20)
        check(sent > 1 << 18 and got == text[:sent], lambda: f"{len(got)} bytes of {sent}")
        check(talk(full) and talk(empty), "afterwards")


def each(directory, look):
    """What is to be seen of every descriptor that is not closed meanwhile, by number."""
    seen = {}
    for p in Path(directory).iterdir():
        with suppress(OSError):
            seen[p.name] = look(p)
    return seen


def watched(keeper):
    """How many descriptors its epoll instance knows."""
    return sum(text.count("tfd:") for text in each(f"/proc/{keeper}/fdinfo", Path.read_text).values())


@case("the new process has the same descriptors by the same numbers, watches the same, and nothing is left of the old", limit=60, nets=NETS)
def descriptors(c):
    app = echo_app(c)
    broker = app.broker_pid()

    def held(keeper):
        """But for the pair of keeper and starter, which are others: the descriptors made last before the first socket's."""
        found = each(f"/proc/{keeper}/fd", os.readlink)
        sockets = sorted((int(fd) for fd, what in found.items() if what.startswith("socket:") and int(fd) > 5))
        return {fd: "a pair" if int(fd) in sockets[:2] else what for fd, what in found.items()}
    with connected() as s:
        check(talk(s), "echo")
        keeper = app.ins_pid()
        before, of_broker, watches = held(keeper), procs.fd_count(broker), watched(keeper)
        for _ in range(10):
            with connected() as other:
                check(talk(other), "echo")
                upgrade()
                check(talk(other) and talk(s), "echo")
        keeper = app.ins_pid()
        until(5, lambda: held(keeper) == before, lambda: f"descriptors {held(keeper)}, before {before}")
        equal((watched(keeper), procs.fd_count(broker)), (watches, of_broker), "watched; of the broker")
    until(5, lambda: watched(keeper) < watches, "one less, after the close")


@case("with descriptors up to the limit", limit=60, nets=("isolated",))
def limit(c):
    echo_app(c, nofile=700)
    sockets = []
    c.callback(lambda: [s.close() for s in sockets])
    for _ in range(290):
        s = connected()
        s.settimeout(3)
        sockets.append(s)
        try:
            if not talk(s):
                break
        except TimeoutError:
            break    # it waits until others close
    check(len(sockets) > 200, lambda: f"{len(sockets)} connections")
    good = sockets[:200]
    for _ in range(3):
        upgrade()
        check(all(talk(s) for s in good), "all go on")
    c.note(f"{len(sockets)} connections, 700 descriptors")


@case("blocks, caps, the gate and whom it holds, followers, the worker's death afterwards: as before", limit=60, nets=NETS)
def rules(c):
    app = echo_app(c)
    follower = Control(c, "app").follow()
    mw("block", "app", "127.0.9.0/24")
    mw("gate", "app", str(PORT), "http")
    held = connected()
    held.sendall(b"GET / HTTP/1.1\r\n")
    until(5, lambda: [f for f in app.flows() if f["state"] == "held"], "it is held")
    for _ in range(3):
        upgrade()
        try:
            with socket.create_connection(("127.0.0.1", PORT), 20, ("127.0.9.7", 0)) as s:
                equal(s.recv(1), b"", "a blocked peer")
        except ConnectionResetError:
            pass
        equal(len([f for f in app.flows() if f["state"] == "held"]), 1, "held")
    procs.end(entries()[0]["worker_pid"])
    held.sendall(b"Host: a\r\n\r\n")
    check(held.recv(100).startswith(b"GET / HTTP/1.1\r\nHost"), "all that it had sent")
    follower.event("accept", peer_port=held.getsockname()[1])
    equal((entries()[0]["restarts"], entries()[0]["upgrades"]), (1, 3), "deaths and upgrades")
    mw("gate", "app", str(PORT), "none")
    mw("unblock", "app", "127.0.9.0/24")
    with socket.create_connection(("127.0.0.1", PORT), 20, ("127.0.9.7", 0)) as s:
        check(talk(s), "not blocked any more")
    held.close()


@case("who asked for it, and what became of it, are in the audit log, the log and the metrics", limit=40)
def told(c):
    programs(c)
    app = echo_app(c, net="host", options=("--audit-log", "/run/audit", "--metrics", "127.0.0.1:7999"))
    old, new = upgrade()
    on_disk(OTHER)
    refused("version 7777|7777")
    matches(app.said(), f"INS 0 is upgraded: process {old['keeper_pid']} goes on as {new['keeper_pid']}", "it says so")
    lines = [json.loads(line) for line in Path("/run/audit").read_text().splitlines()]
    equal([(line["event"], line["target"], line["app"]) for line in lines], [("upgrade", "ins 0", "app")] * 2, "audit log")
    equal(lines[0]["result"], "done", "of the first")
    matches(lines[1]["result"], "7777", "of the second")
    matches(lines[0]["who"], r"^uid 0 \(pid \d+\)$", "who")
    matches(command("curl", "-s", "http://127.0.0.1:7999/metrics")[1], r"(?m)^mwcomms_ins_upgrades_total[^\n]* 1$", "metrics")


@case("several INSs, each in turn, with shared listeners and one that drains", limit=60)
def several(c):
    app = echo_app(c, net="isolated", options=("--ins", "3", "-p", f"{PORT}:{PORT}"))
    sockets = [connected() for _ in range(12)]
    check(all(talk(s) for s in sockets), "before")
    equal(quick("ins", "drain", "app", "1")[0], 0, "mw ins drain")
    before = entries()
    status, out, err = quick("ins", "upgrade", "app", "all", limit=60)
    equal((status, out), (0, ""), err)
    after = entries()
    equal([e["upgrades"] for e in after], [1, 1, 1], "upgrades")
    equal([e["state"] for e in after], ["up", "drain", "up"], "states")
    check(not {e["keeper_pid"] for e in before} & {e["keeper_pid"] for e in after}, lambda: f"{before}, then {after}")
    check(all(talk(s) for s in sockets), "all go on")
    more = [connected() for _ in range(12)]
    check(all(talk(s) for s in more), "new ones")
    equal(quick("ins", "upgrade", "app", "7")[0], 1, "one that there is not")
    equal(quick("ins", "kill", "app", "1")[0], 0, "mw ins kill")
    until(10, lambda: [e["ins"] for e in entries()] == [0, 2], lambda: f"{entries()}")
    status, out, _ = quick("ins", "list", "app")
    check(status == 0 and "UPGRADES" in out, out)
    until(5, lambda: app.running(), "it runs")
    for s in sockets + more:
        s.close()


@case("not root", limit=60)
def not_root(c):
    directory, server = for_nobody(c, SERVER)
    keys = {"prefix": NOBODY, "env": {"XDG_RUNTIME_DIR": str(directory)}}
    App(c, PYTHON, server, "echo", net="host", **keys).ready(PORT)
    sockets = [connected() for _ in range(300)]
    for _ in range(3):
        check(all(talk(s) for s in sockets), "before")
        upgrade(**keys)
        check(all(talk(s) for s in sockets), "after")
    for s in sockets:
        s.close()


# --- what does not come about ---

@case("a program of another version: refused, with both versions; the running one does not notice", limit=40, nets=NETS)
def version(c):
    programs(c)
    app = echo_app(c)
    with connected() as s:
        check(talk(s), "before")
        on_disk(OTHER)
        old, new = refused(r"take over a state of version \d+: its own is 7777")
        equal(new["worker_pid"], old["worker_pid"], "the worker")
        check(talk(s), "afterwards")
        on_disk(machine.BUILD / "mw-ins")
        upgrade()
        check(talk(s), "of the right version")
    matches(app.said(), "INS 0 is not upgraded, and goes on as it was: .*7777", "it says so")


@case("a program that crashes, ends, hangs, or is not there", limit=90)
def no_program(c):
    programs(c)
    app = echo_app(c, net="isolated")
    with connected() as s:
        check(talk(s), "before")
        for text, pattern in (("kill -SEGV $$", "status 1" if SANITIZED else "signal 11"), ("exit 7", "status 7"), ("exec sleep 60", "was not ready in 10 s")):
            on_disk(script(text))
            old, new = refused(pattern)
            equal(new["worker_pid"], old["worker_pid"], "the worker")
            check(talk(s), "afterwards")
        os.unlink(PROGRAMS / "mw-ins")
        refused("status 127")
        on_disk(machine.BUILD / "mw-ins")
        upgrade()
        check(talk(s), "afterwards")
    until(5, lambda: len([p for p in procs.below(app.broker_pid()) if p.parent == app.broker_pid() and p.comm == "mw-ins"]) == 1, "one keeper")


@case("asked for twice at once, and while the worker is stopped", limit=60, nets=("isolated",))
def twice(c):
    programs(c)
    app = echo_app(c)
    with connected() as s:
        check(talk(s), "before")
        on_disk(script(f"sleep 2; exec {machine.BUILD / 'mw-ins'} \"$@\""))
        first = subprocess.Popen([machine.MW, "ins", "upgrade", "app", "0"], stderr=subprocess.PIPE)
        time.sleep(0.5)
        status, _, err = quick("ins", "upgrade", "app", "0")
        equal(status, 1, "the second")
        matches(err, "already", "why")
        check(talk(s), "meanwhile")
        equal(first.wait(20), 0, "the first")
        on_disk(machine.BUILD / "mw-ins")
        procs.end(entries()[0]["worker_pid"], signal.SIGSTOP)
        status, _, err = quick("ins", "upgrade", "app", "0")
        equal(status, 0, f"of one that hangs: {err}")
        check(talk(s), "afterwards")
        app.running()


# --- deaths in between ---

def begun(c, app):
    """(An upgrade, its new process), which is stopped before it is a program of ours."""
    on_disk(script(f"kill -STOP $$; exec {machine.BUILD / 'mw-ins'} \"$@\""))
    keeper = app.ins_pid()
    broker = procs.look(keeper).parent
    asked = subprocess.Popen([machine.MW, "ins", "upgrade", "app", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    c.callback(asked.wait)
    c.callback(asked.kill)

    def stopped():
        for p in procs.below(broker):
            if p.parent == broker and p.pid != keeper and p.state == "T":
                return p.pid
        return None
    return asked, keeper, until(10, stopped, "the new process")


@case("the new process hangs when it has a part: the old one goes on without it", limit=60)
def hangs(c):
    programs(c)
    app = echo_app(c, net="isolated")
    sockets = [connected() for _ in range(200)]
    check(all(talk(s) for s in sockets), "before")
    asked, _, new = begun(c, app)
    tool = stepkill.begin(new, "recvmsg", 0, 8000, signal.SIGSTOP)
    began = time.monotonic()
    err = asked.communicate(timeout=40)[1]
    equal(asked.returncode, 1, "mw ins upgrade")
    matches(err, "did not take all", "why")
    tool.wait()
    check(all(talk(s) for s in sockets), "all go on")
    c.note(f"{time.monotonic() - began:.1f} s")
    until(5, lambda: not procs.alive(new), "the new process is gone")
    on_disk(machine.BUILD / "mw-ins")
    upgrade()
    check(all(talk(s) for s in sockets), "all go on, upgraded after that")
    for s in sockets:
        s.close()


def deaths(c, who, call, nth, steps, outcomes):
    """One of the two processes is killed at that moment: `on` as it was, `new`, or `end` of the INS. What came of it."""
    programs(c)
    app = echo_app(c, net="isolated")
    sockets = [connected() for _ in range(200)]    # more descriptors than one message has
    check(all(talk(s) for s in sockets), "before")
    asked, old, new = begun(c, app)
    tool = stepkill.begin(new if who == "new" else old, call, steps, 8000, nth=nth)
    if who == "old":
        os.kill(new, signal.SIGCONT)
    err = asked.communicate(timeout=40)[1]
    status = tool.wait()
    equal(status, 0, f"stepkill: {tool.stderr.read()}")
    if "end" in outcomes and ("on" not in outcomes or "ended" in err and "signal" not in err):
        until(3, lambda: app.child.poll() is not None, "it ends")
        equal(app.child.returncode, 125, "its status")
        matches(app.said(), "its connections are lost, ending the application", "it says so")
        for s in sockets:
            s.close()
        return "end"
    check(all(talk(s) for s in sockets), lambda: f"all go on; it said: {app.said()}")
    seen = "on" if app.ins_pid() == old else "new"
    check(seen in outcomes, f"{seen}; {err}; it said: {app.said()}")
    equal(asked.returncode, 0 if seen == "new" else 1, f"mw ins upgrade: {err}")
    on_disk(machine.BUILD / "mw-ins")
    upgrade()
    check(all(talk(s) for s in sockets), "all go on, upgraded after that")
    for s in sockets:
        s.close()
    app.end()
    return seen


for moment in (("recvmsg", 1, 0), ("recvmsg", 1, 3000), ("dup3", 7, 0), ("sendto", 1, 0), ("recvmsg", 2, 100), ("sendto", 2, 10)):
    case("the new process is killed at {} {} + {}: the old one goes on".format(*moment), limit=60)(
        lambda c, moment=moment: c.note(deaths(c, "new", *moment, {"on"})))
case("the new process is killed when it has said that it has all: the old one goes on, or the INS has ended cleanly", limit=60)(
    lambda c: c.note(deaths(c, "new", "sendto", 3, 0, {"on", "end"})))
for moment in (("wait4", 1, 0), ("sendmsg", 1, 0), ("recvfrom", 1, 100)):
    case("the old process is killed at {} {} + {}, before it has given all: the INS has ended cleanly".format(*moment), limit=60)(
        lambda c, moment=moment: c.note(deaths(c, "old", *moment, {"end"})))
for moment in (("recvfrom", 3, 0), ("sendto", 2, 0)):
    case("the old process is killed at {} {} + {}, when it has given all: the new one goes on".format(*moment), limit=60)(
        lambda c, moment=moment: c.note(deaths(c, "old", *moment, {"new"})))


tap.main()
