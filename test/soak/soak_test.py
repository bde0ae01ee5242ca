#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An hour in the life of three servers, or MW_MINUTES of it: mixed load, and nothing is lost and nothing grows.

nginx, Apache and Redis as Debian configures them; honest clients, slow ones and ones that vanish; reloads, killed INSs, frontends that start
anew, readers of telemetry. What was measured is in BUILD/soak/: meter.tsv, events.tsv. doc/soak.md says what is judged.
"""
import os
import random
import re
import statistics
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "net")]

import people  # noqa: E402
from lib import machine, servers, tap  # noqa: E402
from lib.hosts import Frontend, network  # noqa: E402
from lib.inss import inss  # noqa: E402
from lib.mw import nothing_left, remains  # noqa: E402
from lib.tap import case, check, equal  # noqa: E402
from meter import OURS, THEIRS, Meter, files  # noqa: E402
from onlookers import Onlooker  # noqa: E402
from rude import Rude  # noqa: E402
from trouble import Troubles, led  # noqa: E402

MINUTES = float(os.environ.get("MW_MINUTES") or 0.4)
INSS, LOG_MB = 6, 8.86   # five, and one more while one is replaced; an INS's telemetry, of fixed size and filled once, has so much
WHOLE_MINUTES = 2       # from then on it is also compared what is held before and after
SECONDS = MINUTES * 60
WARM_S = 8
REST_S = 100            # all that clients have left is over by then
PORTS = {"nginx": 9464, "apache-event": 9465, "redis": 9466}    # of metrics
OUT = machine.BUILD / "soak"
REPORT = re.compile(r"ERROR: \w+Sanitizer|runtime error: ")
EXACT = ("slots_nginx", "slots_apache-event", "slots_redis", "rules", "elements", "files_mw", "files_shared", "memfds", "namespaces",
         *(f"{what}_{name}" for what in ("fds", "threads", "processes") for name in OURS), "processes_nginx", "processes_redis", "fds_redis")

GROWING = (*(f"{what}_{name}" for what in ("mem", "fds") for name in (*OURS, *THEIRS)), "mem_arenas", "mem_states", "mem_ended", "ended", "memfds",
           "namespaces", "rules", "elements", "files_mw", "files_shared", "tracked", "slots_nginx", "slots_apache-event", "slots_redis")


class Soak:
    def __init__(self, c):
        self.c, self.seed = c, os.environ.get("MW_SEED") or str(random.randrange(1 << 32))
        c.note(f"seed {self.seed}: MW_SEED={self.seed} makes the same choices again")
        OUT.mkdir(exist_ok=True)
        for name in ("meter.tsv", "events.tsv"):
            (OUT / name).unlink(missing_ok=True)
        self.client, = network(c)
        people.content()
        options = {name: ("--metrics", str(port)) for name, port in PORTS.items()}
        nginx = servers.nginx(c, net="isolated", options=("--ins", "2", "-p", "8080:80", "-p", "8181:81", *options["nginx"])).ready(8080, seconds=60)
        apache = servers.apache(c, "event", net="isolated", options=("-p", "8081:80", *options["apache-event"])).ready(8081, seconds=60)
        redis = servers.redis(c, net="isolated", options=("--ins", "2", *options["redis"])).ready(6379, seconds=60)
        self.apps = {app.name: app for app in (nginx, apache, redis)}
        self.front = Frontend(c, "--balance", "rr", name="nginx").ready(*led("nginx"), seconds=60)
        self.book = people.Book()
        self.meter = Meter(OUT / "meter.tsv", min(5, max(1, SECONDS / 120)), self.roots, PORTS, self.book)
        self.troubles = Troubles(f"{self.seed} troubles", self.apps, self.front, self.book, self.event)
        self.wrong_told = []

    def roots(self):
        return [*(app.pid for app in self.apps.values()), self.front.child.pid]

    def event(self, kind, what):
        with open(OUT / "events.tsv", "a", encoding="utf-8") as out:
            out.write(f"{(time.monotonic() - self.meter.zero) / 60:.3f}\t{kind}\t{what}\n")

    def told_wrong(self, who, why):
        self.wrong_told.append(f"{time.monotonic() - self.book.zero:.1f} s: {who}: {why}")

    @contextmanager
    def crowd(self, part):
        """All clients and readers, while this lasts."""
        over, inside, everybody = threading.Event(), self.client.pid, []
        # of the frontend's, from another host; of the broker's, on loopback and both of its families; of Redis, on loopback
        places = (("nginx", "10.1.0.1", 8080, inside, 4), ("nginx", "fd01::1", 8080, inside, 2), ("nginx", "127.0.0.1", 8080, 0, 2),
                  ("apache-event", "10.1.0.1", 8081, inside, 4), ("apache-event", "::1", 8081, 0, 2), ("redis", "127.0.0.1", 6379, 0, 4),
                  ("redis", "::1", 6379, 0, 1))
        for server, host, port, where, many in places:
            upload = {"nginx": 0 if ":" in host else 8181, "apache-event": 8081}.get(server)     # nginx's site for it has IPv4 alone
            for i in range(many):
                kind = people.Keeper if server == "redis" else people.Reader
                honest = kind(self.book, over, f"{self.seed} {part} {server} {host} {i}", f"{len(everybody)}", server, host, port, where)
                honest.upload_port = upload
                everybody += [honest, Rude(over, f"{self.seed} {part} rude {server} {host} {i}", server, host, port, where, upload)]
        everybody += [Onlooker(over, f"{self.seed} {part} onlooker {i}", PORTS, self.told_wrong) for i in range(3)]
        for one in everybody:
            one.start()
        try:
            yield
        finally:
            over.set()
            for one in everybody:
                one.join(2 * people.PATIENCE_S)
        check(not any(one.is_alive() for one in everybody), "all clients come to an end")

    def at_rest(self, wanted=None):
        """What is held when nobody asks for anything: the least of several looks, for the frontend tries each INS twice a second."""
        end = time.monotonic() + REST_S
        while (left := self.connections()) and time.monotonic() < end:
            time.sleep(0.5)
        self.wrong_told += [f"a connection that nobody has: {f}" for f in left[:5]]
        time.sleep(3)   # what was in the rings is given back
        least, end = {}, time.monotonic() + REST_S
        for looks in range(1, 1000):
            seen = self.meter.look()
            least = {key: min(value, least.get(key, value)) for key, value in seen.items()}
            if time.monotonic() > end or (looks > 5 and (wanted is None or not list(more_at_rest(wanted, least)))):
                break
            time.sleep(0.3)
        return least

    def connections(self):
        """But for the frontend's. One in TIME_WAIT has its slot for that minute."""
        probes = {re.sub(r"\d+$", lambda m: str(int(m[0]) - 1), i["address"]) for i in inss("nginx")}
        return [f"{app.name}: {f}" for app in self.apps.values() for f in app.flows() if f["peer_port"] and f["peer"] not in probes]


