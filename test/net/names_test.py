# SPDX-License-Identifier: Apache-2.0
"""Names: libc's lookups natively and protected, compared word for word; dnsmasq is the name server."""
import os
import re
import subprocess
from pathlib import Path

from lib import machine, mw, procs, tap
from lib.lookups import ADDRINFO, AGAIN, HOST, MESSAGES, NAMEINFO
from lib.machine import THERE4, THERE6, run
from lib.mw import App, command, quick
from lib.tap import NETS, case, check, equal, matches, until

CLIENT = str(machine.BUILD / "names_client")
ODD = str(Path(__file__).with_name("lib") / "dns_odd.py")
OPTIONS = "search one.test two.test\noptions timeout:3 attempts:1\n"
RECORDS = [
    *(f"--host-record=n{i}.one.test,192.0.2.{i}" for i in range(1, 21)),
    "--host-record=both.one.test,192.0.2.50,2001:db8::50", "--host-record=six.one.test,2001:db8::6",
    "--host-record=only.two.test,192.0.2.60", "--cname=alias.one.test,both.one.test",
    "--cname=alias2.one.test,alias.one.test", "--txt-record=txt.one.test,some words",
    "--mx-host=one.test,both.one.test,10", "--srv-host=_ldap._tcp.one.test,both.one.test,389,1,2",
]
HOSTS = """127.0.0.1 localhost
::1 localhost ip6-localhost
192.0.2.200 file.one.test file nick
2001:db8::200 file.one.test file
192.0.2.201 file.one.test
"""


def etc(nameserver=THERE4):
    """This machine's own configuration of names, in a copy of /etc."""
    if not Path("/etc/of-the-test").exists():
        machine.private_copy("/etc")
        Path("/etc/of-the-test").touch()
    Path("/etc/hosts").write_text(HOSTS)
    Path("/etc/nsswitch.conf").write_text("hosts: files dns\nservices: files\n")
    Path("/etc/resolv.conf").write_text(f"nameserver {nameserver}\n{OPTIONS}")


def background(c, *argv):
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    c.callback(child.wait, 5)
    c.callback(child.kill)
    return child


def name_server(c, address, prefix=()):
    """dnsmasq at one address, and behind it for bad.test a server that does not behave."""
    hosts = Path("/run/big")
    hosts.write_text("".join(f"198.51.100.{i} big.one.test\n" for i in range(1, 251)))
    background(c, *prefix, "python3", ODD, "127.0.0.1", "5354")
    background(c, *prefix, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
               "--user=root", "--pid-file=", "--bind-interfaces", "--except-interface=lo" if address == THERE4 else "-z",
               f"--listen-address={address}", "--no-round-robin", "--addn-hosts=/run/big", "--cache-size=0",
               "--local=/one.test/", "--local=/two.test/", "--server=/bad.test/127.0.0.1#5354", "--local=/#/",
               "--local-ttl=60", *RECORDS)
    for server, port, label in (("127.0.0.1", "5354", "fail"), (address, "53", "n1")):
        until(20, lambda server=server, port=port, label=label: answers(prefix, server, port, label),
              lambda server=server: f"the name server at {server} answers", 0.1)


ASK = """
import socket, sys
address, port, label = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.connect((address, int(port)))
labels = b"".join(bytes([len(part)]) + part.encode() for part in (label, "one", "test", ""))
s.send(bytes.fromhex("000101000001000000000000") + labels + bytes.fromhex("00010001"))
sys.exit(not s.recv(512))
"""


def answers(prefix, *where):
    return command(*prefix, "python3", "-c", ASK, *where)[0] == 0


def lab(c, nameserver=THERE4):
    """The neighbour answers names, and is the way to everywhere."""
    etc(nameserver)
    for family, gateway in (("-4", THERE4), ("-6", THERE6)):
        run("ip", family, "route", "replace", "default", "via", gateway)
    if nameserver == THERE4:
        name_server(c, THERE4, machine.in_neighbour())
    else:
        name_server(c, nameserver)


def native(commands, env=None):
    status, out, err = command(CLIENT, stdin=commands, limit=100, env=env)
    equal((status, err), (0, ""), "the client natively")
    return out


def run_protected(c, *argv, stdin=None, env=None):
    first = {"LD_PRELOAD": os.environ["MW_PRELOAD"]} if "MW_PRELOAD" in os.environ else {}
    return quick("run", "--net", c.net, "--", *argv, stdin=stdin, limit=100, env={**first, **(env or {})})


def protected(c, commands, env=None):
    status, out, err = run_protected(c, CLIENT, stdin=commands, env=env)
    equal((status, err), (0, ""), f"the client protected; it said {out[-2000:]}")
    return out


