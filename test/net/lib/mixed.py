# SPDX-License-Identifier: Apache-2.0
"""A server of every kind of socket, and clients that check each byte of it: what goes on while an INS is being killed.

As a program it is the server: TCP echo on PORT, a server that speaks and closes first on PORT + 1, UDP echo on PORT + 2, and
connections of its own, from itself to itself, counted in the file that is named."""
import os
import random
import socket
import sys
import threading
import time

PORT = 7170
FIRST = b"hello" * 100
WAIT = 8


# --- the server ---

def listen(port, handler):
    s = socket.create_server(("127.0.0.1", port), backlog=128)

    def loop():
        while True:
            threading.Thread(target=handler, args=(s.accept()[0],), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()


def echo(c):
    with c:
        while data := c.recv(65536):
            c.sendall(data)


def speak_first(c):
    with c:
        c.sendall(FIRST)
        c.shutdown(socket.SHUT_WR)
        c.recv(10)


def to_itself(path):
    with socket.create_server(("127.0.0.1", 0)) as s:
        done = 0
        while True:
            with socket.create_connection(s.getsockname()) as c:
                with s.accept()[0] as d:
                    c.sendall(b"x" * 1000)
                    left = 1000
                    while left:
                        left -= len(d.recv(left)) or sys.exit(f"an end after {1000 - left} bytes")
                if c.recv(1):
                    os._exit(3)
            done += 1
            with open(path + ".new", "w") as f:
                f.write(str(done))
            os.rename(path + ".new", path)
            time.sleep(0.002)


def server(path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.bind(("127.0.0.1", PORT + 2))    # first: who finds PORT open sends datagrams too
        listen(PORT, echo)
        listen(PORT + 1, speak_first)
        threading.Thread(target=to_itself, args=(path,), daemon=True).start()
        while True:
            data, peer = u.recvfrom(65536)
            u.sendto(data, peer)


# --- the clients ---

def read_all(s):
    parts = []
    while data := s.recv(65536):
        parts.append(data)
    return b"".join(parts)


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), WAIT)
    s.settimeout(WAIT)
    return s


class Clients:
    """Threads, each with a count of what it has got back right; `wrong` says what was not."""

    def __init__(self, path):
        self.path, self.wrong, self.stop = path, [], False
        self.counts = {f.__name__: 0 for f in (self.stream, self.half_close, self.server_closes, self.datagrams)}
        self.threads = [threading.Thread(target=self.guard, args=(getattr(self, name),), daemon=True) for name in self.counts]
        for t in self.threads:
            t.start()

    def guard(self, work):
        try:
            while not self.stop:
                work()
        except Exception as e:
            if not self.stop:
                self.wrong.append(f"{work.__name__}: {type(e).__name__} {e}")

    def same(self, name, sent, got):
        if sent != got:
            at = next((i for i, (a, b) in enumerate(zip(sent, got)) if a != b), min(len(sent), len(got)))
            raise ValueError(f"{len(got)} bytes for {len(sent)}, other from {at} on")
        self.counts[name] += 1
        time.sleep(0.0005)

    def stream(self):
        with connect(PORT) as s:
            while not self.stop:
                data = os.urandom(random.choice([1, 100, 1000, 20_000, 150_000]))
                sender = threading.Thread(target=s.sendall, args=(data,))
                sender.start()
                got = b""
                while len(got) < len(data):
                    more = s.recv(min(65536, len(data) - len(got)))
                    if not more:
                        break
                    got += more
                sender.join()
                self.same("stream", data, got)

    def half_close(self):
        with connect(PORT) as s:
            data = os.urandom(random.randrange(1, 3000))
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            self.same("half_close", data, read_all(s))

    def server_closes(self):
        with connect(PORT + 1) as s:
            self.same("server_closes", FIRST, read_all(s))

    def datagrams(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
            u.connect(("127.0.0.1", PORT + 2))
            u.settimeout(WAIT)
            while not self.stop:
                data = os.urandom(random.randrange(1, 2000))
                u.send(data)
                self.same("datagrams", data, u.recv(65536))

    def seen(self):
        try:
            with open(self.path) as f:
                own = int(f.read())
        except FileNotFoundError:
            own = 0
        return {**self.counts, "to_itself": own}

    def all_beyond(self, before):
        return all(n > before[name] for name, n in self.seen().items())

    def end(self):
        self.stop = True
        for t in self.threads:
            t.join(WAIT + 1)


if __name__ == "__main__":
    server(sys.argv[1])
