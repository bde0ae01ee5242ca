# SPDX-License-Identifier: Apache-2.0
"""Small servers to run protected: server.py MODE [ARGUMENT]. Not imported by tests."""
import errno
import os
import select
import signal
import socket
import sys
import threading
import time

PORT = 7000


def listener(port=PORT, host="", backlog=128):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, port))
    s.listen(backlog)
    return s


def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def serve(handler, s):
    while True:
        connection, _ = s.accept()
        threading.Thread(target=handler, args=(connection,), daemon=True).start()


def mode_echo(port=PORT):
    serve(echo, listener(int(port)))


def mode_local(port):
    """Echoes to loopback alone."""
    serve(echo, listener(int(port), "127.0.0.1"))


def mode_mapped(port, address):
    """Echoes on an IPv4-mapped address of an IPv6 socket."""
    s = socket.socket(socket.AF_INET6)
    s.bind(("::ffff:" + address, int(port)))
    s.listen()
    serve(echo, s)


def mode_sendfile():
    """Sends as many bytes of a file as it is told, by sendfile()."""
    path = "/run/sendfile.bin"
    with open(path, "wb") as f:
        f.write(bytes(32 << 20))

    def handler(connection):
        with connection, open(path, "rb") as f:
            offset, size = 0, int(connection.recv(100) or 0)
            while offset < size:
                offset += os.sendfile(connection.fileno(), f.fileno(), offset, size - offset)
    serve(handler, listener())


def mode_answer():
    """Reads to the end, then says how much it was: for half-closed connections."""
    def handler(connection):
        with connection:
            total = 0
            while data := connection.recv(65536):
                total += len(data)
            connection.sendall(b"%d\n" % total)
    serve(handler, listener())


def mode_flood():
    """Sends for ever to who says `flood`, otherwise echoes; says on stdout how a flood ended."""
    def handler(connection):
        with connection:
            first = connection.recv(100)
            if not first.startswith(b"flood"):
                connection.sendall(first)
                return echo(connection)
            connection.settimeout(2)
            sent = 0
            try:
                while True:
                    sent += connection.send(b"x" * 65536)
            except OSError as e:
                print(f"flood ended after {sent} bytes: {type(e).__name__}", flush=True)
    serve(handler, listener())


def mode_late(path):
    """Accepts nobody until a file is there; then says who came, answers each with what it said, and ends it."""
    s = listener(backlog=4096)
    while not os.path.exists(path):
        time.sleep(0.05)
    while True:
        connection, _ = s.accept()
        with connection:
            connection.sendall(connection.recv(65536))


def mode_closing():
    """Listens until it reads a line, then not until it reads another."""
    s = listener()
    sys.stdin.readline()
    s.close()
    sys.stdin.readline()
    serve(echo, listener())


def mode_few():
    """Accepts until descriptors run out, says so, and goes on when clients have gone. One thread, poll."""
    s = listener()
    s.setblocking(False)
    held, most, failures = {}, 0, 0
    while True:
        ready, _, _ = select.select([s, *held.values()], [], [], 0.05)
        for r in ready:
            if r is not s:
                try:
                    data = r.recv(4096)
                except ConnectionResetError:
                    data = b""
                if data:
                    r.sendall(data)
                else:
                    del held[r.fileno()]
                    r.close()
                continue
            try:
                connection, _ = s.accept()
                held[connection.fileno()] = connection
                most = max(most, len(held))
            except OSError as e:
                failures += 1
                if failures == 1:
                    print(f"accept: {errno.errorcode[e.errno]} with {most}", flush=True)
                time.sleep(0.02)


