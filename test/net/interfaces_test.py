# SPDX-License-Identifier: Apache-2.0
"""Interfaces, addresses and routes: the application sees those of the INS's network, as a process in it does, and changes none."""
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

from lib import machine, tap
from lib.machine import HERE4, HERE6, run
from lib.mw import NOBODY, App, command, connects, for_nobody, preloaded, quick
from lib.tap import NETS, case, check, equal, until

PYTHON = "/usr/bin/python3"
LIB = Path(__file__).resolve().parent / "lib"
SCRIPT = str(LIB / "interfaces.py")
SEEN = ("addresses", "names", "wrong_names", "scope", "links", "netlink_addresses", "routes", "socket_itself", "other_protocols",
        "no_room", "ioctls")
REFUSED = ("refusals", "refused_names", "refused_ioctls")
LANES = {"ring": (), "stream": ("--lane", "stream")}

JAVA = """
import java.net.*; import java.util.*;
public class Interfaces { public static void main(String[] a) throws Exception {
	for (NetworkInterface i : Collections.list(NetworkInterface.getNetworkInterfaces()))
		for (InterfaceAddress at : i.getInterfaceAddresses())
			if (at.getAddress() instanceof Inet4Address)
				System.out.println(i.getName() + " " + i.getIndex() + " " + at.getAddress().getHostAddress());
} }
"""
GO = """
package main
import ("fmt"; "net")
func main() {
	list, err := net.Interfaces()
	if err != nil { panic(err) }
	for _, i := range list {
		addrs, _ := i.Addrs()
		for _, a := range addrs { fmt.Println(i.Name, i.Index, a.(*net.IPNet).IP) }
	}
}
"""
NODE = """
for (const [name, list] of Object.entries(require("os").networkInterfaces()))
	for (const a of list) console.log(name, a.address, a.netmask, a.mac);
"""


def lines(text):
    """{what: answer} of the script's last round."""
    rounds = text.split("said\n")
    return {what: answer for what, answer in (json.loads(line) for line in rounds[-2].splitlines() if line.startswith("["))}


def inside(app):
    """What to put before a command to run it in the INS's network."""
    return ("nsenter", f"--net=/proc/{app.ins_pid()}/ns/net", "--")


def seen_inside(app, what, user=()):
    status, out, err = command(*inside(app), *user, PYTHON, SCRIPT, *what)
    equal(status, 0, f"natively: {err}")
    return lines(out)


def differences(app, what, user=()):
    """App's last round and what a native process sees."""
    wanted, seen = seen_inside(app, what, user), lines(app.said())
    for key in what:
        equal(seen.get(key), wanted[key], key)
    return seen


def start(c, *what, lane="ring", **keys):
    app = App(c, PYTHON, SCRIPT, "wait", *what, options=LANES[lane], **keys)
    until(15, lambda: app.running() and "said\n" in app.said(), lambda: f"it says all: {app.said()}")
    return app


@case("all that is seen is what a process in the INS's network sees", limit=60, nets=NETS)
def seen(c):
    for lane in LANES:
        answers = differences(start(c, *SEEN, lane=lane, name=lane), SEEN)
        check(len(answers["names"][0]) >= 2, f"interfaces: {answers['names']}")
        check(len(answers["routes"]) > 4, f"routes: {answers['routes']}")


@case("it sees what changes: addresses and links that come and go", limit=60, nets=NETS)
def changing(c):
    for lane in LANES:
        app = start(c, "addresses", "names", "links", lane=lane, name=lane)
        before = lines(app.said())
        link = ("link", "add", f"extra-{lane}", "type", "veth", "peer", "name", f"other-{lane}")
        for round_, words in enumerate((link, ("addr", "add", "10.99.0.1/24", "dev", f"extra-{lane}"),
                                        ("link", "set", f"extra-{lane}", "mtu", "1300"), ("link", "del", f"extra-{lane}")), 2):
            run(*inside(app), "ip", *words)
            os.kill(app.app_pid(), signal.SIGUSR1)
            until(10, lambda n=round_: app.said().count("said\n") == n, lambda: f"it says all again: {app.said()[-500:]}")
            differences(app, ("addresses", "names", "links"))
        equal(lines(app.said()), before, "in the end")


