# SPDX-License-Identifier: Apache-2.0
"""Varnish: a cache in front of a backend, and its command line over TCP."""
import web
from lib import http

TITLE = "Varnish"
WORK = "cache in front of a backend: hits, misses, passes, a purge, pipes; varnishadm over TCP"
PACKAGES = ["varnish", "curl"]

VCL = """vcl 4.1;
backend origin {
	.host = "%s";
	.port = "9000";
	.probe = { .url = "/bytes/1"; .interval = 1s; .initial = 5; }
}
sub vcl_recv {
	if (req.method == "PURGE") { return (purge); }
	if (req.url ~ "^/pipe/") { set req.url = regsub(req.url, "^/pipe", ""); return (pipe); }
}
sub vcl_deliver {
	set resp.http.X-Hits = obj.hits;
}
"""


def work(lab):
    web.origin(lab, 9000, there=True)
    vcl = lab.file("/run/default.vcl", VCL % lab.there)
    secret = lab.file("/run/varnish.secret", "secret\n")
    lab.start(["varnishd", "-F", "-j", "none", "-a", ":80", "-a", "[::1]:81", "-T", "127.0.0.1:6082", "-S", secret,
               "-f", vcl, "-n", "/run/varnish", "-s", "malloc,64m"])
    lab.ready(80, 6082, seconds=60)
    web.proxied(lab, 80)
    web.proxied(lab, 81, host="::1")
    with http.Connection(timeout=30) as c:
        for turn in range(3):
            lab.note(f"cached, turn {turn}", hits(c.ask("/cached/1")))
        lab.note("purge", c.ask("/cached/1", "PURGE").status)
        lab.note("after the purge", hits(c.ask("/cached/1")))
    with http.Connection(timeout=30) as c:
        lab.note("pipe", web.seen(c.ask("/pipe/bytes/200000", fields=["Connection: close"])))
    web.crowd(lab, 80, "/cached/2")
    admin = ["varnishadm", "-S", secret, "-T", "127.0.0.1:6082"]
    lab.note("varnishadm ping", lab.client([*admin, "ping"]).out.split()[0])
    lab.note("varnishadm backend", "healthy" in lab.client([*admin, "backend.list"]).out)
    lab.client([*admin, "ban", "req.url ~ cached"])
    with http.Connection() as c:
        lab.note("after the ban", hits(c.ask("/cached/1")))


def hits(answer):
    return f"{answer.body.decode().strip()}, {answer.fields['x-hits']} hits"
