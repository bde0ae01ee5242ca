# SPDX-License-Identifier: Apache-2.0
"""A connection on which a program under test is told what to do: a JSON object a line, each way."""
import json

from .tap import check


class Lines:
    """Whoever inherits sets `socket` and `rest`, b"" at first."""

    def tell(self, **q):
        self.socket.sendall(json.dumps(q).encode() + b"\n")

    def line(self):
        while b"\n" not in self.rest:
            data = self.socket.recv(65536)
            check(data, "the connection ended")
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return json.loads(line.lstrip(b"\0"))

    def ask(self, **q):
        self.tell(**q)
        return self.line()["result"]
