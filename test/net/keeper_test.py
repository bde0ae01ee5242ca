# SPDX-License-Identifier: Apache-2.0
"""An INS whose worker dies: by kill -9 at any instruction, by its own fault, or because it hangs. Nothing is lost."""
import os
import random
import resource
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from lib import mixed, procs, servers, stepkill, tap
from lib.control import Control
from lib.mw import App, command, mw
from lib.tap import NETS, case, check, equal, until

SANITIZED = "MW_PRELOAD" in os.environ
LONG = "MW_LONG" in os.environ
PYTHON = "/usr/bin/python3"
SERVER = str(Path(__file__).resolve().parent / "lib" / "server.py")
MIXED = mixed.__file__
PORT = 7000
# what the worker's loop does
CALLS = ("recvfrom", "recvmsg", "sendto", "sendmsg", "sendmmsg", "recvmmsg", "epoll_wait", "accept4", "close", "pipe2", "socketpair", "epoll_ctl",
         "shutdown", "ioctl", "setsockopt", "getsockopt", "socket", "bind", "connect", "any")
STEPS = [*range(12), *range(12, 60, 4), *(random.randrange(60, 2000) for _ in range(300 if LONG else 40))]
SECONDS = 300 if LONG else 20


def worker(keeper, other_than=0):
    """The process that serves, below the INS's own."""
    def found():
        kids = map(int, Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split())
        return next((pid for pid in kids if pid != other_than and procs.look(pid).comm == "mw-ins"), 0)
    return until(10, found, "a worker", 0.001)


def kill(keeper):
    pid = worker(keeper)
    procs.end(pid)
    return pid


def said(app):
    """But for the lines that a killed worker makes."""
    return "\n".join(line for line in app.said().splitlines() if "the INS's worker" not in line)


# --- at every instruction ---

def at_instructions(c, lane):
    """Kills the worker behind each call, so many instructions later, as often as there is time; everything goes on each time."""
    app = App(c, PYTHON, MIXED, "/run/own", options=("--lane", lane)).ready(mixed.PORT, mixed.PORT + 1)
    keeper = app.ins_pid()
    clients = mixed.Clients("/run/own")
    c.callback(clients.end)
    until(10, lambda: clients.all_beyond(dict.fromkeys(clients.seen(), 0)), "every client has begun")
    kills, end = 0, time.monotonic() + SECONDS
    where = [(name, n) for n in STEPS for name in CALLS]
    if SANITIZED:   # which is slow: others each time
        random.shuffle(where)
    for name, n in where:
        if time.monotonic() > end:
            break
        status, _, err = command(*stepkill.arguments(worker(keeper), name, n, 300))
        if status == stepkill.NOT_MADE:
            continue
        equal(status, 0, f"stepkill: {err}")
        kills += 1
        before = clients.seen()
        until(mixed.WAIT + 2, lambda: clients.wrong or clients.all_beyond(before),
              lambda: f"all go on, killed {n} instructions behind {name}: {before}, now {clients.seen()}", 0.002)
        check(not clients.wrong, lambda: f"killed {n} instructions behind {name}: {clients.wrong}; it said: {said(app)}")
    app.running()
    equal(app.info()["ins_pid"], keeper, "the INS")
    c.note(f"{kills} kills; answers that were right: {clients.seen()}")
    check(kills >= 20, f"{kills} kills")


for one in ("ring", "stream"):
    case(f"killed behind a system call, and at instructions that follow: no byte is lost, repeated or late ({one} lane)",
         limit=500 if LONG else 120, nets=NETS if LONG else ("isolated",))(
        lambda c, one=one: at_instructions(c, one))


# --- under load ---

def ping(port, gaps, stop):
    """One byte there and back, for ever; what each took, and when it ended."""
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not stop.is_set():
            began = time.monotonic()
            s.sendall(b"x")
            if s.recv(1) != b"x":
                gaps.append((began, None))
                return
            gaps.append((began, time.monotonic()))


