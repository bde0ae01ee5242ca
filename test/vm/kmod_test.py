#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The kernel module in a virtual machine without Xen: its INSs are processes there, met by the loop carrier. Debian's kernel has
neither lockdep nor KASAN: what it says by itself (warnings, oopses, stuck tasks) and its counts of slab objects are looked at."""
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "net")]

from lib.tap import Failed, case, check, equal, main, until
from vm.debs import BUILD, Kernel
from vm.guest import Guest, with_agent
from vm.image import Image, protected_machine

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(os.environ.get("MW_BUILD", BUILD))
SAME = ("calls", "connect", "states", "edges", "read", "bulk", "pass", "wait", "options", "dgram", "urgent", "again", "linger", "waits")
LIES = ("seq", "op", "status", "slot", "bare", "even", "value", "length", "twice", "rep_prod", "req_cons", "gen", "rx_prod", "tx_cons", "dgram",
        "record", "record-slot", "record-own", "grant")     # each of which costs the INS its connections
QUIET_LIES = ("error", "long", "marks", "spare", "keep", "reuse")  # which harm nobody else, and cannot be told from clumsiness
BAD = re.compile(r"WARNING:|BUG:|Oops:|Call Trace|general protection|soft lockup|refcount_t|list_(add|del) corruption|hung_task|blocked for more than")

NGINX = """daemon off; master_process on; worker_processes 2; error_log /tmp/nginx.err; pid /tmp/nginx.pid;
events { worker_connections 256; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_timeout 30; client_max_body_size 20m; client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;
  server { listen 8080; root /tmp/www; location /small { return 200 "hello\\n"; } } }
"""


def module(*more):
    built = PROGRAMS / ("kmod-" + KERNEL.release)
    done = subprocess.run([ROOT / "tools/kmod.sh", built, *more], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"the module does not build: {done.stdout}{done.stderr}")
    return built / "kmod/mwcomms.ko"


def failing():
    """The module that has mwcomms.ko fail, built as that is."""
    built = (PROGRAMS / ("kmod-" + KERNEL.release) / "test").resolve()
    built.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "test/vm/no_memory.c", built)
    (built / "Kbuild").write_text("obj-m := no_memory.o\nccflags-y := -I$(src)/.. -Werror\n")
    module(f"M={built}")
    return built / "no_memory.ko"


@contextlib.contextmanager
def alone():
    """Other tests build the same there."""
    with open(PROGRAMS / "vm-kmod.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def image():
    image = with_agent(Image())
    with alone():
        image.file(module(), "/mod/mwcomms.ko")
        image.file(failing(), "/mod/no_memory.ko")
    protected_machine(image, PROGRAMS)
    for name in ("vm-semantics", "vm-liar", "vm-drive", "vm-device", "mw-ins"):
        image.program(PROGRAMS / name, "/bin/" + name.removeprefix("vm-"))
    for path in ("/usr/sbin/nginx", "/usr/bin/curl"):
        image.program(path)
    image.text("/etc/passwd", "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    image.text("/etc/group", "root:x:0:\nnogroup:x:65534:\n")
    image.text("/etc/nginx.conf", NGINX)
    image.directory("/var/lib/nginx")
    image.directory("/var/log/nginx")
    path = PROGRAMS / "vm-kmod.cpio"
    with alone():
        image.write(path)
    return path


KERNEL = Kernel()
IMAGE = image() if __name__ == "__main__" else None


@contextlib.contextmanager
def machine(parameters="loop=1 wait=0"):
    """A guest with the module loaded; afterwards it is unloaded, nothing of it is left and the kernel has not complained."""
    with Guest(KERNEL.image, [IMAGE]) as guest:
        guest.good("insmod /mod/mwcomms.ko " + parameters)
        yield guest
        guest.run("killall -q nginx; sleep 0.3; killall -q mw-ins liar drive semantics; true")
        until(90, lambda: guest.run("rmmod mwcomms")[0] == 0, lambda: guest.run("rmmod mwcomms; lsmod")[1])
        unharmed(guest)


def unharmed(guest):
    said = guest.good("dmesg")
    bad = [line for line in said.splitlines() if BAD.search(line)]
    check(not bad, lambda: "the kernel says: " + "\n".join(bad) + guest.tail(60))


def ins(guest, namespace=False, count=1):
    """Starts one; its number in the order of the machine's INSs is what `count` was before. Its process id."""
    script = "ip link set lo up; exec mw-ins door file=/dev/mwcomms-ins"
    pid = guest.good(f"{'unshare -n ' if namespace else ''}sh -c '{script}' >/tmp/ins.log 2>&1 & echo $!").strip()
    until(90, lambda: int(guest.good("dmesg | grep -c 'mwcomms: INS .* serves' || true")) >= count, lambda: guest.good("cat /tmp/ins.log; dmesg | tail"))
    return pid