def entries(text):
    """The answers, by command: a list, since a command may come twice."""
    return re.findall(r"^(\S.*?) ->(.*(?:\n .*)*)", text, re.M)


def same(c, commands, env=None):
    one, two = entries(native(commands, env)), entries(protected(c, commands, env))
    equal(len(one), len(commands.splitlines()), "answers")
    differences = [f"{a[0]}:\n   native    {a[1][:500]}\n   protected {b[1][:500]}" for a, b in zip(one, two) if a != b]
    check(not differences and len(one) == len(two), "\n".join(differences) or f"{len(two)} answers, {len(one)} natively")
    c.note(f"{len(one)} commands: the same")
    return dict(one)


@case("getaddrinfo", limit=100, nets=NETS)
def addrinfo(c):
    lab(c)
    seen = same(c, ADDRINFO)
    for name, answer in (("ai n1 -", "c0000201"), ("ai nowhere 80", "not known"), ("ai fail.bad.test 80", "-3 "),
                         ("ai late.bad.test 80 0 2 1", "c0000263"), ("ai only domain 2 0 2", "only.two.test")):
        check(answer in seen[name], f"{name}: {seen[name]}")
    equal(seen["ai big.one.test - 0 2 1"].count("\n"), 250, "addresses of a name that needs TCP")


@case("gethostbyname and its kin", limit=100, nets=NETS)
def host(c):
    lab(c)
    seen = same(c, HOST)
    check("both.one.test" in seen["ha 192.0.2.50 2 4"], f"reverse: {seen}")


@case("getnameinfo", limit=100, nets=NETS)
def nameinfo(c):
    lab(c)
    check("n7.one.test" in same(c, NAMEINFO)["ni 192.0.2.7 80 0 1025 32"], "reverse")


@case("res_query and its kin", limit=100, nets=NETS)
def messages(c):
    lab(c)
    same(c, MESSAGES)


@case("getaddrinfo_a", limit=60, nets=NETS)
def asynchronous(c):
    lab(c)
    same(c, "async\nasync\ndescriptors\n")
    matches(protected(c, "async\ndescriptors\nfork\nasync\n"), "^async -> .*none 0 0 192.0.2.1 0 192.0.2.99$",
            "in a forked child, where libc's own waits for ever")


@case("the environment's resolver options count", limit=60, nets=NETS)
def environment(c):
    lab(c)
    Path("/run/aliases").write_text("nickname both.one.test\n")
    same(c, "ai only 80\nai n1 80\nh nickname\nq n1.one.test 1\n",
         env={"LOCALDOMAIN": "two.test", "RES_OPTIONS": "use-vc ndots:2", "HOSTALIASES": "/run/aliases"})


@case("200 lookups in 20 threads; 40 slow ones keep nobody waiting", limit=100, nets=NETS)
def many(c):
    lab(c)
    out = protected(c, "threads 200\nslow\ndescriptors\n")
    matches(out, "threads 200 -> 200 lookups, 0 wrong$", "200 lookups")
    matches(out, "slow -> 0 at once$", "one beside 40 slow")
    matches(out, "descriptors -> 3$", "descriptors afterwards")


@case("in a forked child, after every descriptor was closed", limit=60, nets=NETS)
def forked(c):
    lab(c)
    same(c, f"ai n1.one.test 80\nfork\n{AGAIN}closeall\n{AGAIN}fork\n{AGAIN}".replace("fork\n", "descriptors\nfork\n", 1))


@case("after setuid, and after chroot to an empty directory: as before", limit=60, nets=NETS)
def confined(c):
    lab(c)
    Path("/run/empty").mkdir(exist_ok=True)
    before = entries(native(AGAIN))
    for steps in ("setuid 65534\n", "chroot /run/empty\n", "init\nchroot /run/empty\ninit\nsetuid 65534\n"):
        out = protected(c, steps + AGAIN)
        for step in steps.splitlines():
            matches(out, f"^{step} -> 0$", "step")
        equal(entries(out)[len(steps.splitlines()):], before, f"after {steps.split()}")


@case("no descriptor is left to the application: as libc", limit=60, nets=NETS)
def exhausted(c):
    lab(c)
    same(c, "exhaust\nai n1.one.test 80\nai 1.2.3.4 80\nq n1.one.test 1\nh n1.one.test\nhr n1.one.test 0\n")


