# SPDX-License-Identifier: Apache-2.0
"""What happens to a server in its life, one after the other at moments by chance: reloads, killed INSs, frontends that start anew.

Nothing of this may cost an honest request. A worker is killed whenever it comes; connections live on. A keeper's death is the end of its
INS's connections, so it is killed when its INS is drained and no honest one is left.
"""
import random
import socket
import threading
import time
from functools import partial

from lib import procs
from lib.hosts import table
from lib.inss import inss, order
from lib.mw import command
from lib.tap import check, until

PATIENCE_S = 60


class Troubles(threading.Thread):
    def __init__(self, seed, apps, front, book, log):
        super().__init__(daemon=True)
        self.rng, self.apps, self.front, self.book, self.log = random.Random(seed), apps, front, book, log
        self.over, self.wrong, self.counts, self.plan, self.begun, self.said = threading.Event(), [], {}, [], 0.0, ""

    def planned(self, seconds):
        """Each way so often a minute, and twice at least, at moments by chance; then it may be started."""
        for way, a_minute in WAYS.items():
            self.plan += [(self.rng.uniform(0, seconds), way) for _ in range(max(2, round(a_minute * seconds / 60)))]
        self.plan.sort(key=lambda event: event[0])
        self.begun = time.monotonic()
        return self

    def run(self):
        for at, way in self.plan:
            if self.over.wait(max(0, self.begun + at - time.monotonic())):
                return
            self.one(way)

    def one(self, way):
        kind = getattr(way, "__name__", "ins_replaced")
        try:
            what = way(self)
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.log(kind, what)
        except Exception as e:      # whatever it is: the test has failed, and goes on
            self.wrong.append(f"{time.monotonic() - self.book.zero:.1f} s: {kind}: {type(e).__name__}: {e}")
            self.log(kind, f"went wrong: {e}")

    def each_once(self):
        """And all of number 0, whose namespace stays for as long as its application runs."""
        for way in WAYS:
            self.one(way)
        for name in sorted(self.apps):
            if any(i["ins"] == 0 for i in inss(name)):
                self.one(partial(replaced, name=name, number=0))

    def end(self):
        self.over.set()
        self.join(3 * PATIENCE_S)
        check(not self.is_alive(), "what goes on comes to its end")


def told(*argv):
    status, out, err = command(*argv, limit=PATIENCE_S)
    check(status == 0, lambda: f"{' '.join(argv)}: status {status}: {out}{err}")


def nginx_reload(_):
    told("nginx", "-s", "reload")
    return "nginx"


def apache_graceful(_):
    told("apache2ctl", "graceful")
    return "apache"


def worker_killed(t):
    name = t.rng.choice(sorted(t.apps))
    one = t.rng.choice(inss(name))
    procs.end(one["worker_pid"])
    until(PATIENCE_S, lambda: next((i for i in inss(name) if i["ins"] == one["ins"] and i["worker_pid"] != one["worker_pid"]), None),
          f"another worker for {name}/{one['ins']}", 0.1)
    return f"{name}/{one['ins']}"


def led(name):
    """What the frontend says of an INS that gets connections; all of them."""
    return [f"{socket.gethostname()}/{name}/{i['ins']}" for i in inss(name) if i["state"] == "up"]


def frontend_killed(t):
    t.front.kill()
    return begun_again(t)


def frontend_ended(t):
    t.front.end()
    return begun_again(t)


def begun_again(t):
    t.said += t.front.said()    # the next one's log begins anew
    t.over.wait(t.rng.uniform(0, 2))
    t.front.start()
    t.front.ready(*led(t.front.name), seconds=PATIENCE_S)
    return t.front.name


def ins_replaced(t):
    name = t.rng.choice(sorted(t.apps))
    return replaced(t, name, t.rng.choice(inss(name))["ins"])


def replaced(t, name, number):
    """One is added, one is drained, and killed when it has no honest connection."""
    old = next(i for i in inss(name) if i["ins"] == number)
    new = int(order("add", name))
    until(PATIENCE_S, lambda: any(i["ins"] == new and i["state"] == "up" for i in inss(name)), f"{name}/{new} is up", 0.1)
    order("drain", name, str(old["ins"]))
    if name == t.front.name:
        t.front.ready(f"{socket.gethostname()}/{name}/{new}", seconds=PATIENCE_S)
        until(PATIENCE_S, lambda: f"chain ins-{socket.gethostname()}-{old['ins']} " not in table(name), f"no rule leads to {name}/{old['ins']}", 0.1)
    drained = time.monotonic()
    until(2 * PATIENCE_S, lambda: t.book.none_from_before(name, drained), f"no honest connection is left on {name}/{old['ins']}", 0.1)
    procs.end(old["keeper_pid"])
    until(PATIENCE_S, lambda: all(i["ins"] != old["ins"] for i in inss(name)), f"{name}/{old['ins']} is out of the list", 0.1)
    return f"{name}/{old['ins']} by {name}/{new}"


WAYS = {nginx_reload: 2, apache_graceful: 1.5, worker_killed: 4, frontend_killed: 0.5, frontend_ended: 0.5, ins_replaced: 0.5}    # a minute
