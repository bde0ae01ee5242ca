# SPDX-License-Identifier: Apache-2.0
"""Somebody sets the clock by a day, forward and back, while things run: what was promised for so long lasts so long.

odd.c in mw and in all that it starts is the clock; CLOCK_MONOTONIC is nobody's to set.
"""
import json
import os
import re
import socket
import struct
import subprocess
import time
from pathlib import Path

from lib import machine, tap
from lib.mw import App, quick
from lib.tap import case, check, equal, until

PYTHON = "/usr/bin/python3"
SERVER = str(Path(__file__).resolve().parent / "lib" / "server.py")
AHEAD = Path("/run/ahead")
ODD = {"LD_PRELOAD": ":".join(filter(None, (os.environ.get("MW_PRELOAD"), str(machine.BUILD / "libodd.so")))), "MW_ODD_CLOCK": str(AHEAD)}
PORT, DEAF, DAY = 7000, 7001, 86400
JUMPS = {"forward": DAY, "back": -DAY}


def ahead(seconds):
    with open(AHEAD, "r+b" if AHEAD.exists() else "w+b") as f:    # it is mapped
        f.write(struct.pack("=q", seconds))


def asked(*words):
    """mw on the same clock; what it says."""
    status, out, err = quick(*words, env=ODD)
    equal((status, err), (0, ""), f"mw {' '.join(words)}")
    return out


def started(c, *options, net="host"):
    ahead(0)
    return App(c, PYTHON, SERVER, "echo", options=options, net=net, env=ODD).ready(PORT)


def connected():
    return socket.create_connection(("127.0.0.1", PORT), timeout=5)


def talks(s):
    s.sendall(b"hello")
    return s.recv(10) == b"hello"


def is_open(s):
    s.settimeout(0.01)
    try:
        return s.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False
    finally:
        s.settimeout(5)


@case("the clock that the test sets is theirs", limit=20)
def control(c):
    app = started(c)
    for by in (*JUMPS.values(), 0):
        ahead(by)
        with connected() as s:
            check(talks(s), "echo")     # the INS looks at its clock once a turn, which may have begun before
        with connected() as s:
            check(talks(s), "echo")
            opened = [f["opened"] for f in map(json.loads, asked("flows", app.name, "--json").splitlines()) if f["state"] == "established"]
            check(any(abs(t - time.time() - by) < 10 for t in opened), f"{by}: opened {[t - time.time() for t in opened]}")


def goes_on(c, by):
    app = started(c)
    with connected() as before:
        check(talks(before), "echo")
        ahead(by)
        for _ in range(3):
            with connected() as s:
                check(talks(s) and talks(before), "echo")
            time.sleep(0.4)
        rows = asked("ps").splitlines() + asked("flows", "app").splitlines() + asked("top", "--once").splitlines() + asked("ins", "list").splitlines()
        check(not re.search(r"\s-\d", "\n".join(rows)), f"an age below 0: {rows}")
        ins = json.loads(asked("ins", "list", "--json"))
        equal((ins["restarts"], ins["state"]), (0, "up"), "the INS's worker")
        check(abs(ins["heartbeat"] - time.time() - by) < 10, f"its heartbeat: {ins['heartbeat'] - time.time()}")
    app.running()


def gated(c, by):
    started(c, "--gate", f"{PORT}=data,deadline=60s")
    with connected() as s, connected() as late:
        time.sleep(0.3)
        ahead(by)
        time.sleep(1)
        check(is_open(s), "held, with a minute to go")
        check(talks(s), "it goes on with its first byte")
        asked("gate", "--deadline", "1s", "app", str(PORT), "data")
        until(4, lambda: not is_open(late), "one that is held for longer than a second now is reset")


def blocked(c, by):
    started(c)
    asked("block", "--ttl", "100s", "app", "127.0.0.2")
    asked("block", "--ttl", "2s", "app", "127.0.0.3")
    ahead(by)
    until(6, lambda: "expired" in next(line for line in asked("list", "app").splitlines() if "127.0.0.3" in line), lambda: f"2 s end: {asked('list', 'app')}", 0.2)
    check("holds" in next(line for line in asked("list", "app").splitlines() if "127.0.0.2" in line), "100 s do not")


def slow(c, by):
    started(c)
    with connected() as s:
        check(talks(s), "echo")
        asked("minrate", "--grace", "40s", "app", "127.0.0.1", "1000")
        with connected() as silent:       # owes its first byte
            time.sleep(1.2)
            ahead(by)
            time.sleep(1.5)
            check(is_open(silent), "it has 40 s")
            asked("minrate", "--grace", "1s", "app", "127.0.0.1", "1000")
            until(6, lambda: not is_open(silent), "and none of them when it is one second", 0.1)


def reported(c, by):
    path = Path("/run/flows.ipfix")
    path.unlink(missing_ok=True)
    started(c, "--ipfix", f"file:{path}", "--ipfix-timeout", "1")

    def messages():
        data, at, found = path.read_bytes(), 0, []
        while at + 16 <= len(data):
            _, length, export = struct.unpack_from(">HHI", data, at)
            found.append(export)
            at += length
        return found
    with connected() as s:
        until(8, lambda: talks(s) and len(messages()) >= 2, lambda: f"reports of a flow that lives: {messages()}", 0.3)
        ahead(by)
        there = len(messages())
        until(8, lambda: talks(s) and len(messages()) >= there + 3, lambda: f"and after that: {messages()}", 0.3)
        check(abs(messages()[-1] - time.time() - by) < 10, f"export time: {messages()[-1] - time.time()}")


LINGERS = f"""
import socket, struct, time
s = socket.create_connection(("127.0.0.1", {DEAF}))
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 4))
s.sendall(bytes(100000))
print("closes", flush=True)
begun = time.monotonic()
s.close()
print(f"took {{time.monotonic() - begun:.1f}}", flush=True)
"""


def lingering(c, by):
    ahead(0)
    deaf = c.enter_context(socket.socket())
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)     # the rest is in the INS's kernel, and FIN behind it
    deaf.bind(("127.0.0.1", DEAF))
    deaf.listen()
    deaf.settimeout(15)
    app = App(c, PYTHON, "-c", LINGERS, net="host", env=ODD)
    c.enter_context(deaf.accept()[0])
    until(10, lambda: "closes" in app.said(), app.said)
    time.sleep(0.5)
    ahead(by)
    app.wait(15)
    took = float(app.said().split("took ")[1])
    check(3.5 <= took < 6, f"close() took {took} s of the 4 that it may")


def fronted(c, by):
    started(c, net="isolated")
    log = open("/run/front.log", "w+", encoding="ascii")
    child = subprocess.Popen([machine.MW, "frontend", "app"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **ODD})
    c.callback(child.wait, 10)
    c.callback(child.terminate)
    said = lambda: Path("/run/front.log").read_text()
    until(10, lambda: "gets connections" in said(), said)
    ahead(by)
    time.sleep(3)
    check("no new connections" not in said(), said)
    with connected() as s:
        check(talks(s), "echo")


for word, seconds in JUMPS.items():
    for what, function in {"connections, ages, the INS's worker": goes_on, "held connections and their deadline": gated, "blocks that last so long": blocked,
                           "a close that lingers": lingering, "a minimum rate and its grace": slow, "IPFIX: reports, and when they were made": reported,
                           "a frontend and its heartbeats": fronted}.items():
        case(f"a day {word}: {what}", limit=40)(lambda c, function=function, seconds=seconds: function(c, seconds))

tap.main()
