# SPDX-License-Identifier: Apache-2.0
"""Metrics for Prometheus: what it says itself of them, counts that are exact, clients that are slow or many, and a process that dies."""
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from lib import http, machine, procs, servers, tap
from lib.control import Control
from lib.http import Closed
from lib.mw import App, command, connects, quick
from lib.tap import NETS, case, check, equal, matches, until

PORT = 9464
OPEN = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
SAMPLE = re.compile(r'^(\w+)\{([^}]*)\} (\S+)$', re.M)
PARSE = """
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
print(*(sample.name for family in text_string_to_metric_families(sys.stdin.read()) for sample in family.samples), sep="\\n")
"""


def start(c, *more, **keys):
    servers.content("page.bin", 1000)
    app = servers.nginx(c, options=("--metrics", str(PORT), *more), **keys).ready(80)
    until(5, lambda: not app.connections(), "our own trials are gone")
    return app


def ask(path="/metrics", accept=None, method="GET", host="127.0.0.1", timeout=10):
    fields = [f"Accept: {accept}"] if accept else []
    with http.Connection(host, PORT, timeout=timeout) as connection:
        return connection.ask(path, method, fields=fields)


def read(**keys):
    """{name: {labels beside app and ins: value}}"""
    found = {}
    for name, labels, value in SAMPLE.findall(ask(**keys).body.decode()):
        own = tuple(label for label in labels.split(",") if not label.startswith(("app=", "ins=")))
        found.setdefault(name, {})[own] = float(value)
    return found


def one(name, *labels):
    return read()["mwcomms_" + name][labels]


def total(name, *labels):
    return one(name + "_total", *labels)


@case("nothing listens without the option; with it, at 127.0.0.1 alone; an address must be said", nets=("host",))
def listens(c):
    app = App(c, "sleep", "100")
    app.listed()
    equal(connects("127.0.0.1", PORT), False, "connected")
    app.end()
    app = App(c, "sleep", "100", options=("--metrics", str(PORT)))
    app.listed()
    check(connects("127.0.0.1", PORT), "connected")
    equal((connects(machine.HERE4, PORT), connects("::1", PORT)), (False, False), "other addresses")
    status, _, err = quick("run", "--net", "host", "--metrics", str(PORT), "--", "true")
    equal(status, 125, "a port that is taken")
    matches(err, rf"cannot listen on 127\.0\.0\.1:{PORT} for metrics: Address already in use", "why")
    app.end()
    for address, text in ((machine.HERE4, machine.HERE4), ("::1", "[::1]")):
        app = App(c, "sleep", "100", options=("--metrics", f"{text}:{PORT}"))
        app.listed()
        equal((connects(address, PORT), connects("127.0.0.1", PORT)), (True, False), f"with {text}")
        app.end()
    for wrong in ("x", "0", "65536", "localhost:80", "127.0.0.1", "127.0.0.1:", "::1:9464", "[::1]", ""):
        equal(quick("run", "--metrics", wrong, "--", "true")[0], 2, f"--metrics '{wrong}'")


@case("promtool, the OpenMetrics reference parser and Prometheus itself are content", nets=("host",), limit=60)
def formats(c):
    app = start(c)
    with http.Connection() as connection:
        connection.ask("/page.bin")
    until(5, lambda: not app.connections(), "it is over")
    text, openm = ask(), ask(accept=OPEN)
    equal((text.fields["content-type"], openm.fields["content-type"]),
          ("text/plain; version=0.0.4; charset=utf-8", "application/openmetrics-text; version=1.0.0; charset=utf-8"), "types")
    equal(command("promtool", "check", "metrics", stdin=text.body.decode()), (0, "", ""), "promtool check metrics")
    status, out, err = command("/usr/bin/python3", "-c", PARSE, stdin=openm.body.decode())
    equal((status, err), (0, ""), "the reference parser")
    names = [name for name, _, _ in SAMPLE.findall(text.body.decode())]
    equal(out.split(), names, "both formats' samples")
    check(openm.body.endswith(b"\n# EOF\n") and b"EOF" not in text.body, "the end of OpenMetrics, and of text")
    scraped(c, len(names))


