# SPDX-License-Identifier: Apache-2.0
"""A client to run protected: client.py MODE [ADDRESS PORT...]. It says line by line what came of it. Not imported."""
import errno
import select
import signal
import socket
import sys
from collections import Counter

OPTIONS = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.SOL_SOCKET, socket.SO_RCVBUF, 20000),
           (socket.SOL_SOCKET, socket.SO_SNDBUF, 30000), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
           (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77), (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 12345),
           (socket.IPPROTO_IP, socket.IP_TOS, 16))


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def say(text):
    print(text, flush=True)


def exchange(s):
    say("connected")
    say("peer %s %s" % s.getpeername()[:2])
    data = bytes(range(256)) * 1000
    s.sendall(data)
    got = b""
    while len(got) < len(data):
        got += s.recv(65536) or exit("end of stream")
    say("echo ok" if got == data else "echo differs")
    say("own %s %s" % s.getsockname()[:2])


def connect(address, port):
    s = socket.socket(family_of(address))
    try:
        s.connect((address, int(port)))
    except OSError as e:
        say(errno.errorcode[e.errno])
        return None
    return s


def mode_blocking(address, port):
    if s := connect(address, port):
        exchange(s)


def start(address, port):
    s = socket.socket(family_of(address))
    s.setblocking(False)
    assert s.connect_ex((address, int(port))) == errno.EINPROGRESS
    return s


def mode_polled(address, port):
    s = start(address, port)
    poll = select.poll()
    poll.register(s, select.POLLOUT)
    assert poll.poll(10_000), "nothing within 10 s"
    error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        say(errno.errorcode[error])
        return
    s.setblocking(True)
    exchange(s)


def mode_many(address, port, count):
    """So many that are connecting at the same time."""
    epoll, found = select.epoll(), Counter()
    todo = {s.fileno(): s for s in (start(address, port) for _ in range(int(count)))}
    for fd in todo:
        epoll.register(fd, select.EPOLLOUT | select.EPOLLET)
    while todo and (events := epoll.poll(20)):
        for fd, _ in events:
            if s := todo.pop(fd, None):
                error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                found[errno.errorcode[error] if error else "connected"] += 1
                s.close()
    for what, number in found.items():
        say(f"{number} {what}")


def mode_own(address, port):
    """Its own listener, then none."""
    listener = socket.socket(family_of(address))
    listener.bind((address, int(port)))
    listener.listen()
    s = connect(address, port)
    accepted, _ = listener.accept()
    accepted.sendall(b"mine")
    say("own listener" if s.recv(4) == b"mine" else "another")
    for end in (listener, accepted, s):
        end.close()
    s = connect(address, port)
    s.sendall(b"over")
    say("host's after" if s.recv(4) == b"over" else "another")


def mode_options(address, port, own_port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for level, name, value in OPTIONS:
        s.setsockopt(level, name, value)
    wanted = [s.getsockopt(level, name) for level, name, _ in OPTIONS]
    s.bind(("127.0.0.1", int(own_port)))
    try:
        s.connect((address, int(port)))
    except OSError as e:
        say(errno.errorcode[e.errno])
        return
    is_now = [s.getsockopt(level, name) for level, name, _ in OPTIONS]
    say("as set" if is_now == wanted else f"{is_now}, not {wanted}")
    say("own name %s %s" % s.getsockname())


def mode_again(address, port, own_port):
    """Refused by everybody, in both ways; then by the same socket to a listener of its own."""
    for blocking in (True, False):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.bind(("127.0.0.1", int(own_port)))
        s.setblocking(blocking)
        told = [s.connect_ex((address, int(port)))]
        if not blocking:
            select.select([], [s], [], 10)
            told.append(s.connect_ex((address, int(port))))
        s.setblocking(True)
        with socket.create_server((address, int(port))) as listener:
            told.append(s.connect_ex((address, int(port))))
            accepted, peer = listener.accept()
            with s, accepted:
                nodelay = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                say(f"{[errno.errorcode.get(e, 'ok') for e in told]} from port {peer[1]}, {nodelay}")
        own_port = int(own_port) + 1


def mode_hold(address, port):
    s = connect(address, port)
    say("connected")
    while True:
        signal.pause()
    s.close()


def mode_reaches(address, port):
    """Whether anybody answers within a second."""
    try:
        socket.create_connection((address, int(port)), timeout=1).close()
        say("connected")
    except OSError as e:
        say("no answer" if isinstance(e, TimeoutError) else errno.errorcode[e.errno])


def mode_wait():
    say("ready")
    signal.pause()


globals()[f"mode_{sys.argv[1]}"](*sys.argv[2:])
