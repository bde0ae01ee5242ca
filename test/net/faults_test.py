# SPDX-License-Identifier: Apache-2.0
"""What goes wrong: bad input is answered with one clear line; whatever dies, nothing is left behind."""
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from lib import machine, mw, procs, stepkill, tap
from lib.mw import NOBODY, App, command, connects, for_nobody, quick
from lib.tap import NETS, case, check, equal, matches, until

SERVER = str(Path(__file__).resolve().parent / "lib" / "server.py")
PYTHON = "/usr/bin/python3"     # Debian's: any user may run it
ECHO = (PYTHON, SERVER, "echo")
PORT = 7000


def one_line(result, status, pattern):
    """A failure that is said in one line, and only there."""
    seen, out, err = result
    equal(seen, status, f"status (it said: {err.strip()})")
    equal(out, "", "stdout")
    matches(err, pattern, "stderr")
    equal(len(err.strip().splitlines()), 1, f"lines in {err!r}")


def asked(host="127.0.0.1", port=PORT, data=b"hello"):
    with socket.create_connection((host, port), timeout=5) as s:
        s.sendall(data)
        return s.recv(100) == data


# --- bad input ---

@case("unknown command, option, value: one line each")
def bad_words(c):
    one_line(quick("frobnicate"), 2, "^mw: unknown command 'frobnicate'; see `mw --help`$")
    one_line(quick("run"), 2, "^mw run: no command to run; see `mw run --help`$")
    one_line(quick("run", "--net", "moon", "true"), 2, "--net is isolated or host, not 'moon'")
    one_line(quick("run", "--max-sockets", "0", "true"), 2, "--max-sockets is a number above 0, not '0'")
    one_line(quick("run", "--max-sockets", "7x", "true"), 2, "not '7x'")
    one_line(quick("run", "--max-sockets", "", "true"), 2, "not ''")
    one_line(quick("run", "--max-sockets", "99999999999999999999", "true"), 2, "--max-sockets")
    for name in ("a b", "", "x" * 33, "a/b"):
        one_line(quick("run", "--name", name, "true"), 2, "a name has 1 to 32")
    one_line(quick("flows", "nobody"), 1, "nothing runs under the name nobody")
    one_line(quick("flows", "a", "b"), 2, "takes one name, not 'b' too")
    one_line(quick("ps", "extra"), 2, "takes no argument, not 'extra'")
    for words in (("--frob",), ("ps", "--frob"), ("run", "--frob", "true"), ("flows", "--frob"), ("run", "--name")):
        status, out, err = quick(*words)
        equal((status, out), (2, ""), f"{words}: {err}")
        matches(err, "frob|--name", f"{words}")
        check(len(err.splitlines()) <= 2, f"{words}: {err}")


@case("a name that is a path is refused")
def dotted(c):
    for name in ("..", ".", ".hidden"):
        status, out, err = quick("run", "--name", name, "true")
        equal(status, 2, f"--name {name}: {out}{err}")
    check(os.path.isdir("/run"), "/run is still there")


@case("bad -p: one line each")
def bad_ports(c):
    for text in ("", "x", "0:80", "80:0", "65536:80", "1:2:3:4", "8080:80x", "-1:80", " 80:80", "::1:80:80", "[::1:80:80",
                 "256.0.0.1:80:80", "host:80:80", "[]:80:80", ":80:80", "80:", ":80", "x" * 500):
        one_line(quick("run", "-p", text, "true"), 2, "is not \\[ADDR:\\]HOST:PORT")
    one_line(quick("run", "--net", "host", "-p", "1:2", "true"), 2, "^mw run: -p maps ports of an isolated network")
    one_line(quick("run", *["-p", "1:2"] * 1000, "true"), 2, "more than [0-9]+ ports")


@case("help and version go to stdout")
def helps(c):
    for words in (("--help",), ("run", "--help"), ("ps", "--help"), ("flows", "-h"), ("--version",), ("doctor", "--help")):
        status, out, err = quick(*words)
        equal((status, err), (0, ""), str(words))
        check(out, f"{words}: nothing said")


@case("stdout that is full or gone is noticed")
def full(c):
    App(c, *ECHO, net="host").ready(PORT)
    for words in (("ps",), ("ps", "--json"), ("flows",), ("--help",)):
        status, out, err = command("sh", "-c", f"{machine.MW} {' '.join(words)} > /dev/full")
        check(status != 0, f"mw {' '.join(words)} > /dev/full: status 0")


@case("not root: isolated is refused in one line")
def not_root(c):
    one_line(quick("run", "true", prefix=NOBODY), 125, "^mw run: --net isolated needs root.*--net host$")


