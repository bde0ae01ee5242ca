# SPDX-License-Identifier: Apache-2.0
"""nginx in Debian's default configuration."""
import time

from lib import http, machine, procs, servers, tap
from lib.mw import command
from lib.tap import NETS, case, check, equal

MB = 1 << 20


def start(c, **keys):
    return servers.nginx(c, **keys).ready(80, 81).ready(80, host="::1")


@case("nginx: default page and files by checksum, IPv4 and IPv6", limit=30, nets=NETS)
def files(c):
    sums = {"small.txt": servers.content("small.txt", 1200), "page.bin": servers.content("page.bin", 100_000),
            "large.bin": servers.content("large.bin", 10 * MB), "empty": servers.content("empty", 0)}
    servers.ROOT.joinpath("index.html").write_text("<h1>here</h1>")
    start(c)
    for host in ("127.0.0.1", "::1", machine.HERE4, machine.HERE6):
        equal(http.get("/", host).body, b"<h1>here</h1>", f"/ of {host}")
        for name, wanted in sums.items():
            answer = http.get(f"/{name}", host)
            equal((answer.status, answer.checksum), (200, wanted), f"/{name} of {host}")
    equal(http.get("/none", "127.0.0.1").status, 404, "/none")


@case("nginx: files for a neighbour, IPv4 and IPv6", limit=30, nets=NETS)
def neighbour(c):
    wanted = servers.content("large.bin", 10 * MB)
    start(c)
    for url in (f"http://{machine.HERE4}/large.bin", f"http://[{machine.HERE6}]/large.bin"):
        status, out, err = command(*machine.in_neighbour(), "sh", "-c", f"curl -sSgf --max-time 10 {url} | sha256sum")
        equal((status, out.split()[0]), (0, wanted), f"{url}: {err}")


@case("nginx: -p publishes on another port", nets=("isolated",))
def published(c):
    wanted = servers.content("small.txt", 1200)
    servers.nginx(c, options=("-p", "8080:80", "-p", "8081:81")).ready(8080, 8081).ready(8080, host="::1")
    for host in ("127.0.0.1", "::1", machine.HERE4, machine.HERE6):
        equal(http.get("/small.txt", host, 8080).checksum, wanted, f"{host}:8080")
    status, out, err = command("curl", "-s", "--max-time", "5", f"http://{machine.HERE4}:80/")
    equal(status, 7, f"port 80 itself must refuse (curl's status 7): {out}{err}")


@case("nginx: keep-alive, pipelined, HEAD, ranges", nets=NETS)
def protocol(c):
    wanted = servers.content("page.bin", 100_000)
    start(c)
    with http.Connection() as connection:
        for _ in range(50):
            equal(connection.ask("/page.bin").checksum, wanted, "kept alive")
        head = connection.ask("/page.bin", "HEAD")
        equal((head.status, head.fields["content-length"]), (200, "100000"), "HEAD")
        connection.send(http.request("/page.bin") * 20 + http.request("/page.bin", "HEAD"))
        for _ in range(20):
            equal(connection.answer().checksum, wanted, "pipelined")
        equal(connection.answer("HEAD").status, 200, "HEAD behind pipelined ones")
        part = connection.ask("/page.bin", fields=["Range: bytes=1000-1999"])
        equal((part.status, part.body), (206, servers.noise("page.bin", 2000)[1000:]), "range")


@case("nginx: upload of 100 kB, and 2 MB refused", limit=30, nets=NETS)
def upload(c):
    start(c)
    data = servers.noise("upload", 100_000)
    with http.Connection(port=81) as connection:
        for i in range(5):
            equal(connection.ask(f"/put/{i}.bin", "PUT", data).status, 201, "PUT")
            equal(connection.ask(f"/put/{i}.bin").body == data, True, "what was put comes back")
        equal(connection.ask("/put/0.bin", "PUT", data[::-1]).status, 204, "PUT again")
        equal(connection.ask("/put/0.bin").body == data[::-1], True, "the second one comes back")
    with http.Connection(port=81) as connection:
        connection.send(http.request("/put/big", "PUT", servers.noise("big", 2 * MB))[:200])
        equal(connection.answer().status, 413, "2 MB")


@case("nginx: 20 reloads under load lose no request", limit=60, nets=NETS)
def reloads(c):
    app = start(c)
    workers = sorted(p.pid for p in procs.below(app.app_pid()))
    load = http.Load("/page.bin", servers.content("page.bin", 100_000))
    with load:
        for _ in range(20):
            status, out, err = command("nginx", "-s", "reload")
            equal(status, 0, f"nginx -s reload: {out}{err}")
            time.sleep(0.25)
    c.note(load.text())
    check(not load.lost, lambda: "lost:\n" + "\n".join(load.lost[:5]))
    check(load.done > 500, f"only {load.done} requests: the load did not run")
    check(workers != sorted(p.pid for p in procs.below(app.app_pid())), "the workers were not replaced")


@case("nginx: wrk, ab and curl have no error", limit=40, nets=NETS)
def tools(c):
    servers.need("wrk", "ab", "curl")
    wanted = servers.content("page.bin", 100_000)
    start(c)
    status, out, err = command("ab", "-n", "2000", "-c", "50", "http://127.0.0.1/page.bin", limit=30)
    equal(status, 0, f"ab: {out}{err}")
    tap.matches(out, r"^Complete requests: +2000$", "ab")
    tap.matches(out, r"^Failed requests: +0$", "ab")
    status, out, err = command("wrk", "-t2", "-c32", "-d3", "http://127.0.0.1/page.bin", limit=30)
    equal((status, "Socket errors" in out, "Non-2xx" in out), (0, False, False), f"wrk: {out}{err}")
    tap.matches(out, r"^ +[1-9][0-9]+ requests in", "wrk")
    status, out, err = command("sh", "-c", "curl -sSf http://127.0.0.1/page.bin | sha256sum")
    equal(out.split()[0], wanted, f"curl: {err}")


tap.main()
