# SPDX-License-Identifier: Apache-2.0
"""A client of the MAGICWAND NetFlow stream, as the format describes it: big-endian, unpadded, the signature says how long."""
import socket
import struct
import time

from .tap import Failed, check

INFO, REQUEST, RESPONSE = 0xd310, 0xd320, 0xd32f
CREATE, BIND, ACCEPT, CONNECT, RECV, SEND, CLOSE = range(1, 8)
READ, WRITE, SOCKET, ADDRESS = 0, 1, 2, 4

ON, OFF, NONBLOCK, REUSEADDR, REUSEPORT, KEEPALIVE, DEFER_ACCEPT, NODELAY = range(1, 9)
OPEN, OWNER = 0x101, 0x102
SNDBUF, RCVBUF, SNDTIMEO, RCVTIMEO, SNDLOWAT, RCVLOWAT, ERROR = range(0x109, 0x110)
CONGESTION, DELACK, BLOCK = 0x1101, 0x1102, 0x1103
CONGESTION_2, DELACK_2 = 0x20, 0x21
RENO, NEWRENO, CUBIC = 0x90, 0x91, 0x92

LENGTHS = {INFO: 110, RESPONSE: 20}
INFO_BODY = struct.Struct("!H4QqI16sHI16sH3Q")
RESPONSE_BODY = struct.Struct("!i2Q")
FIELDS = ("observation", "start_s", "start_ns", "now_s", "now_ns", "id", "local_family", "local", "local_port", "family", "remote",
          "port", "received", "sent", "extra")


def by_socket(number):
    return struct.pack("!Q12x", number)


def by_address(family, raw):
    return struct.pack("!I16s", family, raw)


def request(number, name, flags=READ, value=0, micros=0, ident=bytes(20)):
    return struct.pack("!HIHHQQ20s", REQUEST, number, flags, name, value & (1 << 64) - 1, micros, ident)


def text(family, raw):
    """An address as text; Failed when it is not as the format says."""
    check(family in (4, 6), f"family {family}")
    check(family == 6 or not any(raw[4:]), f"bytes behind an IPv4 address: {raw.hex()}")
    return socket.inet_ntop(socket.AF_INET if family == 4 else socket.AF_INET6, raw[:4] if family == 4 else raw)


class Stream:
    """As existing clients: 6 bytes are read, then the body, which must be there."""

    def __init__(self, case, where):
        """A UNIX socket's path, or (address, port)."""
        if isinstance(where, str):
            self.socket = socket.socket(socket.AF_UNIX)
        else:
            self.socket = socket.socket(socket.AF_INET6 if ":" in where[0] else socket.AF_INET)
        case.callback(self.socket.close)
        self.socket.connect(where)
        self.number = 100
        self.seen = []      # information that nobody has asked for yet
        self.answers = {}
        self.torn = 0       # messages of which a part was there

    def exactly(self, n, seconds=5):
        """n bytes; b"" at the end of the stream."""
        data = b""
        self.socket.settimeout(max(0.001, seconds))
        while len(data) < n:
            try:
                more = self.socket.recv(n - len(data))
            except TimeoutError:
                if not data:
                    return None
                raise Failed(f"{len(data)} of {n} bytes, and no more") from None
            if not more:
                check(not data, "the stream ended inside of a message")
                return b""
            data += more
        return data

    def body(self, n):
        """What is behind the header is there already."""
        self.socket.setblocking(False)
        try:
            data = self.socket.recv(n)
        except BlockingIOError:
            data = b""
        self.socket.setblocking(True)
        if len(data) < n:
            self.torn += 1
            data += self.exactly(n - len(data))
        return data

    def message(self, seconds=5):
        """(signature, id, body); None when there was none in time; EOFError at the end."""
        head = self.exactly(6, seconds)
        if head is None:
            return None
        if not head:
            raise EOFError("the server has ended the connection")
        signature, number = struct.unpack("!HI", head)
        check(signature in LENGTHS, f"signature {signature:x}")
        return signature, number, self.body(LENGTHS[signature])

    def take(self, seconds):
        """Reads one message and keeps it. False when there was none."""
        m = self.message(seconds)
        if m is None:
            return False
        signature, number, body = m
        if signature == INFO:
            check(number == 0, f"information with id {number}")
            self.seen.append(self.information(body))
        else:
            check(number not in self.answers, f"a second response with id {number}")
            self.answers[number] = RESPONSE_BODY.unpack(body)
        return True

    @staticmethod
    def information(body):
        m = dict(zip(FIELDS, INFO_BODY.unpack(body)))
        m["raw"] = body
        m["local"] = text(m["local_family"], m["local"])
        m["remote"] = text(m["family"], m["remote"])
        return m

    def send(self, data):
        self.socket.settimeout(10)
        self.socket.sendall(data)

    def answer(self, number, seconds=5):
        """(status, value, micros)"""
        until = time.monotonic() + seconds
        while number not in self.answers:
            check(self.take(until - time.monotonic()), f"no response with id {number} in {seconds} s")
        return self.answers.pop(number)

    def ask(self, name, flags=READ, value=0, micros=0, ident=bytes(20)):
        self.number += 1
        self.send(request(self.number, name, flags, value, micros, ident))
        return self.answer(self.number)

    def read(self, name, sock=None):
        return self.ask(name, READ | (SOCKET if sock else 0), ident=by_socket(sock or 0))

    def write(self, name, value, sock=None, micros=0):
        return self.ask(name, WRITE | (SOCKET if sock else 0), value, micros, by_socket(sock or 0))

    def watched(self):
        """From now on all information comes; what came so far is forgotten."""
        check(self.read(ON) == (0, 1, 0), "a new client is watching")
        self.seen.clear()
        return self

    def event(self, observation, seconds=5, **fields):
        """The next such information; others are passed by."""
        until = time.monotonic() + seconds
        while True:
            while self.seen:
                m = self.seen.pop(0)
                if m["observation"] == observation and all(m[k] == v for k, v in fields.items()):
                    return m
            check(self.take(until - time.monotonic()), f"no observation {observation} with {fields} in {seconds} s")