@case("not root: --net host works with a high port", limit=30)
def not_root_host(c):
    directory, server = for_nobody(c, SERVER)
    env = {"XDG_RUNTIME_DIR": str(directory)}
    app = App(c, PYTHON, server, "echo", net="host", prefix=NOBODY, env=env)
    until(10, lambda: app.running() and connects("127.0.0.1", PORT), lambda: f"port {PORT}; it said: {app.said()}")
    check(asked(), "echo")
    status, out, err = quick("ps", prefix=NOBODY, env=env)
    equal(status, 0, err)
    matches(out, r"^app .* host ", "mw ps of the same user")
    check("app" not in quick("ps")[1], "root has a directory of its own")
    app.end()
    equal(list((directory / "mw").iterdir()), [], "runtime directory")


@case("command not found is 127, not executable 126", nets=NETS)
def no_command(c):
    one_line(quick("run", "--net", c.net, "no-such-command"), 127, "cannot run no-such-command: .*is it installed")
    Path("/run/plain").write_text("text")
    one_line(quick("run", "--net", c.net, "/run/plain"), 126, "cannot run /run/plain: Permission denied")
    one_line(quick("run", "--net", c.net, "/run"), 126, "cannot run /run: Permission denied")
    one_line(quick("run", "--net", c.net, ""), 127, "cannot run")


@case("exit status, signal, output and input are passed on", limit=40, nets=NETS)
def statuses(c):
    for wanted in (0, 1, 42, 125, 255):
        equal(quick("run", "--net", c.net, "sh", "-c", f"exit {wanted}"), (wanted, "", ""), f"exit {wanted}")
    for name, number in (("TERM", 15), ("KILL", 9), ("SEGV", 11)):
        status, out, err = quick("run", "--net", c.net, "sh", "-c", f"kill -{name} $$")
        equal((status, out), (128 + number, ""), f"killed by SIG{name}: {err}")
    equal(quick("run", "--net", c.net, "cat", stdin="through\n"), (0, "through\n", ""), "a pipe")
    equal(quick("run", "--net", c.net, "--", "sh", "-c", "echo \"$0\" \"$@\" >&2", "a b", "", "--name"),
          (0, "", "a b  --name\n"), "arguments")


@case("signals sent to mw run reach the command, and its status comes back", nets=NETS)
def signals(c):
    app = App(c, PYTHON, SERVER, "signals")
    until(5, lambda: "ready" in app.said(), lambda: f"ready; it said: {app.said()}")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        app.child.send_signal(number)
        until(3, lambda number=number: signal.Signals(number).name in app.said(),
              lambda number=number: f"{number} in {app.said()!r}")
    equal(app.wait(5), 7, "status")
    equal(app.said().split(), ["ready", "SIGTERM", "SIGINT", "SIGHUP"], "each once")


@case("a command that becomes a daemon is protected until its processes end", nets=NETS)
def daemon(c):
    before = mw.remains()
    app = App(c, PYTHON, SERVER, "daemon").ready(PORT)
    time.sleep(0.5)
    app.running()
    check(asked(), "echo")
    equal(app.info()["name"], "app", "still listed")
    app.child.send_signal(signal.SIGTERM)
    equal(app.wait(5), 0, "the command's own status")
    mw.nothing_left(before)


@case("sockets that are not carried are refused as documented", nets=NETS)
def refused(c):
    status, out, err = quick("run", "--net", c.net, PYTHON, SERVER, "refused")
    equal((status, err), (0, ""), "run")
    equal(out.splitlines(), ["udp OK", "udp6 OK", "ping EACCES", "udplite OK", "raw EPERM", "packet EPERM",
                             "sctp EPROTONOSUPPORT", "unix OK", "tcp OK"], "answers")


# --- conflicts ---

@case("a name in use is refused in one line; without --name another is found", nets=NETS)
def names(c):
    App(c, *ECHO, name="taken").ready(PORT)
    one_line(quick("run", "--net", c.net, "--name", "taken", "true"), 125, "the name taken is in use; .*--name.*`mw ps`")
    first = subprocess.Popen([machine.MW, "run", "--net", c.net, "sleep", "20"])
    second = subprocess.Popen([machine.MW, "run", "--net", c.net, "sleep", "20"])
    for child in (first, second):
        c.callback(child.wait, 5)
        c.callback(child.terminate)
    until(5, lambda: {"sleep", "sleep-2", "taken"} <= {line["name"] for line in mw.ps()}, "sleep and sleep-2")


