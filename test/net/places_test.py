# SPDX-License-Identifier: Apache-2.0
"""Where things are kept, and cannot be: a runtime directory or a file that is full, missing, of the wrong kind, read-only, another's.

Each ends in one line that says what and why, with the right status, and leaves nothing; or in a service that goes on.
"""
import os
import socket
import subprocess
from pathlib import Path

from lib import machine, mw, tap
from lib.mw import NOBODY, App, for_nobody, protected, quick
from lib.tap import NETS, case, check, equal, matches, until

PYTHON = "/usr/bin/python3"
SERVER = str(Path(__file__).resolve().parent / "lib" / "server.py")
PORT = 7000
PLACE = "/run/place"


def small(c, **limits):
    """A file system of its own, with so much room, at PLACE."""
    Path(PLACE).mkdir(exist_ok=True)
    machine.run("mount", "-t", "tmpfs", "-o", ",".join(f"{k}={v}" for k, v in limits.items()), "tmpfs", PLACE)
    c.callback(machine.run, "umount", "--lazy", PLACE)
    return Path(PLACE)


def one(result, status, pattern):
    seen, out, err = result
    equal(seen, status, f"status; it said {err!r}")
    equal(out, "", "stdout")
    equal(err.count("\n"), 1, f"lines of {err!r}")
    matches(err, pattern, "stderr")


def fill(directory):
    """Until there is no room for another byte."""
    with open(directory / "filler", "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            pass


# --- the runtime directory ---

BAD = {
    "a file": (lambda c: Path(PLACE).write_text(""), "Operation not permitted"),
    "another's": (lambda c: (Path(PLACE).mkdir(), os.chown(PLACE, 65534, 65534)), "Operation not permitted"),
    "a link": (lambda c: os.symlink("/run", PLACE), "Operation not permitted"),
    "below nothing": (lambda c: None, "No such file or directory"),
    "read-only": (lambda c: machine.run("mount", "-o", "remount,ro", str(small(c, size="64k"))), "Read-only file system"),
    "too long": (lambda c: None, "File name too long"),
}
WHERE = {"below nothing": PLACE + "/a/b", "too long": "/run/" + "x" * 60}


@case("a runtime directory that is none: mw run and mw frontend say so in a line", limit=40)
def directory(c):
    before = mw.remains()
    for what, (make, why) in BAD.items():
        with tap.Case(None) as inner:
            inner.callback(lambda: subprocess.run(["rm", "-rf", PLACE], check=False))
            make(inner)
            where = {"MW_RUNTIME_DIR": WHERE.get(what, PLACE)}
            for net in NETS:
                one(quick("run", "--net", net, "true", env=where), 125, f"^mw: cannot use the runtime directory {where['MW_RUNTIME_DIR'][:40]}.*: {why}")
            if what not in ("another's", "a link"):   # root's directory may be anybody's to look into
                one(quick("frontend", "web", env=where), 1, "^mw frontend: (web: cannot make the lock|the runtime directory)")
            one(quick("flows", "web", env=where), 1, "^mw: nothing runs under the name web")
            equal(quick("ps", env=where), (0, "", ""), f"mw ps, {what}")
        mw.nothing_left(before)


@case("a runtime directory with room for ever more files: each step that has none is said, and leaves nothing", limit=120, nets=NETS)
def inodes(c):
    before, worked, failed = mw.remains(), 0, 0
    for room in (*range(1, 12), 40):
        with tap.Case(None) as inner:
            place = small(inner, size="1m", nr_inodes=room)
            (place / "mw").mkdir() if room > 1 else None
            status, out, err = quick("run", "--net", c.net, "echo", "it ran", env=mw.preloaded({"MW_RUNTIME_DIR": PLACE + "/mw"}))
            if (status, out) == (0, "it ran\n"):
                worked += 1
            else:
                equal((status, out), (125, ""), f"room for {room}: it said {err!r}")
                equal(err.count("\n"), 1, f"room for {room}: lines of {err!r}")
                matches(err, "^mw: .*No space left on device", f"room for {room}")
                failed += 1
            until(3, lambda: not (place / "mw").exists() or not list((place / "mw").iterdir()), lambda: f"room for {room}: {list(place.rglob('*'))}")
        mw.nothing_left(before)
    check(worked and failed, f"{worked} worked, {failed} failed")
    c.note(f"{failed} had no room, {worked} had")


@case("a runtime directory that gets full while something runs: it serves, is listed, and ends", limit=40, nets=NETS)
def full_later(c):
    before = mw.remains()
    place = small(c, size="256k")
    env = {"MW_RUNTIME_DIR": PLACE + "/mw"}
    app = App(c, PYTHON, SERVER, "echo", env=env)
    until(15, lambda: app.running() and mw.connects("127.0.0.1", PORT), lambda: f"it serves; it said {app.said()}")
    fill(place)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", PORT), timeout=5) as s:
            s.sendall(b"hello")
            equal(s.recv(10), b"hello", "echo")
    matches(quick("ps", env=env)[1], "^app ", "mw ps")
    equal(quick("block", "app", "192.0.2.1", env=env)[0], 0, "an order")
    if c.net == "isolated":
        status, out, err = quick("ins", "add", "app", env=env)
        check(status == 0 or (out == "" and err.count("\n") == 1), f"mw ins add: {status} {out}{err}")
        check(mw.connects("127.0.0.1", PORT), "it serves")
        until(5, lambda: "cannot be written" in app.said(), lambda: f"that others see what is old is said; it said {app.said()}")
        equal(app.said().count("cannot be written"), 1, "times")
    app.end()
    equal([p.name for p in (place / "mw").iterdir()], [], "the directory")
    mw.nothing_left(before)


@case("mw frontend where nothing can be written: one line, and no rule of it is left")
def frontend(c):
    before = mw.remains()
    place = small(c, size="64k", nr_inodes=2)
    (place / "mw").mkdir()
    one(quick("frontend", "web", env={"MW_RUNTIME_DIR": PLACE + "/mw"}), 1, f"^mw frontend: web: cannot make the lock {PLACE}/mw/.frontend-web: No space left on device$")
    mw.nothing_left(before)


# --- files of the command line ---

@case("--ipfix file: and --audit-log that cannot be opened: said in a line, which names the file", limit=40, nets=NETS)
def files(c):
    before = mw.remains()
    for path, why in (("/absent/x", "No such file or directory"), ("/run", "Is a directory"), ("/proc/version/x", "Not a directory")):
        for option, value in (("--ipfix", f"file:{path}"), ("--audit-log", path)):
            status, out, err = protected("--net", c.net, option, value, "echo", "it ran")
            what = f"{option} {path}: {status} {out}{err}"
            check((status, out) in ((0, "it ran\n"), (125, "")), what)
            equal(err.count("\n"), 1, what)
            matches(err, rf"^mw: .*{path}.*: {why}", what)
    mw.nothing_left(before)


@case("a user who may not write there is told so", limit=30)
def nobodys(c):
    directory_of, _ = for_nobody(c, SERVER)
    os.chmod(directory_of, 0o500)
    os.chown(directory_of, 0, 0)
    one(quick("run", "--net", "host", "true", prefix=NOBODY, env={"XDG_RUNTIME_DIR": str(directory_of)}), 125,
        f"^mw: cannot use the runtime directory {directory_of}/mw: Permission denied")
    one(quick("run", "--net", "host", "true", prefix=NOBODY, env={"XDG_RUNTIME_DIR": "/run/" + "x" * 60}), 125, "^mw: cannot use the runtime directory .*: File name too long")


tap.main()
