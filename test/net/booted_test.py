# SPDX-License-Identifier: Apache-2.0
"""The systemd units under a systemd that has booted: they start what they say with the rights that they leave it, and leave nothing."""
import os
import signal
import time
from pathlib import Path

from lib import machine, procs, servers, tap
from lib.booted import Booted
from lib.hosts import Etcd, same_rules, table
from lib.mw import command, listening, nft_tables
from lib.tap import case, equal, until

PORT = 8080
UNITS = "mw@web", "mw-frontend@web"


def prepare(c, args="--ins 2", front=None):
    """A booted machine where both units are configured: nginx on two INSs."""
    for family in "ipv4", "ipv6":                       # so that mw has to change it
        Path(f"/proc/sys/net/{family}/conf/all/forwarding").write_text("0")
    servers.nginx_conf()
    servers.content("index.html", 5000)
    boot = Booted(c)
    boot.write("/etc/mwcomms/web.conf", f"ARGS=-p {PORT}:80 {args} -- nginx -g 'daemon off;'\n")
    if front:
        boot.write("/etc/mwcomms/web.frontend.conf", f"ARGS={front}\n")
    return boot


def page():
    """What a neighbour gets: a status of curl's."""
    return command(*machine.in_neighbour(), "curl", "-sSf", "--max-time", "5", "-o", "/dev/null", f"http://{machine.HERE4}:{PORT}/")[0]


def served(what, seconds=8):
    until(seconds, lambda: page() == 0, what, 0.1)


def state(boot, unit):
    return boot.show(unit, "ActiveState"), boot.show(unit, "Result"), int(boot.show(unit, "NRestarts"))


def left(boot):
    links = sorted(line.split()[0] for line in machine.run("ip", "-br", "link").splitlines())
    return {"links": links, "tables": nft_tables(), "sockets": listening(), "mw": sorted(os.listdir(boot.path("/run/mw"))) if boot.path("/run/mw").exists() else [],
            "processes": sum((boot.processes(unit) for unit in UNITS), [])}


def of(boot, unit, comm):
    return [pid for pid in boot.processes(unit) if procs.look(pid).comm == comm]


def broker_of(boot):
    """The child of the depot, which is the child of the main process, which is not in the unit's own family."""
    pids = boot.processes("mw@web")
    main = next(pid for pid in pids if procs.look(pid).parent not in pids)
    depot = next(pid for pid in pids if procs.look(pid).parent == main)
    return next(pid for pid in pids if procs.look(pid).parent == depot)


@case("mw@ and mw-frontend@: ready when started; ins add, a killed worker, reload; stopped they leave nothing", limit=60)
def started(c):
    boot = prepare(c)
    before = left(boot)
    boot.start("mw@web")
    served("nginx's page")
    boot.start("mw-frontend@web")
    until(3, lambda: table().count("chain ins-") == 2, "the frontend leads to both")
    equal([state(boot, unit) for unit in UNITS], [("active", "success", 0)] * 2, "state, result, restarts")
    equal(page(), 0, "nginx's page")
    equal(boot.run("mw", "ins", "add", "web").strip(), "2", "the INS that is added")
    until(5, lambda: table().count("chain ins-") == 3, "the frontend leads to it")
    worker = of(boot, "mw@web", "mw-ins")[-1]
    os.kill(worker, signal.SIGKILL)
    for _ in range(20):
        equal(page(), 0, "nginx's page")
    old = set(of(boot, "mw@web", "nginx"))
    boot.run("systemctl", "reload", "mw@web")
    until(8, lambda: len(old & set(of(boot, "mw@web", "nginx"))) == 1, "nginx has new workers, and its master")
    served("nginx's page after reload")
    boot.run("systemctl", "stop", "mw-frontend@web")
    same_rules(table(), "", "the frontend's rules")
    equal(page(), 0, "nginx's page without the frontend")
    boot.run("systemctl", "stop", "mw@web")
    equal([state(boot, unit) for unit in UNITS], [("inactive", "success", 0)] * 2, "state, result, restarts")
    equal(left(boot), before, "what is left")


def restarted(boot, unit, what, seconds):
    until(seconds, lambda: state(boot, unit)[::2] == ("active", 1), lambda: f"{unit} is started again after {what}: {state(boot, unit)}\n{boot.journal(unit)}", 0.1)
    return state(boot, unit)[1]


@case("the broker stops, or is killed; the frontend stops, or is killed: started again, and the frontend's rules stay meanwhile", limit=90)
def watched(c):
    boot = prepare(c)
    for unit in "mw@", "mw-frontend@":
        boot.write(f"/etc/systemd/system/{unit}.service.d/quick.conf", "[Service]\nWatchdogSec=2\n")
    before = left(boot)
    boot.start(*UNITS)
    served("nginx's page")
    until(5, lambda: "goto ins-" in table(), "the frontend's rules")
    for number in signal.SIGSTOP, signal.SIGKILL:
        shown = table()
        front, = boot.processes("mw-frontend@web")
        os.kill(front, number)
        for _ in range(5):
            same_rules(table(), shown, "the frontend's rules")
            equal(page(), 0, "nginx's page")
            time.sleep(0.1)
        started = time.monotonic()
        restarted(boot, "mw-frontend@web", number.name, 20)
        c.note(f"the frontend: {number.name}, started again after {time.monotonic() - started:.1f} s")
        boot.run("systemctl", "restart", "mw-frontend@web")
        boot.run("systemctl", "reset-failed", "mw-frontend@web")
    for number in signal.SIGSTOP, signal.SIGKILL:
        master = min(of(boot, "mw@web", "nginx"))
        os.kill(broker_of(boot), number)
        started = time.monotonic()
        restarted(boot, "mw@web", number.name, 30)
        served("nginx's page")
        equal(min(of(boot, "mw@web", "nginx")), master, "nginx went on")
        c.note(f"the broker: {number.name}, started again after {time.monotonic() - started:.1f} s")
        boot.run("systemctl", "restart", "mw@web")
        boot.run("systemctl", "reset-failed", "mw@web")
    served("nginx's page")
    boot.run("systemctl", "stop", *UNITS)
    equal(left(boot), before, "what is left")


@case("a server whose system calls are trapped", limit=40)
def trapped(c):
    boot = prepare(c, "--lane stream")
    before = left(boot)
    boot.start("mw@web")
    served("nginx's page")
    boot.run("systemctl", "stop", "mw@web")
    equal(left(boot), before, "what is left")


@case("with etcd, as the units' comments have it", limit=60)
def with_etcd(c):
    etcd = Etcd(c)
    boot = prepare(c, "--etcd http://127.0.0.1:2379 --ins 2", "--etcd http://127.0.0.1:2379 --balance least --min 1 --max 3")
    before = left(boot)
    boot.start(*UNITS)  # on a busy machine the frontend starts a third
    until(10, lambda: table().count("chain ins-") >= 2, lambda: f"the frontend's rules: {boot.journal('mw-frontend@web')}")
    served("nginx's page")
    boot.run("systemctl", "stop", *UNITS)
    equal((left(boot), etcd.keys()), (before, []), "what is left, and in etcd")


if __name__ == "__main__":
    tap.main()
