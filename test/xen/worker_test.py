#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real Xen, emulated: the worker of an INS domain is killed; the next one maps all grants anew, and nobody outside notices."""
import hashlib
import re
import socket
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "net")]
from lib import machine as own_machine  # noqa: E402
from lib import tap  # noqa: E402
from lib.tap import case, check, equal  # noqa: E402
from xenlab import lab as labs  # noqa: E402
from xenlab.lab import INS1, RUN, lab  # noqa: E402

LIMIT = 600
KILLS = 8
BYTES = 4_000_000
# The worker is the keeper's child, and the keeper the session's.
KILL = """parent() { cut -d' ' -f4 /proc/$1/stat; }
is() { [ "$(cat /proc/$1/comm 2>/dev/null)" = mw-ins ]; }
for p in /proc/[0-9]*; do p=${p#/proc/}; is $p && k=$(parent $p) && is $k && is $(parent $k) && kill -9 $p && n=killed; done; echo ${n:-none}; n=
"""


class Inside:
    """The shell of an INS domain."""

    def __init__(self, x, address):
        self.line = socket.create_connection(("127.0.0.1", x.machine.port(address, 7000)), timeout=30)

    def kill(self):
        self.line.sendall(KILL.encode())
        return self.line.recv(4096)


@case("a worker is killed again and again: downloads by checksum, and one request after the other, none fails", limit=LIMIT)
def killed(t):
    x = lab(t, "worker")
    x.pvm.run("mkdir -p /srv; chown www-data /srv; echo hello >/srv/index.html; "
              f"dd if=/dev/urandom of=/srv/big bs=1000 count={BYTES // 1000} 2>/dev/null; {RUN} nginx -c /etc/mwcomms/nginx.conf")
    equal(x.curl(), (0, b"hello\n"), "the first request")
    wanted = x.pvm.run("md5sum /srv/big").split()[0]
    inside, done, kills = Inside(x, INS1), threading.Event(), 0
    downloads, answers = [], []

    def download():
        while not done.is_set():
            status, data = x.curl("--limit-rate", "2M", path="/big", seconds=120)
            downloads.append((status, hashlib.md5(data).hexdigest()))

    def ask():
        while not done.is_set():
            answers.append(x.curl(seconds=30))

    threads = [threading.Thread(target=work, daemon=True) for work in (download, ask)]
    for thread in threads:
        thread.start()
    for _ in range(KILLS):
        time.sleep(1.5)
        kills += b"killed" in inside.kill()
    done.set()
    for thread in threads:
        thread.join()
    t.note(f"{kills} kills, {len(downloads)} downloads, {len(answers)} requests")
    check(kills >= KILLS // 2 and len(answers) >= 10, "too few")
    equal(set(downloads), {(0, wanted)}, "downloads")
    equal(set(answers), {(0, b"hello\n")}, "answers")
    said = x.guests.log_of("ins1")
    check(len(re.findall(r"has taken over", said)) >= kills - 1, lambda: f"{kills} kills; on the console:\n{said}")
    equal(x.complaints(), [], "the kernel's complaints")


if __name__ == "__main__":
    if own_machine.outside():
        labs.make()
        labs.warm()
    tap.main()
