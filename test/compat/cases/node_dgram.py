# SPDX-License-Identifier: Apache-2.0
"""Node's dgram: servers of both families, and a client with an error that comes back."""
import socket
import sys

from cases.nginx_udp import ECHO, answer, echoing
from lab import connect, program

TITLE = "Node (UDP)"
WORK = "`dgram`: servers of both families, a client, a refusal that comes back"
PACKAGES = ["nodejs"]


def work(lab):
    lab.backend([sys.executable, "-c", ECHO], there=True)
    lab.start(["node", program("dgram.js"), lab.there])
    lab.ready(5302)
    echoing(lab, 5300)
    for family, host, port in ((socket.AF_INET, "127.0.0.1", 5300), (socket.AF_INET6, "::1", 5301)):
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.connect((host, port))
            for size in (0, 1, 1400, 9000, 60000):
                lab.note(f"{host}: {size}", answer(s, lab.noise("node", size)))
    with connect("127.0.0.1", 5302, timeout=20) as s:
        lab.note("its client", s.makefile().read())
