# SPDX-License-Identifier: Apache-2.0
"""A server to run protected: options.py PORT. It does to a connection's socket what the client asks, and says what came of it.

A question and an answer are a line of JSON each, on the connection itself; for UDP a datagram each. Not imported.
"""
import errno
import json
import select
import socket
import sys
import threading
import time

accepted = late = 0
last = polled = None
port = int(sys.argv[1])
listener = socket.socket(socket.AF_INET6)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)


def attempt(what):
    began = time.monotonic()
    try:
        result = what()
    except OSError as e:
        result = errno.errorcode[e.errno]
    return {"result": result.hex() if isinstance(result, bytes) else result, "seconds": time.monotonic() - began}


def send_all(s, n):
    """Bytes sent until it fails; `last` tells it on another connection."""
    global last
    last, sent = None, 0
    try:
        while sent < n:
            sent += s.send(bytes(min(65536, n - sent)))
    except OSError as e:
        last = [sent, errno.errorcode[e.errno]]
    return sent


def poll(s, mask, seconds):
    p = select.poll()
    p.register(s, mask)
    return p.poll(seconds * 1000)[0][1] if p.poll(seconds * 1000) else 0


def fill_then_poll(s, seconds):
    global polled
    polled = None
    s.setblocking(False)
    for _ in range(60):
        send_all(s, 1 << 30)
        time.sleep(0.02)
    time.sleep(seconds)
    polled = [poll(s, select.POLLOUT, 0)]
    s.setblocking(True)


def sleep_then_error(s, seconds):
    global polled
    time.sleep(seconds)
    polled = [s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]


def connect(q, kind):
    s = socket.socket(socket.AF_INET6 if ":" in q["addr"] else socket.AF_INET, kind)
    try:
        return s.connect((q["addr"], q["port"]))
    finally:
        s.close()


def answer(s, q):
    s = {"listener": listener, "udp": udp}.get(q.get("of"), s)
    return {
        "get": lambda: s.getsockopt(q["level"], q["name"], q["size"]),
        "set": lambda: s.setsockopt(q["level"], q["name"], bytes.fromhex(q["value"])),
        "recv": lambda: len(s.recv(100)),
        "send": lambda: send_all(s, q["bytes"]),
        "accepted": lambda: accepted,
        "late": lambda: late,
        "last": lambda: last,
        "polled": lambda: polled,
        "poll": lambda: poll(s, q["mask"], q.get("seconds", 0)),
        "sleep": lambda: time.sleep(q["seconds"]),
        "sleep_then_error": lambda: sleep_then_error(s, q["seconds"]),
        "fill_then_poll": lambda: fill_then_poll(s, q["seconds"]),
        "sendto": lambda: udp.sendto(b"hello", (q["addr"], q["port"])),
        "connect": lambda: connect(q, socket.SOCK_STREAM),
        "connect_udp": lambda: connect(q, socket.SOCK_DGRAM),
    }[q["do"]]


def lines(s):
    """Questions; a read that is not to wait, or not so long, is tried again."""
    rest = b""
    while True:
        try:
            data = s.recv(65536)
        except BlockingIOError:
            time.sleep(0.02)
            continue
        if not data:
            return
        *whole, rest = (rest + data).split(b"\n")
        yield from whole


def serve(s):
    try:
        with s:
            for line in filter(None, lines(s)):
                q = json.loads(line)
                if not isinstance(q, dict):
                    continue
                s.sendall(json.dumps(attempt(answer(s, q))).encode() + b"\n")
    except OSError:
        pass


def serve_udp():
    global late
    while True:
        try:
            data, peer = udp.recvfrom(2000)
        except BlockingIOError:
            late += 1
            continue
        try:
            q = json.loads(data)
            udp.sendto(json.dumps(attempt(answer(udp, q))).encode(), peer)
        except OSError:
            pass


for own in (listener, udp):
    own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    own.bind(("::", port))
listener.listen(100)
threading.Thread(target=serve_udp, daemon=True).start()
while True:
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        time.sleep(0.01)
        continue
    accepted += 1
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
