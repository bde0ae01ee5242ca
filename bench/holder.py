# SPDX-License-Identifier: Apache-2.0
"""Holds idle TCP connections: holder.py HOST PORT COUNT. Says `ready`; at `ask` on stdin sends one request on each,
reads the answers and says `asked`; ends with stdin."""
import resource
import socket
import sys

REQUEST = b"GET /small.txt HTTP/1.1\r\nHost: bench\r\n\r\n"


def main(host, port, count):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    held = [socket.create_connection((host, port), timeout=10) for _ in range(count)]
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "ask":
            for connection in held:
                ask(connection)
            print("asked", flush=True)


def ask(connection):
    connection.sendall(REQUEST)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += receive(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields[b"content-length"])
    while len(body) < length:
        body += receive(connection)


def receive(connection):
    data = connection.recv(4096)
    if not data:
        raise SystemExit("the server closed an idle connection")
    return data


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
