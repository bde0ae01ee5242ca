# SPDX-License-Identifier: Apache-2.0
"""memcached: both of its protocols over TCP, large values, many clients; the text protocol over UDP."""
import socket
import struct
import threading

from lab import connect

TITLE = "memcached"
WORK = "text and binary protocol, large values, pipelines, `noreply`, 200 clients in 4 threads; UDP"
PACKAGES = ["memcached"]
PORT = 11211


def work(lab):
    lab.start(["memcached", "-u", "memcache", "-m", "64", "-p", str(PORT), "-U", str(PORT), "-l", "127.0.0.1,::1"])
    lab.ready(PORT)
    for host in ("127.0.0.1", "::1"):
        text(lab, host)
    binary(lab)
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        datagrams(lab, family, host)
    crowd(lab)
    with connect("127.0.0.1", PORT) as s:
        file = s.makefile("rb")
        s.sendall(b"stats\r\n")
        stats = dict(line.split()[1:] for line in iter(file.readline, b"END\r\n"))
        for key in ("curr_items", "cmd_set", "get_hits", "get_misses", "total_connections", "rejected_connections"):
            lab.note(f"stats {key}", stats[key.encode()].decode())
        s.sendall(b"quit\r\n")
        lab.note("quit", file.read())


def text(lab, host):
    with connect(host, PORT) as s:
        file = s.makefile("rb")

        def ask(data, lines=1):
            s.sendall(data)
            return b"".join(file.readline() for _ in range(lines))

        lab.note(f"{host}: set", ask(b"set k 7 0 5\r\nhello\r\n"))
        lab.note(f"{host}: get", ask(b"get k none\r\n", 3))
        lab.note(f"{host}: incr of a word", ask(b"incr k 1\r\n"))
        lab.note(f"{host}: no such command", ask(b"nonsense\r\n"))
        value = lab.noise("value", 900_000)
        lab.note(f"{host}: 900 kB", ask(b"set large 0 0 %d\r\n" % len(value) + value + b"\r\n"))
        s.sendall(b"get large\r\n")
        file.readline()
        lab.note(f"{host}: as it was set", file.read(len(value) + 7) == value + b"\r\nEND\r\n")
        s.sendall(b"".join(b"set p%d 0 0 4 noreply\r\n%04d\r\n" % (i, i) for i in range(2000)) + b"get p1999\r\n")
        lab.note(f"{host}: behind 2,000 without reply", b"".join(file.readline() for _ in range(3)))
        s.sendall(b"".join(b"get p%d\r\n" % i for i in range(2000)))
        lab.note(f"{host}: a pipeline of 2,000", b"".join(file.readline() for _ in range(6000)))
        lab.note(f"{host}: flush_all", ask(b"flush_all\r\n"))


def binary(lab):
    def request(op, key=b"", extras=b"", value=b""):
        return struct.pack(">BBHBBHIIQ", 0x80, op, len(key), len(extras), 0, 0, len(key) + len(extras) + len(value), op,
                           0) + extras + key + value

    with connect("127.0.0.1", PORT) as s:
        file = s.makefile("rb")
        for what, data in (("set", request(1, b"b", bytes(8), b"binary")), ("get", request(0, b"b")),
                           ("get nothing", request(0, b"nothing")), ("no-op", request(10)), ("quit", request(7))):
            s.sendall(data)
            head = file.read(24)
            body = file.read(struct.unpack(">I", head[8:12])[0])
            lab.note(f"binary {what}", (head[:12].hex(), body))
        lab.note("binary end", file.read())


def datagrams(lab, family, host):
    """Each has 8 bytes in front: number of the request, of the datagram, how many there are."""
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(10)
        s.connect((host, PORT))

        def ask(number, data):
            s.send(struct.pack(">HHHH", number, 0, 1, 0) + data)
            parts, count = {}, 1
            while len(parts) < count:
                part = s.recv(65536)
                same, which, count, _ = struct.unpack(">HHHH", part[:8])
                assert same == number, f"an answer to {same} instead of {number}"
                parts[which] = part[8:]
            return b"".join(parts[i] for i in range(count))

        value = lab.noise("datagrams", 1000).hex().encode()
        lab.note(f"{host} UDP: set", ask(1, b"set u 3 0 1000\r\n" + value[:1000] + b"\r\n"))
        lab.note(f"{host} UDP: get", ask(2, b"get u\r\n"))
        with connect(host, PORT) as tcp:
            tcp.sendall(b"set long 0 0 20000 noreply\r\n" + value * 10 + b"\r\nget u\r\n")
            lab.note(f"{host} UDP: what it set is there by TCP", tcp.makefile("rb").readline())
        lab.note(f"{host} UDP: an answer of many datagrams", ask(3, b"get long\r\n"))
        for i in range(100):
            if ask(100 + i, b"get none\r\n") != b"END\r\n":
                lab.check(False, f"{host} UDP: request {i} is answered")
        lab.note(f"{host} UDP: 100 requests", "answered")


def crowd(lab):
    wrong = []

    def client(number):
        try:
            with connect("127.0.0.1", PORT) as s:
                file = s.makefile("rb")
                for i in range(20):
                    key, value = b"c%d" % number, b"%d " % i * 500
                    s.sendall(b"set %s 0 0 %d\r\n%s\r\nget %s\r\n" % (key, len(value), value, key))
                    if file.readline() != b"STORED\r\n" or not file.readline().startswith(b"VALUE ") or \
                            file.readline() != value + b"\r\n" or file.readline() != b"END\r\n":
                        wrong.append(number)
        except OSError as e:
            wrong.append(repr(e))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lab.note("200 clients that set and get 20 times", wrong)
