# SPDX-License-Identifier: Apache-2.0
"""Samples: what the kernel says of a connection, beside ss(8) in the same network; when they come; who lingers; what they cost."""
import json
import os
import re
import socket
import subprocess
import sys
import time

from lib import http, machine, mw, procs, servers, soon, tap
from lib.control import Control
from lib.tap import NETS, case, check, equal, until

SOON_US = 20_000    # half of them, on a machine whose cores others want too; `make bench` measures it
CONFIG = servers.roomy("listen 80 backlog=4096; listen [::]:80; root /var/www/html; lingering_close off;")


def start(c, config=CONFIG, **keys):
    servers.content("big.bin", 30_000_000)
    app = servers.nginx(c, config=config, **keys).ready(80).ready(80, host="::1")
    until(5, lambda: not app.connections(), "our own trials are gone")
    return app


def connect(c, host="127.0.0.1", room=None):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    c.callback(s.close)
    if room:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    s.settimeout(5)
    s.connect((host, 80))
    return s


def flow_of(app, s, seconds=5):
    port = s.getsockname()[1]
    return until(seconds, lambda: next((f for f in app.connections() if f["peer_port"] == port), None), f"a flow from port {port}")


def ss(app, s):
    """What ss says of the connection's protected end: queues and numbers, from the INS's network or the host's."""
    port = s.getsockname()[1]
    for prefix in (("nsenter", f"--net=/proc/{app.ins_pid()}/ns/net", "--"), ()):
        text = machine.run(*prefix, "ss", "-tnmioOH", "dst", f":{port}")
        if text.strip():
            return words(text.splitlines()[0])
    return None


def words(line):
    head = line.split()
    found = {"state": head[0], "recv": int(head[1]), "send": int(head[2]), "line": line}
    skmem = re.search(r"skmem:\(r(\d+),rb(\d+),t\d+,tb(\d+),f(\d+),w(\d+),o(\d+),bl(\d+)", line)
    names = ("rmem", "rcvbuf", "sndbuf", "fwd", "wmem", "opt", "bl")
    found.update(zip(names, map(int, skmem.groups())) if skmem else ())
    found.update((k, float(v)) for k, v in re.findall(r"\b(\w+):([\d.]+)", line))
    rtt = re.search(r" rtt:([\d.]+)/([\d.]+)", line)
    if rtt:
        found["rtt"], found["rttvar"] = float(rtt[1]), float(rtt[2])
    return found


def same(flow, seen):
    """The fields that ss has too, while nothing moves."""
    pairs = {"stack_unread": seen["recv"], "rmem": seen["rmem"], "rcvbuf": seen["rcvbuf"], "sndbuf": seen["sndbuf"],
             "wmem": seen["wmem"], "mem": seen["rmem"] + seen["fwd"] + seen["wmem"] + seen["opt"] + seen["bl"],
             "notsent": int(seen.get("notsent", 0)), "unacked": seen["send"] - int(seen.get("notsent", 0)),
             "mss": int(seen["mss"]), "cwnd": int(seen["cwnd"]), "bytes_sent": int(seen.get("bytes_sent", 0)),
             "bytes_acked": int(seen.get("bytes_acked", 0)), "bytes_received": int(seen.get("bytes_received", 0)),
             "bytes_retrans": int(seen.get("bytes_retrans", 0)), "unacked_segs": int(seen.get("unacked", 0)),
             "lost": int(seen.get("lost", 0))}
    equal({k: flow[k] for k in pairs}, pairs, f"beside {seen['line']}")
    for name in ("rtt", "rttvar"):
        check(abs(flow[name] * 1000 - seen[name]) < 0.002, f"{name}: {flow[name]} beside {seen['line']}")
    check(f" {flow['cong']} " in seen["line"], f"{flow['cong']} beside {seen['line']}")


