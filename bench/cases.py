# SPDX-License-Identifier: Apache-2.0
"""What is measured: a case is a load on one application, the same for every setup."""
import csv
import io
import os
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from procs import Failure, output

LATENCY_DEVICE = "/dev/cpu_dma_latency"
LUA = Path(__file__).with_name("wrk.lua")
WRK_FIELDS = ("requests", "duration_us", "connect", "read", "write", "status", "timeout", "p50_us", "p99_us")
WRK_ERRORS = {"connect": "failed connects", "read": "read errors", "write": "write errors",
              "status": "answers other than 2xx and 3xx", "timeout": "requests without an answer in 10 s"}


@dataclass(frozen=True)
class Place:
    """Where a client runs (a command prefix) and the address by which it reaches the server."""
    prefix: tuple
    host: str


@dataclass(frozen=True)
class Wrk:
    """One wrk thread for all connections; its core is shared with the server's on a small machine, in every setup."""
    path: str
    connections: int
    close: bool = False

    def trial(self, _place, _port):
        return None

    def run(self, place, port, seconds, _rate):
        header = ["-H", "Connection: close"] if self.close else []
        text = output([*place.prefix, "wrk", "--latency", "-t", "1", "-c", str(self.connections), "-d", f"{seconds}s",
                       "--timeout", "10s", *header, "-s", str(LUA), f"http://{place.host}:{port}{self.path}"],
                      timeout=seconds + 30)
        return wrk_sample(text)


def wrk_sample(text):
    line = next((line for line in text.splitlines() if line.startswith("mwbench ")), None)
    if line is None:
        raise Failure(f"wrk printed no summary: {text.strip()[-200:]}")
    got = dict(zip(WRK_FIELDS, map(int, line.split()[1:])))
    errors = [f"{got[field]} {what}" for field, what in WRK_ERRORS.items() if got[field]]
    if errors:
        raise Failure("wrk: " + ", ".join(errors))
    if not got["requests"]:
        raise Failure("wrk: not one request was answered")
    return {"requests": got["requests"], "rate": got["requests"] / got["duration_us"] * 1e6,
            "p50_us": got["p50_us"], "p99_us": got["p99_us"]}


@dataclass(frozen=True)
class RedisBenchmark:
    command: str
    pipeline: int
    connections: int = 50
    TRIAL = 10_000

    def run(self, place, port, seconds, rate):
        return self.measure(place, port, max(int(rate * seconds), 1000), seconds * 10 + 30)

    def trial(self, place, port):
        """redis-benchmark counts requests, not seconds: this rate says how many to ask for first."""
        return self.measure(place, port, self.TRIAL * self.pipeline, 60)["rate"]

    def measure(self, place, port, requests, timeout):
        text = output([*place.prefix, "redis-benchmark", "-h", place.host, "-p", str(port), "-t", self.command,
                       "-P", str(self.pipeline), "-c", str(self.connections), "-n", str(requests), "--csv"],
                      timeout=timeout)
        return redis_sample(text, requests)


def redis_sample(text, requests):
    start = text.find('"test"')
    rows = list(csv.DictReader(io.StringIO(text[start:]))) if start >= 0 else []
    if len(rows) != 1 or float(rows[0]["rps"]) <= 0:
        raise Failure(f"redis-benchmark printed no result: {text.strip()[-200:]}")
    row = rows[0]
    return {"requests": requests, "rate": float(row["rps"]), "p50_us": float(row["p50_latency_ms"]) * 1000,
            "p99_us": float(row["p99_latency_ms"]) * 1000}


@dataclass(frozen=True)
class Case:
    name: str
    app: str
    what: str
    load: object
    awake: bool = False     # measured with the cores kept from halting: see cores_awake


@contextmanager
def cores_awake(wanted):
    """Lets idle cores poll instead of halt, by the kernel's interface for just that (0 us of wake-up latency).

    A virtual machine's core that halts takes tens of microseconds to wake: more than all the software on the way of
    one request. Both figures are true; only this one tells the software's share.
    """
    if not wanted:
        yield
        return
    try:
        handle = os.open(LATENCY_DEVICE, os.O_WRONLY)
    except OSError as error:
        raise Failure(f"cannot keep the cores awake: {LATENCY_DEVICE}: {error.strerror}") from None
    try:
        os.write(handle, struct.pack("i", 0))
        yield
    finally:
        os.close(handle)


IDLE = "idle"
IDLE_WHAT = "memory per idle connection to nginx"
REACT = "react"
REACT_WHAT = "mw on the host: from an event to its reader (with a core of its own), and verbs beside 9,000 connections to nginx"

CASES = (
    Case("small-1", "nginx", "100-byte file, 1 keep-alive connection", Wrk("/small.txt", 1)),
    Case("small-1-awake", "nginx", "100-byte file, 1 connection, cores kept from halting", Wrk("/small.txt", 1),
         awake=True),
    Case("small-32", "nginx", "100-byte file, 32 keep-alive connections", Wrk("/small.txt", 32)),
    Case("small-256", "nginx", "100-byte file, 256 keep-alive connections", Wrk("/small.txt", 256)),
    Case("large-32", "nginx", "100 kB file, 32 keep-alive connections", Wrk("/large.bin", 32)),
    Case("close-32", "nginx", "100-byte file, Connection: close, 32 at a time", Wrk("/small.txt", 32, close=True)),
    Case("redis-get", "redis", "redis-benchmark GET, 50 connections", RedisBenchmark("get", 1)),
    Case("redis-set", "redis", "redis-benchmark SET, 50 connections", RedisBenchmark("set", 1)),
    Case("redis-get-p16", "redis", "redis-benchmark GET, 50 connections, 16 pipelined", RedisBenchmark("get", 16)),
)
NAMES = tuple(case.name for case in CASES) + (IDLE, REACT)
