# SPDX-License-Identifier: Apache-2.0
"""What a case begins with: a machine with Xen, dom0, the protected machine and one INS domain that serve each other.

That state is made once from what was built last, and kept; each case has a machine of its own, restored from it.
"""
import contextlib
import fcntl
import functools
import hashlib
import re
import subprocess
import time

from lib import tap
from vm import EMULATED
from vm.image import Image

from . import guests
from .images import HERE, STORE, TOP, Boot, digest
from .machine import Broken, Machine, log, snapshot

tap.patience = EMULATED
INS1, INS2, INS3 = "10.0.0.11", "10.0.0.12", "10.0.0.13"
SERVE_S = 60
COMPLAINTS = r".*(?:WARNING:|BUG:|Oops|general protection|Call Trace|leaking|hung|refcount).*"
RUN = "mw run --xen --"


class Lab:
    def __init__(self, machine, pvm=None):
        self.machine = machine
        self.guests = guests.Guests(machine)
        self.pvm = pvm or guests.Console(machine, "pvm", guests.PVM_CONSOLE)

    def setup(self, *names):
        """`mw xen setup` on dom0."""
        inss = f"--ins {' '.join(names)}" if names else ""
        return self.machine.run(f"mw-xen setup --pvm pvm {inss}")

    def status(self):
        return self.machine.run("mw-xen status --keys")

    def ins(self, name, address, **more):
        """One more INS domain, that serves. Its domain id, and the seconds from `xl create` to service, other work here not counted."""
        started = self.machine.clock()
        number = self.guests.ins(name, address, **more)
        self.setup(name)
        self.serves(number)
        return number, self.machine.since(started)

    def serves(self, number, times=1, seconds=SERVE_S):
        """Waits until the module has said so that often. Not from the protected machine: all share one processor."""
        within = seconds * EMULATED
        self.machine.shell(f"end=$(($(date +%s) + {within})); until [ \"$(xenstore-read /mw/{number}/pvm_state)\" = ready ] || [ $(date +%s) -ge $end ]; do "
                           "usleep 200000; done", seconds + 60)
        self.until(lambda: len(re.findall(rf"mwcomms: INS {number} serves", self.pvm.run("dmesg"))) >= times, seconds,
                   lambda: f"INS domain {number} does not serve:\n{self.pvm.run('dmesg | tail')}\n{self.status()}\n{self.logs()}")

    def until(self, ready, seconds, what):
        deadline = time.monotonic() + seconds * EMULATED
        while not ready():
            if time.monotonic() > deadline:
                raise Broken(what() if callable(what) else what)
            time.sleep(0.2)

    def logs(self):
        return self.machine.shell("for f in /run/guest-*.log; do echo \"== $f\"; tail -n 30 $f; done")[1]

    def url(self, address=INS1, path="/", port=80):
        return f"http://127.0.0.1:{self.machine.port(address, port)}{path}"

    def curl(self, *words, address=INS1, path="/", port=80, seconds=60):
        """(exit status, output) of curl, outside."""
        done = subprocess.run(["curl", "-sS", "-m", str(seconds), *words, self.url(address, path, port)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, timeout=seconds + 30)
        return done.returncode, done.stdout

    def complaints(self):
        """What the protected machine's kernel has to complain of."""
        return re.findall(COMPLAINTS, self.pvm.run("dmesg"))


@contextlib.contextmanager
def alone():
    """One at a time of all tests makes what they share."""
    STORE.mkdir(parents=True, exist_ok=True)
    with open(STORE / "lock", "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make():
    """What is built here and not by meson."""
    with alone():
        _make()


def _make():
    for command in (["tools/kmod.sh", guests.build() / "kmod"], ["tools/ins-image.py", guests.build()]):
        done = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise Broken(f"{command[0]}: {done.stdout}")


def build_digest():
    total = hashlib.sha256(guests.pvm_fresh().data())
    total.update(guests.ins_image())
    total.update((guests.build() / "mw-xen").read_bytes())
    return total.hexdigest()


@functools.cache
def warm():
    """(boot files, the state in which the protected machine and one INS domain serve)."""
    with alone():
        return _warm()


def _warm():
    boot = Boot()
    dom0 = snapshot(boot)
    state = STORE / ("warm-" + digest(dom0.name, guests.pvm_base().name, build_digest(), HERE / "guests.py"))
    if state.exists():
        return boot, state
    for old in STORE.glob("warm-*"):
        old.unlink()
    with Machine(boot, STORE / "warm", dom0) as machine:
        bring_up(machine)
        machine.run("[ ! -e /run/console.7101.pids ] || kill $(cat /run/console.7101.pids)")
        machine.save(state)
        log(f"saved, {state.stat().st_size >> 20} MiB, {machine.cpu():.1f} s of QEMU's")
    return boot, state


def bring_up(machine):
    """The protected machine with its module, and an INS that serves it, on a machine that has only dom0."""
    tool = Image(())
    tool.program(guests.build() / "mw-xen", "/usr/bin/mw-xen")
    machine.unpack(tool)
    started = time.monotonic()
    pvm = guests.Guests(machine).pvm()
    log(f"the protected machine is up after {time.monotonic() - started:.1f} s")
    lab = Lab(machine, pvm)
    pvm.run("insmod /mod/mwcomms.ko && chgrp mwcomms /dev/mwcomms")
    number, seconds = lab.ins("ins1", INS1)
    log(f"INS domain {number} serves after {seconds:.1f} s")
    return lab


def lab(case, name):
    """The case's own."""
    boot, state = warm()
    machine = case.enter_context(Machine(boot, STORE / "cases" / name, state))
    case.callback(lambda: case.note(f"{machine.cpu():.1f} s of QEMU's processor time"))
    return Lab(machine)
