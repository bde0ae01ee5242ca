# SPDX-License-Identifier: Apache-2.0
"""lighttpd: files, TLS, CGI, PHP by FastCGI that it starts itself, and its proxy."""
import web
from lib import http

TITLE = "lighttpd"
WORK = "static files, TLS, HTTP/2, CGI, proxy, graceful restart"
PACKAGES = ["lighttpd", "lighttpd-mod-openssl", "curl", "openssl"]

CONFIG = """
server.modules = ("mod_access", "mod_cgi", "mod_proxy", "mod_openssl", "mod_alias")
server.document-root = "/var/www/html"
server.port = 80
server.username = "www-data"
server.groupname = "www-data"
server.pid-file = "/run/lighttpd.pid"
server.max-keep-alive-requests = 1000
server.upload-dirs = ("/run/uploads")
index-file.names = ("index.html")
server.feature-flags = ("server.graceful-shutdown-timeout" => 5, "server.graceful-restart-bg" => "enable")
alias.url = ("/cgi/" => "/run/cgi/")
$SERVER["socket"] == "[::]:80" { }
$SERVER["socket"] == ":443" {
	ssl.engine = "enable"
	ssl.pemfile = "%(both)s"
}
$HTTP["url"] =~ "^/cgi/" { cgi.assign = ("" => "") }
$HTTP["url"] =~ "^/proxy/" {
	proxy.server = ("" => (("host" => "%(there)s", "port" => 9000)))
	proxy.header = ("map-urlpath" => ("/proxy/" => "/"))
}
"""

CGI = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo "$REQUEST_METHOD $REMOTE_ADDR $QUERY_STRING"
[ -z "$CONTENT_LENGTH" ] || md5sum
"""


def work(lab):
    both = lab.certificate()[2]
    web.root(lab)
    web.origin(lab, 9000, there=True)
    lab.folder("/run/uploads", owner="www-data")
    lab.file("/run/cgi/shell", CGI, mode=0o755)
    config = lab.file("/run/lighttpd.conf", CONFIG % {"both": both, "there": lab.there})
    lab.start(["lighttpd", "-D", "-f", config])
    lab.ready(80, 443)
    web.static(lab)
    web.odd_clients(lab)
    web.proxied(lab, 80, "/proxy")
    web.crowd(lab, 80)
    with http.Connection(timeout=30) as c:
        lab.note("CGI", c.ask("/cgi/shell?a=b").body.decode())
        lab.note("CGI POST", c.ask("/cgi/shell", "POST", lab.noise("cgi", 200_000)).body.decode())
    for version in ("--http1.1", "--http2"):
        for path in ("/page.bin", "/large.bin", "/proxy/bytes/100000"):
            web.curl(lab, f"{version} {path}", version, f"https://127.0.0.1{path}")
    web.curl(lab, "neighbour", f"http://{lab.here}/small.txt", there=True)
    web.reloads(lab, ["sh", "-c", "kill -USR1 $(cat /run/lighttpd.pid)"], times=3)
