# SPDX-License-Identifier: Apache-2.0
"""squid: a forward proxy, its tunnels and its cache.

Its parent executes the worker with an effective user that is not its real one: as a set-user-ID program, for which ld.so
takes no LD_PRELOAD. Its system calls are trapped.
"""
import web

TITLE = "squid"
WORK = "forward proxy: requests, uploads, CONNECT tunnels to TLS, its cache, what it must refuse"
PACKAGES = ["squid", "curl", "openssl"]

CONFIG = """
http_port 3128
pid_filename /run/squid.pid
cache_effective_user proxy
coredump_dir /run/squid
cache_log /run/squid/cache.log
access_log none
cache_mem 32 MB
pinger_enable off
icp_port 0
htcp_port 0
snmp_port 0
shutdown_lifetime 1 second
acl blocked urlpath_regex ^/blocked
http_access deny blocked
http_access allow all
forwarded_for on
"""


def work(lab):
    cert, key, _ = lab.certificate()
    lab.folder("/run/squid", owner="proxy")
    lab.folder("/var/log/squid", owner="proxy")
    web.origin(lab, 9000, there=True)
    lab.backend(["openssl", "s_server", "-accept", "9443", "-cert", cert, "-key", key, "-www"], there=True)
    lab.ready(9443, there=True)
    config = lab.file("/run/squid.conf", CONFIG)
    lab.start(["squid", "--foreground", "-f", config])
    lab.ready(3128)
    proxy = ["-x", "http://127.0.0.1:3128"]
    web.proxied(lab, 3128, f"http://{lab.there}:9000")
    web.proxied(lab, 3128, f"http://[{lab.there6}]:9000")
    for turn in range(3):
        web.curl(lab, f"cached, turn {turn}", *proxy, f"http://{lab.there}:9000/cached/1")
    web.curl(lab, "tunnel", *proxy, "-p", f"http://{lab.there}:9000/bytes/3000000")
    tls = lab.client(["curl", "-sk", *proxy, f"https://{lab.there}:9443/"]).out
    lab.note("tunnel to TLS", "TLSv1.3" in tls)
    for key, url in (("blocked", ":9000/blocked"), ("refused", ":9/")):
        done = lab.client(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *proxy, f"http://{lab.there}{url}"])
        lab.note(key, done.out)
    web.crowd(lab, 3128, f"http://{lab.there}:9000/bytes/10000")
