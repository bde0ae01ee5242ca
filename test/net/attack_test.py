# SPDX-License-Identifier: Apache-2.0
"""slowhttptest against Apache in Debian's default configuration: slow headers, bodies and reads, and what an operator does."""
import hashlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from lib import http, mw, servers, tap
from lib.mw import json_lines, quick
from lib.tap import NETS, case, check, equal, until

MB = 1 << 20
URL = "http://127.0.0.1"
COUNT, RATE = 400, 200
SLOW_HEADERS = "head = partial and opened > 3s"     # the manual has these
SLOW_BODY = "asked > 3s and rx_rate < 1k and unread = 0"
SLOW_READ = "busy > 3s and tx_rate < 1k and unsent > 0"
SEEN_S = 5      # so long after it began a slow one is told from the honest


class Native:
    """Apache as it is."""

    def __init__(self, c, *argv, **_):
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 start_new_session=True)
        c.callback(self.end, child)

    @staticmethod
    def end(child):
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def native(c, mpm):
    protected, servers.App = servers.App, Native
    try:
        servers.apache(c, mpm)
    finally:
        servers.App = protected
    until(20, lambda: mw.connects("127.0.0.1", 80), "Apache")


def apache(c, mpm="event", *options):
    app = servers.apache(c, mpm, options=options).ready(80, seconds=20)
    until(5, lambda: not app.connections(), "our own trial is gone")
    return app


