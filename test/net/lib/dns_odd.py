# SPDX-License-Identifier: Apache-2.0
"""Answers as no good name server does: dns_odd.py ADDRESS PORT, UDP. By a name's first label:
fail: SERVFAIL; refuse: REFUSED; late: 192.0.2.99 after 0.4 s; anything else: no answer at all."""
import socket
import struct
import sys
import threading


def question(message):
    """The first label, and where the question ends."""
    at = 12
    label = message[13:13 + message[12]].decode("latin-1").lower()
    while message[at]:
        at += 1 + message[at]
    return label, at + 5


def answer(server, message, client):
    label, end = question(message)
    head, asked = message[:2], message[12:end]
    code = {"fail": 2, "refuse": 5}.get(label)
    if code:
        server.sendto(head + struct.pack(">HHHHH", 0x8180 | code, 1, 0, 0, 0) + asked, client)
    elif label == "late":
        is_a = asked[-4:-2] == b"\0\1"
        record = b"\xc0\x0c" + struct.pack(">HHIH4s", 1, 1, 60, 4, bytes([192, 0, 2, 99])) if is_a else b""
        reply = head + struct.pack(">HHHHH", 0x8180, 1, int(is_a), 0, 0) + asked + record
        threading.Timer(0.4, server.sendto, (reply, client)).start()


def main():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((sys.argv[1], int(sys.argv[2])))
    while True:
        answer(server, *server.recvfrom(4096))


main()
