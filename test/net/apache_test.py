# SPDX-License-Identifier: Apache-2.0
"""Apache in Debian's default configuration, with the event and the prefork MPM."""
import signal
import time

from lib import http, machine, mw, procs, servers, tap
from lib.mw import command
from lib.tap import NETS, case, check, equal

MB = 1 << 20
MPMS = ("event", "prefork")


def start(c, mpm, *argv):
    return servers.apache(c, mpm, *argv).ready(80, seconds=20)


def both(name, limit):
    """A case for each MPM in each network mode."""
    def declare(function):
        for mpm in MPMS:
            case(f"apache {mpm}: {name}", limit, NETS)(lambda c, mpm=mpm: function(c, mpm))
        return function
    return declare


@both("files by checksum, IPv4 and IPv6, here and for a neighbour", 40)
def files(c, mpm):
    sums = {"small.txt": servers.content("small.txt", 1200), "page.bin": servers.content("page.bin", 100_000),
            "large.bin": servers.content("large.bin", 10 * MB), "empty": servers.content("empty", 0)}
    start(c, mpm)
    for host in ("127.0.0.1", "::1", machine.HERE4, machine.HERE6):
        for name, wanted in sums.items():
            answer = http.get(f"/{name}", host)
            equal((answer.status, answer.checksum), (200, wanted), f"/{name} of {host}")
    for url in (f"http://{machine.HERE4}/large.bin", f"http://[{machine.HERE6}]/large.bin"):
        out = command(*machine.in_neighbour(), "sh", "-c", f"curl -sSgf --max-time 10 {url} | sha256sum")[1]
        equal(out.split()[0], sums["large.bin"], url)


@both("keep-alive, pipelined, HEAD", 40)
def protocol(c, mpm):
    wanted = servers.content("page.bin", 100_000)
    start(c, mpm)
    with http.Connection() as connection:
        for _ in range(50):
            equal(connection.ask("/page.bin").checksum, wanted, "kept alive")
        connection.send(http.request("/page.bin") * 10 + http.request("/page.bin", "HEAD"))
        for _ in range(10):
            equal(connection.answer().checksum, wanted, "pipelined")
        equal(connection.answer("HEAD").status, 200, "HEAD behind pipelined ones")


@both("upload of 100 kB and 5 MB", 40)
def upload(c, mpm):
    start(c, mpm)
    for size in (100_000, 5 * MB):
        data = servers.noise("upload", size)
        with http.Connection() as connection:
            equal(connection.ask(f"/put/{size}.bin", "PUT", data).status, 201, "PUT")
            equal(connection.ask(f"/put/{size}.bin").body == data, True, "what was put comes back")


@both("8 graceful restarts under load lose no request", 60)
def graceful(c, mpm):
    app = start(c, mpm)
    workers = {p.pid for p in procs.below(app.app_pid())}
    load = http.Load("/page.bin", servers.content("page.bin", 100_000))
    with load:
        for _ in range(8):
            status, out, err = command("apache2ctl", "graceful")
            equal(status, 0, f"apache2ctl graceful: {out}{err}")
            time.sleep(0.6)
    c.note(load.text())
    check(not load.lost, lambda: "lost:\n" + "\n".join(load.lost[:5]))
    check(load.done > 200, f"only {load.done} requests: the load did not run")
    check(workers != {p.pid for p in procs.below(app.app_pid())}, "the workers were not replaced")


@both("apache2ctl start: mw run stays until the daemon ends", 40)
def daemon(c, mpm):
    before = mw.remains()
    app = start(c, mpm, "apache2ctl", "start")
    wanted = servers.content("small.txt", 1200)
    time.sleep(0.5)
    app.running()
    equal(http.get("/small.txt").checksum, wanted, "served")
    app.listed()
    equal(command("apache2ctl", "stop")[0], 0, "apache2ctl stop")
    equal(app.wait(8), 0, "status")
    mw.nothing_left(before)


@both("apache2ctl start: SIGTERM to mw run ends the daemon", 40)
def daemon_signal(c, mpm):
    before = mw.remains()
    app = start(c, mpm, "apache2ctl", "start")
    time.sleep(0.5)
    app.child.send_signal(signal.SIGTERM)
    app.wait(8)
    mw.nothing_left(before)


@case("apache event: a shell that starts it: SIGTERM to mw run ends both", limit=30, nets=NETS)
def wrapped(c):
    before = mw.remains()
    app = start(c, "event", "apache2ctl", "-D", "FOREGROUND")
    app.child.send_signal(signal.SIGTERM)
    app.wait(8)
    mw.nothing_left(before)


@both("ab has no failed request", 40)
def ab(c, mpm):
    servers.need("ab")
    servers.content("page.bin", 100_000)
    start(c, mpm)
    # not with -k: ab counts a kept-alive connection that the server closes as failed (Length), natively too
    status, out, err = command("ab", "-q", "-n", "2000", "-c", "50", "http://127.0.0.1/page.bin", limit=30)
    equal(status, 0, f"ab: {out}{err}")
    tap.matches(out, r"^Failed requests: +0$", "ab")


tap.main()
