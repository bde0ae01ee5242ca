# SPDX-License-Identifier: Apache-2.0
"""mw top: on terminals of several kinds and sizes, and without one."""
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

from lib import machine, procs, servers, tap
from lib.mw import App, json_lines, quick
from lib.screen import Screen
from lib.tap import NETS, case, check, equal, matches, until

FAST = ("-d", "0.3")
NAMED_BADLY = r"""
import socket, sys
open("/proc/self/comm", "wb").write(b"\033[2J\007\x9bevil")
s = socket.create_server(("0.0.0.0", 8080))
kept = []
while True:
    kept.append(s.accept())
"""


def start(c, **keys):
    """nginx, on port 80."""
    servers.content("page.bin", 3000)
    return servers.nginx(c, **keys).ready(80)


def connect(c, host="127.0.0.1", source=None, send=b""):
    s = socket.create_connection((host, 80), timeout=5, source_address=source and (source, 0))
    c.callback(s.close)
    s.sendall(send)
    return s, s.getsockname()[1]


def top(c, *argv, **keys):
    return Screen(c, machine.MW, "top", *(argv or FAST), **keys)


def is_reset(s):
    s.settimeout(5)
    try:
        raise tap.Failed(f"not reset: {s.recv(10)!r}")
    except ConnectionResetError:
        pass


def sources(c, *addresses):
    for a in addresses:
        machine.run("ip", "addr", "add", f"{a}/32", "dev", "lo")
        c.callback(machine.run, "ip", "addr", "del", f"{a}/32", "dev", "lo")


def order(screen, *ports):
    """The ports' rows are there in that order, none of them twice."""
    def seen():
        found = [int(m) for m in re.findall(r"^(?:\S+ +)?\d+\.\d+\.\d+\.\d+:(\d+) ", screen.text(), re.M)]
        return [p for p in found if p in ports] == list(ports)

    until(6, seen, lambda: f"{ports} in that order:\n{screen.text()}")


@case("80x24: connections, sorted by what is asked for, filtered, one's fields, one is reset", limit=60, nets=NETS)
def use(c):
    start(c)
    old, a = connect(c, send=b"GET /page.bin HTTP/1.1\r\nX: " + b"x" * 500)
    time.sleep(1)
    new, b = connect(c, send=b"GET")
    screen = top(c, *FAST, "nginx")
    screen.shows(rf"127\.0\.0\.1:{a} +estb")
    screen.shows(r"^mw top \d\d:\d\d:\d\d  nginx  sockets .*\d established, \d listening")
    screen.shows(r"^rx .* INS load \d+\.\d%")
    screen.shows(r"^PEER +STAT +AGE SILENT BYTES UNREAD")
    equal(len(screen.lines()), 24, "lines of the screen")
    check(max(map(len, screen.lines())) <= 80, "no line is longer than the screen")
    screen.keys("A")
    order(screen, a, b)
    screen.keys("I")
    order(screen, b, a)
    screen.keys("I", "B")
    screen.shows("sort bytes ")
    order(screen, a, b)
    new.sendall(b" /page.bin HTTP/1.1\r\nX: " + b"x" * 900)
    order(screen, b, a)
    screen.shows(rf":{b} .* ▄\.")
    screen.keys("/")
    screen.type("rx_bytes < 1k and nonsense")
    screen.keys("Enter")
    screen.shows("a field is missing|no such field")
    screen.keys("C-u")
    screen.type(f"peer_port = {a}")
    screen.keys("Enter")
    screen.lacks(rf":{b} ")
    screen.shows(r"^1 of 2 connections")
    screen.keys("Enter")
    screen.shows(rf"^peer_port +{a} ")
    screen.shows(r"^opened +\d\d:\d\d:\d\d \([\d.]+s ago\)")
    screen.keys("End")
    screen.shows(r"^error +0")
    screen.keys("q", "r")
    screen.shows(rf"^reset 127\.0\.0\.1:{a} of nginx\? y")
    screen.keys("n")
    screen.shows("nothing done")
    old.setblocking(False)
    try:
        check(old.recv(1), "the connection lives after 'n'")
    except BlockingIOError:
        pass
    screen.keys("i")
    screen.shows("^A connection of nginx")
    screen.keys("r", "y")
    screen.shows("reset .*: done")
    screen.shows("it has ended; these were its last values")
    screen.keys("r", "y")
    screen.shows("reset .*: that connection has ended")
    screen.keys("q")
    is_reset(old)
    screen.shows(r"^0 of 1 connections")
    screen.keys("/", "C-u", "Enter")
    screen.shows(rf":{b} +estb")
    screen.keys("c", "y")
    screen.shows("close .*: done")
    equal(new.recv(10), b"", "the peer of one that is closed")
    screen.keys("q")
    until(5, screen.ended, "its end")


