# SPDX-License-Identifier: Apache-2.0
"""A running INS goes on as the program that is on the disk now: nothing of what it holds is lost, whatever comes in between."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from lib import machine, mixed, procs, servers, tap
from lib.mw import App, NOBODY, command, quick
from lib.tap import NETS, case, check, equal, matches, until

SANITIZED = "MW_PRELOAD" in os.environ
LONG = "MW_LONG" in os.environ
PYTHON = "/usr/bin/python3"
SERVER = str(Path(__file__).resolve().parent / "lib" / "server.py")
MIXED = mixed.__file__
PORT = 7000
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


def entries(name="app"):
    status, out, err = quick("ins", "list", "--json", name)
    equal(status, 0, err)
    return [json.loads(line) for line in out.splitlines()]


def upgrade(name="app", number="0", limit=30):
    """From what to what; the new process is there when it returns."""
    old = entries(name)[0]
    status, out, err = quick("ins", "upgrade", name, number, limit=limit)
    equal((status, out), (0, ""), f"mw ins upgrade: {err}")
    new = entries(name)[0]
    check(new["keeper_pid"] != old["keeper_pid"] and new["worker_pid"] != old["worker_pid"], lambda: f"{old}, then {new}")
    equal((new["upgrades"], new["restarts"]), (old["upgrades"] + 1, old["restarts"]), "upgrades and restarts")
    until(5, lambda: not procs.alive(old["keeper_pid"]), "the old process has ended")
    return old, new


def talk(s, text=b"hello"):
    s.sendall(text)
    return s.recv(100) == text


def echo_app(c, **keys):
    return App(c, PYTHON, SERVER, "echo", **keys).ready(PORT)


# --- under load ---

@case(f"{TIMES} upgrades under wrk: no failed request, and idle connections live", limit=60 + 6 * TIMES, nets=NETS)
def under_wrk(c):
    servers.need("wrk")
    app = servers.nginx(c, config=servers.roomy("listen 80; location / { return 200 ok; }", "keepalive_requests 100000000;")).ready(80)
    idle = [socket.create_connection(("127.0.0.1", 80), 10) for _ in range(100 if SANITIZED else 1000)]
    wrk = subprocess.Popen(["wrk", "-t2", "-c64", f"-d{TIMES * 2 + 2}", "--latency", "http://127.0.0.1/"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    c.callback(wrk.wait)
    c.callback(wrk.kill)
    first, took = entries(app.name)[0], []
    for _ in range(TIMES):
        time.sleep(0.3)
        began = time.monotonic()
        upgrade(app.name)
        took.append(time.monotonic() - began)
        check(wrk.poll() is None, "wrk still runs")
    out = wrk.communicate(timeout=60)[0]
    equal((wrk.returncode, "Socket errors" in out, "Non-2xx" in out), (0, False, False), f"wrk: {out}")
    equal(entries(app.name)[0]["started"], first["started"], "since when it runs")
    for s in idle:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    equal(sum(s.recv(4096).startswith(b"HTTP/1.1 200") for s in idle), len(idle), "idle connections that are answered")
    c.note(f"{TIMES} upgrades, {max(took):.2f} s at most with looking; wrk: {' '.join(out.split())}")


tap.main()
