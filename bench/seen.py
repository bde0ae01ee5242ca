# SPDX-License-Identifier: Apache-2.0
"""Telemetry with all its outputs on, and readers attached to every one of them."""
import json
import os
import socket
import sys
import time
from pathlib import Path

from procs import Failure, Process

READER = Path(__file__).with_name("reader.py")
START_SECONDS = 10


class Seen:
    """The options that turn everything on, and the process that reads it all."""

    def __init__(self, bench, name, netflow, metrics):
        self.bench, self.name, self.ports = bench, name, (netflow, metrics)
        self.collector = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.collector.bind(("127.0.0.1", 0))
        self.reader = None

    def options(self):
        netflow, metrics = self.ports
        return ["--netflow", f"127.0.0.1:{netflow}", "--metrics", f"127.0.0.1:{metrics}",
                "--ipfix", f"udp:127.0.0.1:{self.collector.getsockname()[1]}",
                "--audit-log", str(self.bench.work / f"{self.name}.audit")]

    def attach(self):
        os.set_inheritable(self.collector.fileno(), True)
        log = self.bench.work / f"{self.name}-reader.log"
        self.reader = Process(f"the reader of {self.name}", [
            sys.executable, str(READER), str(self.bench.mw), self.name, *map(str, self.ports), str(self.collector.fileno())],
            log, keep=(self.collector.fileno(),))
        deadline = time.monotonic() + START_SECONDS
        while "ready" not in log.read_text():
            self.reader.check()
            if time.monotonic() > deadline:
                raise Failure(f"{self.reader.name}: not ready after {START_SECONDS} s")
            time.sleep(0.05)

    def check(self):
        if self.reader:
            self.reader.check()

    def end(self):
        """Names of processes that had to be killed. Failure when the reader read nothing of some output."""
        self.collector.close()
        if not self.reader:
            return []
        killed = self.reader.end()
        words = self.reader.log_path.read_text().splitlines()[-1:]
        try:
            counts = json.loads(words[0])
        except (ValueError, IndexError):
            raise Failure(f"{self.reader.name} did not say what it read:\n{self.reader.last_words()}") from None
        print(f"{self.reader.name}: {', '.join(f'{key} {count:,}' for key, count in counts.items())}", flush=True)
        missing = [key for key, count in counts.items() if not count and key != "lost_lines"]
        if missing:
            raise Failure(f"{self.reader.name} read nothing: {', '.join(missing)}")
        return killed
