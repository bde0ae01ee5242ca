# SPDX-License-Identifier: Apache-2.0
"""Redis in Debian's default configuration (bound to loopback, protected mode)."""
import hashlib
import os
import socket
import time

from lib import machine, servers, tap
from lib.mw import command
from lib.tap import NETS, case, check, equal, matches

PORT = 6379
MB = 1 << 20


class Client:
    """RESP on a plain socket."""

    def __init__(self, timeout=10):
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=timeout)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def ask(self, *words):
        self.send(*words)
        return self.answer()

    def answer(self):
        line = self.file.readline()
        kind, text = line[:1], line[1:-2]
        if kind == b"$":
            count = int(text)
            return None if count < 0 else self.file.read(count + 2)[:-2]
        if kind == b"*":
            return None if int(text) < 0 else [self.answer() for _ in range(int(text))]
        if kind == b":":
            return int(text)
        check(kind == b"+", f"redis answered {line!r}")
        return text


def start(c, **keys):
    return servers.redis(c, **keys).ready(PORT)


@case("redis: redis-benchmark, one by one and 16 in a pipeline", limit=60, nets=NETS)
def benchmark(c):
    start(c)
    for more in ((), ("-P", "16")):
        status, out, err = command("redis-benchmark", "-q", "-n", "20000", "-c", "50", "-t", "ping,set,get,incr,lpush,rpop",
                                   *more, limit=40)
        equal(status, 0, f"redis-benchmark: {out}{err}")
        check("rror" not in out + err, f"redis-benchmark: {out}{err}")
        equal(out.count("requests per second"), 7, f"results in {out}")


@case("redis: values of 1 MB and 50 MB by checksum", limit=60, nets=NETS)
def large(c):
    start(c)
    with Client(20) as client:
        for size in (1, MB, 50 * MB):
            data = os.urandom(size)
            equal(client.ask("SET", "large", data), b"OK", "SET")
            equal(hashlib.sha256(client.ask("GET", "large")).digest(), hashlib.sha256(data).digest(), f"GET of {size}")
            client.ask("DEL", "large")


@case("redis: a pipeline of 10,000 in one write", limit=30, nets=NETS)
def pipeline(c):
    start(c)
    with Client() as client, Client() as other:
        client.socket.sendall(b"".join(b"SET k%d %d\r\n" % (i, i) for i in range(10_000)))
        for _ in range(10_000):
            equal(client.answer(), b"OK", "SET")
        equal(other.ask("GET", "k9999"), b"9999", "the last")


@case("redis: publish and subscribe", nets=NETS)
def publish(c):
    start(c)
    with Client() as subscriber, Client() as second, Client() as publisher:
        for client in (subscriber, second):
            equal(client.ask("SUBSCRIBE", "news"), [b"subscribe", b"news", 1], "SUBSCRIBE")
        for i in range(500):
            equal(publisher.ask("PUBLISH", "news", i), 2, "subscribers")
        for client in (subscriber, second):
            for i in range(500):
                equal(client.answer(), [b"message", b"news", b"%d" % i], "message")


@case("redis: BLPOP blocks, wakes and times out", nets=NETS)
def blocking(c):
    start(c)
    with Client() as waiter, Client() as pusher:
        waiter.send("BLPOP", "queue", "0")
        time.sleep(0.5)
        equal(pusher.ask("PING"), b"PONG", "others are served meanwhile")
        started = time.monotonic()
        pusher.ask("RPUSH", "queue", "item")
        equal(waiter.answer(), [b"queue", b"item"], "BLPOP")
        check(time.monotonic() - started < 5, "BLPOP woke late")
        started = time.monotonic()
        equal(waiter.ask("BLPOP", "queue", "1"), None, "BLPOP with a time-out")
        check(0.9 < time.monotonic() - started < 5, f"timed out after {time.monotonic() - started:.1f} s, not 1")


@case("redis: MONITOR sees the others", nets=NETS)
def monitor(c):
    start(c)
    with Client() as watcher, Client() as client:
        equal(watcher.ask("MONITOR"), b"OK", "MONITOR")
        for i in range(100):
            client.ask("SET", "k", i)
        name = "%s:%d" % client.socket.getsockname()
        for i in range(100):
            line = watcher.answer().decode()
            matches(line, rf'\[0 {name}\] "SET" "k" "{i}"$', "MONITOR names the client's own address")


@case("redis: protected mode lets loopback in, and keeps a neighbour out", nets=NETS)
def protected(c):
    start(c)
    with Client() as client:
        matches(client.ask("CLIENT", "LIST").decode(), r" addr=127\.0\.0\.1:", "the client's address")
    status, out, err = command("redis-cli", "-h", "127.0.0.1", "SET", "a", "b")
    equal((status, out.strip()), (0, "OK"), f"redis-cli: {err}")
    status, out, err = command(*machine.in_neighbour(), "timeout", "3", "redis-cli", "-h", machine.HERE4, "PING")
    check("PONG" not in out, "a neighbour reached a Redis that is bound to 127.0.0.1")
    matches(err + out, "Could not connect|refused", "it is refused, not kept waiting")


@case("redis: protected mode of one bound to all addresses refuses a neighbour", nets=NETS)
def bound_to_all(c):
    servers.redis(c, "--bind", "* -::*").ready(PORT)
    with Client() as client:
        equal(client.ask("PING"), b"PONG", "loopback")
    # one that only reads: what redis-cli sends meanwhile makes the close a reset, natively too
    status, out, err = command(*machine.in_neighbour(), "timeout", "5", "bash", "-c",
                               f"cat </dev/tcp/{machine.HERE4}/{PORT}")
    matches(out + err, "DENIED Redis is running in protected mode", f"a neighbour (status {status})")


@case("redis: a replica under another name, both protected", limit=40, nets=("host",))
def replica(c):
    start(c)
    with Client() as client:
        for i in range(1000):
            client.ask("SET", f"k{i}", i)
        servers.redis(c, "--port", "6380", "--replicaof", "127.0.0.1 6379", name="replica").ready(6380)
        tap.until(15, lambda: replica_says("k999") == "999", "the replica has the data", 0.2)
        client.ask("SET", "later", "on")
        tap.until(5, lambda: replica_says("later") == "on", "and follows", 0.2)


def replica_says(key):
    return command("redis-cli", "-p", "6380", "GET", key)[1].strip()


@case("redis: SHUTDOWN ends mw run with its status", nets=NETS)
def shutdown(c):
    app = start(c)
    command("redis-cli", "SHUTDOWN", "NOSAVE")
    equal(app.wait(5), 0, "status")


tap.main()
