# SPDX-License-Identifier: Apache-2.0
"""Descriptors that leave the application over a UNIX socket, and those that come to it."""
import os
import select
import socket
import threading
import time
from pathlib import Path

from lib import http, machine, servers, tap
from lib.mw import App
from lib.tap import NETS, case, check, equal, until

# --- out ---

PASSES = """
import encodings.idna, errno, os, signal, socket, sys
def passed(fds):
    try:
        return f"{socket.send_fds(via, [b'x'], fds)} sent"
    except OSError as e:
        return errno.errorcode[e.errno]
server, idle, udp = socket.create_server(("0.0.0.0", 7000)), socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
connections = []
if "nobody" in sys.argv:
    os.setresuid(65534, 65534, 65534)
via = socket.socket(socket.AF_UNIX)
via.connect("/run/outside")
for turn in range(3):
    connection, _ = server.accept()
    connection.setblocking(turn != 1)
    if turn == 2:
        connection.recv(5, socket.MSG_WAITALL)
    print(passed([0, connection.fileno(), 1]), flush=True)
    connection.close()
udp.connect(("127.0.0.1", 9))
for what in server, idle, udp, socket.create_connection(("127.0.0.1", 7000)):
    print(passed([what.fileno()]), end=" ", flush=True)
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
via = a
print(passed([server.fileno()]), flush=True)
fd = socket.recv_fds(b, 1, 1)[1][0]
again = socket.create_connection(("127.0.0.1", 7000))
print(socket.socket(fileno=fd).accept()[0].getpeername()[0], flush=True)
signal.pause()
"""


def receive(listener):
    channel, _ = listener.accept()
    return channel, lambda: socket.recv_fds(channel, 1, 3)[1]


def serve_plainly(fd):
    """As a program that knows nothing of sockets: one request, answered, with a body larger than any buffer."""
    request, body = b"", servers.noise("plain", 3 << 20)
    while b"\r\n\r\n" not in request:
        select.select([fd], [], [], 10)
        request += os.read(fd, 1000)
    data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    while data:
        check(select.select([], [fd], [], 10)[1], "it becomes writable")
        data = data[os.write(fd, data[:100_000]):]
    return body


@case("a connection passed to a process outside is a working byte stream there; what cannot work is refused", limit=60, nets=NETS)
def pass_out(c):
    for who in "root", "nobody":
        Path("/run/outside").unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("/run/outside")
            os.chmod("/run/outside", 0o666)
            listener.listen()
            listener.settimeout(15)
            app = App(c, "python3", "-c", PASSES, who, name=who)
            app.listed()
            until(15, lambda: machine.run("ss", "-H4ltn", "sport = :7000"), "it listens, and here too")
            passed_out(app, listener)
        app.end()


def passed_out(app, listener):
    channel = None
    for turn in range(3):
        with http.Connection(port=7000) as connection:
            if turn == 2:
                connection.send(b"GET /")   # is read before it is passed
                time.sleep(0.2)
                connection.send(b"a HTTP/1.1\r\nHost: x\r\n\r\n")
            else:
                connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            if channel is None:
                channel, take = receive(listener)
            null, fd, out = take()
            worker = threading.Thread(target=serve_plainly, args=(fd,))
            worker.start()
            answer = connection.answer()
            worker.join(20)
            equal((answer.status, answer.body == servers.noise("plain", 3 << 20)), (200, True), "its answer")
            if turn == 0:           # the client ends, the server sees it, and ends
                connection.socket.shutdown(socket.SHUT_WR)
                check(select.select([fd], [], [], 5)[0] and os.read(fd, 1) == b"", "the end of the client")
            for each in (null, fd, out):
                os.close(each)
            equal(connection.socket.recv(1), b"", "the server's end")
    until(10, lambda: app.said().count("\n") >= 5, app.said)
    equal(app.said(), "1 sent\n1 sent\n1 sent\nENOTSUP ENOTSUP ENOTSUP 1 sent 1 sent\n127.0.0.1\n", "what the application saw")
    os.close(take()[0])
    channel.close()


# --- in ---

TAKES = """
import os, socket, sys
via = socket.socket(socket.AF_UNIX)
via.connect("/run/outside")
fds = socket.recv_fds(via, 1, 3)[1]
connection, server, udp = (socket.socket(fileno=fd) for fd in fds)
print(connection.getsockname(), connection.family.name, connection.recv(5), flush=True)
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
os.write(connection.fileno(), b"answer")
connection.shutdown(socket.SHUT_WR)
print(server.getsockname(), flush=True)
accepted, peer = server.accept()
print(peer[0], accepted.recv(100), flush=True)
accepted.sendall(b"accepted")
udp.sendto(b"datagram", ("127.0.0.1", 7003))
print(udp.recvfrom(100), flush=True)
"""


def hand_in(listener):
    """An outside process that gives away a connection, a listener and a UDP socket, and is their client."""
    with listener.accept()[0] as via, socket.create_server(("127.0.0.1", 7001)) as server, \
            socket.create_connection(("127.0.0.1", 7001)) as connection, socket.create_server(("127.0.0.1", 7002)) as given, \
            socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket(type=socket.SOCK_DGRAM) as echo:
        echo.bind(("127.0.0.1", 7003))
        echo.settimeout(10)
        accepted = server.accept()[0]
        accepted.settimeout(10)
        socket.send_fds(via, [b"x"], [connection.fileno(), given.fileno(), udp.fileno()])
        connection.close()
        given.close()
        accepted.sendall(b"hello")
        equal(accepted.recv(100) + accepted.recv(100), b"answer", "the connection")
        with socket.create_connection(("127.0.0.1", 7002), 10) as other:
            other.sendall(b"come in")
            equal(other.recv(100), b"accepted", "the listener")
        data, where = echo.recvfrom(100)
        echo.sendto(data[::-1], where)
        with accepted:
            return accepted.getpeername()


@case("an IP socket of the host that comes from outside stays the kernel's", limit=60, nets=NETS)
def pass_in(c):
    for options in ((), ("--lane", "stream")):
        Path("/run/outside").unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("/run/outside")
            listener.listen()
            listener.settimeout(15)
            app = App(c, "python3", "-c", TAKES, options=options)
            name = hand_in(listener)
        equal(app.wait(10), 0, f"status; it said {app.said()}")
        equal(app.said(), f"{name} AF_INET b'hello'\n('127.0.0.1', 7002)\n127.0.0.1 b'come in'\n(b'margatad', "
                          "('127.0.0.1', 7003))\n", "what it saw")


tap.main()
