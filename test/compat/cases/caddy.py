# SPDX-License-Identifier: Apache-2.0
"""caddy: files, TLS, proxy, and a reload by its own API on 127.0.0.1."""
import web

TITLE = "caddy"
WORK = "static files, TLS, HTTP/2, proxy, reload by its API"
PACKAGES = ["caddy", "curl", "openssl"]

CONFIG = """
{
	auto_https off
	servers {
		protocols h1 h2
	}
}
:80 {
	root * /var/www/html
	file_server
	handle_path /proxy/* {
		reverse_proxy %(there)s:9000
	}
}
:443 {
	tls %(cert)s %(key)s
	root * /var/www/html
	file_server
	handle_path /proxy/* {
		reverse_proxy [%(there6)s]:9000
	}
}
"""


def work(lab):
    cert, key, _ = lab.certificate()
    web.root(lab)
    web.origin(lab, 9000, there=True)
    config = lab.file("/run/Caddyfile", CONFIG % {"cert": cert, "key": key, "there": lab.there, "there6": lab.there6})
    env = {"HOME": "/run", "XDG_DATA_HOME": "/run/caddy", "XDG_CONFIG_HOME": "/run/caddy"}
    lab.start(["caddy", "run", "--config", config, "--adapter", "caddyfile"], env=env)
    lab.ready(80, 443, 2019)
    web.static(lab)
    web.proxied(lab, 80, "/proxy")
    web.crowd(lab, 80)
    for version in ("--http1.1", "--http2"):
        for path in ("/page.bin", "/large.bin", "/proxy/bytes/100000"):
            web.curl(lab, f"{version} {path}", version, f"https://localhost{path}")
    web.curl(lab, "neighbour", f"http://{lab.here}/proxy/who", there=True)
    web.reloads(lab, ["caddy", "reload", "--config", config, "--adapter", "caddyfile", "--force"], times=3,
                lossless=False)  # its new listener is another socket (SO_REUSEPORT): what waits at the old one is reset
