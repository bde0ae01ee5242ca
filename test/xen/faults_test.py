#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real Xen, emulated: INS domains that lie, keys that change, a module that comes and goes a hundred times."""
import re
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "net")]
from lib import machine as own_machine  # noqa: E402
from lib import tap  # noqa: E402
from lib.tap import case, check, equal, matches  # noqa: E402
from xenlab import lab as labs  # noqa: E402
from xenlab.lab import INS2, RUN, lab  # noqa: E402

LIMIT = 300
LOADS = 100
WORDS = 1_000_000
NGINX = f"mkdir -p /srv; chown www-data /srv; echo hello >/srv/index.html; {RUN} nginx -c /etc/mwcomms/nginx.conf"
# Sockets are open and their INS's worker dies, every other time, before the module goes.
LOAD = f"""serves() {{ dmesg | grep -c "mwcomms: INS .* serves"; }}
for n in $(seq $1 $2); do
	{RUN} vm-device many 5 & many=$!
	usleep 20000
	dmesg -c >>/tmp/said
	kill $many; wait $many 2>/dev/null
	tries=0; until rmmod mwcomms 2>/dev/null; do usleep 20000; tries=$((tries + 1)); [ $tries -lt 500 ] || exit 1; done
	! grep -q MWCOMMS /proc/slabinfo || exit 2
	insmod /mod/mwcomms.ko || exit 3
	tries=0; until [ "$(serves)" -ge 1 ]; do usleep 50000; tries=$((tries + 1)); [ $tries -lt 1200 ] || exit 4; done
done
"""


class Asking:
    """One request after the other to the honest INS: how many went well, which did not, the longest."""

    def __init__(self, x):
        self.answers, self.longest, self.stopped, self.x = [], 0.0, False, x
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopped:
            started = time.monotonic()
            self.answers.append(self.x.curl(seconds=30))
            self.longest = max(self.longest, time.monotonic() - started)

    def stop(self):
        self.stopped = True
        self.thread.join()
        equal(set(self.answers), {(0, b"hello\n")}, "answers of the honest INS")


def rate(x, seconds):
    asking = Asking(x)
    time.sleep(seconds)
    asking.stop()
    return len(asking.answers) / seconds, asking.longest


def frames(x, domain):
    """Pages of a domain's grant table, and grants of it that others have mapped."""
    x.machine.run("xl dmesg -c >/dev/null; xl debug-keys g")
    said = x.machine.run("xl dmesg")
    found = re.search(rf"grant-table for remote d{domain} .*?(?=grant-table for remote|$)", said, re.S)
    check(found, f"of domain {domain}: {said[-2000:]}")
    count = re.search(r"(\d+) frames \(\d+ max\)", found[0])
    check(count, found[0][:500])
    return int(count[1]), len(re.findall(r"^(?:\(XEN\) )?\[\s*[0-9a-fx]+\]", found[0], re.M))


@case(f"an INS domain that writes {WORDS} random words into its rings and indexes, again and again: given up by its number; another serves on", limit=600)
def hostile(t):
    x = lab(t, "hostile")
    x.pvm.run(NGINX)
    equal(x.curl(), (0, b"hello\n"), "the first request")
    before, _ = rate(x, 6)
    number = x.guests.ins("ins2", INS2, extra=f"mw.random-{WORDS}", liar=True)
    x.machine.run("xl sched-credit2 -d ins2 -w 16 || true")   # one emulated processor for all: it may lie, but not take that
    x.setup("ins2")
    x.until(lambda: f"INS {number} serves" in x.pvm.run("dmesg"), 90, lambda: x.pvm.run("dmesg | tail") + x.status() + x.logs())
    asking = Asking(x)
    started = time.monotonic()
    x.until(lambda: re.search(r"\d+ words, given up \d+ times", x.guests.log_of("ins2")), 400, lambda: x.pvm.run("dmesg | tail") + x.logs())
    asking.stop()
    meanwhile = len(asking.answers) / (time.monotonic() - started)
    t.note(re.search(r"\d+ words, given up \d+ times", x.guests.log_of("ins2"))[0])
    matches(x.pvm.run("dmesg"), rf"mwcomms: INS {number} is given up: .*\. Its connections are reset; the others go on", "the message")
    after, _ = rate(x, 6)
    t.note(f"requests a second by the honest one: {before:.1f} before, {meanwhile:.1f} meanwhile (longest {asking.longest:.2f} s), {after:.1f} after")
    check(asking.longest < 20, f"a request took {asking.longest:.1f} s")
    equal(x.complaints(), [], "the kernel's complaints")


