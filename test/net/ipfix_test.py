# SPDX-License-Identifier: Apache-2.0
"""IPFIX: the collectors that Debian has get the same flows as the clients made; one that fails costs nobody anything."""
import fcntl
import ipaddress
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from lib import http, machine, mw, procs, servers
from lib import tap
from lib.control import Control
from lib.tap import NETS, case, check, equal, until

SANITIZED = "MW_PRELOAD" in os.environ
CONNECTIONS = 1000 if SANITIZED else 10_000
WORKERS = 4
NFACCTD = """
daemonize: false
nfacctd_ip: 127.0.0.1
nfacctd_port: 9996
nfacctd_pipe_size: 8000000
aggregate_primitives: /run/primitives.lst
plugins: print[a]
plugin_pipe_size: 50000000
plugin_buffer_size: 50000
aggregate[a]: src_host, src_port, dst_port, proto, rev_bytes, flows
print_output[a]: csv
print_output_file[a]: /run/nfacctd.csv
print_output_file_append[a]: true
print_refresh_time[a]: 3600
print_cache_entries[a]: 32771
"""
CLIENT = """
import socket
s = socket.create_connection(("127.0.0.1", 8099))
s.sendall(b"question")
while s.recv(100):
    pass
"""
ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 5300))
while True:
    s.sendto(b"xyz", s.recvfrom(100)[1])
"""
PRIMITIVES = "name=rev_bytes field_type=29305:1 len=8 semantics=u_int\n"
PROGRAMS = {"nfcapd": "nfdump", "nfdump": "nfdump", "nfacctd": "pmacct", "ipfixDump": "libfixbuf-tools"}
servers.PROGRAMS.update(PROGRAMS)


# --- collectors ---

def nfcapd(c, port=9995):
    Path("/run/nf").mkdir(exist_ok=True)
    log = open("/run/nfcapd.log", "w", encoding="ascii")
    child = subprocess.Popen(["nfcapd", "-w", "/run/nf", "-p", str(port), "-t", "3600", "-B", "2000000"], stdout=log, stderr=log)
    c.callback(lambda: (child.kill(), child.wait()))
    until(5, lambda: "Startup" in Path("/run/nfcapd.log").read_text(), "nfcapd listens")
    return child


def nfdump():
    """Bytes each way of each client's address and port, and how many records."""
    out = machine.run("nfdump", "-R", "/run/nf", "-q", "-N", "-6", "-o", "fmt:%sa %sp %ibyt %obyt")
    found = Counter()
    for line in out.splitlines():
        host, port, forward, backward = line.split()
        found[host, int(port), "to"] += int(forward)
        found[host, int(port), "from"] += int(backward)
    return found, len(out.splitlines())


def nfacctd(c):
    Path("/run/nfacctd.conf").write_text(NFACCTD)
    Path("/run/primitives.lst").write_text(PRIMITIVES)
    log = open("/run/nfacctd.log", "w", encoding="ascii")
    child = subprocess.Popen(["nfacctd", "-f", "/run/nfacctd.conf"], stdout=log, stderr=log, start_new_session=True)

    def end():
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
    c.callback(end)
    until(5, lambda: "waiting for" in Path("/run/nfacctd.log").read_text(), "nfacctd listens")
    return child


def nfacctd_counts(child):
    child.send_signal(signal.SIGINT)
    child.wait(10)
    until(10, lambda: Path("/run/nfacctd.csv").exists() and "END" in Path("/run/nfacctd.log").read_text(), "nfacctd has written")
    lines = [line.split(",") for line in Path("/run/nfacctd.csv").read_text().splitlines()]
    titles = lines[0]
    found = Counter()
    for line in lines[1:]:
        row = dict(zip(titles, line))
        if row["SRC_IP"] == "SRC_IP":
            continue
        key = row["SRC_IP"], int(row["SRC_PORT"])
        found[*key, "to"] += int(row["BYTES"])
        found[*key, "from"] += int(row["rev_bytes"]) * int(row["FLOWS"])  # a key of its own: records alike are one row
    return found


