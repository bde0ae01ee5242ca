#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Telemetry and orders of a protected machine, in plain QEMU: the module's second device, and `mw` beside `mw xen serve`."""
import contextlib
import json
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "net")]

import kmod_test as kmod
from lib import tap
from lib.tap import case, check, equal, main, until
from vm.guest import Guest
from vm.image import Image

tap.CASES.clear()  # kmod_test's own
SERVE = "--netflow 0.0.0.0:2055 --netflow-allow 127.0.0.0/8 --metrics 0.0.0.0:9464 --audit-log /tmp/audit"


def more_image():
    image = Image(())
    for name in ("mw", "mw-telem"):
        image.program(kmod.PROGRAMS / name, "/bin/" + name)
    image.program(kmod.PROGRAMS / "vm-telem", "/bin/telem")
    path = kmod.PROGRAMS / "vm-telem.cpio"
    image.write(path)
    return path


IMAGES = [kmod.image(), more_image()] if __name__ == "__main__" else []


@contextlib.contextmanager
def machine(parameters="loop=1 wait=0"):
    with Guest(kmod.KERNEL.image, IMAGES, limit=180) as guest:
        guest.good("insmod /mod/mwcomms.ko " + parameters)
        yield guest
        guest.run("killall -q nginx; killall -q mw; sleep 0.5; killall -q mw-ins telem; true")
        until(90, lambda: guest.run("rmmod mwcomms")[0] == 0, lambda: guest.run("rmmod mwcomms; lsmod; ps")[1])
        kmod.unharmed(guest)


WRONG = """not bound: ENODEV
read, not bound: EINVAL
seek, not bound: ENODEV
part: EINVAL
padding: EINVAL
no such INS: ENODEV
bind, bad pointer: EFAULT
next, bad pointer: EFAULT
no such request: ENOTTY
bind: done
bind again: EBUSY
read, short: EINVAL
read, no events yet: EAGAIN
verb, for reading: EBADF
verb, not bound: ENODEV
verb, bad pointer: EFAULT
verb, nonsense: EIO
"""
MAPS = """mprotect: EACCES
mprotect, execute: EACCES
writable: EACCES
private: EINVAL
private, writable: {}
at an offset: EINVAL
too much: EINVAL
one page: mapped
"""


@case("what is asked wrongly of the second device is refused; its memory is for reading alone; who may open it", limit=200)
def wrong(c):
    with machine() as guest:
        equal(guest.good("stat -c %a /dev/mwcomms-telem").split(), ["640"], "mode")
        kmod.ins(guest)
        maps = MAPS.format("EACCES")
        equal(guest.good("telem wrong").splitlines(), (WRONG + "for reading: mapped\n" + maps + "for writing too: mapped\n" + maps).splitlines(), "what it says")
        check("Permission denied" in guest.run("su nobody -s /bin/sh -c ': </dev/mwcomms-telem'")[1], "somebody else opens it")
        guest.good("chmod 666 /dev/mwcomms-telem; su nobody -s /bin/sh -c ': </dev/mwcomms-telem'")
        check("not permitted" in guest.run("su nobody -s /bin/sh -c ': <>/dev/mwcomms-telem'")[1], "somebody without the privilege opens it for orders")


@case("an INS goes while it is mapped: what it said stays, and nothing is mapped anew; INSs come and go in the list", limit=200)
def gone(c):
    with machine() as guest:
        pid = kmod.ins(guest)
        guest.good("telem hold >/tmp/hold 2>&1 & telem list >/tmp/list 2>&1 & until grep -qs held /tmp/hold && grep -qs since /tmp/list; do usleep 50000; done")
        equal(guest.good("cat /tmp/list").splitlines(), ["1: 0", "changed since: 0"], "the list")
        guest.good(f"kill -9 {pid}")
        until(30, lambda: "gone" in guest.good("cat /tmp/hold"), lambda: guest.good("cat /tmp/hold; dmesg | tail -n 5"))
        equal(guest.good("cat /tmp/hold").splitlines(), ["held", "gone; magic 1; read 0; again: ENODEV"], "what is left")
        until(10, lambda: "changed: 1" in guest.good("cat /tmp/list"), "the list has changed")
        kmod.ins(guest, count=2)
        listed = guest.good("telem list >/tmp/next & until grep -qs since /tmp/next; do usleep 50000; done; kill $!; cat /tmp/next").splitlines()
        equal(listed, ["2: 1", "changed since: 0"], "the next one's")
        until(60, lambda: guest.run("pidof telem")[0], "the holder ends")