@case("an INS domain that refuses memory, one that closes its event channel: given up, by number; the other serves on", limit=LIMIT)
def refuses(t):
    x = lab(t, "refuses")
    x.pvm.run(NGINX)
    for name, lie, why in (("ins2", "grant", "it refused memory for rings"), ("ins3", "deaf", "(no sign of life for|a request was not answered within) 10 s")):
        number = x.guests.ins(name, INS2, extra=f"mw.{lie}", liar=True)
        x.setup(name)
        x.until(lambda: re.search(rf"mwcomms: INS {number} is given up: {why}", x.pvm.run("dmesg")), 90,
                lambda: f"{lie}: " + x.pvm.run("dmesg | tail") + x.logs())
        x.machine.run(f"xl destroy {name}")
        equal(x.curl(), (0, b"hello\n"), "a request by the other")
    equal(x.complaints(), [], "the kernel's complaints")


@case("keys that change while an INS serves: it is given up or it is no matter, and it is met again", limit=LIMIT)
def keys(t):
    x = lab(t, "keys")
    x.pvm.run(NGINX)
    number, times = int(x.machine.run("xl domid ins1")), 1
    key = f"/mw/{number}"
    for name, value in (("ins_version", "7"), ("ins_slots", "nonsense"), ("vm_evt_chn_is_bound", "0"), ("gnt_ref_1", "ffffffff"), ("heartbeat", "x")):
        x.machine.run(f"xenstore-write {key}/{name} {value}")
    time.sleep(3)
    equal(x.curl(), (0, b"hello\n"), "a request, keys changed that are looked at once only")
    for name, value, why in (("ins_state", "nonsense", "it is closing"), ("ins_dom_id", "77", "its domain is gone"), ("ins_state", "init", "it begins anew"),
                             ("ins_state", "", "it is closing"), ("ins_dom_id", "", "its domain is gone")):
        x.pvm.run("dmesg -c >/dev/null")
        x.machine.run(f"xenstore-write {key}/{name} '{value}'")
        x.until(lambda: f"mwcomms: INS {number} is gone: {why}" in x.pvm.run("dmesg"), 30, lambda: f"{name} = {value}: " + x.pvm.run("dmesg") + x.status())
        x.until(lambda: f"mwcomms: INS {number} serves" in x.pvm.run("dmesg"), 60, lambda: f"{name} = {value}: " + x.pvm.run("dmesg") + x.status() + x.logs())
        x.until(lambda: x.curl()[0] == 0, 30, "a request when it has been met again")
        times += 1
    x.machine.run(f"xenstore-rm {key}")
    x.until(lambda: f"INS {number} is gone" in x.pvm.run("dmesg | tail -n 3"), 30, lambda: x.pvm.run("dmesg"))
    x.setup("ins1")
    x.machine.run("xl destroy ins1")
    t.note(f"met {times} times")
    equal(x.complaints(), [], "the kernel's complaints")


@case(f"the module is loaded and unloaded {LOADS} times, sockets open, and as often its INS meets it again: nothing of grants and slabs is left", limit=1500, long=True)
def load(t):
    x = lab(t, "load")
    number = int(x.machine.run("xl domid ins1"))
    x.pvm.run(f"cat >/tmp/load <<'END'\n{LOAD}\nEND")
    started = time.monotonic()
    x.pvm.run("sh /tmp/load 1 3", 120)
    first, free = frames(x, x.pvm.number), int(x.pvm.run("awk '/MemAvailable/ { print $2 }' /proc/meminfo"))
    for n in range(4, LOADS + 1, 8):
        status, _ = x.pvm.shell(f"sh /tmp/load {n} {min(n + 7, LOADS)}", 300)
        equal(status, 0, f"loads from {n} on; " + (x.pvm.run("dmesg | tail") + x.status() + x.logs() if status else ""))
    lost = free - int(x.pvm.run("awk '/MemAvailable/ { print $2 }' /proc/meminfo"))
    last = frames(x, x.pvm.number)
    t.note(f"{LOADS} times in {time.monotonic() - started:.0f} s; pages of the grant table and grants mapped: {first} after 3, {last} in the end; {lost} KiB less are free")
    equal(last, first, "pages of the grant table, and grants that are mapped")
    check(lost < 8192, f"{lost} KiB are lost")
    x.pvm.run("rmmod mwcomms")
    x.until(lambda: frames(x, x.pvm.number)[1] < 64, 30, lambda: f"still mapped: {frames(x, x.pvm.number)}")
    t.note(f"mapped without the module: {frames(x, x.pvm.number)[1]} (console and XenStore)")
    x.pvm.run("dmesg >>/tmp/said; insmod /mod/mwcomms.ko")
    x.serves(number)
    equal(re.findall(labs.COMPLAINTS, x.pvm.run("cat /tmp/said")), [], "the kernel's complaints")
    x.pvm.run(NGINX)
    equal(x.curl(), (0, b"hello\n"), "a request")


if __name__ == "__main__":
    if own_machine.outside():
        labs.make()
        labs.warm()
    tap.main()