@case("groups: peers and prefixes, into one of them, all of one ended, an order to block", limit=60)
def groups(c):
    c.net = "host"
    start(c)
    sources(c, "192.0.2.7", "192.0.2.9", "198.51.100.3")
    mine = [connect(c, "127.0.0.1", a)[0] for a in ("192.0.2.7", "192.0.2.7", "192.0.2.9", "198.51.100.3")]
    screen = top(c, *FAST, "nginx")
    screen.shows(r"192\.0\.2\.9:\d+ +estb")
    screen.keys("g", "N")
    screen.shows(r"^192\.0\.2\.7 +2 ")
    screen.keys("g")
    screen.shows(r"^192\.0\.2\.0/24 +3 ")
    screen.shows(r"^198\.51\.100\.0/24 +1 ")
    screen.keys("Enter")
    screen.shows(r"group none .*filter peer = 192\.0\.2\.0/24")
    screen.shows(r"^3 of 4 connections")
    screen.lacks(r"198\.51\.100\.3")
    screen.keys("/", "C-u", "Enter", "g", "g")
    screen.shows(r"^192\.0\.2\.0/24 +3 ")
    screen.keys("r")
    screen.shows(r"^reset 3 connections from 192\.0\.2\.0/24\?")
    screen.keys("y")
    screen.shows("done, 3 hit")
    for s in mine[:3]:
        is_reset(s)
    mine[3].sendall(b"GET /page.bin HTTP/1.0\r\n\r\n")
    check(mine[3].recv(10).startswith(b"HTTP/1.1"), "the other peer's lives")
    blocked = connect(c, "127.0.0.1", "192.0.2.7")[0]
    screen.shows(r"^192\.0\.2\.0/24 +1 ")
    screen.keys("b")
    screen.shows(r"^block 192\.0\.2\.0/24 .* seconds: 600")
    screen.type("x")
    screen.keys("Enter")
    screen.shows("1 to 31536000 seconds")
    screen.keys("C-u")
    screen.type("5")
    screen.keys("Enter")
    screen.shows(r"^block 192\.0\.2\.0/24: done")
    is_reset(blocked)
    screen.lacks(r"^192\.0\.2\.0/24")
    given = [v for v in json_lines("list", "--json", "nginx") if v["verb"] == "block"]
    equal([(v["target"], v["why"], round(v["expires"] - v["made"])) for v in given], [("192.0.2.0/24", "mw top", 5)],
          "what telemetry was told")


@case("many at once: the answer, with all their ids, is understood", limit=60)
def crowd(c):
    c.net = "host"
    start(c)
    mine = [connect(c)[0] for _ in range(600)]
    screen = top(c, *FAST, "nginx")
    screen.keys("g")
    screen.shows(r"^127\.0\.0\.1 +600 ")
    screen.keys("r", "y")
    screen.shows("^reset 600 connections from 127.0.0.1: done, 600 hit")
    for s in mine:
        is_reset(s)


