# SPDX-License-Identifier: Apache-2.0
"""Readers of telemetry that come, read and go: those that read to the end must be told right, the others vanish in the midst."""
import json
import os
import pty
import random
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager

from lib import http, machine
from lib.mw import quick
from lib.mwnf import Stream
from lib.tap import Failed, check

PATIENCE_S = 30


class Onlooker(threading.Thread):
    """Of the applications {name: port of its metrics}."""

    def __init__(self, over, seed, apps, failed, pause_s=1.5):
        super().__init__(daemon=True)
        self.over, self.rng, self.apps, self.failed, self.pause_s, self.done = over, random.Random(seed), apps, failed, pause_s, 0

    def run(self):
        while not self.over.wait(self.rng.expovariate(1 / self.pause_s)):
            way, name = self.rng.choice(WAYS), self.rng.choice(sorted(self.apps))
            try:
                way(self, name)
            except (Failed, OSError, ValueError, EOFError, http.Bad) as e:
                self.failed(f"{way.__name__} of {name}", f"{type(e).__name__}: {e}")
            self.done += 1


def whole(*argv):
    """Output of an order that must succeed."""
    status, out, err = quick(*argv, limit=PATIENCE_S)
    check(status == 0, lambda: f"mw {' '.join(argv)}: status {status}: {err}{out[-200:]}")
    return out


def flows(_, name):
    for line in whole("flows", "--json", name).splitlines():
        json.loads(line)


def processes(o, name):
    names = {json.loads(line)["name"] for line in whole("ps", "--json").splitlines()}
    check(set(o.apps) <= names, f"mw ps has {sorted(names)}")


def top_once(_, name):
    check(whole("top", "--once", name), "mw top --once says nothing")


def cut_short(o, *argv):
    with subprocess.Popen([machine.MW, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        o.over.wait(o.rng.uniform(0, 0.3))
        child.kill()


def flows_cut_short(o, name):
    cut_short(o, "flows", "--json", name)


def top_cut_short(o, name):
    """Its terminal goes with it."""
    ours, its = pty.openpty()
    try:
        with subprocess.Popen([machine.MW, "top", name], stdin=its, stdout=its, stderr=its, env={**os.environ, "TERM": "xterm"}) as child:
            os.close(its)
            end = time.monotonic() + o.rng.uniform(0.1, 3)
            while time.monotonic() < end and child.poll() is None:
                os.read(ours, 65536)
            child.kill()
    finally:
        os.close(ours)


def metrics(o, name):
    """Once more if the INS whose telemetry has taken the request was ended."""
    try:
        answer = scraped(o.apps[name])
    except (OSError, http.Bad):
        o.over.wait(1)
        answer = scraped(o.apps[name])
    check(answer.status == 200 and b"mwcomms_sockets_max{" in answer.body, f"metrics: {answer.status}, {len(answer.body)} bytes")


def scraped(port):
    with http.Connection(port=port, timeout=PATIENCE_S) as line:
        return line.ask("/metrics")


def metrics_cut_short(o, name):
    with http.Connection(port=o.apps[name], timeout=PATIENCE_S) as line:
        line.send(http.request("/metrics")[:o.rng.randrange(1, 40)])
        o.over.wait(o.rng.uniform(0, 1))


def of_an_ins(o, name, what):
    """The socket of one of its INSs, any."""
    return o.rng.choice([p for p in os.listdir(f"/run/mw/{name}") if p.partition("-")[0] == what])


@contextmanager
def comes(o, name, what):
    """The INS may end meanwhile."""
    where = f"/run/mw/{name}/{of_an_ins(o, name, what)}"
    try:
        yield where
    except (OSError, EOFError, ValueError, Failed):
        time.sleep(3)
        if os.path.exists(where):
            raise


def netflow(o, name):
    """Watches for a while, reads all or nothing of it, and goes."""
    reads = o.rng.random() < 0.7
    with comes(o, name, "netflow") as where, ExitStack() as stack:
        stream = Stream(stack, where)
        end = time.monotonic() + o.rng.uniform(0, 4)
        while time.monotonic() < end and not o.over.wait(0 if reads else 0.5):
            if reads:
                stream.take(0.2)
                stream.seen.clear()


def follower(o, name):
    """The same with the stream of events."""
    reads = o.rng.random() < 0.7
    with comes(o, name, "control") as where, socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE_S)
        s.connect(where)
        s.sendall(b'{"do": "follow"}\n')
        lines = s.makefile("rb")
        json.loads(lines.readline())
        end = time.monotonic() + o.rng.uniform(0, 4)
        while time.monotonic() < end and not o.over.wait(0 if reads else 0.5):
            if reads:
                s.settimeout(max(0.1, end - time.monotonic()))
                try:
                    json.loads(lines.readline())
                except TimeoutError:
                    return


WAYS = (flows, flows_cut_short, processes, top_once, top_cut_short, metrics, metrics, metrics_cut_short, netflow, netflow, follower, follower)
