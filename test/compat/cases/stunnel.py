# SPDX-License-Identifier: Apache-2.0
"""stunnel: TLS in front of a plain server, and its client's side in the same application."""
import socket
import ssl

import web
from lab import connect

TITLE = "stunnel"
WORK = "TLS in front of a plain server, its client mode chained before it, a client's certificate, reload"
PACKAGES = ["stunnel4", "openssl"]

CONFIG = """
foreground = yes
pid = /run/stunnel.pid
[server]
accept = :::7443
connect = %(there)s:9001
cert = %(both)s
[client]
client = yes
accept = 127.0.0.1:7000
connect = 127.0.0.1:7443
[verified]
accept = 7444
connect = %(there)s:9000
cert = %(both)s
CAfile = %(cert)s
verifyChain = yes
[sni-none]
client = yes
accept = 127.0.0.1:7001
connect = %(there)s:9
"""


def work(lab):
    cert, key, both = lab.certificate()
    web.origin(lab, 9000, 9001, there=True)
    config = lab.file("/run/stunnel.conf", CONFIG % {"cert": cert, "both": both, "there": lab.there})
    app = lab.start(["stunnel4", config])
    lab.ready(7443, 7000, 7444, 7001)
    exchange(lab, "before", cert)
    web.curl(lab, "with a certificate", "--cert", cert, "--key", key, "https://127.0.0.1:7444/bytes/500000")
    done = lab.client(["curl", "-sk", "--max-time", "30", "https://127.0.0.1:7444/bytes/10"], status=None)
    lab.note("without one", (done.status in (55, 56), done.out))  # its send or its receive finds it out, as time has it
    with connect("127.0.0.1", 7001) as s:
        try:
            lab.note("a server that refuses", s.recv(10))
        except ConnectionResetError:
            lab.note("a server that refuses", "reset")
    lab.client(["sh", "-c", "kill -HUP $(cat /run/stunnel.pid)"])
    lab.until(10, lambda: app.said().count("Configuration successful") == 2, "it read its configuration again")
    lab.until(10, lambda: greets(cert), "it listens again")
    exchange(lab, "after the reload", cert)


def greets(cert):
    """Whether a TLS client gets in: while the listeners are replaced, the old ones' queues are reset."""
    context = ssl.create_default_context(cafile=cert)
    try:
        with context.wrap_socket(connect("127.0.0.1", 7443), server_hostname="localhost"):
            return True
    except OSError:
        return False


def exchange(lab, when, cert):
    context = ssl.create_default_context(cafile=cert)
    for host in ("127.0.0.1", "::1"):
        with context.wrap_socket(connect(host, 7443), server_hostname="localhost") as s:
            data = lab.noise("stunnel", 300_000)
            s.sendall(data)
            got = b""
            while len(got) < len(data) and (part := s.recv(65536)):
                got += part
            lab.note(f"{when}: TLS over {host}", (s.version(), got == data))
    with connect("127.0.0.1", 7000) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        web.echoes(lab, f"{when}: chained", s)
