# SPDX-License-Identifier: Apache-2.0
"""A static Go program: its own runtime's system calls, epoll and sendfile."""
import web
from lab import connect, program
from lib import http, machine

TITLE = "Go (static)"
WORK = "`net/http` and `net` as server and client, without libc: files, uploads, deadlines, half-close"
PACKAGES = ["golang-go"]
LIMIT = 180


def work(lab):
    web.root(lab)
    web.origin(lab, 9000, 9001, there=True)
    lab.client(["go", "build", "-o", "/run/server", program("server.go")], limit=150,
               env={"CGO_ENABLED": "0", "HOME": "/run", "GO111MODULE": "off", "GOCACHE": str(machine.BUILD / "go-cache")})
    lab.start(["/run/server", lab.there])
    lab.ready(8080, 7000)
    for host in ("127.0.0.1", "::1"):
        with http.Connection(host, 8080, timeout=30) as c:
            for path in ("get", "chunked", "up", "net", "late", "cancelled", "refused", "in-use", "datagrams"):
                lab.note(f"{path}, {host}", c.ask(f"/{path}").body.decode())
            for name in web.SIZES:
                lab.note(f"{name}, {host}", web.seen(c.ask(f"/files/{name}")))
            for size in (0, 1, 100_000, 5_000_000):
                lab.note(f"POST {size}, {host}", c.ask("/post", "POST", lab.noise("go", size)).body.decode())
        with connect(host, 7000) as s:
            web.echoes(lab, f"echo, {host}", s)
    web.crowd(lab, 8080, "/files/page.bin")
    web.crowd(lab, 8080, "/get", clients=4)
    web.curl(lab, "neighbour", f"http://{lab.here}:8080/get", there=True)
