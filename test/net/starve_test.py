# SPDX-License-Identifier: Apache-2.0
"""Whatever call of a program fails: it works, or says so in one line and ends as it should; nothing hangs, nothing is left behind.

Here each place of a call fails once, at its first call, and from then on; with MW_LONG (make check-long) at each of its calls.
"""
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lib import machine, procs, tap
from lib.hosts import Directory, Ins, network, table
from lib.inss import inss
from lib.mw import App, nothing_left, quick, remains
from lib.starve import Starve
from lib.tap import Failed, case, check, equal, until

APP = str(machine.BUILD / "starve-app")
ECHO = ("/usr/bin/python3", str(Path(__file__).resolve().parent / "lib" / "server.py"), "echo")
LIMIT_S = 20    # of a run, which has limits of its own
# A connection waits for a descriptor, what was sent is there still, and from another's network there is but one way: back.
WAITED_FOR = ("accept4", "poll", "recvmsg", "setns")
REFUSED = 3     # the application's answer to a call that failed
NOT_OURS = "InstrProf|lprof"    # clang's own, that counts what is run: make coverage
LEAVES = ("opendir",)   # a directory that cannot be listed stays; it is nobody's, and the next of its name takes it
LONG = "MW_LONG" in os.environ
ONLY = os.environ.get("MW_STARVE_ONLY", "")     # places, to look closer
PORT = 7000
MORE = ("--ins", "2", "-p", f"7100:{PORT}", "--metrics", "9100", "--netflow", "127.0.0.1:9200", "--ipfix", "udp:127.0.0.1:4739",
        "--ipfix", "tcp:127.0.0.1:4740", "--ipfix", "file:/run/flows", "--gate", "none")


class Sweep:
    """One scenario again and again, each time with another failure; what is wrong is told together."""

    def __init__(self, c, program, kind):
        self.case, self.kind, self.starve = c, kind, Starve(c, program, kind)
        self.function, self.always, self.wrong, self.ours, self.count, self.started = None, False, [], procs.table().keys(), 0, time.monotonic()

    def run(self, attempt, mend=lambda: None):
        """attempt(): its exit status; Failed: why it is wrong. mend(): what comes after each, unharmed."""
        self.starve.reset()
        equal(attempt(), 0, "status with nothing that fails")
        sites = self.starve.sites()
        self.starve.reset()
        mend()
        for offset, (function, reached) in sites.items():
            place = self.starve.place(offset)
            if not re.search(NOT_OURS, place) and re.search(ONLY, place):
                self.site(attempt, mend, offset, function, reached)
        self.starve.reset()
        self.case.note(f"{len(sites)} places, {self.count} failures, {time.monotonic() - self.started:.1f} s")
        check(sites and not self.wrong, "\n".join(self.wrong))

    def site(self, attempt, mend, offset, function, reached):
        """The nth call of it; then, if once is overcome, each."""
        overcome = True
        for nth in range(1, 1 + (min(reached, 50) if LONG else 1)):
            overcome = self.once(attempt, mend, offset, function, (nth, False)) and overcome
        if overcome and reached > 1 and self.kind == "fail" and function not in WAITED_FOR:
            self.once(attempt, mend, offset, function, (1, True))

    def once(self, attempt, mend, offset, function, which):
        what, status = f"{function} {'always' if which[1] else which[0]} at {self.starve.place(offset)}", None
        self.function, self.always = function, which[1]
        self.starve.reset(offset, *which)
        self.count += 1
        try:
            status = attempt()
            self.starve.reset()
            mend()
        except Failed as failure:
            self.wrong.append(f"{what}: {failure}")
        if "MW_STARVE_SAYS" in os.environ:
            print("#", what, status, file=sys.stderr, flush=True)
        return status == 0


def whole(argv, env, ours):
    """(status, stdout, stderr) of a command; Failed, and all that is not ours ended, when it does not end."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, **env})
        try:
            status = child.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            status = None
        if status is None:
            procs.end_all(procs.table().keys() - ours)
            child.wait()
        out.seek(0)
        err.seek(0)
        check(status is not None, lambda: f"no end after {LIMIT_S} s; it said: {out.read()}{err.read()}")
        return status, out.read(), err.read()


def one_line(said):
    """Of each program that says why: at most one, the last is mw's."""
    names = [line.partition(":")[0] for line in said.splitlines() if " IPFIX to " not in line]    # warnings: nobody is there
    return names and names[-1].startswith("mw") and all(n.startswith("mw") for n in names) and len(set(names)) == len(names)


# --- mw run, from its start to its end ---

def start(c, program, kind, options=MORE, net="isolated"):
    sweep = Sweep(c, program, kind)
    before, env, command = remains(), sweep.starve.env(), (APP,)
    if program.endswith(".so"):
        command = ("/usr/bin/env", f"LD_PRELOAD={machine.BUILD / program}:{env['LD_PRELOAD']}", f"MW_STARVE={env['MW_STARVE']}", APP)
        env = {}

    def attempt():
        status, out, err = whole([machine.MW, "run", "--name", "app", "--net", net, *options, "--", *command], env, sweep.ours)
        text = f"status {status}, it said {out!r} {err!r}"
        if (status, out) == (0, "works\n") or (status == REFUSED and out.startswith("refused")):
            check(all(line.startswith("mw") for line in err.splitlines()), text)
        else:
            check(status in (125, 126, 127), text)
            check(one_line(err), f"not one line: {text}")
        if sweep.function not in LEAVES:
            nothing_left(before)
        return status

    def mend():
        if sweep.function in LEAVES:
            sweep.function = None
            attempt()
    sweep.run(attempt, mend)


