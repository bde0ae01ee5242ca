# SPDX-License-Identifier: Apache-2.0
"""aiohttp on Debian's Python: asyncio's transports, sendfile, websockets."""
import web
from lab import program
from lib import http

TITLE = "Python aiohttp"
WORK = "server with files, streams and websockets; its client, its time-outs"
PACKAGES = ["python3-aiohttp"]


def work(lab):
    web.root(lab)
    web.origin(lab, 9000, there=True)
    lab.start(["/usr/bin/python3", program("aio.py"), lab.there])
    lab.ready(8080)
    for host in ("127.0.0.1", "::1"):
        with http.Connection(host, 8080, timeout=30) as c:
            for path in ("/stream", "/files/small.txt", "/files/large.bin", "/fetch", "/errors", "/own", "/none"):
                lab.note(f"{path} of {host}", web.seen(c.ask(path)))
            for size in (0, 1, 100_000, 5_000_000):
                lab.note(f"POST {size} to {host}", c.ask("/post", "POST", lab.noise("aio", size)).body.decode())
    lab.note("errors", http.get("/errors", port=8080).body.decode())
    lab.note("websocket", http.get("/own", port=8080).body.decode())
    web.crowd(lab, 8080, "/files/page.bin")
    web.crowd(lab, 8080, "/fetch", clients=4)
