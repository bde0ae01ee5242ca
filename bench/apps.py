# SPDX-License-Identifier: Apache-2.0
"""The programs that are measured, nginx and redis, and the yardstick, haproxy: configuration, start, content check.

Every setup gets the same configuration but for address and port.
"""
import hashlib
import os
import resource
from pathlib import Path

from procs import Failure, output, output_bytes

SMALL = ("The quick brown fox jumps over the lazy dog. " * 3)[:99] + "\n"
LARGE_BYTES = 100_000

# Debian's nginx.conf as it concerns us (sendfile, tcp_nopush, gzip, mime types, www-data), then: one worker; no
# access log; no limit on requests a connection; idle connections are kept, for the memory measurement.
NGINX_CONF = """\
user www-data;
worker_processes 1;
worker_rlimit_nofile {files};
daemon off;
pid {dir}/nginx.pid;
error_log stderr;
events {{ worker_connections {connections}; }}
http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    gzip on;
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_header_timeout 1h;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen {bind}:{port} default_server;
        root {root};
    }}
}}
"""
NGINX_NOTE = ("Debian's defaults (sendfile on; tcp_nopush on), worker_processes 1, access_log off, "
              "keepalive_requests unlimited")

# Threads as haproxy chooses them. maxconn counts clients; each has two descriptors.
HAPROXY_CONF = """\
global
    maxconn {connections}
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen bench
    bind 127.0.0.1:{port}
    maxconn {connections}
    server native 127.0.0.1:{backend}
"""


def fd_limit():
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65536)


class Nginx:
    name = "nginx"

    def __init__(self, work):
        self.work = Path(work)
        self.root = self.work / "root"
        self.root.mkdir(exist_ok=True)
        self.bodies = {"small.txt": SMALL.encode(), "large.bin": os.urandom(LARGE_BYTES)}
        for name, body in self.bodies.items():
            (self.root / name).write_bytes(body)

    def argv(self, setup, bind, port):
        place = self.work / f"nginx-{setup}"
        place.mkdir(exist_ok=True)
        conf = place / "nginx.conf"
        conf.write_text(NGINX_CONF.format(
            dir=place, root=self.root, bind=bind, port=port, files=fd_limit(), connections=fd_limit() - 1000))
        return ["nginx", "-e", "stderr", "-c", str(conf)]

    def verify(self, place, port):
        for name, body in self.bodies.items():
            got = hashlib.sha256(output_bytes(
                [*place.prefix, "curl", "-sSf", "--noproxy", "*", "--max-time", "10",
                 f"http://{place.host}:{port}/{name}"])).hexdigest()
            if got != hashlib.sha256(body).hexdigest():
                raise Failure(f"/{name} came with other content than it should (sha256 {got})")


class Redis:
    name = "redis"
    # What redis-benchmark asks for when it is not told to vary its keys; 3 bytes are its default size.
    KEY, VALUE = "key:__rand_int__", "VXK"

    def __init__(self, work):
        self.work = Path(work)

    def argv(self, setup, bind, port):
        place = self.work / f"redis-{setup}"
        place.mkdir(exist_ok=True)
        return ["redis-server", "--bind", bind, "--port", str(port), "--dir", str(place), "--save", "",
                "--appendonly", "no", "--protected-mode", "no", "--daemonize", "no"]

    def verify(self, place, port):
        cli = [*place.prefix, "redis-cli", "-h", place.host, "-p", str(port)]
        output([*cli, "SET", self.KEY, self.VALUE])
        got = output([*cli, "GET", self.KEY]).strip()
        if got != self.VALUE:
            raise Failure(f"GET answered {got!r} instead of {self.VALUE!r}")


def haproxy_argv(work, port, backend):
    conf = Path(work) / f"haproxy-{port}.cfg"
    conf.write_text(HAPROXY_CONF.format(connections=(fd_limit() - 1000) // 2, port=port, backend=backend))
    return ["haproxy", "-db", "-f", str(conf)]


APPS = {"nginx": Nginx, "redis": Redis}
