# SPDX-License-Identifier: Apache-2.0
"""nginx's `stream` with datagrams: a session for each client, answers by the right way back."""
import socket
import sys

TITLE = "nginx (UDP)"
WORK = "`stream` with `udp`: datagrams of several sizes and clients, IPv4 and IPv6"
PACKAGES = ["nginx", "libnginx-mod-stream"]

CONFIG = """
load_module modules/ngx_stream_module.so;
user www-data;
worker_processes 2;
pid /run/nginx.pid;
error_log /dev/stderr;
events { }
stream {
	server {
		listen 5300 udp reuseport;
		listen [::]:5300 udp reuseport;
		proxy_pass %s:5301;
		proxy_timeout 5s;
	}
	server {
		listen 5302;
		return ready;
	}
}
"""

ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 5301))
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data[::-1], peer)
"""


def work(lab):
    lab.folder("/var/log/nginx")
    lab.backend([sys.executable, "-c", ECHO], there=True)
    lab.start(["nginx", "-c", lab.file("/run/nginx.conf", CONFIG % lab.there), "-g", "daemon off;"])
    lab.ready(5302)
    echoing(lab, 5300)
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET, lab.here)):
        with socket.socket(family, socket.SOCK_DGRAM) as first, socket.socket(family, socket.SOCK_DGRAM) as second:
            for s in (first, second):
                s.settimeout(5)
                s.connect((host, 5300))
            for size in (1, 512, 1400, 9000):
                lab.note(f"{host}: {size}", (answer(first, lab.noise("one", size)), answer(second, lab.noise("two", size))))


def echoing(lab, port):
    """Waits until the server there echoes by way of this one: nothing else tells that a UDP socket is bound."""
    def once():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.3)
            s.connect(("127.0.0.1", port))
            try:
                return answer(s, b"ready") is True
            except ConnectionRefusedError:
                return False

    lab.until(20, once, "an answer by UDP")


def answer(s, data):
    s.send(data)
    try:
        return s.recv(65536) == data[::-1]
    except TimeoutError:
        return "no answer"
