# SPDX-License-Identifier: Apache-2.0
"""Each confined process, taken over: it makes by itself the calls that somebody would get out with. Each is refused, or kills it."""
import ctypes
import errno
import signal
import socket
import subprocess
import time
from pathlib import Path

from lib import filters, machine, mixed, procs, tap
from lib.filters import hexed, inject
from lib.mw import App, quick
from lib.tap import NETS, Skip, case, check, equal, until
from lib.traced import Traced

PYTHON = "/usr/bin/python3"
ROOT = Path(__file__).resolve().parents[2]
SERVER = str(ROOT / "test" / "net" / "lib" / "server.py")
PORT = 7000
KILLED = "killed 31"    # SIGSYS
REFUSED = {f"returned {-e}" for e in (errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENOSYS, errno.ECONNREFUSED)} | {KILLED}
ABSTRACT = "victim"
AT = -100               # AT_FDCWD
# x86-64's numbers
CALL = {"read": 0, "open": 2, "mmap": 9, "mprotect": 10, "ioctl": 16, "socket": 41, "connect": 42, "bind": 49, "listen": 50, "socketpair": 53, "clone": 56,
        "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "fcntl": 72, "chmod": 90, "ptrace": 101, "setuid": 105, "capset": 126, "pivot_root": 155,
        "prctl": 157, "chroot": 161, "mount": 165, "init_module": 175, "tkill": 200, "tgkill": 234, "add_key": 248, "keyctl": 250, "openat": 257,
        "unshare": 272, "accept4": 288, "perf_event_open": 298, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310, "seccomp": 317,
        "memfd_create": 319, "bpf": 321, "execveat": 322, "userfaultfd": 323, "pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434, "clone3": 435,
        "openat2": 437, "pidfd_getfd": 438, "landlock_restrict_self": 446}


def landlock():
    """The kernel's ABI; below 0: it has none."""
    return ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1)