@case("nothing can be changed over it, by root either: as natively without a privilege", limit=60, nets=NETS)
def refused(c):
    nobody = ("setpriv", "--reuid", "65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all")
    for lane in LANES:
        app = start(c, *REFUSED, lane=lane, name=lane)
        before = seen_inside(app, ("links", "netlink_addresses", "routes"))
        answers = differences(app, REFUSED, nobody)
        equal({tuple(answer) for _, _, answer in answers["refusals"]}, {(2, "EPERM")}, "answers")
        equal(seen_inside(app, ("links", "netlink_addresses", "routes")), before, "the network afterwards")


@case("without root, root of a user namespace changes nothing either", limit=60)
def refused_unprivileged(c):
    """nobody starts it, and the application is root in a namespace of its own in there."""
    directory, script = for_nobody(c, SCRIPT)
    status, out, err = quick("run", "--net", "host", "--", "unshare", "--user", "--map-root-user", PYTHON, script, "addresses", *REFUSED,
                             prefix=NOBODY, env=preloaded({"XDG_RUNTIME_DIR": str(directory)}))
    equal(status, 0, f"it ended: {out}{err}")
    answers = lines(out)
    equal({tuple(answer) for _, _, answer in answers["refusals"]}, {(2, "EPERM")}, "answers")
    status, out, err = command(PYTHON, SCRIPT, "addresses")
    equal(lines(out)["addresses"], answers["addresses"], "addresses")


@case("a process that has left for a network of its own sees and changes that one", limit=30, nets=NETS)
def away(c):
    status, wanted, err = command(PYTHON, SCRIPT, "away")
    equal((status, err), (0, ""), "natively")
    app = start(c, "away")
    equal(lines(app.said()), lines(wanted), "protected")
    check("0a636363" in wanted, wanted)


@case("messages of a group arrive: ip monitor", limit=30, nets=NETS)
def monitor(c):
    app = App(c, "ip", "-oneline", "monitor", "link", "address", name="monitor")
    app.listed()
    run(*inside(app), "ip", "link", "add", "extra", "type", "veth", "peer", "name", "other")

    def told():
        for what in ("add", "del"):
            run(*inside(app), "ip", "addr", what, "10.99.0.1/24", "dev", "extra")
        return "Deleted" in app.said() and "10.99.0.1/24" in app.said()

    until(10, told, lambda: f"it tells: {app.said()}", 0.1)
    run(*inside(app), "ip", "link", "del", "extra")


@case("ip, Go, Node and Java say what they say in the INS's network", limit=100, nets=NETS)
def programs(c):
    Path("/run/Interfaces.java").write_text(JAVA)
    Path("/run/interfaces.go").write_text(GO)
    status, _, err = command("go", "build", "-o", "/run/interfaces", "/run/interfaces.go", limit=60,
                             env={"CGO_ENABLED": "0", "HOME": "/run", "GO111MODULE": "off", "GOCACHE": str(machine.BUILD / "go-cache")})
    equal(status, 0, err)
    for argv in (("ip", "-details", "address"), ("ip", "-details", "-6", "route"), ("ip", "neighbour"), ("ip", "rule"),
                 ("/run/interfaces",), ("node", "-e", NODE), ("java", "/run/Interfaces.java")):
        shell = Path("/run/ask")
        shell.write_text("")
        one = App(c, "sh", "-c", '"$@" >/run/ask; echo done; exec sleep 100', "sh", *argv, name="one")
        until(20, lambda one=one: one.running() and "done" in one.said(), lambda one=one: f"{argv[0]} ends: {one.said()}")
        seen_one = shell.read_text()
        status, out, err = command(*inside(one), *argv)
        equal(status, 0, f"{argv[0]} natively: {err}")
        check(out == seen_one and (out or argv[1] == "neighbour"), lambda: f"{argv}: {seen_one!r}, not {out!r}")
        one.end()


