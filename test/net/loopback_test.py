# SPDX-License-Identifier: Apache-2.0
"""--host-loopback: what the application does not listen on is looked for on the host's loopback; without it, never."""
import socket
import subprocess
import threading
from pathlib import Path

from lib import http, machine, servers, tap
from lib.mw import App, command, protected, quick
from lib.tap import case, check, equal, matches, until

PYTHON = "/usr/bin/python3"
LIB = Path(__file__).resolve().parent / "lib"
ON = ("--host-loopback",)
CLIENT = str(LIB / "client.py")


class Upstream:
    """An echo server on the host's loopback that notes whom it saw."""

    def __init__(self, c, host, port, family=socket.AF_INET):
        self.peers = []
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen(512)
        c.callback(self.listener.close)
        c.callback(lambda: self.listener.shutdown(socket.SHUT_RDWR))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer[:2])
            threading.Thread(target=self.echo, args=(connection,), daemon=True).start()

    @staticmethod
    def echo(connection):
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)


def client(c, *words, options=ON):
    """What the client program says when it runs protected, line by line."""
    status, out, err = protected("--name", "client", *options, "--", PYTHON, CLIENT, *words, limit=40)
    equal(status, 0, f"client {words}: {out}{err}")
    return out.split("\n")[:-1]


@case("connect() reaches the host's 127.0.0.1 and ::1, with the right names; blocking, polled, by 0.0.0.0 and mapped")
def reaches(c):
    four, six = Upstream(c, "127.0.0.1", 7100), Upstream(c, "::1", 7100, socket.AF_INET6)
    for address, upstream, peer in (("127.0.0.1", four, "127.0.0.1"), ("0.0.0.0", four, "127.0.0.1"),
                                    ("::ffff:127.0.0.1", four, "::ffff:127.0.0.1"),
                                    ("::1", six, "::1"), ("::", six, "::1")):
        for way in ("blocking", "polled"):
            said = client(c, way, address, "7100")
            own = said.pop()
            equal(said, ["connected", f"peer {peer} 7100", "echo ok"], f"{way} to {address}")
            equal(own, f"own {peer} {upstream.peers[-1][1]}", "its name, and the one that the host's listener saw")


@case("without the option all of it is refused, at once")
def off(c):
    four, six = Upstream(c, "127.0.0.1", 7100), Upstream(c, "::1", 7100, socket.AF_INET6)
    for address in ("127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1"):
        for way in ("blocking", "polled"):
            equal(client(c, way, address, "7100", options=()), ["ECONNREFUSED"], f"{way} to {address}")
    equal(four.peers + six.peers, [], "connections that the host saw")


@case("ports that nobody listens on are refused at once with the option too; 1,000 at a time")
def refused(c):
    for address in ("127.0.0.1", "::1"):
        for way in ("blocking", "polled"):
            equal(client(c, way, address, "7101"), ["ECONNREFUSED"], f"{way} to {address}")
    equal(client(c, "many", "127.0.0.1", "7101", "1000"), ["1000 ECONNREFUSED"], "many")


@case("1,000 connections at a time to the host's loopback")
def many(c):
    Upstream(c, "127.0.0.1", 7100)
    equal(client(c, "many", "127.0.0.1", "7100", "1000"), ["1000 connected"], "many")


@case("the application's own listener comes first")
def own_first(c):
    upstream = Upstream(c, "127.0.0.1", 7100)
    said = client(c, "own", "127.0.0.1", "7100", options=(*ON, "-p", "7300:7100"))
    equal(said, ["own listener", "host's after"], "whose")
    equal(len(upstream.peers), 1, "connections to the host's")


@case("options and a name given before connect() are the new connection's")
def options_kept(c):
    upstream = Upstream(c, "127.0.0.1", 7100)
    equal(client(c, "options", "127.0.0.1", "7100", "7155"), ["as set", "own name 127.0.0.1 7155"], "options")
    equal(upstream.peers, [("127.0.0.1", 7155)], "the name that the host saw")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 7156))
        equal(client(c, "options", "127.0.0.1", "7100", "7156"), ["EADDRINUSE"], "a name that somebody on the host has")


@case("refused by both loopbacks, the same socket finds the application's own listener, with its options and name")
def again(c):
    equal(client(c, "again", "127.0.0.1", "7101", "7157", options=(*ON, "-p", "7301:7101")),
          ["['ECONNREFUSED', 'ok'] from port 7157, 1", "['EINPROGRESS', 'ECONNREFUSED', 'ok'] from port 7158, 1"], "again")


