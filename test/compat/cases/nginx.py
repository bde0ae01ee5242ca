# SPDX-License-Identifier: Apache-2.0
"""nginx: each of its ways to move bytes."""
import ssl

import web
from lab import connect
from lib import http

TITLE = "nginx"
WORK = "static files, proxy to an upstream, TLS, HTTP/2, `stream`, reload"
PACKAGES = ["nginx", "libnginx-mod-stream", "curl", "openssl", "apache2-utils"]

CONFIG = """
load_module modules/ngx_stream_module.so;
user www-data;
worker_processes 2;
pid /run/nginx.pid;
error_log /dev/stderr;
events { worker_connections 512; }
http {
	include /etc/nginx/mime.types;
	access_log /run/access.log;
	sendfile on;
	tcp_nopush on;
	gzip on;
	client_max_body_size 2m;
	upstream origin {
		server %(there)s:9000;
		keepalive 8;
	}
	server {
		listen 80;
		listen [::]:80;
		listen 443 ssl http2;
		ssl_certificate %(cert)s;
		ssl_certificate_key %(key)s;
		root /var/www/html;
		location /proxy/ {
			proxy_pass http://origin/;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header X-Forwarded-For $remote_addr;
		}
		location /unbuffered/ {
			proxy_pass http://[%(there6)s]:9000/;
			proxy_buffering off;
			proxy_request_buffering off;
			proxy_set_header X-Forwarded-For $remote_addr;
		}
		location /refused/ {
			proxy_pass http://%(there)s:9/;
		}
	}
}
stream {
	server {
		listen 7000;
		proxy_pass %(there)s:9001;
	}
	server {
		listen 7443 ssl;
		ssl_certificate %(cert)s;
		ssl_certificate_key %(key)s;
		proxy_pass %(there)s:9001;
	}
}
"""


def work(lab):
    cert, key, _ = lab.certificate()
    web.root(lab)
    lab.folder("/var/log/nginx")
    web.origin(lab, 9000, 9001, there=True)
    config = lab.file("/run/nginx.conf", CONFIG % {"cert": cert, "key": key, "there": lab.there, "there6": lab.there6})
    lab.start(["nginx", "-c", config, "-g", "daemon off;"])
    lab.ready(80, 443, 7000, 7443)
    web.static(lab)
    web.odd_clients(lab)
    web.proxied(lab, 80, "/proxy")
    web.proxied(lab, 80, "/unbuffered")
    with http.Connection() as c:
        lab.note("upstream that refuses", c.ask("/refused/").status)
        lab.note("too large a body", c.ask("/proxy/post", "POST", bytes(3_000_000)).status)
    web.crowd(lab, 80)
    tls(lab)
    neighbour(lab)
    stream(lab)
    web.reloads(lab, ["nginx", "-c", config, "-s", "reload"])


def tls(lab):
    for version in ("--http1.1", "--http2"):
        for path in ("/", "/page.bin", "/large.bin", "/proxy/bytes/100000"):
            web.curl(lab, f"{version} {path}", version, f"https://127.0.0.1{path}")
        web.curl(lab, f"{version} POST", version, "--data-binary", "@/var/www/html/page.bin",
                 "https://127.0.0.1/proxy/post")
    many = [word for i in range(20) for word in ("-o", f"/run/many{i}", f"https://127.0.0.1/page.bin?{i}")]
    lab.client(["curl", "-skZ", "--http2", "--max-time", "30", *many])
    wanted = lab.noise("page.bin", 100_000)
    lab.note("20 streams of HTTP/2", {open(f"/run/many{i}", "rb").read() == wanted for i in range(20)})


def neighbour(lab):
    for host in (lab.here, f"[{lab.here6}]"):
        web.curl(lab, f"neighbour to {host}", f"http://{host}/proxy/who", there=True)


def stream(lab):
    with connect("127.0.0.1", 7000) as s:
        web.echoes(lab, "stream", s)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(connect("127.0.0.1", 7443)) as s:
        data = lab.noise("tls", 100_000)
        s.sendall(data)
        got = b""
        while len(got) < len(data) and (part := s.recv(65536)):
            got += part
        lab.note("stream with TLS", (s.version(), got == data))
