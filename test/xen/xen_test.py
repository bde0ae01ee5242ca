#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real Xen, emulated: Debian's servers in a machine without any network device, served through INS domains to clients outside."""
import hashlib
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "net")]
from lib import machine as own_machine  # noqa: E402
from lib import tap  # noqa: E402
from lib.tap import case, check, equal, matches, until  # noqa: E402
from xenlab import images  # noqa: E402
from xenlab import lab as labs  # noqa: E402
from xenlab.lab import INS1, INS2, INS3, RUN, lab  # noqa: E402
from xenlab.machine import Machine  # noqa: E402

LIMIT = 600   # ten times and more what the longest takes where nothing else runs
TEN_MB = 10_000_000
BOOT_S = 12                         # an INS domain, from `xl create` to service
LEAST = {"pv": 96, "pvh": 96}       # MiB in which one boots and serves each time; a PV one with 90 did so most times, with 84 never, a PVH one with 80 never


def start_nginx(x):
    x.pvm.run("mkdir -p /srv; chown www-data /srv; echo hello >/srv/index.html; "
              f"dd if=/dev/urandom of=/srv/big bs=1000 count={TEN_MB // 1000} 2>/dev/null; {RUN} nginx -c /etc/mwcomms/nginx.conf")


def requests(x, count, address=INS1, path="/", at_once=1):
    """ab's report of so many requests."""
    done = subprocess.run(["ab", "-q", "-s", "60", "-n", str(count), "-c", str(at_once), x.url(address, path)], capture_output=True, text=True,
                          check=False, timeout=200)
    check(done.returncode == 0, f"ab ended with status {done.returncode}: {done.stderr}{done.stdout}")
    matches(done.stdout, rf"Complete requests:\s+{count}$", "ab")
    matches(done.stdout, r"Failed requests:\s+0$", "ab")
    check("Non-2xx" not in done.stdout, done.stdout)
    return float(re.search(r"Requests per second:\s+([\d.]+)", done.stdout)[1])


def ten_megabytes(t, x, address=INS1, down="/big", up="/up"):
    """Down and up, by checksum."""
    started = time.monotonic()
    status, data = x.curl(address=address, path=down, seconds=120)
    equal((status, len(data)), (0, TEN_MB), "curl, and its bytes")
    wanted = x.pvm.run(f"md5sum /srv{down}").split()[0]
    equal(hashlib.md5(data).hexdigest(), wanted, "checksum, down")
    t.note(f"10 MB down in {time.monotonic() - started:.1f} s")
    started = time.monotonic()
    source = x.machine.directory / "up"
    source.write_bytes(os.urandom(TEN_MB))
    status, said = x.curl("-T", str(source), "-o", "/dev/null", "-w", "%{http_code}", address=address, path=up, seconds=120)
    equal((status, said), (0, b"201"), "PUT")
    equal(x.pvm.run(f"md5sum /srv{up}").split()[0], hashlib.md5(source.read_bytes()).hexdigest(), "checksum, up")
    t.note(f"10 MB up in {time.monotonic() - started:.1f} s")


def no_sockets_of_its_own(x):
    equal(x.pvm.run("ls /sys/class/net"), "lo", "network devices of the protected machine")
    for table in ("tcp", "tcp6", "udp", "udp6"):
        equal(x.pvm.run(f"tail -n +2 /proc/net/{table}"), "", f"sockets of its own stack, {table}")


@case("nginx, and not one socket of the protected machine's own stack: 200 requests, 10 MB down and up", limit=LIMIT)
def nginx(t):
    x = lab(t, "nginx")
    start_nginx(x)
    equal(x.curl(), (0, b"hello\n"), "the first request")
    t.note(f"{requests(x, 200):.0f} requests a second one by one, {requests(x, 200, at_once=8):.0f} with 8 at once")
    ten_megabytes(t, x)
    no_sockets_of_its_own(x)
    equal(x.complaints(), [], "the kernel's complaints")


def start_apache(x, mpm):
    x.pvm.run(f"cd /etc/apache2/mods-enabled; rm -f mpm_*; ln -s ../mods-available/mpm_{mpm}.* .; ln -s ../mods-available/dav.load ../mods-available/dav_fs.* .; "
              "mkdir -p /srv /run/apache2 /run/lock /var/lock/apache2 /run/dav; chown www-data /srv /run/dav /var/lock/apache2; "
              f"dd if=/dev/urandom of=/srv/big bs=1000 count={TEN_MB // 1000} 2>/dev/null; "
              "printf 'ServerName lab\\nAlias /up /srv/up\\nAlias /big /srv/big\\nDavLockDB /run/dav/lock\\n<Directory /srv>\\nDav On\\nRequire all granted\\n"
              "</Directory>\\n' >/etc/apache2/conf-enabled/lab.conf; . /etc/apache2/envvars; " + RUN + " apache2 -k start", 120)