@case("only loopback: the host's other addresses are not reached by way of it")
def only_loopback(c):
    upstream = Upstream(c, "127.0.0.1", 7100)
    for host in (machine.HERE4, machine.THERE4):
        equal(client(c, "blocking", host, "7100")[0], "ECONNREFUSED", f"connect to {host}")
    equal(upstream.peers, [], "what the listener on 127.0.0.1 saw")


@case("the flow record and doctor tell")
def observed(c):
    Upstream(c, "127.0.0.1", 7100)
    app = App(c, PYTHON, CLIENT, "hold", "127.0.0.1", "7100", options=ON, net="isolated")
    flow = until(5, lambda: app.listed() and app.connections(), "it is listed")[0]
    equal((flow["peer"], flow["peer_port"], flow["state"]), ("127.0.0.1", 7100, "established"), "flow")
    equal(app.info()["host_loopback"], True, "mw ps")
    matches(quick("doctor", app.name)[1], "note +--host-loopback", "doctor")
    other = App(c, PYTHON, CLIENT, "wait", name="other", net="isolated")
    equal(other.listed()["host_loopback"], False, "mw ps of one without")
    check("host-loopback" not in quick("doctor", "other")[1], "doctor of one without")


@case("nginx as a proxy to servers on the host's loopback", limit=60)
def proxy(c):
    servers.need("nginx", "wrk")
    page = servers.content("page.bin", 300_000)
    child = subprocess.Popen([PYTHON, "-m", "http.server", "--bind", "127.0.0.1", "-d", str(servers.ROOT), "7200"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    c.callback(lambda: (child.kill(), child.wait()))
    upstream = Path("/run/upstream.conf")
    upstream.write_text("pid /run/up.pid; events {} http { access_log off; error_log /run/up.log;"
                        " server { listen 127.0.0.1:7201; listen [::1]:7201; return 200 upstream; } }")
    second = subprocess.Popen(["nginx", "-c", str(upstream), "-g", "daemon off;"], stdin=subprocess.DEVNULL)
    c.callback(lambda: (second.terminate(), second.wait()))
    app = servers.nginx(c, options=ON, net="isolated", config="""
        user www-data; pid /run/p.pid; events {} error_log /run/p.log; http { access_log off;
        upstream many { server 127.0.0.1:7201; server [::1]:7201; keepalive 8; }
        server { listen 80; location / { proxy_pass http://127.0.0.1:7200; }
                 location /up { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://many; }
                 location /none { proxy_pass http://127.0.0.1:7299; } } }""").ready(80)
    until(10, lambda: http.get("/page.bin").status == 200, "the upstream is there")
    equal(http.get("/page.bin").checksum, page, "a page through the proxy")
    equal(http.get("/up").body, b"upstream", "nginx behind nginx")
    equal(http.get("/none").status, 502, "an upstream that is not there")
    status, out, err = command("wrk", "-t1", "-c20", "-d2", "http://127.0.0.1/up", limit=30)
    equal(status, 0, f"wrk: {out}{err}")
    check("Socket errors" not in out and "Non-2xx" not in out, f"wrk: {out}")
    second.terminate()
    second.wait()
    equal(http.get("/up").status, 502, "an upstream that ended")
    app.end()


@case("redis-cli and redis-benchmark, protected, with a Redis on the host's loopback", limit=40)
def redis_clients(c):
    servers.need("redis-server", "redis-cli", "redis-benchmark")
    child = subprocess.Popen(["redis-server", "--bind", "127.0.0.1", "-::1", "--dir", "/run", "--save", ""],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    c.callback(lambda: (child.kill(), child.wait()))
    until(10, lambda: command("redis-cli", "PING")[1] == "PONG\n", "the host's Redis")
    for host in ("127.0.0.1", "::1"):
        status, out, err = protected(*ON, "--", "redis-cli", "-h", host, "SET", "where", host)
        equal((status, out), (0, "OK\n"), f"redis-cli -h {host}: {err}")
        equal(command("redis-cli", "GET", "where")[1], host + "\n", "the value")
    status, out, err = protected(*ON, "--", "redis-benchmark", "-q", "-n", "5000", "-t", "set,get", limit=30)
    equal((status, out.count("requests per second")), (0, 2), f"redis-benchmark: {out}{err}")
    status, out, err = protected("--", "redis-cli", "SET", "where", "nowhere")
    matches(out + err, "Connection refused", f"redis-cli without the option (status {status})")
    equal(command("redis-cli", "GET", "where")[1], "::1\n", "the value afterwards")


@case("--host-loopback with --net host is refused by the command line")
def with_net_host(_):
    status, _, err = quick("run", "--net", "host", *ON, "--", "true")
    equal(status, 2, "status")
    matches(err, "loopback is the host's", "message")


tap.main()