@case("a port in use on the host: bind or listen fails as natively, and says why", nets=NETS)
def port_taken(c):
    with socket.create_server(("", PORT)):
        status, out, err = quick("run", "--net", c.net, PYTHON, SERVER, "bind", str(PORT))
        equal((status, out), (0, "EADDRINUSE\n"), err)
        if c.net == "isolated":
            matches(err, r"^mw: tcp port 7000 of this host is in use by another program; .*-p HOST:PORT", "stderr")
            equal(len(err.splitlines()), 1, f"lines of {err!r}")
            status, out, err = quick("run", "-p", "7001:7000", PYTHON, SERVER, "bind", str(PORT))
            equal((status, out, err), (0, "bound\n", ""), "on another port")
            status, out, err = quick("run", "-p", "7000:7001", PYTHON, SERVER, "bind", "7001")
            equal((status, out), (0, "EADDRINUSE\n"), err)
    status, out, err = quick("run", "--net", c.net, PYTHON, SERVER, "bind", str(PORT))
    equal((status, out, err), (0, "bound\n", ""), "when it is free")


@case("several applications at once, each under its name", limit=30, nets=NETS)
def several(c):
    before = mw.remains()
    with tap.ExitStack() as stack:
        apps = [App(stack, *ECHO, str(PORT + i), name=f"app-{i}", net=c.net) for i in range(5)]
        for i, app in enumerate(apps):
            app.ready(PORT + i)
        equal([line["name"] for line in mw.ps()], [f"app-{i}" for i in range(5)], "mw ps")
        with socket.create_connection(("127.0.0.1", PORT + 3)):
            until(3, lambda: apps[3].connections(), "a connection of app-3")
            for i in (0, 1, 2, 4):
                equal(apps[i].connections(), [], f"connections of app-{i}")
        apps[2].end()
        for i in (0, 1, 3, 4):
            check(asked(port=PORT + i), f"app-{i} after another's end")
    mw.nothing_left(before)


@case("mw ps while applications start and end says nothing on stderr", limit=30, nets=NETS)
def ps_meanwhile(c):
    for _ in range(8):
        children = [subprocess.Popen([machine.MW, "run", "--net", c.net, "true"]) for _ in range(2)]
        while any(child.poll() is None for child in children):
            status, out, err = quick("ps", "--json")
            if status or err:
                for child in children:
                    child.wait(5)
                raise tap.Failed(f"status {status}: {err}")


# --- deaths ---

def victim(app, what):
    return {"the depot and the broker": lambda: (app.depot_pid(), app.broker_pid()), "mw-ins": lambda: (app.ins_pid(),),
            "the application": lambda: (app.app_pid(),)}[what]()


def kill_one(c, what):
    before = mw.remains()
    app = App(c, *ECHO).ready(PORT)
    clients = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(3)]
    until(3, lambda: len(app.connections()) == 3, "three connections")
    for pid in victim(app, what):
        procs.end(pid)
    for client in clients:
        client.settimeout(3)
        try:
            equal(client.recv(1), b"", "a client")
        except ConnectionResetError:
            pass
        except TimeoutError:
            raise tap.Failed("a client still waits 3 s later") from None
        client.close()
    mw.nothing_left(before)
    status = app.wait(1)
    equal(status, {"the application": 137}.get(what, 125), f"status; it said {app.said()}")
    if what != "the application":
        matches(app.said(), "mw: app: .*(broker|INS)", "it says why")
    if what == "mw-ins":
        equal(app.said().count("mw: "), 1, f"lines of mw in {app.said()!r}")
    App(c, *ECHO, name="next").ready(PORT)     # the port and everything else is free again


# mw run alone, the broker alone, both: adopt_test.py
for one in ("the depot and the broker", "mw-ins", "the application"):
    case(f"kill -9 of {one}: within 2 s nothing is left", limit=20, nets=NETS)(
        lambda c, one=one: kill_one(c, one))


@case("kill -9 of mw run, the depot, the broker and the application together: the INS ends too", limit=20, nets=NETS)
def kill_group(c):
    before = mw.remains()
    app = App(c, *ECHO).ready(PORT)
    pids = [app.pid, app.depot_pid(), app.broker_pid(), app.app_pid()]
    for pid in pids:
        procs.end(pid)
    app.wait(2)
    until(2, lambda: not [p for p in procs.table().values() if p.comm == "mw-ins"], "mw-ins gone")
    App(c, *ECHO).ready(PORT)       # the same name: what was left in the registry does not stop it
    before["registry"] = ["app"]


@case("an application that ignores SIGTERM is ended when mw-ins dies", limit=20, nets=NETS)
def stubborn(c):
    before = mw.remains()
    app = App(c, "sh", "-c", "trap '' TERM HUP INT; (trap '' TERM; setsid sleep 100 & sleep 100)& while :; do sleep 1; done")
    app.listed()
    time.sleep(0.3)
    procs.end(app.ins_pid())
    mw.nothing_left(before, 2.5)
    equal(app.wait(1), 125, "status")


