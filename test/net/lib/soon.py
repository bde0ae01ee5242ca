# SPDX-License-Identifier: Apache-2.0
"""How soon verbs take effect and events are with their reader: for tests, and for `make bench`."""
import os
import socket
import subprocess
import sys
import time

from .tap import check, equal


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def connect(where, source="127.0.0.1"):
    s = socket.create_connection(where, 5, (source, 0))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def ordered(verb, target, **fields):
    return {"do": "order", "verb": verb, "target": str(target), **fields}


def until_reset(s, k, verb, target):
    """Seconds from the order until the peer sees its connection end; the answer is taken after that."""
    began = time.monotonic()
    k.send(**ordered(verb, target))
    try:
        s.recv(10)
        ended = False
    except ConnectionResetError:
        ended = True
    seconds = time.monotonic() - began
    check(ended, "it was reset")
    equal(k.line()["ok"], True, "the answer")
    return seconds


def until_answered(k, **request):
    began = time.monotonic()
    equal(k.ask(**request)["ok"], True, f"the answer to {request}")
    return time.monotonic() - began


def verbs(k, follow, where, rounds=300):
    """Seconds that each verb took, by verb. `k` gives orders, `follow` follows; `where` is a loopback address and a port."""
    def connected(source="127.0.0.1"):
        s = connect(where, source)
        return s, follow.event("accept", peer_port=s.getsockname()[1])["extra"]

    aimed = [connected() for _ in range(rounds)]
    blocked = [connected(f"127.1.{i // 250}.{i % 250 + 1}")[0] for i in range(rounds)]
    live, own = connected()
    follow.socket.close()
    with live:
        times = {"reset": [until_reset(s, k, "reset", i) for s, i in aimed],
                 "block": [until_reset(s, k, "block", s.getsockname()[0]) for s in blocked],
                 "set": [], "cap": []}
        for i in range(rounds):
            times["set"].append(until_answered(k, **ordered("set", own, option="keepalive", value=str(i & 1))))
            times["cap"].append(until_answered(k, **ordered("cap", "all", number=100_000 + i)))
        live.setblocking(False)
        try:
            check(live.recv(10), "the connection that was set lives")
        except BlockingIOError:
            pass
    return times


def events(control, where, *pids):
    """Seconds from each event to its reader, of 1,000 connections. The event's way alone: its processes (the INS and telemetry) and the
    reader get a core as if it were idle, whatever else runs here."""
    with subprocess.Popen([sys.executable, "-c", READER, control], stdout=subprocess.PIPE, text=True) as reader:
        for pid in (reader.pid, *pids):
            os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
        equal(reader.stdout.readline(), "ready\n", "the reader")
        for _ in range(1000):
            with socket.create_connection(where):
                time.sleep(0.002)
        late = [float(word) for word in reader.stdout.readline().split()]
    for pid in pids:
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
    return late


READER = """
import json, socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b'{"do":"follow"}\\n')
rest, late = b"", []
while len(late) < 2000:
    data = s.recv(65536)
    now = time.time()
    *lines, rest = (rest + data).split(b"\\n")
    if not late and b'"ok"' in data:
        print("ready", flush=True)
    for line in lines:
        e = json.loads(line)
        if e.get("event") in ("accept", "handed", "close", "fin"):
            late.append(now - e["time"])
print(*late, flush=True)
"""
