# SPDX-License-Identifier: Apache-2.0
"""unbound: names of its own over UDP, TCP and TLS, zones forwarded to a server on the neighbour, its control."""
import re

TITLE = "unbound"
WORK = "its own names and forwarded ones over UDP, TCP and TLS; 2 kB of TXT; a server that refuses; reload"
PACKAGES = ["unbound", "bind9", "bind9-dnsutils", "openssl"]

CONFIG = """
server:
	directory: "/run/unbound"
	username: "unbound"
	chroot: ""
	pidfile: "/run/unbound/pid"
	use-syslog: no
	interface: 0.0.0.0@53
	interface: ::0@53
	interface: 127.0.0.1@853
	tls-port: 853
	tls-service-key: %(key)s
	tls-service-pem: %(cert)s
	access-control: 0.0.0.0/0 allow
	access-control: ::/0 allow
	do-not-query-localhost: no
	module-config: "iterator"
	local-zone: "example.net." static
	local-data: "www.example.net. A 192.0.2.80"
	local-data: "www.example.net. AAAA 2001:db8::80"
%(long)s
remote-control:
	control-enable: yes
	control-interface: /run/unbound/ctl
forward-zone:
	name: "there.test."
	forward-addr: %(there)s
forward-zone:
	name: "tcp.test."
	forward-addr: %(there6)s
	forward-tcp-upstream: yes
forward-zone:
	name: "refused.test."
	forward-addr: %(there)s@9
"""
UPSTREAM = """
options {
	directory "/run/upstream"; pid-file none;
	session-keyfile "/run/upstream/session"; managed-keys-directory "/run/upstream";
	listen-on { %s; }; listen-on-v6 { %s; }; recursion no; dnssec-validation no; empty-zones-enable no;
};
zone "there.test" { type primary; file "/run/upstream/zone"; };
zone "tcp.test" { type primary; file "/run/upstream/zone"; };
controls { };
"""
ZONE = "$TTL 60\n@ IN SOA ns h 1 60 60 60 60\n@ IN NS ns\nns IN A 192.0.2.1\n*.name IN A 192.0.2.7\nbig IN TXT %s\n"


def work(lab):
    cert, key, _ = lab.certificate()
    upstream(lab)
    lab.folder("/run/unbound", owner="unbound")
    long = "\n".join(f"\tlocal-data: 'long.example.net. TXT \"{lab.noise(f't{i}', 100).hex()}\"'" for i in range(10))
    config = lab.file("/run/unbound/unbound.conf", CONFIG % {"key": key, "cert": cert, "there": lab.there,
                                                             "there6": lab.there6, "long": long})
    app = lab.start(["unbound", "-d", "-c", config])
    lab.ready(53, 853)
    for host in ("127.0.0.1", "::1"):
        for way in ("+tcp", "+notcp"):
            ask(lab, host, way)
    ask(lab, "127.0.0.1", "+tls")
    for host in (lab.here, lab.here6):
        for way in ("+tcp", "+notcp"):
            lab.note(f"neighbour to {host} {way}", dig(lab, host, way, "+short", there=True))
    names = [w for i in range(100) for w in (f"n{i}.name.tcp.test", "A")]
    lab.note("100 names in one TCP connection",
             lab.client(["dig", "@127.0.0.1", "+tcp", "+keepopen", "+short", "+time=5", *names]).out)
    control = ["unbound-control", "-c", config]
    lab.note("status", "is running" in lab.client([*control, "status"]).out)
    lab.note("a name added", lab.client([*control, "local_data", "new.example.net.", "A", "192.0.2.5"]).out)
    lab.note("is told", dig(lab, "127.0.0.1", "+tcp", "+short", name="new.example.net"))
    lab.note("reload", lab.client([*control, "reload"]).out)
    lab.until(10, lambda: "NXDOMAIN" in dig(lab, "127.0.0.1", "+tcp", name="new.example.net"), "it forgot the name")
    lab.note("stop", lab.client([*control, "stop"]).out)
    lab.note("its status", app.wait(20))


def upstream(lab):
    lab.folder("/run/upstream")
    lab.file("/run/upstream/zone", ZONE % " ".join('"' + lab.noise(f"u{i}", 100).hex() + '"' for i in range(20)))
    config = lab.file("/run/upstream/named.conf", UPSTREAM % (lab.there, lab.there6))
    lab.backend(["named", "-g", "-c", config], there=True)
    lab.ready(53, host=lab.there, there=True)


def dig(lab, host, *words, name="www.example.net", there=False):
    return lab.client(["dig", f"@{host}", "+time=5", "+tries=1", *words, name], there=there).out


def ask(lab, host, way):
    for kind in ("A", "AAAA", "SOA"):
        lab.note(f"{host} {way} {kind}", dig(lab, host, way, "+short", kind))
    lab.note(f"{host} {way} 2 kB", sorted(dig(lab, host, way, "+short", "TXT", name="long.example.net").splitlines()))
    lab.note(f"{host} {way} no such name", re.findall("status: ([A-Z]+)", dig(lab, host, way, name="none.example.net")))
    for zone in ("there.test", "tcp.test"):
        name = f"{host.replace(':', 'x').replace('.', 'x')}{way[1:]}.name.{zone}"
        lab.note(f"{host} {way} forwarded, {zone}", dig(lab, host, way, "+short", name=name))
        lab.note(f"{host} {way} 4 kB forwarded, {zone}", len(dig(lab, host, way, "+short", "TXT", name=f"big.{zone}")))
    lab.note(f"{host} {way} its server refuses",
             re.findall("status: ([A-Z]+)", dig(lab, host, way, name="a.refused.test")))
