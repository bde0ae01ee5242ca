# SPDX-License-Identifier: Apache-2.0
"""Java: servers and clients of each kind that the JDK has."""
import web
from lab import connect, program
from lib import http

TITLE = "Java"
WORK = "NIO, plain and asynchronous servers, the JDK's HTTP server, its clients, interrupts and time-outs"
PACKAGES = ["default-jdk-headless"]
LIMIT = 150


def work(lab):
    web.origin(lab, 9000, 9001, there=True)
    lab.client(["javac", "-d", "/run/classes", program("Server.java")], limit=100)
    lab.start(["java", "-Xmx128m", "-cp", "/run/classes", "Server", lab.there])
    lab.ready(7000, 7001, 7002, 8080, seconds=60)
    for name, port in (("NIO", 7000), ("plain", 7001), ("asynchronous", 7002)):
        for host in ("127.0.0.1", "::1"):
            with connect(host, port) as s:
                web.echoes(lab, f"{name}, {host}", s)
    with http.Connection(port=8080, timeout=30) as c:
        for path in ("fetch", "url", "socket", "refused", "transfer", "interrupted", "closed"):
            lab.note(path, c.ask(f"/{path}").body.decode())
        for size in (1, 100_000, 3_000_000):
            lab.note(f"POST {size}", c.ask("/post", "POST", lab.noise("java", size)).body.decode())
    web.crowd(lab, 8080, "/post", clients=30)
    web.crowd(lab, 8080, "/fetch", clients=4)
    web.curl(lab, "neighbour", f"http://{lab.here}:8080/url", there=True)