def still(app, s, what):
    """Flow and ss of a connection on which nothing moves: the same before and after."""
    def look():
        before, flow, after = ss(app, s), flow_of(app, s), ss(app, s)
        quiet = before and after and all(before[k] == after[k] for k in ("recv", "send", "rmem", "wmem")) and \
            before.get("bytes_sent") == after.get("bytes_sent")
        return (flow, after) if quiet and what(flow) else None
    return until(10, look, lambda: f"it rests: {flow_of(app, s)}", 0.2)


@case("one that does not read: its window, what waits, and memory, as ss says", limit=60, nets=NETS)
def slow_reader(c):
    app = start(c)
    for host in ("127.0.0.1", "::1", machine.HERE4):
        s = connect(c, host, room=20000)
        s.sendall(http.request("/big.bin"))
        flow, seen = still(app, s, lambda f: f["zero_window_since"] and f["suspect"].startswith("unsent,zero-window"))
        same(flow, seen)
        equal((flow["kernel_state"], flow["timer"], flow["snd_wnd"]), ("established", "persist", 0), "its state")
        check(flow["notsent"] > 100_000 and flow["mem"] > flow["notsent"] and flow["unsent"] > 0, f"what waits: {flow}")
        check(flow["rwnd_limited"] > 0.2 and flow["busy"] >= flow["rwnd_limited"], f"time limited: {flow}")
        until(5, lambda s=s: flow_of(app, s)["zero_window"] > 1, "time without a window is counted", 0.2)
        while len(s.recv(1 << 20)) > 0 and (flow := flow_of(app, s))["zero_window_since"]:
            pass
        check(flow["zero_window"] > 1 and flow["snd_wnd"] > 0, f"the window is open again: {flow}")
        s.close()


