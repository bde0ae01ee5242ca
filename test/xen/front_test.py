#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real Xen, emulated: `mw xen broker` and `mw frontend` on dom0 create INS domains from a template, and spread, drain and destroy, for clients outside
that know one address."""
import json
import re
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "net")]
from lib import machine as own_machine  # noqa: E402
from lib import tap  # noqa: E402
from lib.tap import case, check, equal, matches  # noqa: E402
from xenlab import guests, images  # noqa: E402
from xenlab import lab as labs  # noqa: E402
from xenlab.lab import RUN, lab  # noqa: E402
from vm.image import Image  # noqa: E402

DOM0 = "10.0.0.1"
BEGIN = """hostname dom0; echo 1 >/proc/sys/net/ipv4/ip_forward
brctl addbr mwbr0; ip addr add 10.1.0.1/24 dev mwbr0; ip link set mwbr0 up
mkdir -p /run/image; ln -s /guest/vmlinux /run/image/vmlinux; ln -s /run/guest/ins.cpio /run/image/initramfs
sed -i -e 's/bridge=xenbr0/bridge=mwbr0,script=vif/' -e 's/^memory .*/memory = 96/' /etc/ins.cfg.in"""
BROKER = "mw xen broker --publish 80 --pool 10.1.0.11-10.1.0.20/24 --gateway 10.1.0.1 --template /etc/ins.cfg.in --image /run/image --ready 150s web"
# It has two at any time; of a load that this machine makes up it knows nothing. Emulation is slow to beat.
FRONTEND = "mw frontend --balance rr --heartbeat 15 --min 2 --max 3 --hold 1 --high 100 --low 1 web"


class Dom0:
    """What runs there."""

    def __init__(self, x):
        self.x = x
        image = Image(())
        for name in ("mw", "mw-front", "mw-xen"):
            image.program(guests.build() / name, f"/usr/bin/{name}")
        image.program(Path("/usr/sbin/nft"))
        image.file(images.TOP / "xen/ins.cfg.in", "/etc/ins.cfg.in")
        x.machine.unpack(image)
        x.machine.run(BEGIN)

    def start(self, command, name):
        self.x.machine.run(f"( {command} 2>&1 | while read -r line; do echo \"$(date +%T) $line\"; done ) >/run/{name}.said 2>&1 </dev/null &")

    def said(self):
        return self.x.machine.shell("for f in /run/*.said; do echo \"== $f\"; cat $f; done; mw-xen status; free -m")[1]

    def says(self, name, pattern, times=1, seconds=200):
        self.x.until(lambda: len(re.findall(pattern, self.x.machine.shell(f"cat /run/{name}.said")[1])) >= times, seconds,
                     lambda: f"{name}: no {pattern!r}, {times} times:\n{self.said()}\n{self.x.logs()}")

    def members(self):
        """{number: entry}"""
        return {e["ins"]: e for e in map(json.loads, self.x.machine.run("mw ins list --json web").splitlines())}

    def sent(self, number):
        fields = self.x.machine.run(f"xenstore-read /mw/{number}/network_stats").split(":")
        return int(fields[3], 16) if len(fields) > 3 else 0     # empty: it has not counted yet


class Load:
    """Requests to one address, one after the other, until stopped."""

    def __init__(self, x):
        self.x, self.good, self.bad, self.over = x, 0, [], threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        x.machine.port(DOM0, 80)
        self.thread.start()

    def _run(self):
        while not self.over.is_set():
            status, said = self.x.curl(address=DOM0, seconds=30)
            self.good += (status, said) == (0, b"hello\n")
            if (status, said) != (0, b"hello\n"):
                self.bad.append((time.strftime("%X"), status, said))

    def more(self, count):
        wanted = self.good + count
        self.x.until(lambda: self.good >= wanted, 120, lambda: f"{count} more requests: {self.good} of {wanted}, failed: {self.bad}")

    def stop(self):
        self.over.set()
        self.thread.join()


@case("dom0 creates two INS domains from the template; one address leads to both; one is drained, destroyed and replaced, and no request fails", limit=700)
def front(t):
    x = lab(t, "front")
    dom0 = Dom0(x)
    x.machine.run("xl destroy ins1")
    dom0.start(BROKER, "broker")
    dom0.start(FRONTEND, "frontend")
    dom0.says("broker", r"INS domain \d+, web-ins\d, is created", 2)
    x.until(lambda: [e["state"] for e in dom0.members().values()] == ["up", "up"], 200, lambda: f"two are up:\n{dom0.said()}\n{x.logs()}")
    x.pvm.run(f"echo hello >/srv/index.html; {RUN} nginx -c /etc/mwcomms/nginx.conf")
    dom0.says("frontend", r"INS dom0/web/\d+ gets connections", 2)
    equal(x.curl(address=DOM0, seconds=60), (0, b"hello\n"), "the first request")
    check(len(dom0.members()) == 2, dom0.said)
    first, second = sorted(dom0.members())
    t.note(f"{x.machine.run('free -m | head -2')}")
    load = Load(x)
    load.more(30)
    x.until(lambda: min(dom0.sent(first), dom0.sent(second)) > 0, 60, lambda: f"both sent something: {dom0.said()}")
    x.machine.run(f"mw ins drain web {first}")
    dom0.says("broker", f"INS domain {first} is drained and has no connections any more: it is destroyed")
    dom0.says("broker", rf"INS domain {first} \S+ is gone")
    matches(x.pvm.run("dmesg"), rf"mwcomms: INS {first} is drained: it gets no new sockets", "the module")
    dom0.says("broker", r"INS domain \d+, web-ins\d, is created", 3)
    dom0.says("frontend", r"INS dom0/web/\d+ gets connections", 3)
    third = max(dom0.members())
    load.more(20)
    x.until(lambda: dom0.sent(third) > 0, 60, lambda: f"the new one sends: {dom0.said()}")
    load.stop()
    check(not load.bad, lambda: f"{len(load.bad)} failed of {load.good}: {load.bad}\n{dom0.said()}\n{x.logs()}\n{x.pvm.run('dmesg | tail -n 40')}")
    t.note(f"{load.good} requests through dom0's address, none failed; INS domains {first}, {second}, then {third}")
    check(str(first) not in x.machine.run("xl list | awk '{ print $2 }'").split(), "the drained domain is destroyed")
    check(str(first) not in x.machine.run("xenstore-ls /mw | grep '^[0-9]' | cut -d' ' -f1").split(), "and its keys are swept")
    x.machine.run("kill $(pidof mw-front); while pidof mw-front; do usleep 100000; done")
    equal(x.machine.run("/usr/sbin/nft list tables"), "", "rules that the frontend left")
    equal(x.complaints(), [], "the kernel's complaints")


if __name__ == "__main__":
    if own_machine.outside():
        labs.make()
        labs.warm()
    tap.main()