def scraped(c, samples):
    """A real Prometheus, which negotiates OpenMetrics."""
    Path("/run/prometheus.yml").write_text("global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: mw\n  static_configs:\n"
                                           f"  - targets: ['127.0.0.1:{PORT}']\n")
    with open("/run/prometheus.log", "wb") as log:
        child = subprocess.Popen(["prometheus", "--config.file=/run/prometheus.yml", "--storage.tsdb.path=/run/prometheus",
                                  "--web.listen-address=127.0.0.1:9090"], stdout=log, stderr=log)
    c.callback(lambda: (child.kill(), child.wait()))

    def value(query):
        if not connects("127.0.0.1", 9090):
            return None
        with http.Connection(port=9090) as connection:
            got = re.findall(rb'"value":\[[\d.]+,"([^"]+)"\]', connection.ask(f"/api/v1/query?query={query}").body)
        return float(got[0]) if len(got) == 1 else None

    until(30, lambda: value("up") == 1, lambda: "Prometheus: " + Path("/run/prometheus.log").read_text()[-1000:], 0.2)
    equal(value("scrape_samples_scraped"), samples, "samples that it took")
    equal(value("mwcomms_received_bytes_total%7Bproto=%22tcp%22%7D"), total("received_bytes", 'proto="tcp"'), "one of them")


@case("HEAD, other paths, other methods, other things", nets=("host",))
def http_rules(c):
    start(c)
    head = ask(method="HEAD")
    equal((head.status, head.body), (200, b""), "HEAD")
    check(int(head.fields["content-length"]) > 10000, "the length of what GET gives")
    equal([ask(path).status for path in ("/", "/metrics", "/metrics/", "/metric", "/../etc/passwd", "/metrics?x=1")],
          [200, 200, 404, 404, 404, 200], "paths")
    equal([ask(method=method).status for method in ("POST", "DELETE", "PUT", "OPTIONS")], [405] * 4, "methods")
    for raw, status in ((b"GET /metrics\r\n\r\n", b"400"), (b"GET " + b"/" * 50_000 + b" HTTP/1.1\r\n\r\n", b"414"),
                        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"400"), (b"\0" * 1000, None), (b"x" * 100_000, None)):
        with socket.create_connection(("127.0.0.1", PORT), timeout=5) as s:
            try:
                s.sendall(raw)
                if status:
                    equal(s.recv(100).split()[1], status, f"the answer to {raw[:30]}")
            except (ConnectionResetError, BrokenPipeError):
                pass
    equal(ask().status, 200, "afterwards")


def by_ins(name, **keys):
    """{INS: value} of a metric without other labels."""
    return {int(re.search(r'ins="(\d+)"', labels)[1]): float(value)
            for found, labels, value in SAMPLE.findall(ask(**keys).body.decode()) if found == "mwcomms_" + name}


def telemetry():
    """The pid of each INS's."""
    found = {}
    for p in procs.table().values():
        words = Path(f"/proc/{p.pid}/cmdline").read_bytes().split(b"\0") if p.comm == "mw-telem" else ()
        found.update({int(w[4:]): p.pid for w in words if w.startswith(b"ins=")})
    return found


def without_first():
    """A question that the first one had taken ends with it."""
    try:
        return set(by_ins("sockets_max")) == {1, 2}
    except Closed:
        return False


