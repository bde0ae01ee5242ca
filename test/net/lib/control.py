# SPDX-License-Identifier: Apache-2.0
"""A client of an application's `control` socket: a JSON object a line, one or more lines back."""
import json
import socket
import time

from .tap import Failed


class Control:
    def __init__(self, case, name, runtime="/run/mw"):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(5)
        self.socket.connect(f"{runtime}/{name}/control")
        self.rest = b""
        case.callback(self.socket.close)

    def send(self, **request):
        self.socket.sendall(json.dumps(request).encode() + b"\n")

    def line(self, seconds=5):
        until = time.monotonic() + seconds
        while b"\n" not in self.rest:
            self.socket.settimeout(max(0.01, until - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                raise Failed(f"no line in {seconds} s; so far: {self.rest!r}") from None
            if not data:
                raise Failed(f"the connection ended; so far: {self.rest!r}")
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return json.loads(line)

    def ask(self, **request):
        self.send(**request)
        return self.line()

    def follow(self):
        """From now on events come: see event()."""
        self.ask(do="follow")
        return self

    def event(self, name, seconds=5, **fields):
        """The next event of that name with those fields; others are passed by."""
        until = time.monotonic() + seconds
        while True:
            e = self.line(max(0.01, until - time.monotonic()))
            if e.get("event") == name and all(e[k] == v for k, v in fields.items()):
                return e
