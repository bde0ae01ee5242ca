# SPDX-License-Identifier: Apache-2.0
"""What a process sees of its network's interfaces, addresses and routes, and what it may change: a line of JSON for each name.

interfaces.py WHAT...: a WHAT is a function below; "wait" waits for SIGTERM, and says all again on SIGUSR1.
"""
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import sys

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_GETROUTE = 16, 17, 18, 20, 22, 24, 26
RTM_NEWNEIGH, RTM_NEWRULE, RTM_NEWNSID = 28, 32, 88
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_CREATE = 1, 4, 0x300, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
IFLA_STATS, IFLA_STATS64, IFLA_AF_SPEC, IFA_CACHEINFO, RTA_CACHEINFO = 7, 23, 26, 6, 12
SIOC = {"GIFNAME": 0x8910, "GIFFLAGS": 0x8913, "GIFHWADDR": 0x8927, "GIFMTU": 0x8921, "GIFINDEX": 0x8933, "GIFADDR": 0x8915}
SIOCSIFFLAGS, SIOCSIFMTU, SIOCETHTOOL = 0x8914, 0x8922, 0x8946
KERNEL = (0, 0)

libc = ctypes.CDLL(None, use_errno=True)


class Entry(ctypes.Structure):
    pass


Entry._fields_ = [("next", ctypes.POINTER(Entry)), ("name", ctypes.c_char_p), ("flags", ctypes.c_uint),
                  ("addr", ctypes.c_void_p), ("mask", ctypes.c_void_p), ("other", ctypes.c_void_p), ("data", ctypes.c_void_p)]


def said(call, *args):
    """What a call returns, or its errno's name."""
    try:
        return call(*args)
    except OSError as e:
        return errno.errorcode[e.errno] if e.errno else str(e)


# --- libc ---

def address(at):
    if not at:
        return None
    family = ctypes.c_ushort.from_address(at).value
    size = {socket.AF_INET: 16, socket.AF_INET6: 28, socket.AF_PACKET: 20}[family]
    return ctypes.string_at(at, 8 if family == socket.AF_INET else size).hex()


def addresses():
    first, found = ctypes.POINTER(Entry)(), []
    if libc.getifaddrs(ctypes.byref(first)) < 0:
        return errno.errorcode[ctypes.get_errno()]
    at = first
    while at:
        e = at.contents
        found.append([e.name.decode(), e.flags, address(e.addr), address(e.mask), address(e.other), bool(e.data)])
        at = e.next
    libc.freeifaddrs(first)
    return found


def names():
    pairs = socket.if_nameindex()
    return [pairs, [socket.if_nametoindex(name) for _, name in pairs], [socket.if_indextoname(i) for i, _ in pairs]]


def wrong_names():
    return [said(socket.if_nametoindex, name) for name in ("nosuch0", "", "x" * 40)] + [said(socket.if_indextoname, 9999)]


def scope():
    """An address with an interface's name in it."""
    found = []
    for index, name in socket.if_nameindex():
        got = socket.getaddrinfo(f"fe80::1%{name}", 80, type=socket.SOCK_STREAM)[0][4]
        found.append([got, index == got[3], socket.getnameinfo(got, socket.NI_NUMERICHOST)[0]])
    return found


# --- netlink ---

def route(kind=socket.SOCK_RAW):
    s = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
    s.settimeout(5)
    return s


def message(kind, flags, body):
    return struct.pack("=IHHII", 16 + len(body), kind, flags | NLM_F_REQUEST, 7, 0) + body


def attributes(data, volatile):
    found = []
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        if kind not in volatile:
            found.append([kind, data[4:size].hex()])
        data = data[(max(size, 4) + 3) & ~3:]
    return found


def dump(kind, header, volatile):
    found = []
    with route() as s:
        s.sendto(message(kind, NLM_F_DUMP, bytes(header)), KERNEL)
        while True:
            data, sender = s.recvfrom(1 << 16)
            while data:
                size, what = struct.unpack_from("=IH", data)
                if what in (NLMSG_DONE, NLMSG_ERROR):
                    return found + [[what, sender]]
                found.append([what, data[16:16 + header].hex(), attributes(data[16 + header:size], volatile)])
                data = data[(size + 3) & ~3:]


def links():
    return dump(RTM_GETLINK, 16, (IFLA_STATS, IFLA_STATS64, IFLA_AF_SPEC))


def netlink_addresses():
    return dump(RTM_GETADDR, 8, (IFA_CACHEINFO,))


def routes():
    return dump(RTM_GETROUTE, 12, (RTA_CACHEINFO,))


def socket_itself():
    """As a descriptor."""
    found = []
    lowest = os.dup(0)
    os.close(lowest)
    for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC):
        fd = libc.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        s = socket.socket(fileno=os.dup(fd))
        found.append([fd == lowest, fcntl.fcntl(fd, fcntl.F_GETFD), fcntl.fcntl(fd, fcntl.F_GETFL), s.type, s.proto, s.getsockname(),
                      said(s.bind, (0, 1)), s.getsockname()[0] != 0, s.getsockname()[1], said(s.getpeername)])
        s.close()
        os.close(fd)
    for kind in (socket.SOCK_STREAM, 77, socket.SOCK_RAW | 0x100000):
        found.append([libc.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE), ctypes.get_errno()])
    return found