def differences(guest, family, parts):
    wrong = []
    for part in parts:
        native = guest.run(f"semantics {family} {part}", limit=60)
        through = guest.run(f"mw run --xen semantics {family} {part}", limit=60)
        if native != through:
            lines = zip(native[1].splitlines() + [str(native[0])], through[1].splitlines() + [str(through[0])])
            wrong += [f"{part}: natively {a!r}, through the module {b!r}" for a, b in lines if a != b] or [part + ": more or fewer lines"]
    return wrong


@case("socket calls say the same natively and through the module, IPv4", limit=300)
def same4(c):
    with machine() as guest:
        ins(guest)
        equal(differences(guest, 4, SAME), [], "what differs")
        c.note(guest.good("grep MWCOMMS /proc/slabinfo").strip())


@case("socket calls say the same natively and through the module, IPv6", limit=300)
def same6(c):
    with machine() as guest:
        ins(guest)
        equal(differences(guest, 6, SAME), [], "what differs")


@case("each lie of an INS costs its own connections; another INS serves on", limit=600)
def lies(c):
    with machine() as guest:
        ins(guest)
        for lie in LIES + QUIET_LIES:
            guest.good(f"liar {lie} >/tmp/liar 2>&1 & sleep 0.3")
            for _ in range(20 if lie in LIES else 1):   # on a busy machine the liar may not have been asked yet
                status, out = guest.run("timeout 30 mw run --xen drive 1", limit=60)
                equal(status, 0, f"{lie}: a call hung: {out}")
                met = guest.run("pidof liar")[0] == 0
                if not met:
                    break
            equal(met, lie in QUIET_LIES, f"{lie}: the liar is still met: {out}{guest.tail(5)}")
            guest.run("killall -q liar; sleep 0.2")
        wrong = differences(guest, 4, ("states", "edges"))
        equal(wrong, [], "what differs at the one that serves on")


@case("an INS that does not answer is given up after its time, and no call waits for longer", limit=120)
def silent(c):
    with machine() as guest:
        guest.good("liar silent >/tmp/liar 2>&1 & sleep 0.5")
        status, out = guest.run("timeout 30 mw run --xen semantics 4 calls; dmesg | tail -n 1", limit=60)
        check("not answered within 10 s" in out, f"what was said: {out}")


@case("a million random words of an INS harm nobody", limit=600)
def random_words(c):
    with machine() as guest:
        ins(guest)
        guest.good("liar random 7 1000000 >/tmp/liar 2>&1 & for n in 1 2 3 4 5 6 7 8; do timeout 60 mw run --xen drive 3 || exit 1; done", limit=300)
        until(300, lambda: "given up" in guest.good("cat /tmp/liar"), lambda: guest.good("dmesg | tail -n 5"))
        c.note(guest.good("cat /tmp/liar").strip())
        equal(differences(guest, 4, ("states",)), [], "what differs at the one that serves on")


