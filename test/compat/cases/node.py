# SPDX-License-Identifier: Apache-2.0
"""Node: servers in a cluster whose primary hands connections to its workers, or whose workers share the listener."""
import web
from lab import connect, program
from lib import http

TITLE = "Node"
WORK = "`http`, `net`, `cluster` (both schedulers), `fetch`"
PACKAGES = ["nodejs"]


def work(lab):
    web.origin(lab, 9000, 9001, there=True)
    for policy in ("rr", "none"):
        app = lab.start(["node", program("server.js"), lab.there], env={"NODE_CLUSTER_SCHED_POLICY": policy},
                        name=f"node-{policy}")
        lab.ready(8080, 7000)
        one(lab, policy)
        lab.stop(app)


def one(lab, policy):
    with http.Connection(port=8080, timeout=30) as c:
        for path in ("/hello", "/large", "/fetch", "/upload", "/refused", "/net", "/aborted", "/in-use", "/none"):
            answer = c.ask(path)
            lab.note(f"{policy}: {path}", f"{answer.status} {answer.body[:400].decode()} {len(answer.body)}")
        for size in (0, 1, 100_000, 3_000_000):
            lab.note(f"{policy}: POST {size}", c.ask("/post", "POST", lab.noise("node", size)).body.decode())
    lab.note(f"{policy}: IPv6", http.get("/hello", "::1", 8080).body.decode())
    for turn in range(2):
        with connect("127.0.0.1", 7000) as s:
            web.echoes(lab, f"{policy}: net, {turn}", s)
    web.crowd(lab, 8080, "/hello", clients=30)
    web.crowd(lab, 8080, "/fetch", clients=4)