@case("a half header, nothing at all, and an application that does not read", limit=40, nets=NETS)
def suspects(c):
    app = start(c)
    silent, half, done = connect(c), connect(c, "::1"), connect(c)
    half.sendall(b"GET / HT")
    done.sendall(b"HEAD /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    done.recv(1000)
    time.sleep(1.2)
    flow, seen = still(app, silent, lambda f: f["sampled"])
    same(flow, seen)
    equal((flow["suspect"], flow["bytes_received"], flow["first_rx"]), ("no-byte,silent", 0, None), "one that says nothing")
    check(flow["rx_idle"] > 1.2 and flow["tx_idle"] > 1.2 and flow["syn"] <= flow["opened"] < flow["syn"] + 0.5, f"its times: {flow}")
    flow, seen = still(app, half, lambda f: f["sampled"])
    same(flow, seen)
    equal((flow["bytes_received"], flow["rx_bytes"]), (8, 8), "half a header")
    flow, seen = still(app, done, lambda f: f["sampled"])
    same(flow, seen)
    equal(flow["suspect"], "silent", "one that is done")
    stopped = [p.pid for p in procs.below(app.app_pid()) if p.comm == "nginx"]
    for pid in stopped:
        machine.run("kill", "-STOP", str(pid))
    try:
        done.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        done.setblocking(False)
        for _ in range(2000):
            try:
                done.send(b"x" * 4096)
            except BlockingIOError:
                time.sleep(0.002)
        flow, seen = still(app, done, lambda f: f["unread"] and f["stack_unread"] and "unread" in f["suspect"])
        same(flow, seen)
        equal(flow["rmem"] > 0, True, "memory of what was received")
    finally:
        for pid in stopped:
            machine.run("kill", "-CONT", str(pid))


@case("a listener shows its accept queue", nets=NETS)
def listeners(c):
    app = start(c)
    found = {f["local"]: f for f in app.flows() if f["state"] == "listen" and f["local_port"] == 80}
    equal({a: (f["kernel_state"], f["backlog"], f["backlog_max"]) for a, f in found.items()},
          {"0.0.0.0": ("listen", 0, 4096), "::": ("listen", 0, 511)}, "listeners")


@case("fields have their documented names, and the kernel's are null where it was not asked")
def names(c):
    c.net = "isolated"
    app = start(c)
    s = connect(c)
    flow = flow_of(app, s)
    check(len(flow) >= 90, f"{len(flow)} fields")
    equal((flow["app"], flow["ins"], flow["command"]), ("nginx", 0, "nginx"), "whose it is")
    k = Control(c, "nginx").follow()
    s.close()
    k.event("close", id=flow["id"])
    child = subprocess.Popen([machine.MW, "flows", "nginx", "--follow", "--json"], stdout=subprocess.PIPE, text=True)
    c.callback(lambda: (child.kill(), child.communicate()))
    time.sleep(0.3)
    s = connect(c)
    flow = flow_of(app, s)
    s.close()
    closed = next(e for e in map(json.loads, child.stdout) if e["event"] == "close" and e["id"] == flow["id"])
    equal((closed["sampled"], closed["min_rtt"]), (flow["sampled"], flow["min_rtt"]), "the last sample, when it is closed")


@case("a connection that took a socket of the host's loopback has samples, of that one", limit=30)
def host_loopback(c):
    c.net = "isolated"
    listener = socket.create_server(("127.0.0.1", 9999))
    c.callback(listener.close)
    app = mw.App(c, "/usr/bin/python3", "-c", CLIENT, name="out", options=("--host-loopback",))
    s = listener.accept()[0]
    c.callback(s.close)
    flow, seen = still(app, s, lambda f: f["sampled"])
    same(flow, seen)
    equal((flow["bytes_sent"], flow["listener"], flow["syn"]), (5, 0, flow["opened"]), "what it is")


CLIENT = """
import socket
s = socket.create_connection(("127.0.0.1", 9999))
s.sendall(b"hello")
s.recv(1)
"""


@case("telemetry that died in the middle of a look finds the next one", nets=NETS, limit=40)
def killed(c):
    app = start(c)
    s = connect(c)
    for _ in range(3):
        k = Control(c, "nginx")
        pid = app.info()["telem_pid"]
        k.send(do="sample")
        procs.end(pid)
        until(5, lambda pid=pid: app.info()["telem_pid"] not in (0, pid), "another telemetry process")
        flow, seen = still(app, s, lambda f: f["sampled"])
        same(flow, seen)


def lingering(app, port):
    return [f for f in app.flows() if f["peer_port"] == port and f["state"] == "closed"]


@case("after the close: FIN_WAIT_1 while the peer is mute, TIME_WAIT, gone", limit=60)
def closing(c):
    c.net = "isolated"
    app = start(c)
    inside = ("nsenter", f"--net=/proc/{app.ins_pid()}/ns/net", "--")
    s = connect(c, machine.HERE4)
    s.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    check(s.recv(1000), "an answer")
    port = s.getsockname()[1]
    flow = flow_of(app, s)
    machine.run(*inside, "nft", "add table ip t; add chain ip t i { type filter hook input priority 0; }; "
                "add rule ip t i tcp sport", str(port), "drop")
    equal(Control(c, "nginx").ask(do="order", verb="close", target=str(flow["id"]))["ok"], True, "close")
    left = until(8, lambda: lingering(app, port), "it lingers", 0.1)[0]
    equal((left["id"], left["kernel_state"], left["closed"] is not None), (flow["id"], "fin_wait_1", True), "what lingers")
    check(ss(app, s)["state"] == "FIN-WAIT-1" and left["unacked_segs"] == 1, f"{left} beside {ss(app, s)}")
    until(8, lambda: lingering(app, port)[0]["backoff"] > 1, "the kernel sends its FIN again", 0.2)
    k = Control(c, "nginx")
    k.ask(do="follow", samples=True)
    told = k.event("sample", id=flow["id"])
    equal((told["kernel_state"], told["state"]), ("fin_wait_1", "closed"), "a sample of it")
    machine.run(*inside, "nft", "delete", "table", "ip", "t")
    until(30, lambda: [f["kernel_state"] for f in lingering(app, port)] == ["fin_wait_2"], "the peer acknowledges", 0.2)
    s.close()
    until(5, lambda: [f["kernel_state"] for f in lingering(app, port)] == ["time_wait"], lambda: f"{lingering(app, port)}", 0.2)
    left = lingering(app, port)[0]
    equal((left["timer"], left["mem"], left["rx_bytes"]), ("timewait", 0, flow["rx_bytes"]), "what is left")


@case("an idle connection yields its samples, one that moves is left alone", limit=40, nets=NETS)
def cadence(c):
    app = start(c, options=("--sample-fast", "200", "--sample-slow", "3"))
    idle, busy = connect(c), connect(c)
    silent, moving = flow_of(app, idle)["id"], flow_of(app, busy)["id"]
    seen = []
    k = Control(c, "nginx")
    k.ask(do="follow", samples=True)
    end = time.monotonic() + 6
    while time.monotonic() < end:
        busy.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        busy.recv(1000)
        try:
            while True:
                e = k.line(0.1)
                if e["event"] == "sample" and e["state"] == "established":
                    seen.append(e["id"])
                    equal((e["kernel_state"], e["command"]), ("established", "nginx"), "a sample")
        except tap.Failed:
            pass
    silent, moving = seen.count(silent), seen.count(moving)
    c.note(f"in 6 s, 5 of them silent: {silent} samples of the silent one, {moving} of the other")
    check(12 <= silent <= 27 and 1 <= moving <= 3, f"{silent} and {moving} samples")


@case("samples come twice a second also when every core is busy", limit=40)
def busy_cores(c):
    c.net = "isolated"
    app = start(c)
    for _ in range(4 * len(os.sched_getaffinity(0))):
        child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        c.callback(child.wait)
        c.callback(child.kill)
    s = connect(c)
    silent = flow_of(app, s, 10)["id"]
    k = Control(c, "nginx")
    k.ask(do="follow", samples=True)
    seen = [k.event("sample", 10, id=silent)["sampled"] for _ in range(16)]
    gaps = [b - a for a, b in zip(seen, seen[1:])]
    c.note(f"seconds between them: {' '.join(f'{g:.2f}' for g in gaps)}")
    check(sorted(gaps)[len(gaps) * 3 // 4] < 0.8, "most come in time")


@case("a connection idle for 60 s yields its samples twice a second", limit=90, long=True)
def minute(c):
    c.net = "isolated"
    app = start(c)
    s = connect(c)
    k = Control(c, "nginx")
    k.ask(do="follow", samples=True)
    flow = flow_of(app, s)
    end, seen = time.monotonic() + 60, []
    while time.monotonic() < end:
        seen.append(k.event("sample", id=flow["id"]))
    check(100 <= len(seen) <= 122, f"{len(seen)} samples in 60 s")
    check(seen[-1]["rx_idle"] > 59 and seen[-1]["suspect"] == "no-byte,silent", f"the last: {seen[-1]}")


@case("nobody looks: telemetry does not wake", limit=60, nets=NETS)
def at_rest(c):
    app = start(c)
    s = connect(c)
    k = Control(c, "nginx")
    k.ask(do="follow", samples=True)
    k.event("sample", id=flow_of(app, s)["id"])
    k.socket.close()
    check(procs.rest([app.info()["telem_pid"]], 3), "it wakes")


@case("mw flows --follow --json: open, every event and sample, close", limit=30, nets=NETS)
def follow(c):
    app = start(c, options=("--sample-fast", "200"))
    child = subprocess.Popen([machine.MW, "flows", "nginx", "--follow", "--json"], stdout=subprocess.PIPE, text=True)
    c.callback(lambda: (child.kill(), child.communicate()))
    time.sleep(0.5)
    s = connect(c)
    port = s.getsockname()[1]
    s.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    s.recv(1000)
    time.sleep(1.6)
    s.close()
    kinds = []
    for line in child.stdout:
        e = json.loads(line)
        if e.get("peer_port") == port:
            kinds.append(e["event"])
        if kinds[-1:] == ["close"]:
            break
    equal([k for i, k in enumerate(kinds) if kinds.index(k) == i], ["accept", "handed", "open", "recv", "head", "send", "sample", "fin", "close"]
          if kinds[0] != "open" else ["open", "accept", "handed", "recv", "head", "send", "sample", "fin", "close"], "events")
    equal((kinds.count("open"), kinds.count("close")), (1, 1), "open and close")
    app.end()
    equal(child.wait(5), 0, "it ends with the application")


@case("one that does not read its events loses them, is told how many, and slows nobody", limit=60)
def stalled(c):
    c.net = "host"
    servers.need("ab")
    start(c)
    deaf = Control(c, "nginx")
    deaf.send(do="follow", samples=True)
    awake = Control(c, "nginx").follow()
    awake.socket.close()
    argv = ("ab", "-q", "-n", "20000", "-c", "20", "http://127.0.0.1/index.html")
    status, out, err = mw.command(*argv, limit=40)
    equal(status, 0, f"ab: {out}{err}")
    tap.matches(out, r"^Failed requests: +0$", "ab")
    counts, lost = 0, None
    while lost is None:
        e = deaf.line()
        counts += e.get("event") not in (None, "sample")
        if e.get("event") == "lost":
            lost = e
    check(lost["count"] > 10000, f"what was lost: {lost}")
    with http.Connection() as connection:
        port = connection.name()[1]
        accepted = deaf.event("accept", peer_port=port)
    c.note(f"{lost['count']} events lost, {counts} read; {accepted['event']} of the next is there")


@case("an event is with its reader at once; how soon is said", limit=90)
def latency(c):
    c.net = "host"
    info = start(c).info()
    late = soon.events("/run/mw/nginx/control", ("127.0.0.1", 80), info["ins_pid"], info["telem_pid"])
    p50, p99 = (soon.percentile(late, part) * 1e6 for part in (0.5, 0.99))
    c.note(f"{len(late)} events: p50 {p50:.0f} us, p99 {p99:.0f} us, most {max(late) * 1e6:.0f} us; load {os.getloadavg()[0]}")
    check(p50 <= SOON_US, f"p50 {p50:.0f} us")


def cpu_s(pid):
    return procs.look(pid).ticks / 100


@case("9,000 silent connections, sampled and followed, cost a few percent of a core", limit=120, nets=NETS)
def cost(c):
    app = start(c)
    c.enter_context(servers.held(9000))
    until(30, lambda: len(app.connections()) == 9000, "all are listed", 0.5)
    k = Control(c, "nginx")
    answer = k.ask(do="sample")
    followers = subprocess.Popen([sys.executable, "-c", COUNTER], stdout=subprocess.PIPE, text=True)
    c.callback(lambda: (followers.kill(), followers.communicate()))
    time.sleep(2)
    telem, from_s = app.info()["telem_pid"], time.monotonic()
    before = cpu_s(telem)
    time.sleep(20)
    part = (cpu_s(telem) - before) / (time.monotonic() - from_s)
    counts = json.loads(followers.communicate(timeout=30)[0])
    c.note(f"a look takes {answer['cost'] * 1000:.1f} ms of a processor; followed, {part * 100:.1f} % of one; "
           f"in 24 s {counts['sample']} samples of {counts['flows']} connections, {counts['lost']} lost")
    check(part < 0.08, f"{part * 100:.1f} % of a core")
    check(counts["flows"] == 9000 and not counts["lost"], f"{counts}")


COUNTER = """
import json, re, socket, time
s = socket.socket(socket.AF_UNIX)
s.connect("/run/mw/nginx/control")
s.sendall(b'{"do":"follow","samples":true}\\n')
end, rest, n = time.monotonic() + 24, b"", {"sample": 0, "lost": 0}
ids = set()
s.settimeout(1)
while time.monotonic() < end:
    try:
        *lines, rest = (rest + s.recv(1 << 20)).split(b"\\n")
    except TimeoutError:
        continue
    for line in lines:
        if line.startswith(b'{"event":"sample"'):
            n["sample"] += 1
            ids.add(re.search(rb'"id":(\\d+)', line)[1])
        elif line.startswith(b'{"event":"lost"'):
            e = json.loads(line)
            n["lost"] += e["samples"] + e["count"]
n["flows"] = len(ids)
print(json.dumps(n))
"""


tap.main()