def other_protocols():
    """They stay in the application's own network."""
    found = []
    for protocol in (4, 15, 16, 99):
        with_it = said(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        found.append(with_it if isinstance(with_it, str) else [with_it.proto, with_it.getsockname()])
    return found


def no_room():
    """With one descriptor left, and with none."""
    found, kept = [], []
    import resource  # pylint: disable=import-outside-toplevel
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
    while isinstance(fd := said(os.dup, 0), int):
        kept.append(fd)
    found.append([said(route), said(socket.if_nameindex), addresses()])
    for fd in kept:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    return found


# --- what would change something ---

def answer(s):
    data = s.recv(1 << 16)
    size, what, _, _, _, code = struct.unpack_from("=IHHIIi", data)
    return [what, errno.errorcode.get(-code, code)] if size >= 20 else [what]


def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def changes():
    lo = 1
    return {
        "address": message(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE, struct.pack("=BBBBI", 2, 32, 0, 0, lo) +
                           attribute(2, socket.inet_aton("10.99.99.99")) + attribute(1, socket.inet_aton("10.99.99.99"))),
        "route": message(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE, struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 4, 253, 1, 0) +
                         attribute(1, socket.inet_aton("10.99.99.98")) + attribute(4, struct.pack("=I", lo))),
        "link": message(RTM_DELLINK, NLM_F_ACK, struct.pack("=BxHiII", 0, 0, socket.if_nameindex()[-1][0], 0, 0)),
        "down": message(RTM_NEWLINK, NLM_F_ACK, struct.pack("=BxHiII", 0, 0, socket.if_nameindex()[-1][0], 0, 1)),
        "rule": message(RTM_NEWRULE, NLM_F_ACK | NLM_F_CREATE, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 0, 0, 1, 0)),
        "neighbour": message(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE, struct.pack("=BxxxiHBB", 2, lo, 0x80, 0, 0) +
                             attribute(1, socket.inet_aton("10.99.99.97"))),
    }


def many(s, data):
    """sendmmsg() of one."""
    room = ctypes.create_string_buffer(data)
    iov = struct.pack("=QQ", ctypes.addressof(room), len(data))
    iov_at = ctypes.create_string_buffer(iov)
    name = ctypes.create_string_buffer(struct.pack("=HHII", socket.AF_NETLINK, 0, 0, 0))
    head = struct.pack("=QIxxxxQQQQixxxxIxxxx", ctypes.addressof(name), 12, ctypes.addressof(iov_at), 1, 0, 0, 0, 0)
    at = ctypes.create_string_buffer(head)
    return libc.sendmmsg(s.fileno(), at, 1, 0)


def refusals():
    ways = {"sendto": lambda s, m: s.sendto(m, KERNEL), "send": lambda s, m: s.send(m),
            "sendmsg": lambda s, m: s.sendmsg([m[:5], m[5:]], [], 0, KERNEL), "write": lambda s, m: os.write(s.fileno(), m),
            "sendmmsg": many, "connected": lambda s, m: s.connect(KERNEL) or s.sendto(m, KERNEL)}
    found = []
    for what, data in changes().items():
        for way, send in ways.items():
            with route() as s:
                found.append([what, way, said(send, s, data) in (1, len(data)) and answer(s)])
    return found


def refused_names():
    """To groups and to other programs."""
    with route() as s:
        return [said(s.sendto, changes()["address"], name) for name in ((0, 1), (1, 0), (99999, 0))]


def refused_ioctls():
    found = []
    name = socket.if_nameindex()[-1][1].encode()
    for kind in (route, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)):
        with kind() as s:
            for request, argument in ((SIOCSIFFLAGS, struct.pack("=16sH22x", name, 0)), (SIOCSIFMTU, struct.pack("=16si20x", name, 1200))):
                found.append(said(fcntl.ioctl, s, request, argument))
    return found


def ioctls():
    """On sockets of three families. The address is IPv4's to tell."""
    found = []
    for family, kind in ((socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_UNIX, socket.SOCK_DGRAM), (socket.AF_NETLINK, socket.SOCK_RAW)):
        with socket.socket(family, kind, 0) as s:
            for index, name in [*socket.if_nameindex(), (9999, "nosuch0")]:
                for what, request in SIOC.items():
                    argument = struct.pack("=16si20x", b"" if what == "GIFNAME" else name.encode(), index if what == "GIFNAME" else 0)
                    got = said(fcntl.ioctl, s, request, argument)
                    found.append([family, what, name, got if isinstance(got, str) else got.hex()])
    return found


# --- in time ---

def away():
    """In a network of its own all is that one's, and may be changed."""
    if libc.unshare(0x40000000) < 0:
        return errno.errorcode[ctypes.get_errno()]
    with route() as s:
        s.sendto(changes()["address"], KERNEL)
        return [answer(s), names(), addresses()]


def say(what):
    for name in what:
        print(json.dumps([name, globals()[name]()]), flush=True)
    print("said", flush=True)


def main():
    what = [name for name in sys.argv[1:] if name != "wait"]
    say(what)
    if "wait" not in sys.argv:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    while True:
        signal.sigwait([signal.SIGUSR1])
        say(what)


if __name__ == "__main__":
    main()