@case("any size, any terminal, with and without UTF-8 and colour; help", limit=60)
def terminals(c):
    c.net = "host"
    start(c)
    port = connect(c)[1]
    screen = top(c)
    for columns, rows in ((132, 40), (20, 5), (1, 1), (300, 10), (80, 24)):
        screen.resize(columns, rows)
        time.sleep(0.5)
        check(not screen.ended(), f"it lives at {columns}x{rows}")
    screen.shows(rf"127\.0\.0\.1:{port} .* \.\.")
    screen.keys("?")
    screen.shows("^A S B U M R N +sort by age")
    narrow = screen.lines()
    matches("\n".join(narrow), "^q +leave", "the last key")
    screen.resize(120, 24)
    time.sleep(0.5)
    equal(screen.lines()[5:-1], narrow[5:-1], "help on a wider screen")
    screen.resize(80, 24)
    screen.keys("q", "Down", "Up", "PageDown", "PageUp", "Home", "End", "Left", "F1")
    screen.shows("^Keys")
    for term, env, wanted, colour in (("screen-256color", {}, "▁", True), ("screen-256color", {"NO_COLOR": "1"}, "▁", False),
                                      ("vt100", {"LC_ALL": "C"}, ":", False), ("xterm", {"LC_ALL": "POSIX"}, ":", True)):
        s, port = connect(c)
        screen = top(c, term=term, env=env)
        screen.shows(rf"127\.0\.0\.1:{port} ")
        time.sleep(0.5)
        s.sendall(b"GET")
        screen.shows(rf":{port} .*\.{wanted}")
        equal(bool(re.search(r"\x1b\[[\d;]*4[0-7]", screen.text("-e"))), colour, f"colour with {term} and {env}")
        screen.keys("C-c")
        until(5, screen.ended, f"end by Ctrl-C with {term}")
    screen = top(c, term="dumb")
    until(5, screen.ended, "one table on a terminal that cannot place a cursor")
    screen.shows(r"nginx .*127\.0\.0\.1:")


