# SPDX-License-Identifier: Apache-2.0
"""9,000 idle connections to one nginx: listed and watched, others served, no CPU, little memory."""
import subprocess
import time
from pathlib import Path

from lib import http, machine, procs, servers, tap
from lib.screen import Screen
from lib.tap import NETS, case, check, equal, until

COUNT = 9000
KIB_EACH = 3.0      # beyond native nginx's own
REFRESH_MS = 40     # of mw top: 2 % of a core, every 2 s
CONFIG = servers.roomy("listen 80 backlog=4096; root /var/www/html;")


def nginx_pids(root):
    return [p.pid for p in procs.below(root) if p.comm == "nginx"]


def accepted(root, count):
    until(30, lambda: sum(map(procs.fd_count, nginx_pids(root))) >= count, f"nginx holds {count} connections", 0.1)
    time.sleep(1)


def native_bytes(c):
    """Memory that native nginx takes for them."""
    Path("/run/nginx-test.conf").write_text(CONFIG)
    child = subprocess.Popen(["nginx", "-c", "/run/nginx-test.conf", "-g", "daemon off;"], stdin=subprocess.DEVNULL)
    try:
        until(5, lambda: tap_connects(), "native nginx")
        time.sleep(0.5)
        before = procs.memory_bytes(nginx_pids(child.pid))
        with servers.held(COUNT):
            accepted(child.pid, COUNT)
            return procs.memory_bytes(nginx_pids(child.pid)) - before
    finally:
        child.terminate()
        child.wait(10)


def tap_connects():
    try:
        return http.get("/small.txt").status == 200
    except (OSError, http.Bad):
        return False


def refresh_ms(c, *argv):
    """Processor time of `mw top` for a refresh of its screen."""
    screen = Screen(c, machine.MW, "top", "-d", "0.5", *argv)
    screen.shows(f"^{COUNT} of {COUNT} connections", 10)
    pid = next(p.pid for p in procs.below(screen.pid) if p.comm == "mw")
    before = procs.look(pid).ticks
    time.sleep(10)
    ms = (procs.look(pid).ticks - before) * 10 / 20
    screen.keys("q")
    until(5, screen.ended, "its end")
    return ms


@case("9,000 idle connections", limit=180, nets=NETS)
def many(c):
    servers.content("small.txt", 1200)
    native = native_bytes(c)
    app = servers.nginx(c, config=CONFIG).ready(80)
    time.sleep(0.5)
    pids = [p.pid for p in procs.below(app.pid)]
    until(5, lambda: not app.connections(), "none left")
    before = procs.memory_bytes(pids)
    with servers.held(COUNT) as ports:
        accepted(app.pid, COUNT)
        each = (procs.memory_bytes(pids) - before - native) / COUNT
        c.note(f"{each / 1024:.2f} KiB a connection beyond native's {native / COUNT / 1024:.2f}")
        listed = {f["peer_port"] for f in app.connections() if f["state"] == "established"}
        equal(len(set(ports) - listed), 0, "connections that mw flows does not list")
        equal(len(listed), COUNT, "connections that it lists")
        began = time.monotonic()
        equal(http.get("/small.txt").status, 200, "one more request")
        c.note(f"one more request: {(time.monotonic() - began) * 1000:.1f} ms")
        for argv in ((), ("-g", "prefix", "-f", "state = established and not (unread > 16k or peer = 192.0.2.0/24)")):
            ms = refresh_ms(c, *argv)
            c.note(f"mw top {' '.join(argv)}: {ms:.1f} ms for a refresh")
            check(ms <= REFRESH_MS, f"mw top takes {ms:.1f} ms for a refresh, more than {REFRESH_MS}")
        check(procs.rest([app.ins_pid()], 5), "mw-ins wakes with 9,000 idle connections")
        check(each <= KIB_EACH * 1024, f"{each / 1024:.2f} KiB a connection, more than {KIB_EACH}")
    until(10, lambda: not app.connections(), "all closed when the clients end", 0.2)


tap.main()