def nobody(c, does):
    child = subprocess.Popen(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", PYTHON, "-c", f"import socket, time\n{does}\ntime.sleep(1000)"])
    c.callback(child.wait)
    c.callback(child.kill)
    return child


class Scene:
    """An application with INSs, another one, and a bystander who is nobody too and listens at an abstract name."""

    def __init__(self, c, inss=1):
        self.app = App(c, PYTHON, SERVER, "echo", options=("--ins", str(inss))).ready(PORT)
        self.other = App(c, "sleep", "1000", name="other")
        self.other.listed()
        self.bystander = nobody(c, f"s=socket.socket(socket.AF_UNIX); s.bind('\\0{ABSTRACT}'); s.listen()")
        until(5, lambda: f"@{ABSTRACT}" in Path("/proc/net/unix").read_text(), "the bystander listens")
        self.conn = socket.create_connection(("127.0.0.1", PORT), 20)
        c.callback(self.conn.close)

    def processes(self, comm):
        return [p.pid for p in procs.below(self.app.broker_pid()) if p.comm == comm]

    def keepers(self):
        starters = self.processes("mw-ins-starter")
        return sorted({procs.look(pid).parent for pid in starters})

    def worker(self):
        keeper = self.app.ins_pid()
        return until(60, lambda: next((pid for pid in self.processes("mw-ins") if procs.look(pid) and procs.look(pid).parent == keeper), 0),
                     "a worker", 0.005)

    def other_arena(self):
        """Another application's, as its INS has it."""
        keeper = self.other.ins_pid()
        return next(str(p) for p in Path(f"/proc/{keeper}/fd").iterdir() if "arena" in str(p.readlink()) or "memfd" in str(p.readlink()))

    def unharmed(self):
        self.conn.sendall(b"hello")
        equal(self.conn.recv(100), b"hello", "the connection")
        check(self.bystander.poll() is None, "the bystander lives")
        check(self.other.child.poll() is None, "the other application lives")


def address(path, abstract=False):
    return "x:" + (b"\1\0" + (b"\0" if abstract else b"") + path.encode() + (b"" if abstract else b"\0")).hex(), 3 + len(path)


def sockets(scene):
    """(what, calls) to reach others by a socket."""
    control = next(Path("/run/mw/other").glob("*control*"), Path("/run/mw/other/control"))
    yield "a raw socket", [["socket", 2, 3, 1]]
    yield "a raw IPv6 socket", [["socket", 10, 3, 58]]
    yield "a raw socket, its family's upper half set", [["socket", 2 + (1 << 32), 3, 1]]
    yield "all packets", [["socket", 17, 3, 0x300]]
    yield "netlink", [["socket", 16, 3, 0]]
    yield "vsock", [["socket", 40, 1, 0]]
    yield "SCTP", [["socket", 2, 0o4000 | 0o2000000 | 1, 132]]
    yield "another application's control socket", [["socket", 1, 1, 0], ["connect", "r0", *address(str(control))]]
    yield "another's abstract name", [["socket", 1, 1, 0], ["connect", "r0", *address(ABSTRACT, True)]]
    yield "a listener of its own", [["socket", 1, 1, 0], ["listen", "r0", 1]]


def files(scene):
    yield "open a file to write", [["open", "s:/tmp/escaped", 0o102, 0o666]]
    yield "openat, a file to write", [["openat", AT, "s:/tmp/escaped", 0o102, 0o666]]
    yield "openat2", [["openat2", AT, "s:/tmp/escaped", hexed("QQQ", 0o102, 0o666, 0), 24]]
    yield "root's file", [["openat", AT, "s:/etc/shadow", 0]]
    yield "another application's arena", [["openat", AT, "s:" + scene.other_arena(), 2]]
    yield "another's memory", [["openat", AT, f"s:/proc/{scene.bystander.pid}/mem", 2]]
    yield "a file by its handle", [["open_by_handle_at", 3, hexed("II8s", 8, 1, b"\2"), 0]]
    yield "chmod", [["chmod", "s:/tmp", 0o777]]


def processes(scene):
    victim = scene.bystander.pid
    yield "execve", [["execve", "s:/bin/true", 0, 0]]
    yield "execveat", [["execveat", AT, "s:/bin/true", 0, 0, 0]]
    yield "fork", [["fork"]]
    yield "vfork", [["vfork"]]
    yield "clone, a process", [["clone", 17]]
    yield "clone, a user namespace", [["clone", 0x10000000 | 17]]
    yield "clone3", [["clone3", hexed("11Q", 0x10000000, *[0] * 10), 88]]
    yield "ptrace", [["ptrace", 16, victim, 0, 0]]
    yield "process_vm_readv", [["process_vm_readv", victim, hexed("QQ", 0, 8), 1, hexed("QQ", 0, 8), 1, 0]]
    yield "kill another", [["kill", victim, 9]]
    yield "kill all", [["kill", -1, 9]]
    yield "tkill", [["tkill", victim, 9]]
    yield "tgkill", [["tgkill", victim, victim, 9]]
    yield "pidfd_send_signal", [["pidfd_open", victim, 0], ["pidfd_send_signal", "r0", 9, 0, 0]]
    yield "pidfd_getfd", [["pidfd_open", scene.other.ins_pid(), 0], ["pidfd_getfd", "r0", 5, 0]]
    yield "SIGIO to another: FIOASYNC", [["ioctl", 0, 0x5452, hexed("i", 1)]]


def kernel(_):
    yield "mount", [["mount", "s:none", "s:/tmp", "s:tmpfs", 0, 0]]
    yield "unshare", [["unshare", 0x10000000]]
    yield "setns", [["setns", 0, 0]]
    yield "chroot", [["chroot", "s:/"]]
    yield "pivot_root", [["pivot_root", "s:/", "s:/"]]
    yield "setuid", [["setuid", 0]]
    yield "io_uring_setup", [["io_uring_setup", 8, hexed("120x")]]
    yield "bpf", [["bpf", 0, hexed("128x"), 128]]
    yield "userfaultfd", [["userfaultfd", 1]]
    yield "perf_event_open", [["perf_event_open", hexed("128x"), 0, -1, -1, 0]]
    yield "keyctl", [["keyctl", 0, -3, 0, 0, 0]]
    yield "add_key", [["add_key", "s:user", "s:k", "s:v", 1, -3]]
    yield "init_module", [["init_module", "s:x", 1, "s:"]]
    yield "x32's system calls", [[0x40000000 + 39]]


def own(_):
    """What an INS's process may not do to itself; mw-names loads libraries, and both have threads."""
    yield "mmap, to be executed", [["mmap", 0, 4096, 5, 0x22, -1, 0]]
    yield "mprotect, to be executed", [["mprotect", 0, 4096, 5]]
    yield "a datagram pair, which connects anywhere", [["socketpair", 1, 2, 0, hexed("8x")]]
    yield "prctl: dumpable", [["prctl", 4, 1, 0, 0, 0]]
    yield "prctl: new privileges", [["prctl", 38, 0, 0, 0, 0]]
    yield "another filter", [["seccomp", 1, 0, hexed("16x")]]
    yield "memfd_create", [["memfd_create", "s:x", 0]]
    yield "ethtool", [["ioctl", 0, 0x8946, hexed("64x")]]


def tries(pid, calls):
    """What came of them: the first refusal, or what came of the last."""
    said = inject(pid, *([CALL.get(call[0], call[0]), *call[1:]] for call in calls))
    return next((line for line in said if line in REFUSED), said[-1] if said else "nothing")


# --- the table and the truth ---

@case("the filters are those of the table", limit=40, nets=NETS)
def table(c):
    scene = Scene(c)
    tool = str(ROOT / "tools" / "calls.py")
    keeper = scene.app.ins_pid()
    starter = scene.processes("mw-ins-starter")[0]
    for name, pid in (("worker", scene.worker()), ("keeper", keeper), ("starter", starter), ("depot", scene.app.depot_pid())):
        programs = filters.of(pid)
        if programs is None:
            raise Skip("the kernel does not show filters (CONFIG_CHECKPOINT_RESTORE)")
        wanted = subprocess.run([PYTHON, tool, name], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
        seen = {name_of(n) for n in filters.allowed(programs)}
        equal(sorted(seen), sorted(set(wanted) - {"mmap"}), f"what the {name} may call")
        c.note(f"{name}: {len(seen)} system calls")


def name_of(number):
    """As libseccomp has it."""
    lib = ctypes.CDLL("libseccomp.so.2")
    lib.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
    return lib.seccomp_syscall_resolve_num_arch(filters.ARCH, number).decode()


# --- out of each ---

@case("a worker that was taken over gets nowhere; another takes its place, and the connection goes on", limit=120, nets=NETS)
def worker(c):
    scene = Scene(c)
    young = done = 0
    for kind in (sockets, files, processes, kernel, own):
        for what, calls in kind(scene):
            before = scene.worker()
            equal(tries(before, calls), KILLED, what)
            until(10, lambda: scene.worker() != before, "another worker", 0.005)
            scene.unharmed()
            done += 1
            young += 1
            if young == 5:      # who dies young too often is started late
                time.sleep(1.1)
                young = 0
    c.note(f"{done} ways out, and {done} workers")


INSS = 15


def ends(c, comm, ways_of, inss):
    """Of INSs' processes that are not replaced, each is killed by one way out."""
    exempt = "prctl: dumpable" if comm == "mw-ins-starter" else ""     # it has that for its workers, with --core
    scene = Scene(c, inss)
    found = scene.keepers() if comm == "mw-ins" else scene.processes(comm)
    equal(len(found), inss, comm)
    ways = [way for kind in (sockets, files, processes, kernel, own) for way in kind(scene) if way[0] not in ("kill another", exempt)]
    if landlock() >= 6:
        equal(tries(found[-1], [["kill", scene.bystander.pid, 9]]), f"returned {-errno.EPERM}", "killing another")
    tried = ways[ways_of]
    check(len(tried) <= inss, f"{inss} of {len(tried)}")
    for pid, (what, calls) in zip(found, tried):
        equal(tries(pid, calls), KILLED, what)
    check(scene.bystander.poll() is None, "the bystander lives")
    c.note(f"{len(tried)} ways out")


for one in ("keeper", "starter"):
    for turn in range(4):
        case(f"a {one} that was taken over gets nowhere, {turn + 1} of 4", limit=60, nets=("isolated",))(
            lambda c, comm={"keeper": "mw-ins", "starter": "mw-ins-starter"}[one], turn=turn: ends(c, comm, slice(turn, None, 4), INSS))
    case(f"a {one} that was taken over gets nowhere", limit=60, nets=("host",))(
        lambda c, comm={"keeper": "mw-ins", "starter": "mw-ins-starter"}[one]: ends(c, comm, slice(0, 1), 1))


@case("the same ways lead somewhere for who is not confined", limit=40, nets=("isolated",))
def control(c):
    scene, leads = Scene(c), []
    free = nobody(c, "")
    until(5, lambda: procs.look(free.pid).comm.startswith("python"), "it runs")
    time.sleep(0.3)
    for kind in (sockets, files, processes, kernel, own):
        for what, calls in kind(scene):
            if not any(word in what for word in ("exec", "fork", "clone", "kill all", "filter", "own adm", "x32")) and \
               tries(free.pid, calls).removeprefix("returned ").isdigit():
                leads.append(what)
    check(len(leads) >= 12, f"only {leads}")
    until(5, lambda: procs.look(scene.bystander.pid).state == "Z", "the bystander was killed")
    Path("/tmp/escaped").unlink()
    c.note("who is nobody, and no more, may: " + "; ".join(leads))


def helper(c, comm, *more, exempt=()):
    scene, done = Scene(c), 0
    found = scene.processes(comm)
    check(found, comm)
    for pid in found:
        for what, calls in (*sockets(scene), *files(scene), *processes(scene), *kernel(scene), *(way for way in own(scene) if way[0] in more)):
            if what in exempt:
                continue
            said = tries(pid, calls)
            check(said in REFUSED - ({KILLED} if "x32" not in what else set()), lambda what=what, said=said: f"{comm}, {what}: {said}")
            done += 1
            if said == KILLED:
                break
    scene.unharmed()
    check(not Path("/tmp/escaped").exists(), "nothing was written")
    c.note(f"{done} ways out of {len(found)} processes")


@case("telemetry that was taken over gets nowhere", limit=60, nets=NETS)
def telem(c):
    helper(c, "mw-telem", "mmap, to be executed", "mprotect, to be executed")


@case("a resolver that was taken over gets nowhere", limit=60, nets=NETS)
def names(c):
    helper(c, "mw-names", exempt={"netlink"})  # which addresses there are


def front(c, *words):
    """mw-front, begun by hand: (process, what it says)."""
    log = Path(f"/run/{words[0]}.log")
    with open(log, "wb") as out:
        child = subprocess.Popen([machine.MW, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    c.callback(child.wait, 10)
    c.callback(child.terminate)
    return child, log.read_text


def tried(child, calls):
    """It works meanwhile: calls are made where it waits."""
    for _ in range(20):
        said = tries(child.pid, calls)
        if "no instruction" not in said:
            return said
    return said


def reads(child, path):
    return tried(child, [["openat", AT, f"s:{path}", 0]]).removeprefix("returned ").isdigit()


def front_ways(scene):
    """Out by a file, a program, a signal or an abstract name: the rest is root's without a capability, or CAP_NET_ADMIN's."""
    yield from (way for way in files(scene) if way[0] not in ("chmod",))
    yield "a file of the registry to write", [["openat", AT, "s:/run/mw/app/ins/0.json", 1]]
    yield "a new file of the registry", [["openat", AT, "s:/run/mw/app/ins/9.json", 0o101, 0o600]]
    yield "execve", [["execve", "s:/bin/true", 0, 0]]
    yield "mount", [["mount", "s:none", "s:/tmp", "s:tmpfs", 0, 0]]
    if landlock() >= 6:
        yield "kill another", [["kill", scene.bystander.pid, 9]]
        yield "another's abstract name", [["socket", 1, 1, 0], ["connect", "r0", *address(ABSTRACT, True)]]


@case("a frontend that was taken over, and a mirror: no file but those that are theirs; both go on", limit=60, nets=("isolated",))
def fronts(c):
    if landlock() < 1:
        raise Skip("the kernel has no Landlock")
    scene, done = Scene(c), 0
    frontend, said = front(c, "frontend", "app")
    mirror, _ = front(c, "registry", "--etcd", "http://127.0.0.1:1", "app")
    until(10, lambda: "INS " in said() and "gets connections" in said(), said)
    until(10, lambda: (Path(f"/proc/{mirror.pid}/status").read_text().find("NoNewPrivs:\t1") > 0), "the mirror is confined")
    for child, shadow in ((frontend, False), (mirror, True)):
        for what, calls in front_ways(scene):
            if shadow and what == "root's file":
                continue        # it looks names up in /etc, as root without a capability
            said_of = tried(child, calls)
            check(said_of in REFUSED, f"{child.args[1]}, {what}: {said_of}")
            done += 1
        check(reads(child, "/run/mw/app/lock"), f"{child.args[1]} reads the registry")
        equal(reads(child, "/etc/shadow"), shadow, f"{child.args[1]} reads /etc/shadow")
        check(not reads(child, "/root") and not reads(child, "/var"), f"{child.args[1]} looks into /root or /var")
    scene.unharmed()
    equal(quick("ins", "add", "app")[0], 0, "another INS")
    until(10, lambda: said().count("gets connections") == 2, said)
    check(Path("/run/mw/.frontend-app").exists(), "its lock")
    frontend.terminate()
    equal(frontend.wait(10), 0, "its end")
    check(not Path("/run/mw/.frontend-app").exists(), "its lock is removed")
    c.note(f"{done} ways out of both")


# --- the broker ---

def status(pid):
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


@case("a broker keeps no capability that it does not need; its application has all; INSs come and go as before", limit=60, nets=NETS)
def broker(c):
    app = App(c, PYTHON, SERVER, "echo").ready(PORT)
    mine, seen = status("self"), status(app.broker_pid())
    kept = sum(1 << number for number in (1, 2, 5, 6, 7, 8, 10, 12, 13, 18, 19, 21, 24))     # linux/capability.h's
    for name in ("CapEff", "CapPrm", "CapBnd"):
        equal(int(seen[name], 16), kept & int(mine[name], 16), f"the broker's {name}")
    equal((seen["NoNewPrivs"], int(seen["CapInh"], 16)), ("1", 0), "what else it could get")
    equal(status(app.app_pid())["CapEff"], mine["CapEff"], "the application's")
    equal(status(app.app_pid())["NoNewPrivs"], mine["NoNewPrivs"], "the application's")
    if c.net == "isolated":
        equal(quick("ins", "add", "app")[0], 0, "another INS")
    equal(quick("ins", "upgrade", "app", "all")[0], 0, "an upgrade")
    with socket.create_connection(("127.0.0.1", PORT), 20) as s:
        s.sendall(b"x")
        equal(s.recv(1), b"x", "echo")


# --- nothing too much ---

# What such a run does not show, and why it is there all the same.
UNSEEN = {
    "worker": {"clock_gettime", "mmap"},    # the vDSO answers; with a door
    "keeper": {"clock_gettime", "restart_syscall"},     # as above; a poll() goes on so only after a stop
    "starter": set(),
    "depot": {"restart_syscall"},
}
# Who is told by SIGURG.
SERVER_URGENT = """
import fcntl, os, signal, socket, time
seen = []
signal.signal(signal.SIGURG, lambda *_: seen.append(1))
s = socket.create_server(("127.0.0.1", 7300))
while True:
    c = s.accept()[0]
    fcntl.fcntl(c, fcntl.F_SETOWN, os.getpid())
    c.send(b".")
    end = time.monotonic() + 10
    while not seen and time.monotonic() < end:
        time.sleep(0.01)
    c.send(b"!" if seen else b"?")
    c.close()
"""


def dialled(port):
    """None: it is not published yet."""
    try:
        return socket.create_connection(("127.0.0.1", port), 20)
    except ConnectionRefusedError:
        return None


def urgent():
    with until(10, lambda: dialled(7300), "its port is published") as s:
        equal(s.recv(1), b".", "it is the owner")
        s.send(b"u", socket.MSG_OOB)
        equal(s.recv(1), b"!", "SIGURG")


@case("each call of the table is made: the INS's", limit=120, nets=("isolated",))
def all_made(c):
    made = Traced(c)
    asked = App(c, PYTHON, "-c", SERVER_URGENT, name="urgent", prefix=made.prefix)
    until(20, lambda: asked.info() and any(f["state"] == "listen" for f in asked.flows()), "it listens")
    urgent()
    asked.end()
    app = App(c, PYTHON, mixed.__file__, "/run/own", prefix=made.prefix).ready(mixed.PORT, mixed.PORT + 1, seconds=40)
    clients = mixed.Clients("/run/own")
    c.callback(clients.end)
    for _ in range(2):
        before = clients.seen()
        until(60, lambda before=before: clients.wrong or clients.all_beyond({name: n + 10 for name, n in before.items()}),
              lambda: f"the clients go on: {clients.seen()}")
        check(not clients.wrong, lambda: f"{clients.wrong}")
        keeper = app.ins_pid()
        stopped = next(p.pid for p in procs.below(keeper) if p.comm == "mw-ins" and p.parent == keeper)
        procs.end(stopped, signal.SIGSTOP)      # it hangs
        until(20, lambda stopped=stopped: not procs.look(stopped), "the keeper kills it")
    status, _, err = quick("ins", "upgrade", "app")
    equal(status, 0, f"mw ins upgrade: {err}")
    clients.end()
    until(20, lambda: "madvise" in made.seen()["worker"], "memory goes back", 0.5)
    compare(c, made, ("worker", "keeper", "starter"))


@case("each call of the table is made: the depot's", limit=60, nets=("isolated",))
def depot_made(c):
    made = Traced(c)
    app = App(c, "sh", "-c", 'sleep 1000 & exec "$0" "$1" echo', PYTHON, SERVER, prefix=made.prefix).ready(PORT, seconds=30)
    broker, run = app.broker_pid(), procs.look(app.depot_pid()).parent
    for pid in (run, broker):
        procs.end(pid, signal.SIGKILL)
    heir = subprocess.Popen([machine.MW, "run", "--adopt", "app"], stderr=subprocess.DEVNULL)
    until(20, lambda: quick("ins", "list", "app")[0] == 0, "the heir has it")
    for p in procs.below(heir.pid):
        procs.end(p.pid, signal.SIGKILL)
    heir.wait()
    server = next(p.pid for p in procs.table().values() if p.comm == "python3" and f"{SERVER}\0echo" in Path(f"/proc/{p.pid}/cmdline").read_text())
    procs.end(server, signal.SIGKILL)
    until(20, lambda: "mw-depot" not in (p.comm for p in procs.table().values()), "the depot ends")
    compare(c, made, ("depot",))


def compare(c, made, names):
    seen = made.seen()
    for name in names:
        wanted = set(subprocess.run([PYTHON, str(ROOT / "tools" / "calls.py"), name], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
        never = wanted - set().union(*(seen[n] for n in (names if name == "starter" else [name])))
        equal(never - UNSEEN.get(name, set()) - (UNSEEN["worker"] | UNSEEN["keeper"] if name == "starter" else set()), set(), f"never made by the {name}")
        c.note(f"{name}: {len(wanted - never)} of {len(wanted)} seen; not {', '.join(sorted(never)) or 'one is missing'}")


tap.main()
