# SPDX-License-Identifier: Apache-2.0
"""HAProxy: master and worker, HTTP and TCP mode, splicing where it wants to, a reload that hands listeners over."""
import ssl

import web
from lab import connect

TITLE = "HAProxy"
WORK = "HTTP and TCP mode, splice, threads, TLS, HTTP/2, health checks, reload by master and worker"
PACKAGES = ["haproxy", "curl", "openssl"]

CONFIG = """
global
	nbthread 2
	maxconn 500
	stats socket /run/haproxy.sock mode 600 level admin expose-fd listeners
defaults
	timeout connect 5s
	timeout client 20s
	timeout server 20s
frontend web
	mode http
	bind :::80 v4v6
	bind :443 ssl crt %(both)s alpn h2,http/1.1
	option forwardfor
	use_backend down if { path_beg /down }
	use_backend auto if { path_beg /splice }
	default_backend origin
backend origin
	mode http
	balance roundrobin
	option httpchk GET /bytes/1
	server four %(there)s:9000 check inter 300ms
	server six [%(there6)s]:9000 check inter 300ms
backend auto
	mode http
	option splice-auto
	option splice-request
	option splice-response
	http-request replace-path /splice(.*) \\1
	server four %(there)s:9000
backend down
	mode http
	server none %(there)s:9 check inter 300ms
listen tcp
	mode tcp
	bind :7000
	server four %(there)s:9001
listen spliced
	mode tcp
	bind :7001
	option splice-auto
	option splice-request
	option splice-response
	server four %(there)s:9001
listen tls
	mode tcp
	bind :7443 ssl crt %(both)s
	server four %(there)s:9001
listen sends-proxy
	mode tcp
	bind :7002
	server four %(there)s:9001 send-proxy
"""


def work(lab):
    both = lab.certificate()[2]
    web.origin(lab, 9000, 9001, there=True)
    config = lab.file("/run/haproxy.cfg", CONFIG % {"both": both, "there": lab.there, "there6": lab.there6})
    lab.start(["haproxy", "-W", "-f", config, "-p", "/run/haproxy.pid"])
    lab.ready(80, 443, 7000, 7001, 7443)
    for host in ("127.0.0.1", "::1"):
        web.proxied(lab, 80, host=host)
    web.proxied(lab, 80, "/splice")
    lab.until(10, lambda: ",DOWN," in admin(lab, "show stat"), "the server that is not there is seen to be down")
    web.curl(lab, "no server", "http://127.0.0.1/down")
    web.crowd(lab, 80, "/bytes/100000")
    for version in ("--http1.1", "--http2"):
        for path in ("/bytes/100000", "/splice/bytes/5000000"):
            web.curl(lab, f"{version} {path}", version, f"https://127.0.0.1{path}")
    for name, port in (("tcp", 7000), ("spliced", 7001)):
        with connect("127.0.0.1", port) as s:
            web.echoes(lab, name, s)
    with connect("127.0.0.1", 7002) as s:
        s.sendall(b"hello")
        lab.note("PROXY line ends with the client's address", s.recv(200).split()[2:3])
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(connect("127.0.0.1", 7443)) as s:
        s.sendall(b"hello")
        lab.note("TLS", (s.version(), s.recv(100)))
    web.curl(lab, "neighbour", f"http://{lab.here}/who", there=True)
    web.reloads(lab, ["sh", "-c", "kill -USR2 $(cat /run/haproxy.pid)"], "/bytes/1000")


def admin(lab, command):
    return lab.client(["/usr/bin/python3", "-c", ADMIN, command]).out


ADMIN = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("/run/haproxy.sock")
s.sendall(sys.argv[1].encode() + b"\\n")
while data := s.recv(65536):
    print(data.decode(), end="")
"""