def lookups(c, commands, steps):
    """A protected client that is told command by command; steps(app, ask)."""
    pipe = Path("/run/ask")
    if not pipe.exists():
        os.mkfifo(pipe)
    app = App(c, "sh", "-c", f"exec {CLIENT} < {pipe}")
    end = open(pipe, "w", encoding="ascii", buffering=1)
    c.callback(end.close)

    def ask(line, seconds=20):
        before = len(entries(app.said()))
        end.write(line + "\n")
        until(seconds, lambda: app.running() and app.said().endswith("\n") and len(entries(app.said())) > before,
              lambda: f"an answer to {line}; it said {app.said()}")
        return entries(app.said())[-1][1]

    steps(app, ask)
    end.close()
    equal(app.wait(8), 0, "status")


@case("the resolver is killed: one line says so, the next lookups are answered", limit=60, nets=NETS)
def killed(c):
    lab(c)
    before = mw.remains()

    def steps(app, ask):
        first = ask("ai n1.one.test 80")
        for _ in range(2):
            pid = app.listed()["names_pid"]
            equal(procs.look(pid).comm, "mw-names", "the process of names_pid")
            procs.end(pid)
            equal(ask("ai n1.one.test 80"), first, "the next answer")
            until(5, lambda pid=pid: app.listed()["names_pid"] not in (0, pid), "another resolver")
        equal(app.said().count("the resolver ended (signal 9)"), 2, f"lines in {app.said()}")

    lookups(c, "", steps)
    mw.nothing_left(before)


@case("the resolver is killed during a lookup: EAI_AGAIN", limit=60, nets=NETS)
def killed_during(c):
    lab(c)

    def steps(app, ask):
        ask("ai n1.one.test 80")
        pid = app.listed()["names_pid"]
        killer = subprocess.Popen(["sh", "-c", f"sleep 0.7; kill -9 {pid}"])
        matches(ask("ai silent.bad.test 80"), "^ -3 ", "EAI_AGAIN")
        killer.wait()

    lookups(c, "", steps)


LIAR = """
import os, socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.bind("\\0mwcomms-names")
s.listen(8)
print("ready", flush=True)
head = lambda call, count: struct.pack("<6I", 0, call, 0, 0, 0, count)
item = struct.pack("<4i", 0, 2, 1, 6)
sized = lambda r: struct.pack("<I", len(r)) + r[4:]
while True:
    for reply in (b"", b"\\4", struct.pack("<I", 3), struct.pack("<I", 1 << 31), struct.pack("<I", 100) + b"short",
                  sized(head(1, 0)), sized(head(2, 1) + item + bytes(8)), sized(head(1, 2) + item + bytes(8)),
                  sized(head(1, 1) + item + bytes(8)), sized(head(1, 1) + item + struct.pack("<I", 1 << 30) + bytes(8)),
                  sized(head(1, 1) + item + struct.pack("<I", 201) + bytes(201) + bytes(4))):
        c = s.accept()[0]
        c.recv(1 << 16)
        c.sendall(reply)
        c.close()
"""


@case("a resolver that lies: a failed lookup, and no more", limit=30)
def liar(c):
    child = subprocess.Popen(["python3", "-c", LIAR], stdout=subprocess.PIPE, text=True)
    c.callback(child.wait, 5)
    c.callback(child.kill)
    equal(child.stdout.readline(), "ready\n", "the liar")
    preload = ":".join(filter(None, (os.environ.get("MW_PRELOAD"), machine.SHIM)))
    status, out, err = command(CLIENT, stdin="ai n1 80\n" * 22 + "descriptors\n", env={"LD_PRELOAD": preload})
    equal((status, err), (0, ""), out)
    answers = [answer.split()[0] for _, answer in entries(out)]
    equal(answers[:-1], (["-3"] * 8 + ["-10"] + ["-3"] + ["-10"]) * 2, "EAI_AGAIN; EAI_MEMORY for entries that cannot be made")
    equal(answers[-1], "3", "descriptors")


ASKER = """
import os, socket, struct
def ask(record):
    s = socket.socket(socket.AF_UNIX)
    s.connect("\\0mwcomms-names")
    s.sendall(record)
    s.shutdown(socket.SHUT_WR)
    s.settimeout(15)
    return s.recv(100)
sized = lambda r: struct.pack("<I", len(r) + 4) + r
call = lambda n, *texts: struct.pack("<2I6i", n, 0, -1, 2, 1 << 30, 4, 5, 6) + b"".join(texts)
name = struct.pack("<I", 3) + b"n1\\0"
none = bytes(4)
for record in (b"", b"\\4", b"\\3\\0\\0\\0", b"\\xff" * 4, sized(b""), sized(call(0, none, none, none)),
               sized(call(14, none, none, none)), sized(call(11, none, none, none)), sized(call(13, none, none, none)),
               sized(call(3, none, none, none)), sized(call(5, none, none, none)),
               sized(call(8, none, none, none)), sized(call(8, none, none, name)), sized(call(1, name, none)),
               sized(call(3, struct.pack("<I", 1 << 31), none, none)), sized(call(4, none, none, name))):
    assert not ask(record), record
for n in (1, 3, 5, 6):
    assert ask(sized(call(n, name, none, none))), n
held = [socket.socket(socket.AF_UNIX) for _ in range(300)]
for s in held[:200]:
    s.connect("\\0mwcomms-names")
assert ask(sized(call(3, name, none, none)))
print(socket.getaddrinfo("n1", 80)[0][4])
"""


