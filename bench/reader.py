# SPDX-License-Identifier: Apache-2.0
"""Reads all that an application's telemetry gives away: reader.py MW NAME NETFLOW-PORT METRICS-PORT IPFIX-FD.

`mw flows --json --follow`, a client of the MAGICWAND stream, a collector of IPFIX by UDP, and a scrape each two seconds. Says `ready`;
at SIGTERM prints how much came of each.
"""
import json
import selectors
import signal
import socket
import subprocess
import sys
import time
import urllib.request

SCRAPE_SECONDS = 2
LOST = b'{"event":"lost"'


class Reader:
    def __init__(self, mw, name, netflow, metrics, ipfix):
        self.counts = {"lines": 0, "lost_lines": 0, "netflow_bytes": 0, "ipfix_bytes": 0, "scrapes": 0}
        self.url = f"http://127.0.0.1:{metrics}/metrics"
        self.flows = subprocess.Popen([mw, "flows", name, "--json", "--follow"], stdout=subprocess.PIPE, bufsize=0)
        self.stream = socket.create_connection(("127.0.0.1", netflow))
        self.ipfix = socket.socket(fileno=ipfix)
        self.selector = selectors.DefaultSelector()
        for source, take in ((self.flows.stdout, self.lines), (self.stream, self.netflow), (self.ipfix, self.datagram)):
            self.selector.register(source, selectors.EVENT_READ, take)

    def lines(self):
        data = self.some(self.flows.stdout.read(1 << 16), "mw flows")
        self.counts["lines"] += data.count(b"\n")
        self.counts["lost_lines"] += data.count(LOST)

    def netflow(self):
        self.counts["netflow_bytes"] += len(self.some(self.stream.recv(1 << 16), "the MAGICWAND stream"))

    def datagram(self):
        try:
            while True:
                self.counts["ipfix_bytes"] += len(self.ipfix.recv(1 << 16, socket.MSG_DONTWAIT))
        except BlockingIOError:
            pass

    @staticmethod
    def some(data, what):
        if not data:
            raise SystemExit(f"{what} has ended")
        return data

    def scrape(self):
        with urllib.request.urlopen(self.url, timeout=10) as answer:
            answer.read()
        self.counts["scrapes"] += 1

    def run(self):
        due = time.monotonic()
        print("ready", flush=True)
        while True:
            for key, _ in self.selector.select(max(0, due - time.monotonic())):
                key.data()
            if time.monotonic() >= due:
                self.scrape()
                due += SCRAPE_SECONDS

    def end(self, *_):
        self.flows.terminate()
        print(json.dumps(self.counts), flush=True)
        sys.exit(0)


def main(mw, name, *numbers):
    reader = Reader(mw, name, *map(int, numbers))
    signal.signal(signal.SIGTERM, reader.end)
    reader.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