def keep_alive(url, found, stop):
    """Requests on one connection each, as long as it lasts: it shall last."""
    with socket.create_connection(("127.0.0.1", 80), 10) as s:
        while not stop.is_set():
            s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            head = b""
            while b"\r\n\r\n" not in head:
                more = s.recv(65536)
                if not more:
                    found.append("an end")
                    return
                head += more
            head, _, body = head.partition(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            while len(body) < length:
                body += s.recv(length - len(body)) or b"?" * length
            found.append(body == url)


def guarded(work, wrong):
    def run(*args):
        try:
            work(*args)
        except Exception as e:
            wrong.append(f"{work.__name__}: {type(e).__name__} {e}")
    return run


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * p // 100)]


KILLS = 1000 if LONG else 20


@case(f"{KILLS} kill -9 under load: streams, keep-alive, pipelines and idle connections all live", limit=1800 if LONG else 120)
def under_load(c):
    servers.need("redis-server", "redis-benchmark")
    config = servers.roomy("listen 80; location / { return 200 ok; }", "keepalive_requests 100000000;")
    nginx = servers.nginx(c, config=config, net="host").ready(80)
    redis = App(c, "redis-server", "--port", "6379", "--save", "", name="redis", net="host").ready(6379)
    echo = App(c, PYTHON, MIXED, "/run/own", net="host").ready(mixed.PORT)
    wrong, stop, requests, gaps = [], threading.Event(), [], []
    idle = [socket.create_connection(("127.0.0.1", 80), 10) for _ in range(200 if SANITIZED else 2000)]
    clients = mixed.Clients("/run/own")
    c.callback(clients.end)
    threads = [threading.Thread(target=guarded(ping, wrong), args=(mixed.PORT, gaps, stop), daemon=True)]
    threads += [threading.Thread(target=guarded(keep_alive, wrong), args=(b"ok", requests, stop), daemon=True) for _ in range(4)]
    for t in threads:
        t.start()
    pipelines = subprocess.Popen(["redis-benchmark", "-P", "16", "-c", "8", "-n", "1000000000", "-t", "set,get", "-q"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    c.callback(pipelines.wait)
    c.callback(pipelines.kill)
    c.callback(stop.set)
    keepers, killed = [a.ins_pid() for a in (echo, nginx, redis)], []
    for i in range(KILLS):
        time.sleep(random.uniform(0.05, 0.25))
        pid = worker(keepers[0])
        killed.append(time.monotonic())
        procs.end(pid)
        for keeper in keepers[1:] if i % 2 else ():
            kill(keeper)
        check(not wrong and not clients.wrong, lambda: f"{i} kills: {wrong} {clients.wrong}")
        check(pipelines.poll() is None, lambda: f"redis-benchmark ended: {pipelines.stderr.read()}")
        worker(keepers[0], pid)
    time.sleep(1)
    stop.set()
    for t in threads:
        t.join(10)
    check(not wrong and not clients.wrong, lambda: f"{wrong} {clients.wrong}")
    equal(set(requests), {True}, "answers of nginx")
    equal([g for g in gaps if g[1] is None], [], "ends of the stream that is timed")
    for s in idle:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    equal(sum(s.recv(4096).startswith(b"HTTP/1.1 200") for s in idle), len(idle), "idle connections that are answered")
    waits = [max((done - max(began, at) for began, done in gaps if done >= at and began <= at + 0.04), default=0) for at in killed]
    c.note(f"{KILLS} kills of each of three INSs' workers, or half of them; {len(requests)} requests, {len(idle)} idle; from kill to answer: "
           f"p50 {percentile(waits, 50) * 1000:.1f} ms, p99 {percentile(waits, 99) * 1000:.1f} ms, most {max(waits) * 1000:.1f} ms")
    check(percentile(waits, 50) < 1, "service gap, on a machine however busy")
    for s in idle:
        s.close()


# --- other deaths ---

def talk(s, text=b"hello"):
    s.sendall(text)
    return s.recv(100) == text


def echo_app(c, **keys):
    return App(c, PYTHON, SERVER, "echo", **keys).ready(PORT)


@case("the starter is killed: connections go on, and the INS ends with its worker", limit=40, nets=NETS)
def starter(c):
    app = echo_app(c)
    keeper = app.ins_pid()
    with socket.create_connection(("127.0.0.1", PORT), 20) as s:
        check(talk(s), "before")
        procs.end(next(p.pid for p in procs.below(keeper) if p.comm == "mw-ins-starter"))
        check(talk(s), "without it")
        kill(keeper)
        until(10, lambda: not procs.look(keeper), "the INS ends")
    app.wait(20)


@case("a worker that is stopped is replaced, and its connections go on", limit=40, nets=NETS)
def stopped(c):
    app = echo_app(c)
    with socket.create_connection(("127.0.0.1", PORT), 20) as s:
        check(talk(s), "before")
        pid = worker(app.ins_pid())
        procs.end(pid, signal.SIGSTOP)
        began = time.monotonic()
        check(talk(s), "it answers")
        c.note(f"{time.monotonic() - began:.1f} s")
        check(not procs.alive(pid), "the stopped one is gone")
    until(10, lambda: "the INS's worker hung" in app.said(), lambda: f"that it says so; it said: {app.said()}")


@case("a worker that crashes is replaced; a core is not written; it is said", limit=40, nets=NETS)
def crash(c):
    app = echo_app(c)
    with socket.create_connection(("127.0.0.1", PORT), 20) as s:
        for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGSYS, signal.SIGABRT):
            check(talk(s), "before")
            procs.end(worker(app.ins_pid()), number)
            check(talk(s), f"after signal {number}")
    equal(len([line for line in app.said().splitlines() if "the INS's worker died" in line]), 4, f"lines in {app.said()!r}")
    equal(list(Path("/run").glob("core*")), [], "cores")


def may_leave_core(pid):
    """The kernel gives the files of a process that may not to root."""
    limit, = (line.split()[4] for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max core"))
    return Path(f"/proc/{pid}/stat").stat().st_uid != 0, limit


@case("a worker may leave a core with --core alone, its keeper never", limit=40, nets=("isolated",))
def core(c):
    hard = str(resource.getrlimit(resource.RLIMIT_CORE)[1]).replace("-1", "unlimited")
    app = echo_app(c)
    equal(may_leave_core(worker(app.ins_pid()))[0], False, "the worker, without --core")
    app.end()
    app = echo_app(c, options=("--core",))
    for _ in range(2):
        equal(may_leave_core(worker(app.ins_pid())), (True, hard), "the worker, with --core")
        equal(may_leave_core(app.ins_pid())[0], False, "the keeper")
        procs.end(worker(app.ins_pid()), signal.SIGSEGV)
        with socket.create_connection(("127.0.0.1", PORT), 20) as s:
            check(talk(s), "it goes on")


@case("a connection that the worker crashes over three times is ended, others go on", limit=60, nets=("isolated",))
def poison(c):
    app = echo_app(c)
    good = socket.create_connection(("127.0.0.1", PORT), 20)
    bad = socket.create_connection(("127.0.0.1", PORT), 20)
    check(talk(good) and talk(bad), "before")
    ended, port, k = False, bad.getsockname()[1], Control(c, "app").follow()
    for _ in range(8):
        pid = worker(app.ins_pid())
        tool = stepkill.begin(pid, "recvmsg", 1, 3000, signal.SIGSEGV)
        time.sleep(0.05)
        try:
            bad.sendall(b"x")
            bad.settimeout(10)
            ended = not bad.recv(100)
        except ConnectionError:
            ended = True
        tool.wait()
        if tool.returncode == 0:
            worker(app.ins_pid(), pid)
        if ended:
            break
    check(ended, lambda: f"the connection that it dies of is ended: {app.said()}")
    check(talk(good), "the other goes on")
    k.event("close", peer_port=port)
    good.close()
    bad.close()


@case("idle, keeper and worker sleep", limit=60, nets=NETS)
def idle(c):
    app = echo_app(c)
    with socket.create_connection(("127.0.0.1", PORT), 20) as s:
        check(talk(s), "echo")
        keeper = app.ins_pid()
        check(procs.rest([keeper, worker(keeper)], 4), "they wake while nothing happens")
        check(talk(s), "echo")


@case("nothing is left of a worker: descriptors of the INS are as many after fifty as before", limit=90)
def descriptors(c):
    app = echo_app(c, net="isolated")
    keeper = app.ins_pid()
    with socket.create_connection(("127.0.0.1", PORT), 20) as s:
        check(talk(s), "echo")
        before = procs.fd_count(keeper)
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", PORT), 20) as other:
                kill(keeper)
                check(talk(other) and talk(s), "echo")
        until(5, lambda: procs.fd_count(keeper) == before, lambda: f"descriptors: {procs.fd_count(keeper)}, {before} before")


@case("blocks, caps, the gate and who it holds, options: as before", limit=60, nets=NETS)
def rules(c):
    app = echo_app(c)
    keeper = app.ins_pid()
    mw("block", "app", "127.0.9.0/24")
    mw("gate", "app", str(PORT), "http")
    held = socket.create_connection(("127.0.0.1", PORT), 20)
    held.sendall(b"GET / HTTP/1.1\r\n")
    until(5, lambda: [f for f in app.flows() if f["state"] == "held"], "it is held")
    for _ in range(3):
        kill(keeper)
        try:
            with socket.create_connection(("127.0.0.1", PORT), 20, ("127.0.9.7", 0)) as s:
                equal(s.recv(1), b"", "a blocked peer")
        except ConnectionResetError:
            pass
        equal(len([f for f in app.flows() if f["state"] == "held"]), 1, "held")
    held.sendall(b"Host: a\r\n\r\n")
    check(held.recv(100).startswith(b"GET / HTTP/1.1\r\nHost"), "all that it had sent")
    kill(keeper)
    mw("gate", "app", str(PORT), "none")
    mw("unblock", "app", "127.0.9.0/24")
    with socket.create_connection(("127.0.0.1", PORT), 20, ("127.0.9.7", 0)) as s:
        check(talk(s), "not blocked any more")
    held.close()


tap.main()
