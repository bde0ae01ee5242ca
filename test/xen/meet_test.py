#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How an INS domain meets a protected one, against Debian's xenstored: mw-ins is real, grants are pages of a file, the protected side's keys
are written here."""
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "net"))
from lib import tap  # noqa: E402
from lib.tap import case, check, equal, matches  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent))
from xenlab import images  # noqa: E402
from xenlab.store import Refused, Store  # noqa: E402

PVM, INS = 3, 5
LIMIT = 30
BUILD = Path(os.environ.get("MW_BUILD", images.TOP / "build"))


class Meeting:
    """xenstored, both domains, and the keys of the INS's directory as the protected side sees them."""

    def __init__(self, t, setup=True):
        self.t = t
        self.store = t.enter_context(Store())
        self.pvm = self.store.introduce(PVM, "web")
        self.store.introduce(INS, "ins1").close()  # its socket is mw-ins's
        if setup:
            self.setup()

    def setup(self):
        status, said = self.store.mw("setup", "--pvm", PVM, "--ins", INS)
        equal((status, said if status else ""), (0, ""), "mw xen setup")

    def start(self):
        """mw-ins, and the protected machine's memory."""
        env = {**self.store.env, "XENSTORED_PATH": str(self.store.socket_of(INS))}
        app = subprocess.Popen([BUILD / "door_meet", BUILD / "mw-ins"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.t.callback(end, app)
        return app

    def get(self, key):
        try:
            return self.pvm.read(f"/mw/{INS}/{key}")
        except Refused:
            return None

    def put(self, **keys):
        for key, value in keys.items():
            self.pvm.write(f"/mw/{INS}/{key}", value)

    def wait(self, key, pattern):
        deadline = time.monotonic() + LIMIT
        while not re.fullmatch(pattern, value := self.get(key) or ""):
            check(time.monotonic() < deadline, f"{key} is '{value}', not {pattern}")
            time.sleep(0.05)
        return value

    def offer(self, version="1", ref="0", port="7"):
        self.wait("ins_dom_id", str(INS))
        self.wait("ins_state", "init")
        self.put(pvm_version=version, gnt_ref_1=ref, vm_evt_chn_prt=port, pvm_state="init")
        self.put(gnt_ref_chunks="1")

    def take_back(self, state="closed"):
        self.put(gnt_ref_chunks="", pvm_state=state)

    def up(self):
        app = self.start()
        self.offer()
        self.wait("vm_evt_chn_is_bound", "1")
        equal(self.get("ins_state"), "ready", "ins_state")
        self.put(pvm_state="ready")
        hear(app, "^up$")
        return app


def end(app):
    app.kill()
    app.wait()


def hear(app, pattern):
    """What it says until a line matches."""
    said, deadline = "", time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if select.select([app.stdout], [], [], 1)[0]:
            line = os.read(app.stdout.fileno(), 4096).decode()
            said += line
            if re.search(pattern, said, re.M) or not line:
                break
    check(re.search(pattern, said, re.M), f"it said:\n{said}")
    return said


@case("they meet, and the INS tells how it is: heartbeat, statistics, ports", 120)
def meets(t):
    m = Meeting(t)
    m.up()
    equal((m.get("ins_version"), m.get("ins_dom_id")), ("1", str(INS)), "version, id")
    check(int(m.get("ins_slots")) >= 64, "ins_slots")
    m.wait("listening_ports", format(4010, "x"))
    m.wait("network_stats", r"80:2:5:0")
    m.wait("load", r"[0-9a-f]{1,3}:1:[0-9a-f]+")
    beat = int(m.wait("heartbeat", r"[0-9]+"))
    m.wait("heartbeat", f"(?!{beat}$)[0-9]+")
    check(int(m.get("heartbeat")) <= beat + 2, "one a second")


@case("sockopts tells what a new socket of the INS has, and follows when that is changed", 120)
def options(t):
    m = Meeting(t)
    app = m.up()
    m.wait("sockopts", r"congestion=[a-z]+ rcvbuf=[0-9]+ sndbuf=[0-9]+")
    ins = Path(f"/proc/{app.pid}/task/{app.pid}/children").read_text().split()[0]
    subprocess.run(["nsenter", "-t", ins, "-n", "sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno", "net.ipv4.tcp_rmem=4096 99999 6291456"], check=True)
    m.wait("sockopts", r"congestion=reno rcvbuf=99999 sndbuf=[0-9]+")


@case("words that are not known, or gate rules that make no sense, are refused by name before anything is said in XenStore", 60)
def words(t):
    m = Meeting(t)
    env = {**m.store.env, "XENSTORED_PATH": str(m.store.socket_of(INS))}
    for word in ("dance", "gate", "gate=", "gate=maybe", "gate=80=http,deadline=never", "gate=99999=http", "ins=1", "file="):
        done = subprocess.run([BUILD / "mw-ins", "xen", word], env=env, capture_output=True, text=True, timeout=30, check=False)
        equal((done.returncode, done.stderr), (2, f"mw-ins: '{word}' is not known, or has no value that makes sense; see doc/xen.md\n"), word)
    equal(m.get("ins_state"), "", "ins_state")


@case("whichever comes first: keys that dom0 prepares later, and a protected machine that comes later", 120)
def order(t):
    m = Meeting(t, setup=False)
    app = m.start()
    hear(app, "mw xen setup")
    m.setup()
    time.sleep(1)
    m.offer()
    hear(app, "^up$")


@case("the protected side closes: the INS ends, takes its state back, and the next one meets it anew", 120)
def closes(t):
    m = Meeting(t)
    for _ in range(3):
        app = m.up()
        m.take_back()
        hear(app, "^ended")
        equal((m.get("ins_state"), m.get("vm_evt_chn_is_bound")), ("closed", "0"), "state, bound")


@case("an INS that begins anew does not take what was shared before for what is shared now", 120)
def stale(t):
    m = Meeting(t)
    m.put(pvm_version="1", gnt_ref_1="777", vm_evt_chn_prt="9", pvm_state="ready", gnt_ref_chunks="1")
    app = m.start()
    m.wait("ins_state", "closed")
    for _ in range(3):
        time.sleep(0.5)
        equal(m.get("ins_state"), "closed", "it waits for what was shared before to be taken back")
    equal(m.get("ins_dom_id"), "", "it waits")
    m.take_back()
    m.offer()
    hear(app, "^up$")


@case("told to end, it says so", 120)
def told(t):
    m = Meeting(t)
    app = m.up()
    children = Path(f"/proc/{app.pid}/task/{app.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    hear(app, "^ended")
    equal((m.get("ins_state"), m.get("vm_evt_chn_is_bound")), ("closed", "0"), "state, bound")


@case("the protected domain is destroyed: the INS ends", 120)
def destroyed(t):
    m = Meeting(t)
    app = m.up()
    m.store.release(PVM)
    hear(app, "^ended")


@case("versions, refs and ports that make no sense are refused, with a word in the state", 120)
def senseless(t):
    m = Meeting(t)
    for keys, word in (({"version": "2"}, "version"), ({"version": "2-9"}, "version"), ({"version": ""}, "version"), ({"version": "1-x"}, "version"),
                       ({"ref": "xyz"}, "map"), ({"ref": "7fffffff"}, "map"), ({"ref": "5"}, "map"), ({"ref": ""}, "map"), ({"ref": "-1"}, "map"),
                       ({"port": "evil\n"}, "map"), ({"port": "99999999999999999999"}, "map")):
        app = m.start()
        m.offer(**keys)
        matches(m.wait("ins_state", "error: .*"), word, str(keys))
        matches(hear(app, "domain 3"), "domain 3", "a message with the domain's id")
        end(app)
        m.take_back()
    app = m.start()
    m.offer(version="1-2")
    hear(app, "^up$")


if __name__ == "__main__":
    images.xen_root()   # fetched, if need be, while there still is a network
    tap.main()