@case("the device says what is wrong with a request, and no socket without an INS", limit=60)
def device(c):
    with machine("loop=1 wait=1") as guest:
        equal(guest.run("timeout 10 mw run --xen semantics 4 states")[1].splitlines()[-1], "no connection: ENETDOWN", "without an INS")
        ins(guest)
        equal(guest.good("device wrong").splitlines(), [
            "version: done", "abi 1 protocol 1 ins 1", "version, nowhere: EFAULT", "stats, bad pointer: EFAULT", "socket, bad pointer: EFAULT",
            "no such request: ENOTTY", "another size: ENOTTY", "family: EAFNOSUPPORT", "raw: EPERM", "type: ESOCKTNOSUPPORT", "protocol: EPROTONOSUPPORT",
            "no such protocol: EINVAL", "flags: EINVAL", "UDP-Lite: made"], "what the device says")
        equal(guest.good("stat -c %a /dev/mwcomms /dev/mwcomms-ins").split(), ["660", "600"], "modes")


@case("rings that nobody uses are taken back: after their time, and at once when memory is scarce; they come again", limit=120)
def rings(c):
    with machine("loop=1 wait=1 spare=4 idle=3") as guest:
        ins(guest)
        guest.good("mw run --xen device many 60")
        many = stats(guest)["ring_slots"]
        check(many >= 60, f"{many} slots had rings")
        until(60, lambda: stats(guest)["ring_slots"] <= 8, lambda: f"after their time: {stats(guest)}")
        guest.good("mw run --xen device many 60 >/dev/null & sleep 1; echo 2 >/proc/sys/vm/drop_caches; wait")
        until(30, lambda: stats(guest)["ring_slots"] <= 1, lambda: f"under pressure: {stats(guest)}")
        after = stats(guest)
        equal((after["ring_pages"], after["quarantined"]), (after["ring_slots"] * 32, 0), "pages of rings, and INSs given up")
        guest.good("mw run --xen semantics 4 states; mw run --xen device many 60")
        until(60, lambda: 4 <= stats(guest)["ring_slots"] <= 8, lambda: f"in the end: {stats(guest)}")
        guest.good("! dmesg | grep 'given up'")


@case("a GRANT that finds no memory here is not the INS's refusal: it serves, and the rings come later", limit=120)
def no_memory(c):
    with machine("loop=1 wait=1 spare=4") as guest:
        guest.good("insmod /mod/no_memory.ko")
        ins(guest)
        until(30, lambda: stats(guest)["ring_slots"] >= 4, lambda: f"{stats(guest)}")
        equal(guest.good("cat /sys/module/no_memory/parameters/left").strip(), "0", "GRANTs that were yet to fail")
        after = stats(guest)
        equal((after["ring_pages"], after["quarantined"]), (after["ring_slots"] * 32, 0), "pages of rings, and INSs given up")
        guest.good("rmmod no_memory; mw run --xen semantics 4 states")


@case("what is in use stays: the module is not unloaded, and its device goes on", limit=60)
def in_use(c):
    with machine() as guest:
        ins(guest)
        guest.good("exec 5<>/dev/mwcomms; ! rmmod mwcomms; device stats >/dev/null")
        guest.good("mw run --xen semantics 4 held >/tmp/held & sleep 1; ! rmmod mwcomms; wait; grep -q 'still: 5 hello' /tmp/held")


@case("an INS dies while a close waits for it: the other sockets hear of it at once, and the close ends", limit=60)
def lingers(c):
    with machine() as guest:
        pid = ins(guest)
        guest.good("mw run --xen device lingers >/tmp/lingers 2>&1 &")
        until(30, lambda: "waits" in guest.good("cat /tmp/lingers"), lambda: guest.good("cat /tmp/lingers"))
        guest.good(f"sleep 1; kill -9 {pid}")
        until(20, lambda: "closed" in guest.good("cat /tmp/lingers"), lambda: guest.good("cat /tmp/lingers"))
        equal(guest.good("cat /tmp/lingers").split(), ["waits", "ECONNRESET", "ECONNRESET", "closed"], "what each was told")


def stats(guest):
    return {name: int(value) for name, value in (line.split() for line in guest.good("device stats").splitlines())}


def fetch(guest, pid, path, more=""):
    return guest.run(f"nsenter -t {pid} -n curl -sS -m 20 {more} http://127.0.0.1:8080{path}", limit=60)


