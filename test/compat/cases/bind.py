# SPDX-License-Identifier: Apache-2.0
"""BIND: an authoritative zone over TCP and UDP, its transfer and its control channel."""
import re

TITLE = "BIND"
WORK = "a zone asked over UDP and TCP, AXFR, 2 kB of TXT (truncated, then TCP), `rndc` reload and stop"
PACKAGES = ["bind9", "bind9-dnsutils"]

CONFIG = """
include "/run/named/rndc.key";
controls { inet 127.0.0.1 port 953 allow { 127.0.0.1; } keys { "rndc-key"; }; };
options {
	directory "/run/named";
	pid-file "/run/named/named.pid";
	session-keyfile "/run/named/session.key";
	managed-keys-directory "/run/named";
	listen-on port 53 { any; };
	listen-on-v6 port 53 { any; };
	allow-transfer { any; };
	recursion no;
	dnssec-validation no;
	empty-zones-enable no;
};
zone "example.net" { type primary; file "/run/named/zone"; };
"""
ZONE = """$TTL 3600
@ IN SOA ns hostmaster %d 3600 900 604800 300
@ IN NS ns
ns IN A 192.0.2.1
www IN A 192.0.2.80
www IN AAAA 2001:db8::80
alias IN CNAME www
*.wild IN A 192.0.2.99
mail IN MX 10 mx.example.org.
long IN TXT %s
"""


def work(lab):
    lab.folder("/run/named", owner="bind")
    lab.folder("/var/cache/bind", owner="bind")
    lab.client(["rndc-confgen", "-a", "-c", "/run/named/rndc.key", "-u", "bind"])
    zone(lab, 1)
    config = lab.file("/run/named/named.conf", CONFIG)
    app = lab.start(["named", "-g", "-u", "bind", "-c", config])
    lab.ready(53, 953)
    lab.until(20, lambda: "running" in app.said(), "it runs")
    for host in ("127.0.0.1", "::1"):
        ask_all(lab, host)
    for host in (lab.here, lab.here6):
        for way in ("+tcp", "+notcp"):
            lab.note(f"neighbour to {host} {way}", dig(lab, host, way, "+short", "www", there=True))
    lab.note("AXFR", dig(lab, "127.0.0.1", "+tcp", "+noall", "+answer", "axfr", name="example.net"))
    names = [word for i in range(100) for word in (f"n{i}.wild.example.net", "A")]
    lab.note("100 names in one TCP connection",
             lab.client(["dig", "@127.0.0.1", "+tcp", "+keepopen", "+short", *names]).out)
    control(lab)
    app.wait(20)


def zone(lab, serial):
    text = " ".join('"' + lab.noise(f"txt{i}", 100).hex() + '"' for i in range(10))
    lab.file("/run/named/zone", ZONE % (serial, text), owner="bind")


def dig(lab, host, *words, name="www.example.net", there=False):
    words = [w if w != "www" else name for w in words]
    if name not in words:
        words.append(name)
    return lab.client(["dig", f"@{host}", "+time=5", "+tries=1", *words], there=there).out


def ask_all(lab, host):
    for way in ("+tcp", "+notcp"):
        for words in (("A",), ("AAAA",), ("SOA",)):
            lab.note(f"{host} {way} {words[0]}", dig(lab, host, way, "+short", *words))
        lab.note(f"{host} {way} CNAME", dig(lab, host, way, "+short", name="alias.example.net"))
        lab.note(f"{host} {way} wildcard", dig(lab, host, way, "+short", name="any.wild.example.net"))
        lab.note(f"{host} {way} no such name", "NXDOMAIN" in dig(lab, host, way, name="none.example.net"))
        lab.note(f"{host} {way} refused", "REFUSED" in dig(lab, host, way, name="example.com"))
        lab.note(f"{host} {way} 2 kB", dig(lab, host, way, "+short", "TXT", name="long.example.net"))
    out = dig(lab, host, "+notcp", "+ignore", "+bufsize=512", "TXT", name="long.example.net")
    lab.note(f"{host} truncated", re.findall(r"flags: ([a-z ]+);", out))


def control(lab):
    rndc = ["rndc", "-c", "/run/named/rndc.conf", "-s", "127.0.0.1"]
    key = open("/run/named/rndc.key", encoding="ascii").read()
    lab.file("/run/named/rndc.conf", key + 'options { default-key "rndc-key"; };\n')
    zone(lab, 2)
    lab.note("rndc reload", lab.client([*rndc, "reload"]).out)
    lab.until(10, lambda: " 2 " in dig(lab, "127.0.0.1", "+tcp", "+short", "SOA", name="example.net"),
              "the new serial is told")
    lab.note("rndc status", "server is up and running" in lab.client([*rndc, "status"]).out)
    lab.note("rndc stop", lab.client([*rndc, "stop"]).out)