for target in ("mw", "mw-ins", "mw-telem", "mw-names", "libmwshim.so"):
    for how in ("fail", "interrupt", "shorten") if target != "libmwshim.so" else ("fail",):
        case(f"mw run: calls of {target} {how}", limit=1500 if LONG else 300)(lambda c, program=target, kind=how: start(c, program, kind))
    case(f"mw run --net host: calls of {target} fail", limit=1500, long=True)(
        lambda c, program=target: start(c, program, "fail", (), "host"))


# --- what is asked of one that runs ---

def order(c, program, kind, words, mend=lambda: None):
    """The client's calls, or the broker's."""
    sweep = Sweep(c, program, kind)
    apps = []

    def fresh():
        apps.append(App(c, *ECHO, options=("--metrics", "9100"), net="isolated", env=sweep.starve.env()).ready(PORT))

    def attempt():
        status, out, err = whole([machine.MW, *words], sweep.starve.env(), sweep.ours)
        check(status == 0 or (status == 1 and one_line(err)), f"status {status}, it said {out!r} {err!r}")
        return status

    def good():
        try:
            apps[-1].ready(PORT)
            mend()
        except Failed:
            apps[-1].end()
            procs.end_all(procs.table().keys() - sweep.ours)
            fresh()     # for the next
            raise
    fresh()
    sweep.run(attempt, good)


def only_first():
    """INSs that came are ended."""
    for ins in inss():
        if ins["ins"]:
            quick("ins", "kill", "app", str(ins["ins"]))
    until(5, lambda: [i["ins"] for i in inss()] == [0], lambda: f"the first INS alone: {inss()}")


for order_words, mending in ((("ins", "add", "app"), only_first), (("ps", "--json"), lambda: None), (("flows", "app", "--json"), lambda: None),
                             (("ins", "list", "app"), lambda: None), (("block", "app", "10.9.9.9"), lambda: quick("unblock", "app", "10.9.9.9")),
                             (("ins", "upgrade", "app", "0"), lambda: None)):
    case(f"mw {' '.join(order_words)}: calls of mw fail", limit=900 if LONG else 200)(
        lambda c, words=order_words, mend=mending: order(c, "mw", "fail", words, mend))


@case("mw ins upgrade: calls of the new mw-ins fail", limit=900 if LONG else 200)
def upgrade(c):
    order(c, "mw-ins", "fail", ("ins", "upgrade", "app", "0"))


@case("mw flows: calls of mw-telem fail", limit=200)
def telemetry(c):
    order(c, "mw-telem", "fail", ("flows", "app", "--json"))


# --- a broker that is killed ---

@case("mw run --adopt: calls fail; the next one takes over", limit=900 if LONG else 150)
def adopt(c):
    sweep = Sweep(c, "mw", "fail")
    app = App(c, *ECHO, options=("--metrics", "9100"), net="isolated").ready(PORT)
    heirs = []

    def come(env):
        err = tempfile.TemporaryFile("w+")
        child = subprocess.Popen([machine.MW, "run", "--adopt", "app"], stdin=subprocess.DEVNULL, stdout=err, stderr=err, env={**os.environ, **env})
        heirs.append(child)

        def said():
            err.seek(0)
            return err.read()
        until(LIMIT_S, lambda: child.poll() is not None or "taken over" in said(), lambda: f"an heir; it said {said()!r}")
        check(child.returncode is None or (child.returncode == 125 and env and one_line(said())), f"status {child.returncode}, it said {said()!r}")
        return child.returncode or 0

    def attempt():
        for pid in [p.pid for p in procs.table().values() if p.parent == heirs[-1].pid] if heirs else [app.broker_pid()]:
            procs.end(pid)
        until(5, lambda: app.child.poll() is not None, "the end of the one before")
        return come(sweep.starve.env())

    def mend():
        if heirs[-1].poll() is not None:
            come({})    # to this one nothing happens
        app.child = heirs[-1]
        app.ready(PORT)
    sweep.run(attempt, mend)


# --- mw frontend ---

@case("mw frontend: calls of mw-front fail", limit=900 if LONG else 300)
def frontend(c):
    sweep = Sweep(c, "mw-front", "fail")
    _, host = network(c, "a")
    directory = Directory(c)
    directory.add(Ins(c, host, 2, 0), Ins(c, host, 3, 1))
    before = machine.run("nft", "list", "tables")

    def attempt():
        err = tempfile.TemporaryFile("w+")
        child = subprocess.Popen([machine.MW, "frontend", "web"], stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                 env={**os.environ, **sweep.starve.env()})

        def said():
            err.seek(0)
            return err.read()
        patience = time.monotonic() + 3
        try:
            until(LIMIT_S, lambda: child.poll() is not None or "goto ins-" in table() or (sweep.always and time.monotonic() > patience),
                  lambda: f"rules; it said {said()!r}")
            child.terminate()
            until(LIMIT_S, lambda: child.poll() is not None, lambda: f"its end; it said {said()!r}")
        finally:
            child.kill()
            status = child.wait()
            if status == -9:
                machine.run("nft", "delete", "table", "inet", "mwf-web")
        check(status in (0, -15) or (status > 0 and one_line(said())), f"status {status}, it said {said()!r}")
        until(2, lambda: machine.run("nft", "list", "tables") == before, "rules of before")
        return 0 if status == 0 else 1
    sweep.run(attempt)


tap.main()
