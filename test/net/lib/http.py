# SPDX-License-Identifier: Apache-2.0
"""A plain HTTP/1.1 client that hides nothing: one object is one connection."""
import hashlib
import socket
import threading
import time


class Bad(Exception):
    """Not an answer that HTTP allows."""


class Closed(Bad):
    """The connection ended before the first byte of an answer."""


class Answer:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    @property
    def checksum(self):
        return hashlib.sha256(self.body).hexdigest()


class Connection:
    def __init__(self, host="127.0.0.1", port=80, timeout=10, source=None):
        self.socket = socket.create_connection((host, port), timeout=timeout, source_address=source)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.answers = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def name(self):
        """This end's address and port, as the server must see it."""
        return self.socket.getsockname()[:2]

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, path="/", method="GET", body=b"", fields=()):
        self.send(request(path, method, body, fields))
        return self.answer(method)

    def more(self):
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionResetError as e:
            raise (Bad("reset within an answer") if self.buffer else Closed("reset")) from e
        if not data:
            raise Bad(f"ended within an answer, after {len(self.buffer)} bytes") if self.buffer else Closed("end")
        self.buffer += data

    def answer(self, method="GET"):
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        try:
            status = int(lines[0].split()[1])
            fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        except (ValueError, IndexError):
            raise Bad(f"not a response head: {head[:200]!r}") from None
        self.answers += 1
        return Answer(status, fields, self.body(method, status, fields))

    def body(self, method, status, fields):
        if method == "HEAD" or status in (204, 304):
            return b""
        if fields.get("transfer-encoding") == "chunked":
            return self.chunks()
        if "content-length" not in fields:
            raise Bad("an answer without a length")
        return self.take(int(fields["content-length"]))

    def take(self, count):
        """Exactly so many bytes of a body."""
        parts, have = [self.buffer[:count]], min(len(self.buffer), count)
        self.buffer = self.buffer[count:]
        while have < count:
            data = self.socket.recv(min(1 << 18, count - have))
            if not data:
                raise Bad(f"a body ended after {have} of {count} bytes")
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def chunks(self):
        parts = []
        while True:
            while b"\r\n" not in self.buffer:
                self.buffer += self.take_some()
            line, _, self.buffer = self.buffer.partition(b"\r\n")
            count = int(line, 16)
            parts.append(self.take(count))
            self.take(2)
            if not count:
                return b"".join(parts)

    def take_some(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise Bad("a chunked body ended early")
        return data


def request(path="/", method="GET", body=b"", fields=()):
    head = [f"{method} {path} HTTP/1.1", "Host: test", *fields]
    if body or method in ("PUT", "POST"):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def get(path="/", host="127.0.0.1", port=80, **more):
    with Connection(host, port) as connection:
        return connection.ask(path, **more)


class Load:
    """Keep-alive GETs from several threads until told to stop; every request is accounted for.

    Counted as lost: a connection refused, an answer cut short or wrong, no answer in time, and a connection that
    ended before any byte of the answer to its first request. HTTP lets a server close an idle connection at any
    time (RFC 9112, 9.3.1): a GET on a reused connection that ended before any byte of its answer is sent again,
    once, on a new connection, and counted as retried.
    """

    def __init__(self, path, checksum, threads=8, host="127.0.0.1", port=80, requests_each=50):
        self.path, self.checksum, self.host, self.port = path, checksum, host, port
        self.requests_each = requests_each      # then a new connection, so that accepting goes on too
        self.lock = threading.Lock()
        self.done = self.retried = self.connections = 0
        self.lost = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(15)
        if any(thread.is_alive() for thread in self.threads):
            self.lost.append("a request without an answer when all should have ended")

    def text(self):
        return f"{self.done} requests on {self.connections} connections, {self.retried} retried, {len(self.lost)} lost"

    def work(self):
        connection = None
        while not self.stopping.is_set():
            try:
                connection = self.one(connection)
            except (OSError, Bad) as e:
                with self.lock:
                    self.lost.append(f"{time.monotonic():.3f} {type(e).__name__}: {e}; answers before: "
                                     f"{connection.answers if connection else 'none'}")
                connection = None
                time.sleep(0.01)
        if connection:
            connection.close()

    def one(self, connection):
        if connection is not None and connection.answers < self.requests_each:
            try:
                return self.ask(connection)
            except (Closed, BrokenPipeError, ConnectionResetError):
                with self.lock:
                    self.retried += 1
        if connection is not None:
            connection.close()
        with self.lock:
            self.connections += 1
        return self.ask(Connection(self.host, self.port))

    def ask(self, connection):
        answer = connection.ask(self.path)
        if answer.status != 200 or answer.checksum != self.checksum:
            raise Bad(f"status {answer.status}, {len(answer.body)} bytes with a wrong checksum")
        with self.lock:
            self.done += 1
        if answer.fields.get("connection", "").lower() == "close":
            connection.close()
            return None
        return connection
