# SPDX-License-Identifier: Apache-2.0
"""mw frontend beside a broker: it starts and retires INSs, and follows those that are drained, killed, or die."""
import json
import re
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from lib import machine, procs, servers, tap
from lib.hosts import SERVER, Client, Frontend, Lasting, connect, network, same_rules, table
from lib.mw import App, nothing_left, quick, remains
from lib.tap import case, check, equal, until

HERE = socket.gethostname()
PORT = 8080


def inss():
    """By number."""
    status, out, err = quick("ins", "list", "--json", "web")
    equal(status, 0, f"mw ins list: {err}")
    return {i["ins"]: i for i in map(json.loads, out.splitlines())}


def key(number):
    return f"{HERE}/web/{number}"


def order(*argv):
    status, out, err = quick("ins", *argv)
    equal(status, 0, f"mw ins {' '.join(argv)}: {out}{err}")


def both(c, count):
    """A client's host, a server on so many INSs, and the frontend."""
    client, = network(c)
    app = App(c, "python3", "-c", SERVER, "x", "0.0.0.0,80", name="web", net="isolated", options=("--ins", str(count), "-p", f"{PORT}:80")).ready(PORT)
    return client, app, Frontend(c, "--balance", "rr").ready(*map(key, range(count)))


def spread(c, client):
    """12 connections that stay, each INS's."""
    before = {n: i["load"]["connections"] for n, i in inss().items()}
    held = [Lasting(c, client, 41000 + i) for i in range(12)]
    return held, {n: i["load"]["connections"] - before[n] for n, i in inss().items()}


def load(client, seconds=1):
    """What wrk says of a server under load, by new connections."""
    out = machine.run(*client.inside, "wrk", "-t1", "-c24", f"-d{seconds}", f"http://10.1.0.1:{PORT}/page")
    check("Socket errors" not in out and "Non-2xx" not in out, out)


@contextmanager
def loaded(client):
    """As long as this lasts: without a pause in which an INS would be retired."""
    over = threading.Event()

    def again():
        while not over.is_set():
            load(client, 2)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(again)
        try:
            yield
        finally:
            over.set()
        loading.result()


@case("INSs are started under wrk, nginx behind, up to --max, and retired when it is over, without flapping", limit=120)
def scales(c):
    servers.need("wrk")
    client, = network(c)
    before = remains()
    servers.content("page", 2000)
    servers.nginx_conf()
    app = App(c, "nginx", "-g", "daemon off;", name="web", net="isolated", options=("-p", f"{PORT}:80")).ready(PORT)
    front = Frontend(c, "--min", "1", "--max", "3", "--hold", "1", "--high", "10", "--low", "4").ready(key(0))
    with loaded(client):
        until(40, lambda: len(inss()) == 3, lambda: f"three INSs; it said:\n{front.said()}", 0.2)
        front.ready(key(1), key(2))
        time.sleep(3)
        equal({n: i["state"] for n, i in inss().items()}, {n: "up" for n in range(3)}, "INSs under load")
    equal((front.said().count("another one is started"), front.said().count("is retired")), (2, 0), f"what was done; it said:\n{front.said()}")
    until(40, lambda: len(inss()) == 1, lambda: f"one is left; it said:\n{front.said()}", 0.2)
    time.sleep(3)
    equal([front.said().count(words) for words in ("another one is started", "is retired", "it is ended")], [2, 2, 2], f"in all; it said:\n{front.said()}")
    load(client)
    front.exact()
    front.end()
    app.end()
    nothing_left(before)


def leaves(number, does):
    started = time.monotonic()
    does()
    until(4, lambda: f"ins-{HERE}-{number} " not in table(), f"no rule leads to INS {number}")
    check(time.monotonic() - started < 2.2, f"INS {number} leaves within two heartbeats")


@case("drained, killed by order, a keeper by kill -9: out within two heartbeats; what is established on the others stays", limit=90)
def members(c):
    client, app, front = both(c, 4)
    held, on = spread(c, client)
    equal(on, {n: 3 for n in range(4)}, "who has connections")

    leaves(1, lambda: order("drain", "web", "1"))
    front.says(f"INS {key(1)} gets no new connections: it is drained")
    seen = connect(client, 60)
    equal((seen["failed"], inss()[1]["load"]["connections"]), ([], 3), "failures, and connections of the drained one")

    for number, kill in ((2, lambda: order("kill", "web", "2")), (3, lambda: procs.end(inss()[3]["keeper_pid"]))):
        traffic = Client(client, seconds=2)
        time.sleep(0.5)
        leaves(number, kill)
        equal(connect(client, 60)["failed"], [], "failures when it is out")
        done = traffic.done()
        c.note(f"INS {number}: {len(done['failed'])} of {sum(done['seen'].values())} failed in the moment of its death")
        check(len(done["failed"]) < 100, f"what failed: {done['failed']}")
    answers = [h.says("go") for h in held]
    equal((answers.count("x"), len(answers)), (6, 12), f"established connections: {answers}")
    order("add", "web")
    front.ready(key(4))
    equal(connect(client, 60)["failed"], [], "failures with one added")
    front.exact()
    check(app.running(), "the application runs")


@case("killed and started again: it adopts the rules as they are, no connection fails; its end leaves the broker's", limit=60)
def adopted(c):
    client, _, front = both(c, 3)
    held, _ = spread(c, client)
    shown, load_ = table(), Client(client, seconds=5)
    with subprocess.Popen(["nft", "monitor"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as monitor:
        time.sleep(0.5)
        for _ in range(2):
            front.kill()
            same_rules(table(), shown, "rules of a killed frontend")
            time.sleep(0.5)
            front.start()
            front.ready(*map(key, range(3)))
        time.sleep(0.5)
        monitor.terminate()
        events = monitor.stdout.read()
    gone = [line for line in events.splitlines() if re.match(r"delete (table|chain|rule|map)", line)]
    equal(gone, [], "what was removed from the rules")
    done = load_.done()
    equal(done["failed"], [], f"failures among {sum(done['seen'].values())}")
    equal([h.says("go") for h in held], ["x"] * 12, "established connections")
    front.exact()
    load_ = Client(client, seconds=2)
    time.sleep(0.5)
    front.end()
    equal((load_.done()["failed"], table()), ([], ""), "failures when it ends, and its rules then")
    equal([h.says("go") for h in held], ["x"] * 12, "established connections after its end")


if __name__ == "__main__":
    tap.main()
