#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real Xen, emulated: programs under `mw run --xen`. What socket calls do, with both ends of a connection at an INS domain, and on the protected
machine's own loopback, compared; names; programs that no shim sees; what `mw run --xen` says when it cannot."""
import http.server
import subprocess
import sys
import threading
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "net")]
from lib import machine as own_machine  # noqa: E402
from lib import tap  # noqa: E402
from lib.tap import case, equal, matches  # noqa: E402
from xenlab import guests  # noqa: E402
from xenlab import lab as labs  # noqa: E402
from xenlab.lab import RUN, lab  # noqa: E402

LIMIT = 400
# fork, exec, descriptors passed on, two threads on one socket; edges; half-close; connect without waiting, SO_ERROR; 10 MB by write, sendfile, splice; MSG_PEEK.
PARTS = {4: ("pass", "edges", "states", "connect", "bulk", "read", "calls", "wait", "dgram"),
         6: ("connect", "states", "dgram")}
OUTSIDE = "10.0.0.2"  # this machine, from an INS domain
SOURCES = {"/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n", "/etc/host.conf": "multi on\n",
           "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n"}  # of names, natively and through an INS domain
LOOKUPS = """ai n1.lab.test 80
ai n1.lab.test 80 0 2 1 6
ai n1.lab.test 80 32 2 1 6
ai n6.lab.test 80 32 10 1 6
ai alias.lab.test 80 2 0 1
ai nowhere.lab.test 80
ai localhost 80 0 2 1
h n1.lab.test
h2 n6.lab.test 10
hr n1.lab.test 2
ha 10.0.0.2 2 4
ni 10.0.0.2 80 2 100 100
q n1.lab.test 1
s n1 1
send n1.lab.test 1
fork ai n1.lab.test 80 0 2 1
"""


def differences(x, family):
    wrong = []
    for part in PARTS[family]:
        native = x.pvm.shell(f"vm-semantics {family} both {part}", 120)
        through = x.pvm.shell(f"{RUN} vm-semantics {family} both {part}", 120)
        if native != through:
            lines = zip(native[1].splitlines() + [str(native[0])], through[1].splitlines() + [str(through[0])])
            wrong += [f"{part}: natively {a!r}, through the INS domain {b!r}" for a, b in lines if a != b] or [part + ": more or fewer lines"]
    return wrong


@case("socket calls say the same natively and through an INS domain, IPv4 and IPv6", limit=LIMIT)
def same(t):
    x = lab(t, "programs")
    for family in (4, 6):
        equal(differences(x, family), [], f"what differs, IPv{family}")
    equal(x.complaints(), [], "the kernel's complaints")


@case("whose sockets are: of programs that a program starts with an empty environment, static ones, under either lane", limit=LIMIT)
def whose(t):
    x = lab(t, "whose")
    equal(x.pvm.run("vm-semantics 4 whose").split("\n"), ["a listener: the kernel's", "after exec: the kernel's"], "natively")
    ours = ["a listener: the device's", "after exec: the device's"]
    for run in (RUN, "mw run --xen --lane stream", "mw run --xen --lane ring", "mw run --xen sh -c 'exec \"$@\"' -"):
        equal(x.pvm.run(f"{run} vm-semantics 4 whose 2>/tmp/said").split("\n"), ours, run)
    matches(x.pvm.run("cat /tmp/said"), "sh is a static program: its system calls are trapped", "what is said of a static program")
    equal(x.pvm.run("mw run --xen --lane ring vm-semantics 4 lowest"), "3 4", "descriptors are the lowest that are free")
    equal(x.complaints(), [], "the kernel's complaints")


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"page\n")

    def log_message(self, *_):
        pass