def attack(c, *mode, url="/small.txt", seconds=240):
    servers.need("slowhttptest")
    child = subprocess.Popen(["slowhttptest", *mode, "-c", str(COUNT), "-r", str(RATE), "-l", str(seconds), "-u", URL + url],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    c.callback(lambda: (child.kill(), child.wait()))
    return child


def slow_headers(c, seconds=240):
    return attack(c, "-H", "-i", "10", "-x", "24", "-p", "3", seconds=seconds)


def probe():
    """An honest request: whether it is answered within 2 s."""
    try:
        with http.Connection(timeout=2) as connection:
            return connection.ask("/small.txt").status == 200
    except (OSError, http.Bad):
        return False


def probes(seconds, each=0.1):
    """Honest requests at a fixed rate, whatever becomes of those before: (good, count)."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(probe()), daemon=True) for _ in range(round(seconds / each))]
    began = time.monotonic()
    for i, thread in enumerate(threads):
        time.sleep(max(0, began + i * each - time.monotonic()))
        thread.start()
    for thread in threads:
        thread.join()
    return sum(results), len(results)


def attackers(app, honest=()):
    return [f for f in app.flows() if f["state"] in ("established", "closing", "held") and f["peer_port"] and f["peer_port"] not in honest]


def busy_workers():
    """By the scoreboard; one is ours."""
    text = http.get("/server-status?auto").body.decode()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("BusyWorkers")) - 1


# --- slow headers ---

def headers_are_held(c, app, seconds):
    """While the attack lasts: every probe succeeds, no worker is taken, and the application knows nothing of the attackers."""
    good, count = probes(seconds)
    there = attackers(app)
    taken = [f for f in there if f["state"] != "held" and f["head"] != "complete"]
    gate = next(g for g in json_lines("gate", "--json", app.name) if g["port"] == 80 and g["held"] + g["dropped"])
    c.note(f"with --gate http {good} of {count} probes succeed; {gate['held']} are held, {gate['dropped']} were dropped")
    check(good >= 0.99 * count, f"{good} of {count} probes succeed")
    equal(taken, [], "connections without a header that Apache has")
    equal([f for f in there if f["state"] == "held" and (f["handed"] or f["pid"])], [], "held ones that it has seen")
    equal(busy_workers(), 0, "workers that are taken")
    check(gate["dropped"] + gate["held"] >= COUNT - 20, f"{gate}")


@case("slow headers, natively: no probe succeeds", limit=60)
def headers_native(c):
    servers.content("small.txt", 1200)
    native(c, "event")
    slow_headers(c)
    time.sleep(3)
    good, count = probes(4)
    c.note(f"{good} of {count} probes succeed")
    check(good < 0.34 * count, "the attack takes effect")


@case("slow headers: protected as natively; with a gate, from the start or now, every probe succeeds, and no worker is taken", limit=90, nets=NETS)
def headers(c):
    servers.content("small.txt", 1200)
    app = apache(c)
    child = slow_headers(c)
    time.sleep(3)
    good, count = probes(4)
    c.note(f"without a gate {good} of {count} probes succeed")
    check(good < 0.34 * count, "the attack takes effect")
    if c.net == "host":
        equal(quick("gate", app.name, "80", "http", "--per-peer", "0")[0], 0, "mw gate")
        out = quick("close", app.name, SLOW_HEADERS)[1]
        good, count = probes(2)
        c.note(f"mw close '{SLOW_HEADERS}': {out.strip()}; then {good} of {count} probes succeed")
        equal(good, count, "probes that succeed")
    else:
        child.kill()
        app.end()
        app = apache(c, "event", "--gate", "http")
    slow_headers(c)
    time.sleep(3)
    headers_are_held(c, app, 5)


def whole(c, mpm, gate):
    """All of an attack that lasts 60 s."""
    servers.content("small.txt", 1200)
    if gate is None:
        native(c, mpm)
    else:
        app = apache(c, mpm, *gate)
    slow_headers(c, 60)
    if gate:
        time.sleep(1)
        headers_are_held(c, app, 58)
        return
    good, count = probes(60)
    c.note(f"{good} of {count} probes succeed: {100 * good / count:.0f} %")
    check(good < 0.6 * count, "the attack takes effect")


for number, (kind, options) in enumerate((("natively", None), ("protected", ()), ("with --gate http", ("--gate", "http")))):
    for mpm_name in ("event", "prefork"):
        case(f"60 s of slow headers, Apache {mpm_name}, {kind}", 150, (None if options is None else "isolated",), long=True)(
            lambda c, mpm=mpm_name, gate=options: whole(c, mpm, gate))


# --- slow bodies and slow reads ---

class Modem:
    """An honest client on a thin line: takes a file at 20 kB/s, until it is told to hurry."""

    def __init__(self, c, path, wanted):
        self.wanted, self.sum, self.left, self.fast = wanted, hashlib.sha256(), None, threading.Event()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", 80))
        self.socket.sendall(http.request(path))
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        c.callback(self.end)

    def run(self):
        head = b""
        try:
            while b"\r\n\r\n" not in head:
                head += self.socket.recv(1)
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            self.left = int(length.split()[1])
            while self.left and (data := self.socket.recv(MB if self.fast.is_set() else 2000)):
                self.sum.update(data)
                self.left -= len(data)
                self.fast.wait(0.1)
        except OSError:
            pass    # what is left tells

    def end(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass    # it has ended already
        self.thread.join(5)
        self.socket.close()

    def finish(self):
        self.fast.set()
        self.thread.join(30)
        equal((self.left, self.sum.hexdigest()), (0, self.wanted), "what the honest reader on a thin line got")


class Honest:
    """Honest slow clients: a reader on a thin line, curl that downloads and curl that uploads at a limited rate."""

    def __init__(self, c, app):
        servers.need("curl")
        wanted = servers.content("large.bin", 50 * MB)
        self.data = servers.noise("upload", 130_000)
        Path("/run/upload.bin").write_bytes(self.data)
        self.modem = Modem(c, "/large.bin", wanted)
        self.download = self.curl(c, "--limit-rate", "100k", URL + "/large.bin")
        self.upload = self.curl(c, "--limit-rate", "8k", "-T", "/run/upload.bin", URL + "/put/upload.bin")
        self.ports = until(5, lambda: (p := {f["peer_port"] for f in app.connections() if f["pid"]}) and len(p) == 3 and p, "three are there")

    @staticmethod
    def curl(c, *argv):
        child = subprocess.Popen(["curl", "-sSf", "-o", "/dev/null", *argv], stdin=subprocess.DEVNULL)
        c.callback(lambda: (child.kill(), child.wait()))
        return child

    def survive(self, app):
        flows = {f["peer_port"]: f for f in app.flows()}
        equal([p for p in self.ports if p in flows and flows[p]["verdicts"]], [], "honest clients that a verb hit")
        equal(self.download.poll(), None, "the download goes on")
        self.modem.finish()
        equal(self.upload.wait(40), 0, "the upload's end")
        equal(http.get("/put/upload.bin").body == self.data, True, "what was uploaded comes back")


def told(app, honest, slow):
    """Each attacker is told from the honest within SEEN_S of its becoming slow: (how many, after how long at most)."""
    until(10, lambda: len(attackers(app, honest.ports)) > COUNT - 20, "the attackers are there")
    last, seen = time.time(), {}
    while True:
        there, now = [f for f in attackers(app, honest.ports) if f["opened"] < last], time.time()
        since = {f["id"]: now - (f["first_tx"] or f["opened"]) for f in there if f["id"] not in seen}
        seen.update((f["id"], since[f["id"]]) for f in there if f["id"] in since and slow(f))
        late = [f for f in there if f["id"] not in seen and since[f["id"]] > SEEN_S]
        equal(late, [], f"not told within {SEEN_S} s")
        equal([f for f in app.flows() if f["peer_port"] in honest.ports and f["state"] == "established" and slow(f)], [],
              "honest clients that look like attackers")
        if all(f["id"] in seen for f in there):
            return len(seen), max(seen.values())
        time.sleep(0.2)


def freed(c, app, honest, expression):
    """An operator who gives the order again and again until the attackers are gone: how many it hit."""
    hit, began = [], time.monotonic()

    def given():
        status, out, err = quick("close", "--json", app.name, expression)
        equal(status, 0, f"mw close: {out}{err}")
        hit.append(json.loads(out)["hit"])
        return len([f for f in attackers(app, honest.ports) if f["state"] == "established"]) < 5     # slowhttptest probes too
    until(20, given, lambda: f"no attackers; hit {hit}", 0.5)
    c.note(f"mw close '{expression}' hit {hit} in {time.monotonic() - began:.1f} s")
    return sum(hit)


def told_and_freed(c, mode, url, slow, expression):
    servers.content("small.txt", 1200)
    app = apache(c)
    honest = Honest(c, app)
    attack(c, *mode, url=url)
    count, after = told(app, honest, slow)
    c.note(f"{count} attackers, each told after {after:.1f} s at most")
    check(not probe(), "the attack takes effect")
    out = quick("close", "--dry-run", app.name, expression)[1]
    check(count * 0.2 < int(out.split("would hit ")[1].split()[0]) <= count, f"a dry run: {out.splitlines()[0]}")
    hit = freed(c, app, honest, expression)
    good, probed = probes(2)
    c.note(f"then {good} of {probed} probes succeed")
    equal(good, probed, "probes that succeed")
    check(hit > 0.9 * count, f"it hit {hit}")
    honest.survive(app)


def asks_slowly(f):
    return f["asked"] and time.time() - f["asked"] > 3 and f["rx_rate"] < 1024 and f["head"] == "complete"


def takes_slowly(f):
    """Or has asked and waits for a worker that those before it keep."""
    return (f["unsent"] > 0 and f["busy"] > 3 and f["tx_rate"] < 1024) or (f["unread"] > 0 and asks_slowly(f))


@case("slow bodies: each is told from honest slow clients within 5 s; mw close on an expression frees the workers", limit=90,
      nets=("isolated",))
def bodies(c):
    told_and_freed(c, ("-B",), "/small.txt", asks_slowly, SLOW_BODY)


@case("slow reads: each is told from honest slow clients within 5 s; mw close on an expression frees the workers", limit=90,
      nets=("isolated",))
def reads(c):
    told_and_freed(c, ("-X",), "/large.bin", takes_slowly, SLOW_READ)


tap.main()