def mode_refused():
    """What the sockets that are not carried answer."""
    for name, arguments in (("udp", (socket.AF_INET, socket.SOCK_DGRAM)), ("udp6", (socket.AF_INET6, socket.SOCK_DGRAM)),
                            ("ping", (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)),
                            ("udplite", (socket.AF_INET, socket.SOCK_DGRAM, 136)),
                            ("raw", (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)),
                            ("packet", (socket.AF_PACKET, socket.SOCK_RAW)),
                            ("sctp", (socket.AF_INET, socket.SOCK_STREAM, 132)),
                            ("unix", (socket.AF_UNIX, socket.SOCK_STREAM)), ("tcp", (socket.AF_INET, socket.SOCK_STREAM))):
        try:
            socket.socket(*arguments).close()
            print(name, "OK", flush=True)
        except OSError as e:
            print(name, errno.errorcode[e.errno], flush=True)


def mode_udp(*ports):
    """Answers each datagram, on each port of both families, with whence it came, where it was sent to, and itself."""
    sockets = []
    for port in ports or (PORT,):
        s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        try:
            s.bind(("::", int(port)))
            sockets.append(s)
        except OSError as e:
            print(f"bind {port}: {errno.errorcode[e.errno]}", flush=True)
    print("ready", flush=True)
    while True:
        for s in select.select(sockets, [], [])[0]:
            data, control, _, peer = s.recvmsg(65536, 200)
            if data == b"close":
                sockets.remove(s)
                s.close()
                continue
            to = [socket.inet_ntop(socket.AF_INET6, value[:16]) for level, kind, value in control
                  if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)]
            s.sendto(f"{peer[0]} {peer[1]} {' '.join(to)} ".encode() + data, peer)


def mode_udp4(host=""):
    """The same on IPv4, or on an IPv6 address, alone, without where it was sent to."""
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((host, PORT))
    print("ready", flush=True)
    while True:
        data, peer = s.recvfrom(65536)
        s.sendto(f"{peer[0]} {peer[1]} ".encode() + data, peer)


def mode_udpcount():
    """Counts datagrams and bytes; tells when asked with an empty one."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", PORT))
    print("ready", flush=True)
    count = total = 0
    while True:
        data, peer = s.recvfrom(65536)
        if data:
            count, total = count + 1, total + len(data)
        else:
            s.sendto(f"{count} {total}".encode(), peer)


def mode_udpask(host, port, text="hello"):
    """A client with a connected socket: says what came back, or which error."""
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    try:
        s.connect((host, int(port)))
        s.send(text.encode())
        print(s.recv(65536).decode(), flush=True)
    except OSError as e:
        print(errno.errorcode[e.errno] if e.errno else "TIMEOUT", flush=True)
    if text == "stay":
        signal.pause()


def mode_signals():
    """Prints the name of every signal that arrives; ends at the third."""
    left = [3]

    def got(number, _):
        print(signal.Signals(number).name, flush=True)
        left[0] -= 1
        if not left[0]:
            os._exit(7)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH):
        signal.signal(number, got)
    print("ready", flush=True)
    while True:
        signal.pause()


def mode_daemon():
    """Listens, becomes a daemon with two processes, and its first process ends well."""
    s = listener()
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        end, keep = os.pipe()
        if os.fork() == 0:
            os.close(keep)
            os.read(end, 1)     # until the other ends
            os._exit(0)
        os.close(end)
        serve(echo, s)
    os._exit(0)


def mode_insist(port):
    """Says what listen() answers, once, then tries again until it can; then echoes."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("", int(port)))
        s.listen()
        print("first OK", flush=True)
    except OSError as e:
        print("first", errno.errorcode[e.errno], flush=True)
        s.close()
        while True:
            try:
                s = listener(int(port))
                break
            except OSError:
                time.sleep(0.1)
    serve(echo, s)


def mode_bind(port):
    """Binds and listens, and says what came of it."""
    try:
        listener(int(port))
        print("bound", flush=True)
    except OSError as e:
        print(errno.errorcode[e.errno], flush=True)


if __name__ == "__main__":
    globals()[f"mode_{sys.argv[1]}"](*sys.argv[2:])
