#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Telemetry and orders of a protected machine on real Xen: `mw` there, and the flow stream from dom0."""
import base64
import json
import socket
import struct
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "net")]
from lib import machine as own_machine  # noqa: E402
from lib import tap  # noqa: E402
from lib.tap import case, check, equal, matches  # noqa: E402
from xenlab import lab as labs  # noqa: E402
from xenlab.lab import INS1, INS2, RUN, lab  # noqa: E402

LIMIT = 400
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
INFO = 116
OBSERVATIONS = {1: "create", 2: "bind", 3: "accept", 4: "connect", 5: "recv", 6: "send", 7: "close"}


def begin(x, options="--netflow 0.0.0.0:2055 --netflow-allow 10.0.0.0/24"):
    x.pvm.run(f"ln -s /usr/local/bin/mw /usr/bin/mw; mkdir -p /srv; chown www-data /srv; echo hello >/srv/index.html; {RUN} nginx -c /etc/mwcomms/nginx.conf; "
              f"mw xen serve {options} >/run/serve.log 2>&1 &")
    x.until(lambda: x.pvm.shell("mw ps | grep -q xen")[0] == 0, 60, lambda: x.pvm.run("cat /run/serve.log; ls -l /dev/mwcomms*"))
    equal(x.curl(), (0, b"hello\n"), "the first request")


def client(t, x, address=INS1):
    """A connection from outside, that has had an answer and stays. The socket, and bytes of the answer."""
    s = t.enter_context(socket.create_connection(("127.0.0.1", x.machine.port(address, 80)), timeout=30))
    s.sendall(REQUEST)
    got = b""
    while b"hello\n" not in got:
        more = s.recv(4096)
        check(more, f"the answer ended early: {got}")
        got += more
    return s, len(got)


def flows(x, **wanted):
    found = [json.loads(line) for line in x.pvm.run("mw flows --json xen").splitlines()]
    return [f for f in found if all(f[k] == v for k, v in wanted.items())]


def closed(s):
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True


@case("mw flows shows a client while it is connected, with its bytes; mw close ends it, mw block keeps it out", limit=LIMIT)
def verbs(t):
    x = lab(t, "flows-verbs")
    number = int(x.machine.run("xl domid ins1"))
    begin(x)
    s, answer = client(t, x)
    x.until(lambda: flows(x, state="established"), 20, lambda: x.pvm.run("mw flows; cat /run/serve.log"))
    flow = flows(x, state="established")[0]
    equal((flow["rx_bytes"], flow["tx_bytes"], flow["ins"], flow["command"]), (len(REQUEST), answer, number, "nginx"), "the connection")
    equal(flow["local"], INS1, "its address here")
    t.note(x.pvm.run("mw ps; mw ins list; mw flows"))
    x.pvm.run(f"mw close xen {flow['id']}")
    check(closed(s), "the client's connection goes on")
    equal(x.curl(), (0, b"hello\n"), "another connection")
    x.pvm.run("mw block xen 10.0.0.0/24")
    check(x.curl(seconds=10)[0] != 0, "who is blocked is served")
    x.pvm.run("mw unblock xen 10.0.0.0/24")
    equal(x.curl(), (0, b"hello\n"), "who is not blocked any more")
    matches(x.pvm.run("cat /var/log/mw-audit.log"), "close", "the audit log")
    equal(x.complaints(), [], "the kernel's complaints")


def observed(data):
    """(observation, remote address, bytes received, bytes sent) of each message."""
    found = []
    for at in range(0, len(data) - INFO + 1, INFO):
        signature, what = struct.unpack_from(">H4xH", data, at)
        equal(signature, 0xD310, "signature")
        found.append((OBSERVATIONS[what], socket.inet_ntoa(data[at + 74:at + 78]), *struct.unpack_from(">QQ", data, at + 92)))
    return found


@case("the key /mw/pvm/netflow says where dom0 reads the flow stream, which tells of a client; it is empty afterwards", limit=LIMIT)
def netflow(t):
    x = lab(t, "flows-netflow")
    begin(x)
    x.until(lambda: x.machine.run("xenstore-read /mw/pvm/netflow") == f"{INS1}:2055", 20, lambda: x.machine.run("xenstore-read /mw/pvm/netflow"))
    matches(x.machine.run("mw-xen status"), rf"flow stream at {INS1}:2055", "mw xen status")
    x.machine.run("(sleep 100 | nc $(xenstore-read /mw/pvm/netflow | tr ':' ' ') >/run/stream 2>&1) >/dev/null 2>&1 & sleep 1")
    s, answer = client(t, x)
    s.close()

    def told():
        return observed(base64.b64decode(x.machine.run("base64 /run/stream")))

    x.until(lambda: any(o[0] == "close" and o[2:] == (len(REQUEST), answer) for o in told()), 30,
            lambda: f"{told()}; {x.pvm.run('mw flows; cat /run/serve.log')}")
    kinds = [o[0] for o in told()]
    check({"accept", "recv", "send", "close"} <= set(kinds), f"what was told: {kinds}")
    t.note(f"dom0 was told {kinds}")
    x.pvm.run("killall mw")
    x.until(lambda: x.machine.run("xenstore-read /mw/pvm/netflow") == "", 20, "the key is empty")
    equal(x.complaints(), [], "the kernel's complaints")


@case("a second INS domain is followed when it comes; one that is destroyed is not any more, and the stream moves", limit=LIMIT)
def several(t):
    x = lab(t, "flows-several")
    begin(x)
    first = int(x.machine.run("xl domid ins1"))
    second, _ = x.ins("ins2", INS2)
    x.until(lambda: x.curl(address=INS2)[0] == 0, 30, "a listener at the new INS")
    _, _ = client(t, x)
    _, _ = client(t, x, INS2)
    x.until(lambda: sorted({f["ins"] for f in flows(x, state="established")}) == sorted([first, second]), 30, lambda: x.pvm.run("mw flows; cat /run/serve.log"))
    listed = [json.loads(line) for line in x.pvm.run("mw ins list --json xen").splitlines()]
    equal([(e["ins"], e["address"]) for e in listed], [(first, INS1), (second, INS2)], "mw ins list")
    x.machine.run("xl destroy ins1")
    x.until(lambda: {f["ins"] for f in flows(x)} == {second}, 30, lambda: x.pvm.run("mw flows; cat /run/serve.log; dmesg | tail"))
    x.until(lambda: x.machine.run("xenstore-read /mw/pvm/netflow") == f"{INS2}:2055", 20, lambda: x.machine.run("xenstore-read /mw/pvm/netflow"))
    equal(x.complaints(), [], "the kernel's complaints")


if __name__ == "__main__":
    if own_machine.outside():
        labs.make()
        labs.warm()  # packages are fetched and guests booted where there is a network
    tap.main()