@case("ten short runs leave nothing", limit=40, nets=NETS)
def short_runs(c):
    before, forwarding = mw.remains(), mw.forwarding()
    for _ in range(10):
        equal(quick("run", "--net", c.net, PYTHON, SERVER, "bind", str(PORT)), (0, "bound\n", ""), "a run")
    mw.nothing_left(before)
    equal(mw.forwarding(), forwarding, "forwarding settings")


@case("mw run that has ended has left nothing and holds no port, however long its broker takes to go", limit=40, nets=NETS)
def late_broker(c):
    before = mw.remains()
    app = App(c, *ECHO).ready(PORT)
    with stepkill.begin(app.broker_pid(), "exit_group", 0, 8000, signal.SIGSTOP):   # it has said its last word, and stops, if it is let
        app.end()
    check(not connects("127.0.0.1", PORT), "nobody is there")
    App(c, *ECHO, name="next").ready(PORT).end()
    mw.nothing_left(before)


# --- closed when broken ---

@case("the shim without an INS: socket() fails with ENETDOWN and nothing reaches the host's stack")
def no_ins(c):
    before = mw.listening()
    program = ("import errno, socket\n"
               "for f in (socket.AF_INET, socket.AF_INET6):\n"
               "  try: socket.socket(f); print('made')\n"
               "  except OSError as e: print(errno.errorcode[e.errno])\n"
               "socket.socket(socket.AF_UNIX); print('unix')\n")
    status, out, err = command(PYTHON, "-c", program, env={"LD_PRELOAD": machine.SHIM})
    equal((status, out.split()), (0, ["ENETDOWN", "ENETDOWN", "unix"]), err)
    equal(mw.listening(), before, "sockets")


@case("an LD_PRELOAD that is set already is kept", nets=NETS)
def preload(c):
    other = next(Path("/lib/x86_64-linux-gnu").glob("libm.so.6"), None) or next(Path("/usr/lib").rglob("libm.so.6"))
    status, out, err = quick("run", "--net", c.net, "sh", "-c", "echo $LD_PRELOAD; grep -c libm.so.6 /proc/self/maps",
                             env={"LD_PRELOAD": str(other)})
    equal((status, err), (0, ""), "run")
    equal(out.split()[0], f"{other}:{machine.SHIM}", "LD_PRELOAD")
    check(int(out.split()[1]) > 0, "the other library is not loaded")


@case("io_uring does not exist on either lane", nets=NETS)
def no_io_uring(c):
    program = ("import ctypes\n"
               "libc = ctypes.CDLL(None, use_errno=True)\n"
               "print([(libc.syscall(n, 8, 0), ctypes.get_errno()) for n in (425, 426, 427)])\n")    # setup, enter, register
    for lane in ("ring", "stream"):
        status, out, err = quick("run", "--net", c.net, "--lane", lane, PYTHON, "-c", program)
        equal((status, out.strip()), (0, str([(-1, 38)] * 3)), f"{lane}: {err}")
    liburing = str(next(Path("/usr/lib").rglob("liburing.so.2")))   # makes its system calls itself
    program = f"import ctypes; print(ctypes.CDLL('{liburing}').io_uring_queue_init(8, ctypes.create_string_buffer(4096), 0))"
    status, out, err = quick("run", "--net", c.net, PYTHON, "-c", program, env={"LD_PRELOAD": liburing})
    equal((status, out.strip()), (0, "-38"), f"liburing: {err}")


@case("what no shim catches reaches nothing: a static program, a raw system call", nets=NETS)
def fail_closed(c):
    program = ("import ctypes, mmap, os, struct\n"
               "page = mmap.mmap(-1, 4096, prot=7)\n"      # mov rax,rdi; rdi,rsi; rsi,rdx; rdx,rcx; syscall; ret
               "page.write(bytes.fromhex('4889f84889f74889d64889ca0f05c3'))\n"
               "kind = ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_void_p] * 4)\n"
               "raw = kind(ctypes.addressof(ctypes.c_char.from_buffer(page)))\n"
               "fd = raw(41, 2, 1, 0)\n"      # socket(AF_INET, SOCK_STREAM)
               "address = struct.pack('=HH4s8x', 2, 0x581b, bytes([127, 0, 0, 1]))\n"    # port 7000
               "r = raw(42, fd, ctypes.cast(address, ctypes.c_void_p).value, 16)\n"
               "print(fd >= 0, os.strerror(-r))\n")
    with socket.create_server(("127.0.0.1", PORT)):
        status, out, err = quick("run", "--net", c.net, PYTHON, "-c", program)
    matches(out, r"^True Network is unreachable$", f"status {status}, {err}")


tap.main()
