# SPDX-License-Identifier: Apache-2.0
"""A machine of its own for a test program: own network, process ids and mounts, all gone with its first process.

    neighbour (nb0, 10.77.0.2, fd77::2) ──veth── this machine (nb1, 10.77.0.1, fd77::1; lo)

Default ports and paths of Debian's servers can so be used, whatever runs on the real machine.
"""
import atexit
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE4, HERE6, THERE4, THERE6 = "10.77.0.1", "fd77::1", "10.77.0.2", "fd77::2"
MARK = "MW_TEST_MACHINE"
FRESH = ("/run", "/tmp", "/var/log", "/var/www/html", "/var/lib/nginx", "/var/lib/redis")
CLONE_NEWNET = 0x40000000

CHECKOUT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("MW_BUILD") or CHECKOUT / "build").resolve()
MW = str(BUILD / "mw")
SHIM = str(BUILD / "libmwshim.so")

neighbour_pid = 0


def outside():
    """Whether what the new machine has no network for is to be prepared: it is not entered yet, and will be."""
    return MARK not in os.environ and "--list" not in sys.argv


def enter():
    """False if not root. Otherwise returns True in the new machine."""
    if os.geteuid() != 0:
        return False
    if MARK not in os.environ:
        os.environ[MARK] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child",
                              "--mount-proc", sys.executable, *sys.argv])
    if os.getpid() == 1:
        be_init()
    fresh_directories()
    open_way(CHECKOUT, BUILD)
    own_hosts()
    run("ip", "link", "set", "lo", "up")
    neighbour()
    return True


def be_init():
    """Process 1 reaps, and ends with its first child; the child returns."""
    child = os.fork()
    if child == 0:
        return
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xff)


def fresh_directories():
    """Empty ones in place of the real machine's; the programs under test and the servers stay where they are."""
    keep = [str(p) for p in (BUILD, CHECKOUT)]
    for path in FRESH:
        if any(k.startswith(path + "/") for k in keep):
            continue    # we live in it
        if os.path.isdir(path):
            run("mount", "-t", "tmpfs", "-o", "mode=0755" if path != "/tmp" else "mode=1777", "tmpfs", path)


def open_way(*paths):
    """Users that are not root may enter these, as they may an installed one: /root, where they may lie, is closed to them."""
    closed = sorted({p for path in paths for p in path.parents if not p.stat().st_mode & 0o001})
    aside = {path: tempfile.mkdtemp(dir="/run") for path in paths if closed}
    for path, there in aside.items():
        run("mount", "--bind", str(path), there)
    for p in closed:
        if p.is_dir():  # else it lies in one that was closed
            run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(p))
    for path, there in aside.items():
        path.mkdir(parents=True, exist_ok=True)
        run("mount", "--move", there, str(path))
        os.rmdir(there)


def own_hosts():
    """Who is localhost, and that this machine has a name, is the same everywhere."""
    hosts = Path("/run/hosts")
    hosts.write_text(f"127.0.0.1 localhost {os.uname().nodename}\n")
    run("mount", "--bind", str(hosts), "/etc/hosts")


def private_copy(path):
    """Puts a copy in place of a directory, so that a test may change it."""
    copy = tempfile.mkdtemp(dir="/run")
    shutil.copytree(path, copy, symlinks=True, dirs_exist_ok=True)
    os.chmod(copy, 0o755)
    run("mount", "--bind", copy, path)


def neighbour():
    """Another machine on the network: a process that keeps a namespace."""
    global neighbour_pid
    child = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL)
    atexit.register(child.kill)
    neighbour_pid = child.pid
    own = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{child.pid}/ns/net") == own:
        pass
    for prefix in (), in_neighbour():   # or an address is tentative for its first second
        run(*prefix, "sh", "-c", "for f in all default; do echo 0 >/proc/sys/net/ipv6/conf/$f/accept_dad; done")
    run("ip", "link", "add", "nb1", "type", "veth", "peer", "name", "nb0", "netns", str(child.pid))
    for prefix, link, four, six in (((), "nb1", HERE4, HERE6), (in_neighbour(), "nb0", THERE4, THERE6)):
        run(*prefix, "ip", "addr", "add", f"{four}/24", "dev", link)
        run(*prefix, "ip", "-6", "addr", "add", f"{six}/64", "dev", link, "nodad")
        run(*prefix, "ip", "link", "set", link, "up")
    run(*in_neighbour(), "ip", "link", "set", "lo", "up")


def in_neighbour():
    """What to put before a command to run it there."""
    return ("nsenter", f"--net=/proc/{neighbour_pid}/ns/net", "--")


def join(pid):
    """Moves this process (better: a child of the test) into another's network namespace."""
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(fd, CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(fd)


def run(*argv, limit=20):
    """Output of a command that must succeed."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