def apache(t, mpm):
    x = lab(t, f"apache-{mpm}")
    start_apache(x, mpm)
    x.until(lambda: x.curl()[1] == b"hello from the protected machine\n", 60, "the first request")
    t.note(f"{requests(x, 200):.0f} requests a second one by one, {requests(x, 200, at_once=8):.0f} with 8 at once")
    ten_megabytes(t, x)
    no_sockets_of_its_own(x)
    equal(x.complaints(), [], "the kernel's complaints")


@case("Apache as Debian configures it, event: 200 requests, 10 MB down and up", limit=LIMIT)
def apache_event(t):
    apache(t, "event")


@case("Apache, prefork: 200 requests, 10 MB down and up", limit=LIMIT)
def apache_prefork(t):
    apache(t, "prefork")


class Load:
    """Requests to each of some addresses, one after the other, until stopped; how many went well and how many not, by address."""

    def __init__(self, x, *addresses):
        self.good, self.bad, self.stopped = dict.fromkeys(addresses, 0), dict.fromkeys(addresses, 0), False
        self.threads = [threading.Thread(target=self._run, args=(x, address), daemon=True) for address in addresses]
        for address in addresses:
            x.machine.port(address, 80)
        for thread in self.threads:
            thread.start()

    def _run(self, x, address):
        while not self.stopped:
            status, said = x.curl(address=address, path="/one", seconds=5)
            (self.good if (status, said) == (0, b"one\n") else self.bad)[address] += 1

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join()


@case("two INS domains serve; one is destroyed under load: the other serves on; a new one joins and serves", limit=LIMIT)
def destroy(t):
    x = lab(t, "destroy")
    start_nginx(x)
    number, seconds = x.ins("ins2", INS2)
    t.note(f"INS domain {number} serves {seconds:.1f} s after xl create")
    x.until(lambda: x.curl(address=INS2)[0] == 0, 30, "a listener that was there before at the new INS")
    load = Load(x, INS1, INS2)
    until(60, lambda: min(load.good.values()) >= 10, "requests by both")
    x.machine.run("xl destroy ins1")
    at = load.good[INS2]
    until(60, lambda: load.good[INS2] >= at + 20, "requests by the other")
    third, seconds = x.ins("ins3", INS3)
    t.note(f"INS domain {third} serves {seconds:.1f} s after xl create")
    x.until(lambda: x.curl(address=INS3)[1] == b"hello\n", 30, "the third")
    load.stop()
    equal(load.bad[INS2], 0, "failed requests by the one that stayed")
    t.note(f"requests that went well: {load.good}, failed: {load.bad}")
    matches(x.pvm.run("dmesg"), r"mwcomms: INS \d+ is gone: its domain is gone", "the module")
    no_sockets_of_its_own(x)
    equal(x.complaints(), [], "the kernel's complaints")


@case("the module leaves and comes back while an INS domain lives, and they meet again", limit=LIMIT)
def reload(t):
    x = lab(t, "reload")
    number = int(x.machine.run("xl domid ins1"))
    for times in range(2, 7):
        x.pvm.run("rmmod mwcomms")
        x.pvm.run("insmod /mod/mwcomms.ko")
        x.serves(number, times)
    start_nginx(x)
    equal(x.curl(), (0, b"hello\n"), "a request")
    equal(x.complaints(), [], "the kernel's complaints")


@case("an INS domain that dom0 has drained before it is met gets nothing new when it is", limit=LIMIT)
def drained(t):
    x = lab(t, "drained")
    number = int(x.machine.run("xl domid ins1"))
    x.pvm.run("rmmod mwcomms")
    x.machine.run(f"xenstore-write /mw/{number}/drain 1")
    x.pvm.run("insmod /mod/mwcomms.ko wait=0")
    x.serves(number, 2)
    x.until(lambda: f"mwcomms: INS {number} is drained" in x.pvm.run("dmesg"), 20, lambda: f"not drained:\n{x.pvm.run('dmesg | tail')}")
    equal(x.complaints(), [], "the kernel's complaints")


@case("an INS that speaks another version, or says nonsense, is not met, and told why; the domain's id is in the message", limit=LIMIT)
def versions(t):
    x = lab(t, "versions")
    x.pvm.run("rmmod mwcomms")
    number = x.guests.ins("ins2", INS2)
    x.machine.run("xl destroy ins1; xl pause ins2")
    x.setup("ins2")
    key = f"/mw/{number}"
    for version, slots, why in (("2-3", "64", "it speaks another version of the protocol than 1"), ("x", "64", "it speaks another"),
                                ("1", "63", "ins_slots is no number of at least 64"), ("1-9", "many", "ins_slots is no number")):
        x.machine.run(f"xenstore-write {key}/ins_version {version} {key}/ins_slots {slots} {key}/ins_state init {key}/ins_dom_id {number}")
        x.pvm.run("insmod /mod/mwcomms.ko")
        x.until(lambda: why in x.machine.run(f"xenstore-read {key}/pvm_state"), 20, f"{version}, {slots}: not refused")
        matches(x.pvm.run("dmesg | tail -n 5"), rf"mwcomms: INS domain {number}: {why}", "the message")
        x.pvm.run("rmmod mwcomms")
    equal(x.complaints(), [], "the kernel's complaints")


