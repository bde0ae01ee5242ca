#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real Xen, emulated: what a keep-alive request costs. System calls of the server and of the INS, notifications each way, copies; counts, not times."""
import re
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "net")]
from lib import machine as own_machine  # noqa: E402
from lib import tap  # noqa: E402
from lib.tap import case, check, equal  # noqa: E402
from xenlab import lab as labs  # noqa: E402
from xenlab.lab import INS1, RUN, lab  # noqa: E402

LIMIT = 300
EVENT = "/sys/kernel/tracing/events/raw_syscalls/sys_enter"
KEYS = "hist:keys=common_pid.execname,id.syscall:size=4096"
BEGIN = f"[ -e {EVENT} ] || mount -t tracefs t /sys/kernel/tracing; echo '{KEYS}' >{EVENT}/trigger"
END = f"cat {EVENT}/hist; echo '!{KEYS}' >{EVENT}/trigger"
# Each moves the bytes of one direction once; what the event channel's file is read and written with does not count.
MOVES = {"read", "readv", "recvfrom", "recvmsg", "write", "writev", "sendto", "sendmsg", "sendfile64"}
INS_MOVES = MOVES - {"read", "write"}


def calls(text, program):
    """How often each process of a program made each system call: busiest process first."""
    total = {}
    for name, pid, call, count in re.findall(r"common_pid: (\S+) +\[ *(\d+)\].*?id: sys_(\w+) .*?hitcount:\s+(\d+)", text):
        if name == program:
            total.setdefault(pid, {})[call] = int(count)
    return sorted(total.values(), key=lambda made: -sum(made.values()))


def stats(x):
    return {name: int(value) for name, value in (line.split() for line in x.pvm.run("vm-device stats").splitlines())}


def told(each):
    return ", ".join(f"{count:.2f} {name}" for name, count in sorted(each.items(), key=lambda i: -i[1]) if count >= 0.005)


def measure(t, x, connections, requests):
    """Notifications of a request out of the protected machine and into it."""
    x.pvm.run(BEGIN)
    x.machine.run(BEGIN, address=INS1)
    before = stats(x)
    done = subprocess.run(["ab", "-k", "-q", "-s", "60", "-n", str(requests), "-c", str(connections), x.url(INS1, "/one")], capture_output=True,
                          text=True, check=False, timeout=200)
    cost = {name: (value - before[name]) / requests for name, value in stats(x).items()}
    server, worker = calls(x.pvm.run(END), "nginx"), calls(x.machine.run(END, address=INS1), "mw-ins")[:1]
    for text, wanted in (("Complete requests", requests), ("Failed requests", 0), ("Keep-Alive requests", requests)):
        found = re.search(rf"{text}:\s+(\d+)", done.stdout)
        check(found and int(found[1]) >= wanted * (1 if text == "Complete requests" else 0.95),
              lambda text=text: f"ab: {text}: {done.stdout}{done.stderr}{x.pvm.run('dmesg | tail')}{x.logs()}")
    server, worker = ({call: sum(made.get(call, 0) for made in each) / requests for call in set().union(*each)} for each in (server, worker))
    t.note(f"{connections} keep-alive: a request costs {cost['notified']:.2f} notifications out and {cost['news']:.2f} in, {cost['requests']:.2f} control requests")
    t.note(f"the server's {sum(server.values()):.2f} system calls: {told(server)}")
    t.note(f"the INS's worker's {sum(worker.values()):.2f} system calls: {told(worker)}")
    copies = [sum(count for call, count in made.items() if call in moves) for made, moves in ((server, MOVES), (worker, INS_MOVES))]
    t.note(f"copies: {copies[0]:.2f} between the server and the rings, {copies[1]:.2f} between the rings and the INS's kernel")
    return cost["notified"], cost["news"]


@case("a keep-alive request: at most 2 notifications each way alone, fewer than 0.5 at 32 connections", limit=LIMIT)
def counts(t):
    x = lab(t, "counts")
    x.pvm.run(f"{RUN} nginx -c /etc/mwcomms/nginx.conf")
    equal(x.curl(path="/one"), (0, b"one\n"), "the first request")
    alone = measure(t, x, 1, 500)
    many = measure(t, x, 32, 3200)
    check(max(alone) <= 2, f"notifications a request, one connection: {alone}")
    check(max(many) < 0.5, f"notifications a request, 32 connections: {many}")
    equal(x.complaints(), [], "the kernel's complaints")


if __name__ == "__main__":
    if own_machine.outside():
        labs.make()
        labs.warm()
    tap.main()
