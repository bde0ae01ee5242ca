# SPDX-License-Identifier: Apache-2.0
"""What an INS that was taken over may write to a listener's doorbell, whose end is stolen from it."""
import ctypes
import json
import os
import socket
import struct

from lib import machine, procs, tap
from lib.inss import Clients, connections, even, ins
from lib.mw import App
from lib.tap import case, check, equal, until

PORT = 7000
PATIENT = """
import socket
s = socket.create_server(("", 7000), backlog=200)
kept = []
while True:
    try:
        c, peer = s.accept()
        c.sendall(("%s %d\\n" % peer).encode())
        kept.append(c)
    except OSError as e:
        print(f"refused {e.errno}\\n", end="", flush=True)
"""


def stolen(pid, fd):
    """A duplicate of another process's descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.pidfd_open(pid)
    try:
        got = libc.syscall(438, handle, fd, 0)      # pidfd_getfd
        check(got >= 0, os.strerror(ctypes.get_errno()))
        return got
    finally:
        os.close(handle)


def doorbell_end(pid, of, peer):
    """The UNIX socket of an INS's process whose peer, of the application's process, has that inode: a duplicate."""
    pairs = {}
    for line in machine.run("nsenter", f"--net=/proc/{of}/ns/net", "--", "ss", "-Hxna").splitlines():
        words = line.split()
        pairs[words[5]] = words[7]
    for fd in os.listdir(f"/proc/{pid}/fd"):
        link = os.readlink(f"/proc/{pid}/fd/{fd}")
        if link.startswith("socket:") and pairs.get(link[8:-1]) == peer:
            return stolen(pid, int(fd))
    raise tap.Failed(f"process {pid} has no end of {peer}")


def lies(c, lane):
    """What an INS that is taken over may write to a listener's doorbell: the others, and the application, go on."""
    app = App(c, "python3", "-u", "-c", PATIENT, net="isolated", options=("--ins", "2", *lane)).ready(PORT)
    honest = Clients(c, 40)     # without an echo; lines with addresses alone
    equal((honest.opened, honest.failed, honest.wrong), (40, 0, 0), "connections")
    theirs = next(f for f in app.connections() if f["ins"] == 0 and f["peer"] == machine.THERE4)
    server = next(p.pid for p in procs.below(app.app_pid()) if p.comm.startswith("python"))
    space = f"/proc/{server}/fd"
    listener = min(int(fd) for fd in os.listdir(space) if os.readlink(f"{space}/{fd}").startswith("socket:"))
    inode = os.readlink(f"{space}/{listener}")[8:-1]
    bell = socket.socket(fileno=doorbell_end(ins(1)["worker_pid"], server, inode))
    c.callback(bell.close)
    slot, gen = theirs["id"] & 0xffffffff, theirs["id"] >> 32
    peer = struct.pack("16sIIHHI", socket.inet_aton("192.0.2.66"), 0, 0, 4, 6666, 0)
    refused = app.said().count("refused")
    told = 0
    for number in (0, 1, 2, 63, 1023, 1024, 65536, 0xffffffff):
        for of, generation, pad in ((slot, gen, 0), (slot, gen + 1, 0), (0, 1, 0), (70000, 1, 0), (0xffffffff, 1, 0), (slot, gen, 1)):
            for count in (1, 0):
                mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                socket.send_fds(bell, [struct.pack("IIII", of, generation, number, pad) + peer], [other.fileno()] * count)
                told += 1
                mine.close()
                other.close()
    for size in () if lane else (7, 2000):      # under the filter it is a stream of records, without sizes
        bell.sendall(b"x" * size)
        told += 1
    until(10, lambda: app.said().count("refused") == refused + told,
          lambda: f"{app.said().count('refused') - refused} of {told} lies were refused: {app.said()[-200:]}")
    check("192.0.2.66" not in json.dumps(app.flows()), "a connection that never was")
    more = Clients(c, 40)
    equal((more.opened, more.failed, more.wrong), (40, 0, 0), "connections afterwards")
    even(connections(), 80, "connections of both")


@case("an INS that names another INS's connections, or none at all, is not believed: the listener goes on", limit=40)
def forged(c):
    lies(c, ())


@case("the same for a program under the filter", limit=40)
def forged_stream(c):
    lies(c, ("--lane", "stream"))


tap.main()
