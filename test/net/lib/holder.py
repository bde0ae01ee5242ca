# SPDX-License-Identifier: Apache-2.0
"""Holds connections: holder.py HOST PORT COUNT. Prints their ports on one line when all are made; ends with stdin."""
import resource
import socket
import sys

host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
held = [socket.create_connection((host, port), timeout=30) for _ in range(count)]
print(*(s.getsockname()[1] for s in held), flush=True)
sys.stdin.read()