@case("an application that asks senselessly: no answer, and the resolver goes on", limit=60, nets=NETS)
def asker(c):
    lab(c)
    equal(run_protected(c, "python3", "-c", ASKER), (0, "('192.0.2.1', 80)\n", ""), "asker")


@case("the resolver is confined: nobody, no capabilities, no new privileges, a filter", nets=NETS)
def confinement(c):
    etc()
    app = App(c, "sleep", "60")
    pid = app.listed()["names_pid"]
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    equal(status["Uid"].split(), ["65534"] * 4, "user")
    equal([status[k] for k in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")],
          ["0" * 16] * 4 + ["1", "2"], "privileges")
    where = {"isolated": procs.namespace(app.ins_pid()), "host": procs.namespace(os.getpid())}[c.net]
    equal(procs.namespace(pid), where, "network namespace")


@case("kill -9 of mw run, the broker and the application: the resolver and its relay end", limit=30, nets=NETS)
def orphaned(c):
    lab(c, "127.0.0.53")
    before = mw.remains()
    app = App(c, "sleep", "60")
    pids = [app.listed()["names_pid"], app.broker_pid(), app.app_pid(), app.pid]
    for pid in pids[1:]:
        procs.end(pid)
    app.child.wait(5)
    until(5, lambda: not [p for p in procs.table().values() if p.comm == "mw-names"], "no mw-names")
    mw.registry()
    before["registry"] = mw.registry()
    mw.nothing_left(before, 5)


@case("an application that became a daemon ends as before, and the resolver with it", limit=30, nets=NETS)
def daemon(c):
    lab(c)
    before = mw.remains()
    status, out, err = run_protected(c, "sh", "-c", f"(sleep 1; echo ai n1 80 | {CLIENT}) & exit 0")
    equal((status, err), (0, ""), out)
    matches(out, "ai n1 80 -> 0 ok", "the daemon's lookup")
    mw.nothing_left(before)


def direct(c, address):
    """A resolver that the application brings along, over TCP: the address itself answers."""
    program = ("import socket, sys\n"
               "s = socket.create_connection((sys.argv[1], 53), timeout=10)\n"
               "q = bytes.fromhex('000101000001000000000000026e31036f6e6504746573740000010001')\n"
               "s.sendall(len(q).to_bytes(2, 'big') + q); s.shutdown(socket.SHUT_WR)\n"
               "print(s.makefile('rb').read()[-4:].hex())\n")
    equal(run_protected(c, "python3", "-c", program, address), (0, "c0000201\n", ""), "over TCP")


@case("a name server on 127.0.0.53", limit=100, nets=NETS)
def loopback4(c):
    lab(c, "127.0.0.53")
    same(c, AGAIN + "ai big.one.test 80\nai silent.bad.test 80\nnq n1.one.test 1\n")
    if c.net == "isolated":
        direct(c, "127.0.0.53")
    matches(protected(c, "threads 400\n"), "400 lookups, 0 wrong", "many at once")


@case("a name server on ::1, and its relay killed", limit=100, nets=NETS)
def loopback6(c):
    lab(c, "::1")
    same(c, AGAIN + "ai big.one.test 80\n")
    if c.net == "isolated":
        direct(c, "::1")

    def steps(app, ask):
        first = ask("ai n1.one.test 80")
        pid = app.listed()["names_pid"]
        relays = [p.pid for p in procs.table().values() if p.parent == pid]
        equal(len(relays), c.net == "isolated", "relays")
        for relay in relays:
            procs.end(relay)
            until(5, lambda: app.listed()["names_pid"] not in (0, pid), "another resolver")
        equal(ask("ai n1.one.test 80"), first, "the next answer")

    lookups(c, "", steps)


@case("a name server that itself runs protected keeps its loopback address", limit=30, nets=("isolated",))
def own_server(c):
    etc("127.0.0.1")
    program = "import socket; s = socket.create_server(('127.0.0.1', 53)); print('bound')"
    equal(run_protected(c, "python3", "-c", program), (0, "bound\n", ""), "bind")


tap.main()
