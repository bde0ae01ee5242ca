# SPDX-License-Identifier: Apache-2.0
"""Honest clients at a bounded rate. Each answer is checked by its content; whatever is not as it must be is lost, and none may be.

A request is sent a second time in one case alone, as HTTP has it (RFC 9112, 9.3.1): on a connection that was kept alive and ended
before any byte of the answer. That is counted as retried.
"""
import hashlib
import random
import socket
import threading
import time
from collections import Counter

from lib import http, machine, servers

PATIENCE_S = 30
LIFE_S = 15         # of a connection: so an INS that is drained is soon without honest ones
MB = 1 << 20
FILES = {"small.txt": (1200, 60), "page.bin": (100_000, 30), "one.bin": (MB, 6), "five.bin": (5 * MB, 2), "ten.bin": (10 * MB, 1)}  # bytes, how often


class Book:
    """What came of all requests."""

    def __init__(self):
        self.lock = threading.Lock()
        self.done, self.connections, self.retried, self.lost = Counter(), Counter(), Counter(), []
        self.slowest_s, self.open_since, self.kept, self.zero = 0.0, {}, {}, time.monotonic()

    def answered(self, kind, seconds):
        with self.lock:
            self.done[kind] += 1
            self.slowest_s = max(self.slowest_s, seconds)

    def again(self, kind):
        with self.lock:
            self.retried[kind] += 1

    def failed(self, kind, why):
        with self.lock:
            self.lost.append(f"{time.monotonic() - self.zero:.1f} s: {kind}: {why}")

    def opened(self, person):
        with self.lock:
            self.connections[person.kind] += 1
            self.open_since[person] = time.monotonic()

    def closed(self, person):
        with self.lock:
            self.open_since.pop(person, None)

    def none_from_before(self, server, moment):
        """No honest connection to that server is open that was begun before."""
        with self.lock:
            return all(since > moment for person, since in self.open_since.items() if person.server == server)

    def taken(self):
        """(requests so far, the slowest since this was asked last, lost so far)"""
        with self.lock:
            slowest, self.slowest_s = self.slowest_s, 0.0
            return sum(self.done.values()), slowest, len(self.lost)


class Person(threading.Thread):
    """Makes one connection after the other. `inside`: a process in whose network it lives."""

    def __init__(self, book, over, seed, place, server, host, port, inside=0, pause_s=0.7):
        super().__init__(daemon=True)
        self.book, self.over, self.rng, self.server = book, over, random.Random(seed), server
        self.host, self.port, self.inside, self.pause_s = host, port, inside, pause_s
        self.kind, self.place = f"{server} {host}", place
        self.prepare()

    def run(self):
        if self.inside:
            machine.join(self.inside)   # this thread alone
        while not self.rest():
            try:
                self.connection()
            except (OSError, http.Bad, ValueError) as e:
                self.book.failed(self.kind, f"{type(e).__name__}: {e}")
            finally:
                self.hang_up()
                self.book.closed(self)

    def rest(self):
        return self.over.wait(self.rng.expovariate(1 / self.pause_s))

    def connection(self):
        """A connection's life."""
        until = time.monotonic() + LIFE_S
        self.call()
        for _ in range(self.rng.choice((1, 1, 5, 40))):
            started = time.monotonic()
            self.request()
            self.book.answered(self.kind, time.monotonic() - started)
            if self.rest() or time.monotonic() > until:
                return


class Reader(Person):
    """Of a web server: pages, downloads, uploads to where the server takes them."""

    def prepare(self):
        self.line, self.puts, self.upload_port = None, 0, 0

    def call(self):
        self.book.opened(self)      # before: an INS that is drained may have it from its first packet on
        self.line = http.Connection(self.host, self.port, timeout=PATIENCE_S)

    def hang_up(self):
        if self.line:
            self.line.close()
        self.line = None

    def request(self):
        path = self.rng.choices(list(FILES), [often for _, often in FILES.values()])[0]
        if self.upload_port and self.rng.random() < 0.05:
            return self.upload()
        if self.line is None:
            self.call()
        answer = self.ask(f"/{path}")
        if (answer.status, answer.checksum) != (200, SUMS[path]):
            raise http.Bad(f"{path}: status {answer.status}, {len(answer.body)} bytes with a wrong checksum")
        if answer.fields.get("connection", "").lower() == "close":
            self.hang_up()
        return None

    def ask(self, path, *more):
        used = self.line.answers > 0
        try:
            return self.line.ask(path, *more)
        except (http.Closed, BrokenPipeError, ConnectionResetError):
            if not used:
                raise
            self.book.again(self.kind)
            self.hang_up()
            self.call()
            return self.line.ask(path, *more)

    def upload(self):
        """A file is put, and read again; on a connection of its own."""
        path, data = f"/put/{self.place}", servers.noise(f"{self.place} {self.rng.random()}", 100_000)
        with http.Connection(self.host, self.upload_port, timeout=PATIENCE_S) as line:
            status = line.ask(path, "PUT", data).status
            if status not in (201, 204):
                raise http.Bad(f"PUT {path}: status {status}")
        with http.Connection(self.host, self.upload_port, timeout=PATIENCE_S) as line:
            if line.ask(path).body != data:
                raise http.Bad(f"{path} is not what was put")


class Keeper(Person):
    """Of Redis: keeps values there, and takes them out again."""

    def prepare(self):
        self.line, self.file, self.kept = None, None, self.book.kept.setdefault(self.place, {})

    def call(self):
        self.book.opened(self)
        self.line = socket.create_connection((self.host, self.port), timeout=PATIENCE_S)
        self.file = self.line.makefile("rb")

    def hang_up(self):
        if self.line:
            self.line.close()
            self.file.close()
        self.line = None

    def request(self):
        key = f"{self.place}:{self.rng.randrange(20)}"
        if len(self.kept) < 20:     # all that Redis will ever hold, at first
            return self.keep(f"{self.place}:{len(self.kept)}", self.rng.randbytes(100_000))
        if self.rng.random() < 0.5:
            return self.keep(key, self.rng.randbytes(self.rng.choice((10, 1000, 100_000))))
        value = self.ask(b"GET", key.encode())
        if (hashlib.sha256(value).digest() if value is not None else None) != self.kept.get(key):
            raise ValueError(f"GET {key} is not what was SET")
        return None

    def keep(self, key, value):
        if self.ask(b"SET", key.encode(), value) != b"OK":
            raise ValueError(f"SET {key} is not OK")
        self.kept[key] = hashlib.sha256(value).digest()

    def ask(self, *words):
        self.line.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        line = self.file.readline()
        if line.startswith(b"+"):
            return line[1:-2]
        if not line.startswith(b"$"):
            raise ValueError(f"redis answered {line!r}")
        count = int(line[1:-2])
        if count < 0:
            return None
        value = self.file.read(count + 2)
        if len(value) != count + 2:
            raise ValueError(f"a value ended after {len(value)} of {count + 2} bytes")
        return value[:-2]


SUMS = {}


def content():
    """The files, for every web server of this machine."""
    SUMS.update({name: servers.content(name, size) for name, (size, _) in FILES.items()})