@case("the terminal is as it was, however it ends; one that vanishes ends it", limit=40)
def restored(c):
    c.net = "host"
    start(c)
    for end in ("q", "C-c", signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        screen = Screen(c, "sh", "-c", f"trap : INT; {machine.MW} top; echo status $?; stty -a; sleep 1000")
        screen.shows("INS load")
        if isinstance(end, str):
            screen.keys(end)
        else:
            children = [p for p in procs.below(screen.pid) if p.comm == "mw"]
            equal(len(children), 1, "mw top")
            os.kill(children[0].pid, end)
        screen.shows(f"^status {0 if isinstance(end, str) else 128 + end}")
        screen.shows(r" icanon .* echo |(?s: icanon .* echo )")
        equal(screen.do("display-message", "-p", "#{alternate_on} #{cursor_flag}").split(), ["0", "1"], f"the screen after {end}")
        screen.end()
    pid, master = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(machine.MW, [machine.MW, "top"])
    until(5, lambda: b"INS load" in os.read(master, 65536), "its screen")
    before = termios.tcgetattr(master)
    check(not before[3] & termios.ECHO, "no echo while it runs")
    os.close(master)
    ended = until(5, lambda: os.waitpid(pid, os.WNOHANG)[0], "its end when the terminal vanishes")
    equal(ended, pid, "the process")


@case("without a terminal: tables; what is asked for wrongly is said", limit=40)
def tables(c):
    c.net = "host"
    app = start(c)
    a, b = connect(c, send=b"GET")[1], connect(c)[1]
    until(5, lambda: len(app.connections()) == 2, "two connections")
    for argv in ((), ("--once",), ("nginx",), ("-n", "1")):
        status, out, err = quick("top", *argv)
        equal((status, err), (0, ""), f"mw top {' '.join(argv)}")
        matches(out, rf"127\.0\.0\.1:{a} .*partial +0\.0\.0\.0:80|127\.0\.0\.1:{a} .*127\.0\.0\.1:80 .*nginx", "a connection")
        equal(len(out.splitlines()), 7, "lines: three, a blank, a heading, two connections")
    out = quick("top", "-f", f"peer_port = {b}", "-s", "age", "nginx")[1]
    matches(out, rf":{b} ", "the filtered")
    check(f":{a} " not in out, "the other")
    began = time.monotonic()
    out = quick("top", "-n", "3", "-d", "0.4")[1]
    check(0.8 <= time.monotonic() - began < 3, "three tables, 0.4 s apart")
    equal(len(re.findall("^mw top", out, re.M)), 3, "tables")
    matches(quick("top", "-g", "peer")[1], r"127\.0\.0\.1 +2 ", "groups")
    for argv in (("-f", "nothing = 1"), ("-d", "0"), ("-d", "nan"), ("-n", "0"), ("-s", "luck"), ("-g", "x"), ("a", "b"), ("--what",)):
        status, out, err = quick("top", *argv)
        equal((status, out), (2, ""), f"mw top {' '.join(argv)}")
        matches(err, "mw top: .*see `mw top --help`", "what it says")
    equal(quick("top", "nobody")[0], 1, "a name that is not in use")
    with open("/dev/full", "w", encoding="utf-8") as full:
        equal(subprocess.run([machine.MW, "top", "--once"], stdout=full, stderr=subprocess.DEVNULL, timeout=10, check=False).returncode,
              1, "standard output is full")


@case("a broker or telemetry that stands still: nobody waits for it for ever", limit=60)
def stalled(c):
    c.net = "host"
    app = start(c)
    telem = app.info()["telem_pid"]
    broker = int(re.search(r"^PPid:\s+(\d+)", Path(f"/proc/{telem}/status").read_text(), re.M)[1])

    def seconds(*argv):
        began = time.monotonic()
        run = subprocess.run([machine.MW, *argv], capture_output=True, text=True, timeout=20, check=False)
        return time.monotonic() - began, run.returncode, run.stderr

    for pid in (telem, broker):
        os.kill(pid, signal.SIGSTOP)
        c.callback(os.kill, pid, signal.SIGCONT)
    for argv in (("top", "--once"), ("top", "--once", "nginx"), ("flows", "nginx"), ("ps",), ("doctor", "nginx")):
        took, status, err = seconds(*argv)
        check(took < 6, f"mw {argv} took {took:.1f} s")
        if argv[0] in ("flows", "ps"):
            equal((status, "does not answer" in err), (1, True), f"mw {argv}: {err}")
    os.kill(broker, signal.SIGCONT)
    for argv in (("top", "--once", "nginx"), ("flows", "nginx")):
        took, status, err = seconds(*argv)
        equal((took < 6, status, err), (True, 0, ""), f"mw {argv} with its telemetry still")


@case("a command's name that holds escape sequences reaches no terminal", limit=40)
def escapes(c):
    c.net = "host"
    app = App(c, sys.executable, "-c", NAMED_BADLY, name="badly").ready(8080)
    s = socket.create_connection(("127.0.0.1", 8080), timeout=5)
    c.callback(s.close)
    until(5, lambda: any(f["pid"] for f in app.connections()), "it is accepted")
    out = quick("top", "badly")[1]
    matches(out, r"\?\[2J\?\?evil", "its name")
    check("\033" not in out and "\x07" not in out, "no control characters")
    mw = [("flows", "badly"), ("flows", "--json", "badly"), ("ps",), ("ps", "--json"), ("doctor", "badly"), ("list", "badly"),
          ("list", "--json", "badly"), ("set", "badly", "all", "keepidle=70", "--why", "\033[2J\x9b\u009b")]
    for argv in (mw[-1], *mw):
        run = subprocess.run([machine.MW, *argv], capture_output=True, timeout=10, check=False)
        check(not re.search(rb"[^\n -~]", run.stdout + run.stderr), f"what mw {argv} says: {run.stdout + run.stderr}")
    matches(quick("flows", "badly")[1], r"\?\[2J\?\?evil", "its name")
    pid, master = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", COLUMNS="250", LINES="24")
        os.execv(machine.MW, [machine.MW, "top", "-d", "0.2", "badly"])
    seen = b""
    for keys in (b"", b"\r"):
        os.write(master, keys)
        while select.select([master], [], [], 1)[0] and len(seen) < 200000:
            seen += os.read(master, 65536)
            if seen.count(b"evil") > (1 if keys else 0):
                break
    os.write(master, b"qq")
    check(b"?[2J??evil" in seen and b"\033[2J\007" not in seen, "the name on the screen")
    until(5, lambda: os.waitpid(pid, os.WNOHANG)[0] or (select.select([master], [], [], 0.1)[0] and not os.read(master, 65536)), "its end")
    os.close(master)
    screen = top(c, *FAST, "badly", columns=250)
    screen.shows(r"\?\[2J\?\?evil")
    screen.keys("Enter")
    screen.shows(r"^A connection of badly \(\?\[2J\?\?evil\)")
    screen.shows(r"^state +established")
    screen.shows(r"^command +\?")


@case("applications that come and go while it looks", limit=40)
def come_and_go(c):
    c.net = "host"
    screen = top(c)
    screen.shows(r"^mw top .* 0 applications ")
    app = start(c)
    port = connect(c)[1]
    screen.shows(rf"^nginx +127\.0\.0\.1:{port} ")
    screen.shows(" 1 application ")
    named = top(c, "nginx")
    named.shows(r"^mw top \S+  nginx  sockets")
    app.end()
    named.shows(r"nginx \(not running\)")
    screen.shows(" 0 applications ")
    screen.lacks(rf":{port} ")


@case("several INSs: one table, orders reach the right one, who comes and goes meanwhile", limit=60)
def several(c):
    c.net = "isolated"
    start(c, options=("--ins", "3"))
    sources(c, "192.0.2.7")
    mine = dict(connect(c, machine.HERE4)[::-1] for _ in range(6))
    other = [connect(c, machine.HERE4, "192.0.2.7")[0] for _ in range(2)][1]     # of INS 1
    flows = {f["peer_port"]: f for f in json_lines("flows", "nginx", "--json") if f["peer_port"] in mine}
    equal(sorted(f["ins"] for f in flows.values()), [0, 0, 1, 1, 2, 2], "INSs")
    screen = top(c, *FAST, "nginx", columns=110)
    screen.shows(r"^INS 0: 3 \d+\.\d%  1: 3 \d+\.\d%  2: 2 \d+\.\d% *$")
    screen.shows("^ *INS PEER ")
    for port, f in flows.items():
        screen.shows(rf"^ +{f['ins']} +10\.77\.0\.1:{port} +estb")
    one = next(port for port, f in flows.items() if f["ins"] == 2)
    screen.keys("/")
    screen.type(f"peer_port = {one} and ins = 2")
    screen.keys("Enter")
    screen.shows("^1 of 8 connections")
    screen.keys("i")
    screen.shows(rf"^A connection of nginx .*, 2/{flows[one]['id']}")
    screen.keys("r", "y")
    screen.shows("reset .*: done, 1 hit")
    is_reset(mine.pop(one))
    screen.keys("q", "/", "C-u", "Enter")
    screen.shows("^7 of 7 connections")
    for port, s in mine.items():        # no other INS's connection was meant
        s.setblocking(False)
        try:
            check(s.recv(1), f"{port} lives")
        except BlockingIOError:
            pass
        s.setblocking(True)
    equal(quick("ins", "add", "nginx")[0], 0, "mw ins add")
    equal(quick("ins", "drain", "nginx", "1")[0], 0, "mw ins drain")
    screen.shows(r"^INS 0: .* 1: .*% drain .* 3: 0 ")
    equal(quick("ins", "kill", "nginx", "0")[0], 0, "mw ins kill")
    screen.shows(r"^INS 1: .*% drain .* 2: .* 3: 0 ")
    late = [connect(c, machine.HERE4)[0] for _ in range(4)]
    screen.shows(r"^INS 1: .* 3: 2 ")
    screen.keys("g")
    screen.shows(r"^ +\* 10\.77\.0\.1 ")
    screen.keys("b", "Enter")
    screen.shows("block 10.77.0.1.*: done, ")
    for s in late:
        is_reset(s)
    until(5, lambda: [f for f in json_lines("list", "nginx", "--json") if f["what"].startswith("block")], "a verdict")
    equal(sorted(v["ins"] for v in json_lines("list", "nginx", "--json") if v["what"].startswith("block")), [1, 2, 3], "who blocks")
    screen.shows("^1 of 1 connections")
    screen.keys("c", "y")
    screen.shows("close .*: done, 1 hit")
    equal(other.recv(10), b"", "the last one's peer")
    screen.keys("q")
    until(5, screen.ended, "its end")


tap.main()