def nginx(guest, pid):
    guest.good("mkdir -p /tmp/www /tmp/body && head -c 10000000 /dev/urandom >/tmp/www/big && chmod -R a+rX /tmp/www")
    guest.good("mw run --xen nginx -c /etc/nginx.conf >/tmp/nginx.out 2>&1 &")
    until(90, lambda: fetch(guest, pid, "/small")[1] == "hello\n", lambda: guest.good("cat /tmp/nginx.out /tmp/nginx.err; dmesg | tail"))


@case("nginx is served by the INS, and has no INET socket of its own", limit=200)
def web(c):
    with machine() as guest:
        pid = ins(guest, namespace=True)
        nginx(guest, pid)
        wanted = guest.good("md5sum </tmp/www/big")
        equal(guest.good(f"nsenter -t {pid} -n curl -sS -m 60 http://127.0.0.1:8080/big | md5sum", limit=90), wanted, "10 MB by checksum")
        urls = "http://127.0.0.1:8080/small?[1-200]"
        before = stats(guest)
        equal(guest.good(f"nsenter -t {pid} -n curl -sS -m 60 '{urls}' | sort | uniq -c", limit=90).split(), ["200", "hello"], "200 requests on one connection")
        cost = {name: (value - before[name]) / 200 for name, value in stats(guest).items()}
        c.note("a request on one connection: " + ", ".join(f"{cost[name]:.2f} {name}" for name in ("notified", "news", "requests")))
        check(cost["notified"] <= 2 and cost["news"] <= 2, f"notifications a request: {cost}")
        equal(guest.good("cat /proc/net/tcp /proc/net/tcp6 | grep -c : || true").strip(), "0", "INET sockets where nginx is")


@case("two INSs share the requests; one killed under load, the other serves on; a third joins", limit=200)
def several(c):
    with machine() as guest:
        first = ins(guest, namespace=True)
        nginx(guest, first)
        second = ins(guest, namespace=True, count=2)
        until(60, lambda: fetch(guest, second, "/small")[1] == "hello\n", lambda: guest.good("dmesg | tail -n 5"))
        guest.good(f"nsenter -t {second} -n curl -sS -m 60 --limit-rate 1M http://127.0.0.1:8080/big >/dev/null 2>/tmp/cut & sleep 0.5; kill -9 {second}")
        until(60, lambda: "gone" in guest.good("dmesg | tail -n 5"), "the INS's end is noticed")
        for _ in range(10):
            equal(fetch(guest, first, "/small")[1], "hello\n", "the other")
        third = ins(guest, namespace=True, count=3)
        until(60, lambda: fetch(guest, third, "/small")[1] == "hello\n", lambda: guest.good("dmesg | tail -n 5"))


@case("loaded and unloaded 100 times, connections open, INSs dying", limit=1200)
def load(c):
    with machine() as guest:
        script = """for n in $(seq 100); do
            mw-ins door file=/dev/mwcomms-ins >/dev/null 2>&1 & i=$!
            mw run --xen drive 0; w=0
            mw run --xen semantics 4 wait >/dev/null 2>&1 & s=$!
            usleep 150000
            if [ $((n % 2)) = 0 ]; then kill -9 $i; usleep 50000; kill -9 $s; else kill -9 $s; usleep 50000; kill -9 $i; fi
            wait
            w=0; until rmmod mwcomms 2>/dev/null; do usleep 100000; w=$((w + 1)); [ $w -lt 100 ] || exit 1; done
            grep -q MWCOMMS /proc/slabinfo && exit 2
            insmod /mod/mwcomms.ko loop=1 wait=2 || exit 3
        done; true"""
        before = free_kib(guest)
        guest.good(script, limit=1100)
        lost = before - free_kib(guest)
        c.note(f"{lost} KiB less are free")
        check(lost < 20000, f"{lost} KiB are lost: {guest.tail(20)}")


def free_kib(guest):
    return int(guest.good("sync; echo 3 >/proc/sys/vm/drop_caches; sleep 1; awk '/MemAvailable/{print $2}' /proc/meminfo"))


if __name__ == "__main__":
    main()