@case("several INSs: one port tells of all, whoever dies or comes; one whose telemetry stands still is left out for a while", limit=60)
def several(c):
    c.net = "isolated"
    start(c, "--ins", "3")
    for _ in range(30):
        socket.create_connection((machine.HERE4, 80), timeout=5).close()
    first = by_ins("connections_accepted_total")
    equal(set(first), {0, 1, 2}, "INSs")
    check(all(n >= 10 for n in first.values()), f"connections of each: {first}")
    text, openm = ask(), ask(accept=OPEN)
    equal(command("promtool", "check", "metrics", stdin=text.body.decode()), (0, "", ""), "promtool check metrics")
    status, out, err = command("/usr/bin/python3", "-c", PARSE, stdin=openm.body.decode())
    equal((status, err), (0, ""), "the reference parser")
    names = [name for name, _, _ in SAMPLE.findall(text.body.decode())]
    equal(out.split(), names, "both formats' samples")
    each = [text.body.count(b'ins="%d"' % i) for i in range(3)]
    equal(each, [len(names) // 3] * 3, "samples of each")
    for _ in range(20):
        equal(set(by_ins("sockets_max")), {0, 1, 2}, "INSs, whoever answers")

    equal(quick("ins", "kill", "nginx", "0")[0], 0, "mw ins kill")
    until(3, without_first, "without the first")
    equal(quick("ins", "add", "nginx")[0], 0, "mw ins add")
    equal(set(by_ins("sockets_max")), {1, 2, 3}, "with another")
    telem = telemetry()
    os.kill(telem[2], signal.SIGSTOP)
    began = time.monotonic()
    seen = [set(by_ins("sockets_max")) for _ in range(4)]
    equal(seen, [{1, 3}] * 4, "who answers, or is answered for")
    check(time.monotonic() - began < 4, f"four answers took {time.monotonic() - began:.1f} s")
    os.kill(telem[2], signal.SIGCONT)
    until(5, lambda: set(by_ins("sockets_max")) == {1, 2, 3}, "all again")
    os.kill(telem[1], signal.SIGKILL)
    until(5, lambda: set(by_ins("sockets_max")) == {1, 2, 3}, "all again, after one died")


@case("counts are those of 2,000 connections, with nobody looking meanwhile", nets=NETS, limit=60)
def exact(c):
    app = start(c)
    before = read()
    sent, got = 0, 0
    request = b"GET /page.bin HTTP/1.0\r\n\r\n"
    for i in range(2000):
        with socket.create_connection(("127.0.0.1", 80), timeout=5) as s:
            if i % 2:
                s.sendall(request)
                sent += len(request)
                while data := s.recv(65536):
                    got += len(data)
    until(5, lambda: not app.connections(), "all gone")
    after = read()

    def grew(name, *labels):
        return round(after[f"mwcomms_{name}"][labels] - before[f"mwcomms_{name}"][labels], 6)

    for name in ("connections_accepted_total", "connections_handed_total", "sockets_opened_total",
                 "connection_handed_seconds_count", "connection_duration_seconds_count"):
        equal(grew(name), 2000, name)
    equal(grew("sockets_ended_total", 'proto="tcp"', 'reason="closed"'), 2000, "ended well")
    equal((grew("received_bytes_total", 'proto="tcp"'), grew("sent_bytes_total", 'proto="tcp"')), (sent, got), "bytes")
    equal((grew("receives_total", 'proto="tcp"'), grew("connection_first_received_seconds_count"),
           grew("connection_first_sent_seconds_count")), (1000, 1000, 1000), "requests and answers")
    equal(grew("connection_duration_seconds_bucket", 'le="+Inf"'), 2000, "durations")
    equal(after["mwcomms_sockets"]['proto="tcp"', 'state="established"'], 0, "connections now")
    check(grew("ins_cpu_seconds_total") > 0 and grew("ins_loops_total") > 100, "the INS worked")
    check(grew("connection_duration_seconds_sum") < 20, "how long they took together")
    for labels in after["mwcomms_sockets_ended_total"]:
        equal(len(labels), 2, "no more labels than known")
    check("127.0.0.1" not in ask().body.decode(), "no address")


@case("what waits to be accepted is counted, and how long it has waited; resets and verbs too", nets=("host",))
def waiting(c):
    app = start(c)
    pids = [int(line) for line in machine.run("pgrep", "-x", "nginx").split()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    clients = [socket.create_connection(("127.0.0.1", 80), timeout=5) for _ in range(10)]
    queue = ("accept_queue_connections", 'stage="application"')
    until(5, lambda: one(*queue) == 10, "in the application's queue")
    time.sleep(0.5)
    check(0.5 <= one("accept_queue_oldest_seconds") < 10, "the oldest")
    clients[0].sendall(b"GET")
    until(5, lambda: one("unread_bytes") == 3, "unread bytes")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    until(5, lambda: one(*queue) == 0 and one("sockets", 'proto="tcp"', 'state="established"') == 10, "all accepted")
    equal((one("unread_bytes"), one("accept_queue_oldest_seconds")), (0, 0), "nothing unread, nobody waits")
    flows = app.connections()
    k = Control(c, "nginx")
    equal([k.ask(do="order", verb="reset", target=str(flows[0]["id"]))["ok"] for _ in range(2)], [True, False], "a verb, twice")
    equal([total("verbs", 'verb="reset"', f'result="{result}"') for result in ("ok", "ended", "failed")], [1, 1, 0], "verbs")
    equal(total("mitigations"), 1, "times that a verb acted on a socket")
    equal([total("verdict_changes", 'verb="reset"', f'status="{status}"') for status in ("done", "failed", "holds")], [1, 1, 0], "verdicts")
    until(5, lambda: total("sockets_ended", 'proto="tcp"', 'reason="verb"') == 1, "ended by it")
    for s in clients:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    until(5, lambda: total("sockets_ended", 'proto="tcp"', 'reason="reset"') == 9, "ended by a reset")


@case("verdicts that hold, and what became of others; a full audit log", nets=("host",))
def verdicts(c):
    app = start(c, "--audit-log", "/dev/full")
    holding, lost = ("verdicts", 'verb="minrate"'), 'what="audit"'

    def changes():
        return [total("verdict_changes", 'verb="minrate"', f'status="{status}"') for status in ("holds", "replaced", "undone")]

    equal((one(*holding), total("telemetry_lost", lost)), (0, 0), "before")
    for rate in ("100", "200"):
        equal(quick("minrate", "nginx", "all", rate)[0], 0, "mw minrate")
    equal((one(*holding), changes()), (1, [2, 1, 0]), "the second replaces the first")
    os.kill(app.info()["telem_pid"], signal.SIGKILL)
    until(5, lambda: one(*holding) == 1 and changes() == [0, 0, 0], "verdicts outlive telemetry, its counters do not")
    equal(quick("undo", "nginx", "2")[0], 0, "mw undo")
    equal((one(*holding), changes()), (0, [0, 0, 1]), "undone")
    equal(total("telemetry_lost", lost), 1, "lines of the audit log")


@case("the kernel's memory and a window that the peer has closed", nets=NETS)
def kernel(c):
    app = start(c)
    servers.content("big.bin", 20_000_000)
    check(one("zero_window_connections") == 0 and one("socket_memory_bytes") < 100_000, "before")
    with socket.create_connection(("127.0.0.1", 80), timeout=5) as s:
        s.sendall(b"GET /big.bin HTTP/1.0\r\n\r\n")
        until(10, lambda: one("zero_window_connections") == 1, "its window is closed", 0.2)
        check(one("socket_memory_bytes") > 100_000, "memory")
        until(5, lambda: one("suspect_connections", 'reason="zero-window"') == 1, "it is suspect")
    until(5, lambda: not app.connections(), "gone")
    until(5, lambda: one("zero_window_connections") == 0, "after")


@case("events that a client of `control` does not read are counted", nets=("host",), limit=40)
def lost(c):
    start(c)
    Control(c, "nginx").follow()  # and reads no more
    for _ in range(4000):
        socket.create_connection(("127.0.0.1", 80), timeout=5).close()
    until(20, lambda: total("telemetry_lost", 'what="control"') > 0, "events lost")
    check(total("telemetry_events") >= 4000, "events made")


@case("clients that never send, never read or dribble hold nobody up, and are gone after ten seconds", nets=("host",), limit=60)
def slow(c):
    start(c)
    silent = [socket.create_connection(("127.0.0.1", PORT), timeout=20) for _ in range(10)]
    deaf = [socket.socket() for _ in range(10)]
    for s in deaf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        s.connect(("127.0.0.1", PORT))
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    began = time.monotonic()
    equal(ask().status, 200, "another client")
    check(time.monotonic() - began < 1, "it did not wait")
    end = began + 9
    while time.monotonic() < end:
        for s in silent[:5]:
            s.send(b"G")
        time.sleep(0.5)
    for s in silent:
        try:
            while s.recv(1000):
                pass
        except ConnectionResetError:
            pass
    check(9 < time.monotonic() - began < 13, lambda: f"gone after {time.monotonic() - began} s")
    until(5, lambda: total("telemetry_clients_refused", 'server="metrics"') >= 10, "counted")
    for s in silent + deaf:
        s.close()


@case("when all places are taken by clients that say nothing, a scrape waits for a second or two", nets=("host",))
def crowded(c):
    start(c)
    silent = [socket.create_connection(("127.0.0.1", PORT), timeout=20) for _ in range(40)]
    began = time.monotonic()
    equal(ask().status, 200, "an honest client")
    check(time.monotonic() - began < 4, lambda: f"after {time.monotonic() - began} s")
    for s in silent:
        s.close()


@case("100 clients at once are all served", nets=("host",))
def many(c):
    start(c)
    request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
    before = total("telemetry_scrapes")
    clients = [socket.create_connection(("127.0.0.1", PORT), timeout=10) for _ in range(100)]
    for s in clients:
        s.sendall(request)
    for s in clients:
        data = b""
        while more := s.recv(65536):
            data += more
        check(data.startswith(b"HTTP/1.1 200") and data.endswith(b"\n"), lambda: f"an answer: {data[:100]}")
        s.close()
    equal(total("telemetry_scrapes") - before, 101, "scrapes")
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", PORT), timeout=10) as s:
            s.sendall(request)  # and does not stay
    equal(ask().status, 200, "another, afterwards")


@case("mw-telem that is killed comes back on the same port; the INS's counts go on", nets=NETS)
def killed(c):
    app = start(c)
    for _ in range(2):
        accepted = total("connections_accepted") + 1
        socket.create_connection(("127.0.0.1", 80), timeout=5).close()
        until(5, lambda: total("connections_accepted") == accepted, "it is counted")
        pid = app.info()["telem_pid"]
        born = one("telemetry_start_time_seconds")
        os.kill(pid, signal.SIGKILL)
        until(5, lambda: app.info()["telem_pid"] not in (0, pid), "another telemetry process")
        equal(total("connections_accepted"), accepted, "connections accepted")
        check(one("telemetry_start_time_seconds") > born, "it is another's")


tap.main()