@case(f"{MINUTES:g} minutes of mixed load: no honest request is lost, and nothing grows", limit=int(SECONDS + (1200 if MINUTES >= WHOLE_MINUTES else 240)))
def soak(c):
    before = remains()
    s = Soak(c)
    first = warm(s) if MINUTES >= WHOLE_MINUTES else None
    s.meter.zero = time.monotonic()
    s.event("load", "begins")
    s.meter.start()
    with s.crowd("load"):
        s.troubles.planned(SECONDS).start()
        time.sleep(SECONDS)
        s.troubles.end()
    s.meter.over.set()
    s.meter.join(60)
    wrong = what_failed(s)
    if first:
        last = s.at_rest(first)
        c.note(f"at rest again: {last}")
        wrong += [*s.wrong_told, *what_grew(s.meter.rows, first, last)]
    for line in wrong:
        c.note(line)
    ends(c, s, before)
    check(not wrong, "see above")


def warm(s):
    """What is held when all of it has happened once."""
    with s.crowd("warm"):
        time.sleep(WARM_S)
        s.troubles.each_once()
    first = s.at_rest()
    s.c.note(f"warm after {time.monotonic() - s.book.zero:.0f} s; at rest: {first}")
    return first


def ends(c, s, before):
    """The servers are stopped, and all is gone."""
    said = "".join(app.said() for app in s.apps.values()) + s.troubles.said + s.front.said()
    s.front.end()
    for app in s.apps.values():
        app.end()
    c.close()       # the client's host, too
    nothing_left(before, 10)
    equal(files("/run/mw", "/dev/shm"), [], "files left")
    for path in ("/var/log/nginx/error.log", "/var/log/apache2/error.log"):
        said += Path(path).read_text(errors="replace")
    report = REPORT.search(said)
    check(not report, lambda: f"a sanitizer reported: {said[report.start():][:1000]}")


def what_failed(s):
    book, done = s.book, sum(s.book.done.values())
    s.c.note(f"requests: {dict(book.done)}, on connections: {dict(book.connections)}, sent again: {dict(book.retried)}, slowest: "
             f"{max((row['slowest_s'] for row in s.meter.rows), default=0)} s; events: {s.troubles.counts}")
    wrong = [f"{len(book.lost)} lost:", *book.lost[:10]] if book.lost else []
    wrong += s.troubles.wrong + s.wrong_told[:10] + s.meter.wrong[:3]
    s.wrong_told.clear()
    if done < 5 * SECONDS:
        wrong.append(f"only {done} requests: the load did not run")
    return wrong


def what_grew(rows, first, last):
    yield from more_at_rest(first, last)
    for key in first:
        if key.startswith("mem_") and key != "mem_telemetry_logs":
            yield from held_more(key, first[key], last[key], "at rest")
    if (most := max(row["mem_telemetry_logs"] for row in rows)) > LOG_MB * INSS:
        yield f"telemetry's logs are {most} MiB"
    for key in GROWING if MINUTES >= 10 else ():
        yield from held_more(key, *sixths(rows, key), "under load")


def more_at_rest(first, last):
    """An INS has a descriptor for each process that it has met, and a process two for each INS; whether it has met the second is chance."""
    nginx, apache, redis = (first[f"processes_{name}"] for name in ("nginx", "apache", "redis"))
    met = {"fds_ins": 2 * nginx + apache + 2 * redis, "fds_nginx": 2 * nginx, "fds_redis": 2 * redis}
    for key in EXACT:
        if last[key] > first[key] + met.get(key, 0):
            yield f"{key} at rest: {first[key]}, then {last[key]}"


def sixths(rows, key):
    """Its median in the second sixth, and in the last."""
    values = [row[key] for row in rows if row[key] is not None]
    n = len(values) // 6
    return statistics.median(values[n:2 * n]), statistics.median(values[-n:])


def held_more(key, then, now, when):
    """What it says if that is growth: more than a tenth, and more than what comes and goes with a few clients. An INS's state takes
    5 MiB more, once, when its worker is killed: the next one looks at every slot."""
    allowance = 5 * INSS if key == "mem_states" else 4 if key.startswith("mem_") else 20
    if now > then * 1.1 + allowance:
        yield f"{key} {when}: {then}, then {now}"


if __name__ == "__main__":
    tap.main()