@case("an INS domain in the least memory that it runs in, PV and PVH: soon there, 200 requests, 10 MB down and up", limit=LIMIT)
def memory(t):
    x = lab(t, "memory")
    start_nginx(x)
    for name, address, kind in (("small", INS2, "pv"), ("pvh", INS3, "pvh")):
        mib, before = LEAST[kind], x.machine.clock()
        _, seconds = x.ins(name, address, memory=mib, kind=kind)
        alone = x.machine.undisturbed(before)
        t.note(f"{kind}, {mib} MiB: serves {seconds:.1f} s after xl create" + ("" if alone else ", beside much other work"))
        check(kind != "pv" or seconds <= (BOOT_S if alone else 2 * BOOT_S), f"{seconds:.1f} s to service")
        x.until(lambda: x.curl(address=address)[1] == b"hello\n", 60, f"a request by {name}")
        requests(x, 200, address, at_once=4)
        ten_megabytes(t, x, address, up=f"/up-{name}")
        t.note("then free: " + x.machine.run("awk '/MemAvailable/ { print int($2 / 1024) }' /proc/meminfo", address=address) + " MiB")
        x.machine.run(f"xl destroy {name}")
    equal(x.complaints(), [], "the kernel's complaints")


UDHCPD = """start 10.1.0.40
end 10.1.0.40
interface xenbr1
lease_file /run/leases
option subnet 255.255.255.0
option router 10.1.0.1
"""


@case("an INS domain asks a DHCP server for its address, and has one of IPv6 too; the gate's rule of its configuration holds", limit=LIMIT)
def addresses(t):
    x = lab(t, "addresses")
    start_nginx(x)
    x.machine.run("brctl addbr xenbr1; ip link set xenbr1 up; ip addr add 10.1.0.1/24 dev xenbr1; ip addr add fd00:10::1/64 dev xenbr1; : >/run/leases; "
                  f"printf '%s' '{UDHCPD}' >/run/udhcpd.conf; udhcpd -f /run/udhcpd.conf >/run/udhcpd.log 2>&1 &")
    number, _ = x.ins("ins2", None, bridge="xenbr1", extra="ip=dhcp ip=fd00:10::40/64 gw=fd00:10::1 mw.gate=81=tls")
    x.until(lambda: {"10.1.0.40", "fd00:10::40"} <= set(x.machine.run(f"xenstore-read /mw/{number}/ip_addrs").split()), 30,
            lambda: x.machine.run(f"xenstore-read /mw/{number}/ip_addrs; cat /run/udhcpd.log"))

    def asked(host, port):
        return x.machine.shell(f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 30 {host} {port}")[1]

    for host in ("10.1.0.40", "fd00:10::40"):
        x.until(lambda: asked(host, 80).endswith("\r\n\r\nhello\n"), 60, f"an answer of {host}")
    x.until(lambda: "200 OK" in asked(INS1, 81), 60, "port 81 where there is no gate")
    equal(asked("10.1.0.40", 81), "", "the answer where the gate wants TLS")
    equal(x.complaints(), [], "the kernel's complaints")


@case("a full grant table is said, with the domain's id, and the module stays whole", limit=LIMIT)
def grants(t):
    x = lab(t, "grants")
    x.machine.run("xl destroy pvm")
    pvm = x.guests.pvm(configuration="max_grant_frames=2") # with one Debian's kernel does not boot
    x.pvm = pvm
    pvm.run("insmod /mod/mwcomms.ko slots=16384")
    x.setup("ins1")
    number = x.machine.run("xl domid ins1")
    x.until(lambda: "error" in x.machine.run(f"xenstore-read /mw/{number}/pvm_state"), 60, "no word of it")
    matches(pvm.run("dmesg"), rf"mwcomms: INS domain {number}: the grant table is full; give this machine more", "the message")
    pvm.run("rmmod mwcomms")
    equal(x.complaints(), [], "the kernel's complaints")


@case("from a cold machine, without any snapshot, to the first request", limit=LIMIT)
def cold(t):
    started = time.monotonic()
    x = t.enter_context(Machine(images.Boot(), images.STORE / "cases/cold"))
    x.ready()
    t.note(f"dom0 is up after {time.monotonic() - started:.1f} s")
    cold_lab = labs.bring_up(x)
    start_nginx(cold_lab)
    cold_lab.until(lambda: cold_lab.curl()[1] == b"hello\n", 60, "the first request")
    t.note(f"served after {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    if own_machine.outside():
        labs.make()
        labs.warm()  # packages are fetched and guests booted where there is a network
    tap.main()