LIAR = """
import os, socket, struct
s = socket.socket(socket.AF_UNIX)
s.bind("\\0mwcomms-names")
s.listen(8)
print("ready", flush=True)
pipe = os.pipe()
good = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
uevents = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)
reply = lambda value, error: struct.pack("<6I", 24, 13, value & 0xffffffff, error & 0xffffffff, 0, 0)
for data, fds in ((b"", []), (reply(0, 0), []), (reply(0, 0), [pipe[0]]), (reply(0, 0), [s.fileno()]), (reply(0, 0), [uevents.fileno()]),
                  (reply(-1, 13), []), (reply(-1, -5), [good.fileno()]), (reply(-1, 1 << 30), []), (b"1", [good.fileno()]),
                  (reply(0, 0) + b"more", [good.fileno(), pipe[1], s.fileno()]), (struct.pack("<I", 25) + reply(0, 0)[4:] + b"x", [good.fileno()])):
    c = s.accept()[0]
    c.recv(1 << 16)
    if data:
        socket.send_fds(c, [data], fds)
    c.close()
"""
BELIEVER = """
import errno, os, socket
for i in range(11):
    try:
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        print("made", s.family == socket.AF_NETLINK)
        s.close()
    except OSError as e:
        print(errno.errorcode[e.errno])
print(len(os.listdir("/proc/self/fd")))
"""


@case("a resolver that lies: no socket, and no more", limit=30)
def liar(c):
    child = subprocess.Popen([PYTHON, "-c", LIAR], stdout=subprocess.PIPE, text=True)
    c.callback(child.wait, 5)
    c.callback(child.kill)
    equal(child.stdout.readline(), "ready\n", "the liar")
    preload = ":".join(filter(None, (os.environ.get("MW_PRELOAD"), machine.SHIM)))
    status, out, err = command(PYTHON, "-c", BELIEVER, env={"LD_PRELOAD": preload})
    equal((status, err), (0, ""), out)
    equal(out.split("\n")[:-2], ["ENETDOWN", "EMFILE", *["ENETDOWN"] * 3, "EACCES", *["ENETDOWN"] * 3, "made True", "ENETDOWN"], "answers")
    equal(out.split("\n")[-2], "4", "descriptors, with that of the list")


SERVER = """
import selectors, socket, sys
own = {}
exec(open(sys.argv[1]).read().split("if __name__")[0], own)
found = []
for at in (bytes.fromhex(entry[2]) for entry in own["addresses"]()):
    if at[0] == socket.AF_INET:
        found.append((socket.inet_ntop(socket.AF_INET, at[4:8]), 0))
    elif at[0] == socket.AF_INET6:
        found.append((socket.inet_ntop(socket.AF_INET6, at[8:24]), int.from_bytes(at[24:28], "little")))
wait = selectors.DefaultSelector()
for address, scope in found:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        s = socket.socket(family, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
        s.bind((address, 7000, 0, scope) if family == socket.AF_INET6 else (address, 7000))
        if kind == socket.SOCK_STREAM:
            s.listen()
        wait.register(s, selectors.EVENT_READ, address)
print("bound", flush=True)
while True:
    for key, _ in wait.select():
        if key.fileobj.type == socket.SOCK_DGRAM:
            _, peer = key.fileobj.recvfrom(100)
            key.fileobj.sendto(key.data.encode(), peer)
        else:
            one, _ = key.fileobj.accept()
            one.sendall(key.data.encode())
            one.close()
"""


@case("a server on each address that it is shown: each is reached as natively", limit=60, nets=NETS)
def on_each(c):
    app = App(c, PYTHON, "-c", SERVER, SCRIPT, name="each")
    until(15, lambda: app.running() and "bound" in app.said(), lambda: f"it is bound: {app.said()}")
    own = app.listed().get("address") if c.net == "isolated" else HERE4
    for host, prefix, wanted in (("127.0.0.1", (), "127.0.0.1"), ("::1", (), "::1"), (HERE4, (), own), (HERE4, machine.in_neighbour(), own)):
        equal(asked(prefix, host), (wanted, wanted), f"{host}, {prefix and 'from the neighbour'}")
    check(len(set(asked(machine.in_neighbour(), HERE6))) == 1, "IPv6 from the neighbour")
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", 7000))
            raise tap.Failed("another program gets the port")
        except OSError as e:
            equal(e.strerror, "Address already in use", "another program")
    app.end()
    check(not connects("127.0.0.1", 7000), "gone")


ASK = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family) as s:
    s.settimeout(5)
    s.connect((sys.argv[1], 7000))
    print(s.recv(100).decode())
with socket.socket(family, socket.SOCK_DGRAM) as s:
    s.settimeout(5)
    s.connect((sys.argv[1], 7000))
    s.send(b"who")
    print(s.recv(100).decode())
"""


def asked(prefix, host):
    status, out, err = command(*prefix, PYTHON, "-c", ASK, host)
    equal(status, 0, f"{host}: {err[-300:]}")
    return tuple(out.split())


if __name__ == "__main__":
    tap.main()