def outside(t):
    """A web server and a name server, on this machine's loopback: what an INS domain reaches at OUTSIDE."""
    own_machine.private_copy("/etc")
    Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\nsearch lab.test\n")
    for name, text in SOURCES.items():
        Path(name).write_text(text)
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 8099), Page)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    t.callback(web.shutdown)
    names = subprocess.Popen(["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=",
                              "--bind-interfaces", "--listen-address=127.0.0.1", "--local=/#/", f"--host-record=n1.lab.test,{OUTSIDE}",
                              "--host-record=n6.lab.test,fd00::6", "--cname=alias.lab.test,n1.lab.test"], stdin=subprocess.DEVNULL)
    t.callback(names.wait)
    t.callback(names.kill)


@case("names are looked up by way of the INS domain, as natively; a client reaches a server by its name", limit=LIMIT)
def names(t):
    x = lab(t, "names")
    outside(t)
    x.pvm.run(f"printf 'nameserver {OUTSIDE}\\nsearch lab.test\\n' >/etc/resolv.conf")
    for name, text in SOURCES.items():
        x.pvm.run(f"cat >{name} <<'EOF'\n{text}EOF")
    done = subprocess.run([guests.build() / "names_client"], input=LOOKUPS, capture_output=True, text=True, timeout=60, check=False)
    native = done.stdout.splitlines()
    for run in (RUN, "ip addr add 192.0.2.1/32 dev lo; ip addr add 2001:db8::1/128 dev lo; mw run --xen --lane stream"):  # which asks the kernel about AI_ADDRCONFIG
        said = x.pvm.shell(f"{run} names_client 2>&1 <<'EOF'\n{LOOKUPS}EOF", 120)[1].splitlines()
        equal(said, native, run)
    equal(x.pvm.run(f"{RUN} curl -sS -m 30 http://n1.lab.test:8099/"), "page", "a client")
    equal(x.pvm.run(f"{RUN} busybox wget -q -O - http://{OUTSIDE}:8099/ 2>/dev/null"), "page", "a static client")
    equal(x.complaints(), [], "the kernel's complaints")


@case("what mw run --xen says: no module, no permission, no INS, options that mean nothing here", limit=LIMIT)
def told(t):
    x = lab(t, "told")
    as_nobody, as_www = (f"start-stop-daemon -S -c {user} -x /usr/local/bin/mw --" for user in ("nobody:nogroup", "www-data"))
    equal(x.pvm.shell(f"{as_nobody} run --xen true"), (125, "mw run: you may not open /dev/mwcomms: its group (mwcomms) and root may\n"), "another user")
    equal(x.pvm.run(f"{as_www} run --xen vm-semantics 4 whose").split("\n")[0], "a listener: the device's", "one of the group")
    equal(x.pvm.shell("mw run --xen --publish 80:80 true"),
          (2, "mw run: --xen goes with --lane alone: --publish is for a stack on this machine; see `mw run --help`\n"), "an option")
    equal(x.pvm.shell("mw run --xen nothing-of-that-name")[0], 127, "no such command")
    x.machine.run("xl destroy ins1")
    x.until(lambda: "is gone" in x.pvm.run("dmesg | tail -n 3"), 60, "the INS's end")
    x.pvm.run("echo 1 >/sys/module/mwcomms/parameters/wait")
    status, said = x.pvm.shell("mw run --xen vm-semantics 4 whose")
    equal(said, "mw run: no INS serves this machine yet; a new socket waits 1 s for one, then fails with ENETDOWN\nno listener: ENETDOWN\n", "without an INS")
    x.pvm.run("rmmod mwcomms")
    status, said = x.pvm.shell("mw run --xen true")
    equal(status, 125, "without the module")
    matches(said, r"^mw run: there is no /dev/mwcomms: load the module first \(modprobe mwcomms;", "without the module")
    x.pvm.run("mknod /dev/mwcomms c 1 3")
    status, said = x.pvm.shell("mw run --xen true; status=$?; rm /dev/mwcomms; exit $status")
    equal((status, said), (125, "mw run: /dev/mwcomms is not the module's: Inappropriate ioctl for device\n"), "another device of that name")
    equal(x.complaints(), [], "the kernel's complaints")


if __name__ == "__main__":
    if own_machine.outside():
        labs.make()
        labs.warm()
    tap.main()