@case("events wake who waits for them, once", limit=200)
def wake(c):
    with machine() as guest:
        kmod.ins(guest)
        guest.good("telem events >/tmp/events 2>&1 & sleep 0.5")
        guest.good("mw run --xen drive 1")
        time.sleep(1)
        woken = [int(n) for n in guest.good("cat /tmp/events").split()]
        check(len(woken) > 2 and woken == sorted(set(woken)), f"reads that found nothing more: {woken}")
        before = kmod.stats(guest)["news"]
        time.sleep(2)
        c.note(f"{len(woken)} wake-ups for {woken[-1]} events, then {kmod.stats(guest)['news'] - before} notifications in 2 s of quiet")


def flows(guest, **wanted):
    found = [json.loads(line) for line in guest.good("mw flows --json xen").splitlines()]
    return [f for f in found if all(f[k] == v for k, v in wanted.items())]


def serve(guest, options=SERVE):
    guest.good(f"mw xen serve {options} >/tmp/serve 2>&1 &")
    until(60, lambda: guest.run("mw ps | grep -q xen")[0] == 0, lambda: guest.good("cat /tmp/serve; ls -l /run/mw/xen"))


@case("mw flows, ps, ins, events, metrics and close, as on a host", limit=400)
def use(c):
    with machine() as guest:
        pid = kmod.ins(guest, namespace=True)
        serve(guest)
        kmod.nginx(guest, pid)
        guest.good("mkfifo /tmp/line; { printf 'GET /small HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'; sleep 200; } >/tmp/line 2>&1 &")
        guest.good(f"(nsenter -t {pid} -n nc 127.0.0.1 8080 </tmp/line >/tmp/client; echo ended >/tmp/ended) >/dev/null 2>&1 &")
        until(30, lambda: flows(guest, state="established"), lambda: guest.good("mw flows; cat /tmp/serve /tmp/client"))
        flow = flows(guest, state="established")[0]
        answer = guest.good("cat /tmp/client").encode()
        equal((flow["rx_bytes"], flow["tx_bytes"], flow["ins"], flow["command"]), (32, len(answer), 0, "nginx"), "the connection")
        c.note(guest.good("mw ps; mw ins list; mw flows"))
        equal(guest.run("mw ins add xen")[0], 1, "an INS is dom0's to add")
        guest.good("mw flows -f >/tmp/follow 2>&1 & sleep 0.5")
        kmod.fetch(guest, pid, "/small")
        until(20, lambda: "127.0.0.1" in guest.good("cat /tmp/follow"), lambda: guest.good("cat /tmp/follow"))
        text = guest.good(f"nsenter -t {pid} -n curl -sS -m 10 http://127.0.0.1:9464/metrics")
        check("mwcomms_ins_loops_total" in text, text)
        c.note(guest.good(f"mw close xen {flow['id']}").strip())
        until(20, lambda: guest.run("grep ended /tmp/ended")[0] == 0, "the client sees the end")
        check("close" in guest.good("cat /tmp/audit"), "the audit log")
        guest.good("mw block xen 127.0.0.9")
        check(guest.run(f"nsenter -t {pid} -n curl -sS -m 5 --interface 127.0.0.9 http://127.0.0.1:8080/small")[0] != 0, "one who is blocked")
        equal(kmod.fetch(guest, pid, "/small")[1], "hello\n", "one who is not")


if __name__ == "__main__":
    main()
