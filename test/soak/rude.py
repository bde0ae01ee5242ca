# SPDX-License-Identifier: Apache-2.0
"""Clients that are slow or vanish: half headers, bodies that trickle, answers that are hardly read, resets at any moment.

They end by themselves after at most LIFE_S, so that what they hold is bounded. Nothing that they get is judged.
"""
import random
import socket
import struct
import threading
import time

from lib import machine

LIFE_S = 25
STEP_S = 0.5
AT_ONCE = struct.pack("ii", 1, 0)
HEAD = b"GET /ten.bin HTTP/1.1\r\nHost: test\r\nX-More: "


class Rude(threading.Thread):
    def __init__(self, over, seed, server, host, port, inside=0, body_port=0):
        super().__init__(daemon=True)
        self.over, self.rng, self.server, self.host, self.port = over, random.Random(seed), server, host, port
        self.inside, self.body_port, self.done = inside, body_port or port, 0

    def run(self):
        if self.inside:
            machine.join(self.inside)
        ways = REDIS if self.server == "redis" else WEB
        while not self.over.wait(self.rng.expovariate(1.0)):
            way = self.rng.choice(ways)
            try:
                with socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET) as s:
                    s.settimeout(10)
                    if way in (slow_read, unread):
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    s.connect((self.host, self.body_port if way is slow_body else self.port))
                    way(self, s)
                    if self.rng.random() < 0.5:
                        reset(self, s)
            except OSError:
                pass    # the server, or the death of an INS, has ended it
            self.done += 1

    def steps(self):
        """So many moments, half a second each."""
        end = time.monotonic() + self.rng.uniform(2, LIFE_S)
        while time.monotonic() < end and not self.over.wait(STEP_S):
            yield


def reset(_, s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)


def slow_header(r, s):
    s.sendall(HEAD)
    for _ in r.steps():
        s.sendall(b"x")


def slow_body(r, s):
    s.sendall(b"PUT /put/slow-%d HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" % r.rng.randrange(10))
    for _ in r.steps():
        s.sendall(b"0123456789")


def slow_read(r, s):
    s.sendall(HEAD + b"\r\n\r\n")
    for _ in r.steps():
        if not s.recv(1000):
            return


def silent(r, _):
    for _ in r.steps():
        pass


def gone_at_once(r, s):
    reset(r, s)


def gone_in_header(r, s):
    s.sendall(HEAD[:r.rng.randrange(1, len(HEAD))])
    reset(r, s)


def gone_in_answer(r, s):
    s.sendall(HEAD + b"\r\n\r\n")
    s.recv(r.rng.randrange(1, 500_000))
    reset(r, s)


def nonsense(r, s):
    s.sendall(r.rng.randbytes(r.rng.randrange(1, 3000)))
    s.recv(1000)


def half_command(r, s):
    s.sendall(b"*2\r\n$3\r\nGET\r\n$100\r\n")
    for _ in r.steps():
        s.sendall(b"k")


def unread(r, s):
    """Many answers that nobody takes."""
    s.sendall(b"*3\r\n$3\r\nSET\r\n$4\r\nrude\r\n$20000\r\n" + b"r" * 20000 + b"\r\n" + b"*2\r\n$3\r\nGET\r\n$4\r\nrude\r\n" * 50)
    for _ in r.steps():
        s.recv(100)


def gone_in_value(r, s):
    s.sendall(b"*3\r\n$3\r\nSET\r\n$4\r\nrude\r\n$20000\r\n" + b"r" * r.rng.randrange(20000))
    reset(r, s)


GONE = (gone_at_once, gone_at_once)
WEB = (slow_header, slow_body, slow_read, silent, gone_in_header, gone_in_answer, nonsense, *GONE)
REDIS = (half_command, unread, silent, gone_in_value, *GONE)
