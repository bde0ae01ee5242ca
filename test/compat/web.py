# SPDX-License-Identifier: Apache-2.0
"""What several cases ask of a web server or a proxy; every answer becomes a line of the transcript."""
import socket
import sys
import threading
import time
from pathlib import Path

from lib import http

ORIGIN = [sys.executable, str(Path(__file__).resolve().parent / "origin.py")]
SIZES = {"empty": 0, "small.txt": 1200, "page.bin": 100_000, "large.bin": 10_000_000}


def origin(lab, *ports, there=False):
    lab.backend([*ORIGIN, *map(str, ports)], there=there, name="origin")
    lab.ready(*ports, there=there, host="127.0.0.1")


def root(lab, path="/var/www/html"):
    """A document root with files of several sizes."""
    for name, size in SIZES.items():
        lab.file(f"{path}/{name}", lab.noise(name, size))
    lab.file(f"{path}/index.html", "<h1>here</h1>\n")
    return path


class Client:
    """A kept-alive client that connects again when an answer says `Connection: close`."""

    def __init__(self, host, port):
        self.where, self.connection = (host, port), None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.connection:
            self.connection.close()

    def ask(self, *what, **more):
        self.connection = self.connection or http.Connection(*self.where, timeout=30)
        answer = self.connection.ask(*what, **more)
        if answer.fields.get("connection", "").lower() == "close":
            self.connection.close()
            self.connection = None
        return answer


def seen(answer):
    last = answer.fields.get("connection", "").lower() == "close"
    return f"{answer.status}, {len(answer.body)} bytes, sha256 {answer.checksum}{', the last' if last else ''}"


def curl(lab, key, *argv, **more):
    """Notes its exit status, HTTP status and version, and the body."""
    done = lab.client(["curl", "-sk", "--max-time", "30", "-o", "/run/curl.out",
                       "-w", "%{http_code} HTTP/%{http_version}", *argv], status=None, **more)
    out = Path("/run/curl.out")
    body = out.read_bytes() if out.exists() else b""
    out.unlink(missing_ok=True)
    lab.note(f"{key}: curl", f"{done.status} {done.out}")
    lab.note(f"{key}: body", body)
    return body


def static(lab, port=80, hosts=("127.0.0.1", "::1")):
    """Files, kept alive and pipelined, HEAD, ranges, what is not there."""
    for host in hosts:
        with http.Connection(host, port) as c:
            for name in ("", *SIZES):
                lab.note(f"GET /{name} of {host}", seen(c.ask(f"/{name}")))
            lab.note(f"no file, {host}", c.ask("/none").status)
    with http.Connection(port=port) as c:
        head = c.ask("/page.bin", "HEAD")
        lab.note("HEAD", f"{head.status} {head.fields['content-length']}")
        part = c.ask("/page.bin", fields=["Range: bytes=1000-1999"])
        lab.note("range", f"{part.status} {part.fields['content-range']} {part.checksum}")
        c.send(http.request("/small.txt") * 20 + http.request("/page.bin"))
        lab.note("pipelined", sorted({seen(c.answer()) for _ in range(20)}))
        lab.note("behind pipelined", seen(c.answer()))


def odd_clients(lab, port=80):
    """A head that comes byte by byte, a client that ends its side first, one that goes away, a bad request."""
    with http.Connection(port=port) as c:
        for byte in http.request("/small.txt"):
            c.send(bytes([byte]))
        lab.note("head in single bytes", seen(c.answer()))
        c.send(http.request("/small.txt", fields=["Connection: close"]))
        c.socket.shutdown(socket.SHUT_WR)
        lab.note("half-closed client", seen(c.answer()))
        lab.note("then the end", c.socket.recv(10))
    with http.Connection(port=port) as c:
        c.send(http.request("/large.bin"))
        c.socket.recv(1000)
    with http.Connection(port=port) as c:
        c.send(b"no such thing\r\n\r\n")
        lab.note("bad request", c.socket.recv(100).split(b"\r\n")[0].split(b" ")[1][:3].decode(errors="replace"))


def proxied(lab, port, prefix="", host="127.0.0.1"):
    """Through a proxy to origin.py: bodies both ways, chunks, statuses, slow answers."""
    with Client(host, port) as c:
        for path in ("/bytes/0", "/bytes/1", "/bytes/100000", "/bytes/5000000", "/chunked/300000", "/slow/30",
                     "/status/404", "/status/503", "/hello?a=b"):
            lab.note(f"GET {path}", seen(c.ask(prefix + path)))
    with Client(host, port) as c:
        for size in (0, 1, 1000, 900_000):
            lab.note(f"POST {size}", seen(c.ask(f"{prefix}/post", "POST", lab.noise("post", size))))
        lab.note("HEAD", c.ask(f"{prefix}/bytes/1000", "HEAD").status)


def crowd(lab, port, path="/page.bin", clients=20, requests=20, host="127.0.0.1"):
    """Many clients at once; all answers must be the same."""
    answers, lock = {}, threading.Lock()

    def one():
        for _ in range(requests // 5):
            try:
                with http.Connection(host, port, timeout=30) as c:
                    found = [seen(c.ask(path)) for _ in range(5)]
            except (OSError, http.Bad) as e:
                found = [f"{type(e).__name__}: {e}"]
            with lock:
                for text in found:
                    answers[text] = answers.get(text, 0) + 1

    threads = [threading.Thread(target=one) for _ in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    lab.note(f"{clients} clients, {requests} requests each", sorted(answers.items()))


def reloads(lab, command, path="/small.txt", port=80, times=5, lossless=True):
    """A command that replaces the server's workers, under load; it must not cost a request, unless it does natively."""
    load = http.Load(path, http.get(path, port=port).checksum, port=port)
    with load:
        for _ in range(times):
            lab.client(command)
            time.sleep(0.4)
    if lossless:
        lab.note(f"lost in {times} reloads", load.lost[:3])
    lab.note("after the reloads", seen(http.get(path, port=port)))
    lab.check(load.done > 100, "requests were served meanwhile")


def echoes(lab, key, sock, sizes=(1, 1000, 200_000, 3_000_000)):
    """Bytes to an echo and back on one connection, then the half-close."""
    for size in sizes:
        data = lab.noise("echo", size)
        sender = threading.Thread(target=sock.sendall, args=(data,))
        sender.start()
        got = bytearray()
        while len(got) < size and (part := sock.recv(1 << 16)):
            got += part
        sender.join()
        lab.note(f"{key}: echo of {size}", bytes(got) == data)
    sock.shutdown(socket.SHUT_WR)
    lab.note(f"{key}: after the end", sock.recv(100))