def records(path, sessions=1):
    """What ipfixDump reads in a file: flow records, a dict each."""
    child = subprocess.Popen(["ipfixDump", "--rfc5610", "-d", "--in", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True)
    found, record = [], {}
    for line in child.stdout:
        name, _, value = line.partition(" : ")
        if line.startswith("---"):
            record = {}
        elif value:
            record[name.split()[-1]] = value.strip()
            if "flowId" in name:
                found.append(record)
    err = child.stderr.read()
    equal((child.wait(), len(re.findall("WARN|rror", err))), (0, sessions - 1), f"ipfixDump of {path}: {err}")
    return found


def dumped(path, sessions=1):
    found = Counter()
    for r in records(path, sessions):
        host = str(ipaddress.ip_address(r.get("sourceIPv4Address") or r["sourceIPv6Address"]))
        found[host, int(r["sourceTransportPort"]), "to"] += int(r["octetDeltaCount"])
        found[host, int(r["sourceTransportPort"]), "from"] += int(r["reverseOctetDeltaCount"])
    return found


class Stream:
    """A TCP collector that keeps what it gets in a file, each connection in one of its own; or one that never reads."""

    def __init__(self, c, port, reads=True):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.bind(("127.0.0.1", port))
        self.socket.listen()
        self.files, self.connections, self.reads = [], [], reads
        threading.Thread(target=self.serve, daemon=True).start()
        c.callback(self.end)

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections.append(connection)
            self.files.append(Path(f"/run/stream-{self.socket.fileno()}-{len(self.files)}.ipfix"))
            if self.reads:
                threading.Thread(target=self.keep, args=(connection, self.files[-1]), daemon=True).start()

    @staticmethod
    def keep(connection, path):
        with open(path, "wb", buffering=0) as f:
            while True:
                try:
                    data = connection.recv(65536)
                except OSError:
                    return
                if not data:
                    return
                f.write(data)

    def end(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes accept()
        except OSError:
            pass
        self.socket.close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()
        self.connections.clear()


# --- clients ---

def fetch(host, query=""):
    """One connection, one request, until the server ends it: (its address and port, bytes sent, bytes received)."""
    with socket.create_connection((host, 80), timeout=10) as s:
        asked = f"GET /page.bin?{query} HTTP/1.0\r\n\r\n".encode()
        s.sendall(asked)
        name, got = s.getsockname()[:2], 0
        while data := s.recv(65536):
            got += len(data)
    return name, len(asked), got


def fetch_many(count, four="127.0.0.1", six="::1"):
    """So many connections, of different lengths, IPv4 and IPv6: bytes each way of each client's address and port."""
    truth, failed, lock = Counter(), [], threading.Lock()

    def work(first):
        mine = Counter()
        try:
            for i in range(first, count, WORKERS):
                name, sent, got = fetch(six if i % 5 == 0 else four, "x" * (i % 1000))
                mine[*name, "to"] += sent
                mine[*name, "from"] += got
        except OSError as e:
            failed.append(e)
        with lock:
            truth.update(mine)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(WORKERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(failed, [], "clients' errors")
    return truth


def domains(path):
    """How many messages of each observation domain a file has, which must be nothing but whole messages."""
    data, at, found = Path(path).read_bytes(), 0, Counter()
    while at < len(data):
        version, length, _, _, domain = struct.unpack_from(">HHIII", data, at)
        check(version == 10 and 16 <= length <= len(data) - at, f"a message at {at} of {len(data)}: version {version}, {length} bytes")
        found[domain] += 1
        at += length
    return found


def fresh():
    """What earlier cases left would be read again."""
    for path in ("/run/nf", "/run/nfacctd.csv", "/run/flows.ipfix"):
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            Path(path).unlink(missing_ok=True)


def start(c, *collectors, more=(), **keys):
    servers.need(*PROGRAMS)
    servers.content("page.bin", 1000)
    c.control = None
    options = [word for text in collectors for word in ("--ipfix", text)]
    app = servers.nginx(c, options=(*options, *more), **keys)
    until(15, lambda: "control" in os.listdir("/run/mw/nginx") if os.path.isdir("/run/mw/nginx") else False, "it runs")
    return app


def collectors(c):
    if c.control is None:
        c.control = Control(c, "nginx")
    return {x["collector"]: x for x in c.control.ask(do="ipfix")["collectors"]}


def settled():
    """The UDP collectors have read what came, and nothing was lost on the way."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    mine = [row for row in rows if int(row[1].partition(":")[2], 16) in (9995, 9996)]
    equal({row[-1] for row in mine}, {"0"}, "datagrams that the collectors had no room for")
    return all(row[4].endswith(":00000000") for row in mine)


def same(seen, truth, who):
    """The server's own trial connections, of which the test knows nothing, are not in truth: they have another port."""
    seen = Counter({k: n for k, n in seen.items() if k in truth})
    wrong = {k: (seen[k], n) for k, n in truth.items() if seen[k] != n}
    check(not wrong, lambda: f"{who}: {len(wrong)} of {len(truth)} differ (seen, truth), as {dict(list(wrong.items())[:5])}")


def without(truth, before):
    """A port may come again; what was told of it before is there too, or is not."""
    return {k: n for k, n in truth.items() if k not in before}


# --- cases ---

@case(f"{CONNECTIONS} connections: nfdump, nfacctd and ipfixDump have the very flows and bytes", limit=150, nets=NETS)
def truth(c):
    fresh()
    servers.need(*PROGRAMS)
    capd, acctd, stream = nfcapd(c), nfacctd(c), Stream(c, 9997)
    app = start(c, "udp:127.0.0.1:9995", "udp:localhost:9996", "tcp:127.0.0.1:9997", "file:/run/flows.ipfix").ready(80).ready(80, host="::1")
    until(10, lambda: all(x["state"] == "up" for x in collectors(c).values()), lambda: f"all are up: {collectors(c)}")
    started = time.monotonic()
    made = Counter()
    for _ in range(20 if c.net == "isolated" else 2):
        made.update(fetch_many(CONNECTIONS // 20))
        until(10, settled, "the collectors have read it")
    c.note(f"{time.monotonic() - started:.1f} s")
    until(10, lambda: not app.connections(), "all ended")
    time.sleep(0.5)
    counted = collectors(c)
    equal({x["dropped"] for x in counted.values()}, {0}, "dropped")
    app.end()
    capd.terminate()
    capd.wait(10)
    log = Path("/run/nfcapd.log").read_text()
    tap.matches(log, r"Sequence Errors: 0, Bad Packets: 0", "nfcapd")
    found, lines = nfdump()
    same(found, made, "nfdump")
    check(lines >= counted["udp:127.0.0.1:9995"]["sent"], lambda: f"nfdump has {lines} records of {counted}")
    same(nfacctd_counts(acctd), made, "nfacctd")
    same(dumped("/run/flows.ipfix"), made, "ipfixDump of the file")
    same(dumped(stream.files[0]), made, "ipfixDump of what came by TCP")
    equal(app.said(), "", "what mw said")


@case("records on open, at the active time-out, at a verdict and on close; forced is what was mitigated", nets=NETS)
def why(c):
    fresh()
    app = start(c, "file:/run/flows.ipfix", more=("--ipfix-timeout", "1")).ready(80).ready(80, host="::1")
    k = Control(c, "nginx")
    held = socket.create_connection(("127.0.0.1", 80), timeout=5)
    c.callback(held.close)
    name = held.getsockname()
    held.sendall(b"GET /page")
    time.sleep(3.5)     # nobody but the collector looks meanwhile
    early = [r for r in records("/run/flows.ipfix") if r["sourceTransportPort"] == str(name[1]) and r["mwReport"] == "2"]
    check(early and all(int(r["mwSndWnd"]) > 0 and not r["mwSampled"].startswith("1970") for r in early),
          lambda: f"what the kernel says: {early[:1]}")
    flow = next(f for f in app.connections() if f["peer_port"] == name[1])
    equal(k.ask(do="order", verb="reset", target=str(flow["id"]))["ok"], True, "reset")
    other = fetch("127.0.0.1")[0]
    left = socket.create_connection(("127.0.0.1", 80), timeout=5)
    c.callback(left.close)
    until(5, lambda: any(f["peer_port"] == left.getsockname()[1] for f in app.connections()), "one that is left")
    app.end()

    def of(port):
        return [r for r in records("/run/flows.ipfix") if r["sourceTransportPort"] == str(port)]

    mine = of(name[1])
    equal({r["flowId"] for r in mine}, {str(flow["id"])}, "its id")
    kinds = [int(r["mwReport"]) for r in mine]
    check(kinds[0] == 1 and kinds[-2:] == [3, 4] and len(kinds) > 4 and set(kinds[1:-2]) == {2}, lambda: f"its records: {kinds}")
    equal([int(r["flowEndReason"]) for r in mine], [2] * (len(kinds) - 2) + [4, 4], "reasons")
    equal(sum(int(r["octetDeltaCount"]) for r in mine), 9, "its bytes, once")
    equal({r["mwOpLinger"] for r in mine}, {"-1"}, "a number below 0")
    check(int(mine[-1]["tcpControlBits"]) & 2 and int(mine[-1]["reverseTcpControlBits"]) & 4, "SYN; reset")
    equal([(r["mwReport"], r["flowEndReason"]) for r in of(other[1])][-1], ("4", "3"), "one that ended by itself")
    equal([(r["mwReport"], r["flowEndReason"]) for r in of(left.getsockname()[1])][-1][0], "4", "one that was left at the end")


@case("a connection that the application makes goes the other way", nets=("host",))
def outward(c):
    fresh()
    servers.need(*PROGRAMS)
    listener = socket.create_server(("127.0.0.1", 8099))
    c.callback(listener.close)
    app = mw.App(c, "/usr/bin/python3", "-c", CLIENT, options=("--ipfix", "file:/run/flows.ipfix"), name="client")
    connection, peer = listener.accept()
    asked = connection.recv(4096)
    connection.sendall(b"hello")
    connection.close()
    equal(app.wait(10), 0, "the client")
    last = records("/run/flows.ipfix")[-1]
    equal((last["sourceTransportPort"], last["destinationTransportPort"], last["flowDirection"]), (str(peer[1]), "8099", "1"), "who began")
    total = [sum(int(r[n]) for r in records("/run/flows.ipfix")) for n in ("octetDeltaCount", "reverseOctetDeltaCount")]
    equal(total, [len(asked), 5], "bytes")


@case("a UDP socket has records from its first datagram on; who sent it began", nets=NETS)
def udp(c):
    fresh()
    servers.need(*PROGRAMS)
    app = mw.App(c, "/usr/bin/python3", "-c", ECHO, options=("--ipfix", "file:/run/flows.ipfix"), name="echo")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        s.connect(("127.0.0.1", 5300))

        def answered():
            try:
                s.send(b"x")
                return s.recv(10) == b"xyz"
            except OSError:
                return False
        until(10, answered, "an answer")
        for _ in range(9):
            check(answered(), "another")
    time.sleep(0.2)
    app.end()
    found = records("/run/flows.ipfix")
    equal([(r["protocolIdentifier"], r["mwReport"]) for r in found], [("17", "1"), ("17", "4")], "records")
    total = [sum(int(r[n]) for r in found) for n in ("octetDeltaCount", "reverseOctetDeltaCount")]
    equal(total, [int(found[-1]["mwRxCalls"]), 3 * int(found[-1]["mwTxCalls"])], "bytes")
    check(total[0] >= 10, lambda: f"bytes: {total}")
    equal((found[-1]["destinationTransportPort"], found[-1]["flowDirection"]), ("5300", "0"), "where to")


@case("TCP: a collector that is down is tried again; what it missed is counted, and what follows can be read", limit=40)
def down(c):
    fresh()
    c.net = "host"
    app = start(c, "tcp:127.0.0.1:9997", "file:/run/flows.ipfix", more=("--metrics", "9464")).ready(80).ready(80, host="::1")
    fetch_many(50)
    until(5, lambda: not app.connections(), "all ended")
    time.sleep(0.2)
    missed = collectors(c)["tcp:127.0.0.1:9997"]["dropped"]
    check(missed >= 50, lambda: f"dropped: {missed}")
    stream = Stream(c, 9997)
    until(20, lambda: collectors(c)["tcp:127.0.0.1:9997"]["state"] == "up", "it is connected")
    made = fetch_many(50)
    until(5, lambda: not app.connections(), "all ended")
    time.sleep(0.2)
    same(dumped(stream.files[0]), made, "ipfixDump of what came")
    text = machine.run("ipfixDump", "--rfc5610", "--in", str(stream.files[0]))
    counted = collectors(c)["tcp:127.0.0.1:9997"]["dropped"]
    equal([int(n) for n in re.findall(r"notSentFlowTotalCount : (\d+)", text)], [counted], "what it is told that it missed")
    check(text.find("sequence number: 0 ") > 0, "a new session's numbers")
    stream.end()
    time.sleep(0.1)
    fetch_many(50)
    until(5, lambda: collectors(c)["tcp:127.0.0.1:9997"]["dropped"] > counted, "it is down again")
    equal(len(re.findall("IPFIX to tcp:127.0.0.1:9997: ", app.said())), 2, f"complaints in {app.said()}")
    equal(len(re.findall("goes again; ", app.said())), 1, f"ends of complaints in {app.said()}")
    equal(collectors(c)["/run/flows.ipfix"]["dropped"], 0, "the file's")

    def lost():
        text = http.get("/metrics", port=9464).body.decode()
        return int(re.search(r'^mwcomms_telemetry_lost_total{.*what="ipfix"} (\d+)$', text, re.M)[1])

    until(5, lambda: lost() == collectors(c)["tcp:127.0.0.1:9997"]["dropped"], lambda: f"the metrics' count: {lost()}, {collectors(c)}")


@case("TCP: a collector that never reads costs its own queue, and nobody else anything", limit=60)
def never_reads(c):
    fresh()
    c.net = "host"
    app = start(c, "tcp:127.0.0.1:9997", "file:/run/flows.ipfix").ready(80).ready(80, host="::1")
    equal(collectors(c)["tcp:127.0.0.1:9997"]["state"] == "up", False, "before it listens")
    stream = Stream(c, 9997, reads=False)
    until(20, lambda: collectors(c)["tcp:127.0.0.1:9997"]["state"] == "up", "it is connected")
    made = Counter()
    deadline = time.monotonic() + 40
    while "does not read fast enough" not in app.said() and time.monotonic() < deadline:
        made.update(fetch_many(400))
    check("does not read fast enough" in app.said(), "it is said")
    made.update(fetch_many(200))
    until(5, lambda: not app.connections(), "all ended")
    time.sleep(0.2)
    counted = collectors(c)
    check(counted["tcp:127.0.0.1:9997"]["dropped"] >= 200, lambda: f"dropped: {counted}")
    equal(len(re.findall("does not read", app.said())), 1, f"how often it is said: {app.said()}")
    pid = app.info()["telem_pid"]
    size = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
    if not SANITIZED:
        check(size < 64_000, lambda: f"mw-telem has {size} kB")
    app.end()
    same(dumped("/run/flows.ipfix"), made, "ipfixDump of the file")
    stream.end()


@case("UDP: a collector that starts late, or again, has the templates it needs", limit=40)
def late(c):
    fresh()
    c.net = "host"
    app = start(c, "udp:127.0.0.1:9995").ready(80).ready(80, host="::1")
    fetch_many(20)
    until(5, lambda: "Connection refused" in app.said(), "it is said")
    capd = nfcapd(c)
    until(20, lambda: collectors(c)["udp:127.0.0.1:9995"]["state"] == "up", "it is there")
    made = fetch_many(50)
    until(5, lambda: not app.connections(), "all ended")
    time.sleep(0.3)
    capd.terminate()
    capd.wait(10)
    same(nfdump()[0], made, "nfdump")
    check("goes again; " in app.said(), "it is said too")


@case("several INSs append to one file: whole messages, a domain and a sequence for each, nothing lost", limit=60)
def several(c):
    fresh()
    c.net = "isolated"
    app = start(c, "file:/run/flows.ipfix", more=("--ins", "4")).ready(80).ready(80, host="::1")
    made = fetch_many(CONNECTIONS // 5, machine.HERE4, machine.HERE6)
    until(10, lambda: not app.connections(), "all ended")
    app.end()
    found = domains("/run/flows.ipfix")
    first = min(found)
    equal(sorted(found), [first, first + 1, first + 2, first + 3], "domains")
    c.note(f"messages of each: {sorted(found.values())}")
    same(dumped("/run/flows.ipfix"), made, "ipfixDump of the file")
    equal(Counter(int(r["mwIns"]) for r in records("/run/flows.ipfix")).keys(), {0, 1, 2, 3}, "INSs")


def small_disk(c):
    """1 MiB at /run/small."""
    Path("/run/small").mkdir(exist_ok=True)
    machine.run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/run/small")
    c.callback(machine.run, "umount", "/run/small")


def fill(file):
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        pass


@case("several INSs and a file on a full disk: none takes away what another wrote", limit=60)
def several_full(c):
    fresh()
    c.net = "isolated"
    small_disk(c)
    app = start(c, "file:/run/small/flows.ipfix", more=("--ins", "4")).ready(80).ready(80, host="::1")
    before = Counter()
    for _ in range(4):      # there is room for a part of a page, then none, then for a page at a time
        Path("/run/small/ballast").write_bytes(b"")
        with open("/run/small/ballast", "wb", buffering=0) as ballast:
            fill(ballast)
        for size in (64, 128, 192):
            before.update(fetch_many(200, machine.HERE4, machine.HERE6))
            os.truncate("/run/small/ballast", (1 << 20) - (size << 10))
    os.unlink("/run/small/ballast")
    until(10, lambda: not app.connections(), "all ended")
    time.sleep(1.2)
    made = fetch_many(50, machine.HERE4, machine.HERE6)
    until(5, lambda: not app.connections(), "all ended")
    app.end()
    equal(len(domains("/run/small/flows.ipfix")), 4, "domains")
    found = Counter(r["mwIns"] for r in records("/run/small/flows.ipfix"))
    same(dumped("/run/small/flows.ipfix"), without(made, before), "ipfixDump of the file")
    c.note(f"records of each INS: {dict(found)}; said {app.said().count('No space left')} times")


@case("a file on a full disk: it is said, the service goes on, and what is written later can be read", limit=40)
def full(c):
    fresh()
    c.net = "host"
    small_disk(c)
    app = start(c, "file:/run/small/flows.ipfix").ready(80).ready(80, host="::1")
    with open("/run/small/ballast", "wb", buffering=0) as ballast:
        fill(ballast)
    before = Counter()
    until(20, lambda: before.update(fetch_many(20)) or "No space left" in app.said(), "it is said")
    before.update(fetch_many(100))
    until(5, lambda: not app.connections(), "all ended")
    time.sleep(0.2)
    check(collectors(c)["/run/small/flows.ipfix"]["dropped"] > 100, lambda: f"dropped: {collectors(c)}")
    equal(len(re.findall("No space left", app.said())), 1, "how often it is said")
    os.unlink("/run/small/ballast")
    time.sleep(1.1)
    made = fetch_many(50)
    until(5, lambda: not app.connections(), "all ended")
    app.end()
    same(dumped("/run/small/flows.ipfix"), without(made, before), "ipfixDump of the file")
    check("goes again; " in app.said(), "it is said too")


@case("a file that another process keeps locked: nobody waits for it; it is said, and what is written later can be read", limit=40)
def locked(c):
    fresh()
    c.net = "host"
    app = start(c, "file:/run/flows.ipfix").ready(80).ready(80, host="::1")
    made = fetch_many(20)
    until(5, lambda: not app.connections(), "all ended")
    time.sleep(0.2)
    with open("/run/flows.ipfix", "rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        fetch_many(200)
        until(5, lambda: collectors(c)["/run/flows.ipfix"]["dropped"] >= 200, "they are counted, by one who answers")
        started = time.monotonic()
        collectors(c)
        check(time.monotonic() - started < 1, "at once")
    time.sleep(1.2)
    made.update(fetch_many(20))
    until(5, lambda: "goes again; " in app.said(), lambda: f"it said: {app.said()}")
    equal(len(re.findall("another process has it locked", app.said())), 1, f"how often it is said: {app.said()}")
    until(5, lambda: not app.connections(), "all ended")
    app.end()
    same(dumped("/run/flows.ipfix"), made, "ipfixDump of the file")


@case("telemetry that is killed begins a new session, and no byte is counted twice or lost", limit=30)
def killed(c):
    fresh()
    c.net = "host"
    app = start(c, "file:/run/flows.ipfix", more=("--ipfix-timeout", "1")).ready(80).ready(80, host="::1")
    made = fetch_many(20)
    with socket.create_connection(("127.0.0.1", 80), timeout=5) as held:
        asked = b"GET /page.bin HTTP/1.1\r\nHost: a\r\n\r\n"
        held.sendall(asked)
        got = len(held.recv(65536))
        time.sleep(1.5)
        pid = app.info()["telem_pid"]
        os.kill(pid, signal.SIGKILL)
        made.update(fetch_many(20))
        until(5, lambda: app.info()["telem_pid"] not in (0, pid), "another telemetry process")
        held.sendall(asked)
        got += len(held.recv(65536))
        made[*held.getsockname(), "to"] += 2 * len(asked)
        made[*held.getsockname(), "from"] += got
    made.update(fetch_many(20))
    app.end()
    same(dumped("/run/flows.ipfix", sessions=2), made, "ipfixDump of the file")


def stopped_at_its_start(app):
    """The process that telemetry is next, stopped before it says that it is ready."""
    broker = app.broker_pid()
    children = Path(f"/proc/{broker}/task/{broker}/children")
    for _ in range(20):
        time.sleep(1.1)     # who dies young is not started again at once
        old = app.info()["telem_pid"]
        known = children.read_text().split()
        os.kill(old, signal.SIGKILL)
        new = until(5, lambda known=known: [int(pid) for pid in children.read_text().split() if pid not in known], "another", step=0)[0]
        os.kill(new, signal.SIGSTOP)
        until(5, lambda new=new: procs.look(new).state == "T", "it is stopped", step=0.001)
        if re.search(r"^Seccomp:\t0$", Path(f"/proc/{new}/status").read_text(), re.M):
            return new
        os.kill(new, signal.SIGCONT)
    raise tap.Failed("it was ready before it could be stopped, twenty times")


@case("the application ends while telemetry is being started again: what was open and what has closed is told all the same", limit=60)
def ends_meanwhile(c):
    fresh()
    c.net = "host"
    app = start(c, "file:/run/flows.ipfix", more=("--ipfix-timeout", "1")).ready(80)
    late = stopped_at_its_start(app)
    made = fetch_many(20)
    ending = threading.Thread(target=app.end)
    ending.start()
    until(5, lambda: not mw.connects("127.0.0.1", 80), "the server has ended")
    time.sleep(0.1)
    os.kill(late, signal.SIGCONT)
    ending.join()
    same(dumped("/run/flows.ipfix", sessions=2), made, "ipfixDump of the file")


@case("what cannot be a collector is refused before anything starts")
def usage(c):
    for text in ("udp", "udp:", "udp:host", "udp:host:0", "udp:host:65536", "udp:::1:4739", "sctp:host:1", "file:", "tcp:[::1]", "x" * 2000):
        status, _, err = mw.protected("--net", "host", "--ipfix", text, "--", "true")
        equal((status, "udp:HOST:PORT" in err), (2, True), f"--ipfix {text[:30]}: {err}")
    five = [word for i in range(5) for word in ("--ipfix", f"udp:127.0.0.1:{i + 1}")]
    equal(mw.protected("--net", "host", *five, "--", "true")[0], 2, "five collectors")
    for text in ("0", "x", "-1", "86401"):
        equal(mw.protected("--net", "host", "--ipfix-timeout", text, "--", "true")[0], 2, f"--ipfix-timeout {text}")
    for text, word in (("udp:no.such.name.invalid:4739", "no.such.name.invalid"), ("file:/no/such/directory", "No such file"),
                       ("file:/run", "directory"), ("file:/dev/null", "regular")):
        status, _, err = mw.protected("--net", "host", "--ipfix", text, "--", "true")
        equal((status, word in err), (125, True), f"--ipfix {text}: {err}")


tap.main()
