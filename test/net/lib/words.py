# SPDX-License-Identifier: Apache-2.0
"""The table of what a user types: every program, subcommand and option, and what is wrong for each. typed_test.py makes the faults."""
from dataclasses import dataclass, field

NOT_UTF8 = "a\udcff\udc80"      # bytes 0xff 0x80: see os.fsencode
TWO_LINES = "one\ntwo\x1b[31m"
ODD = ("", NOT_UTF8, TWO_LINES, "x" * 3000)
NUMBER = (*ODD, "x", "-1", "1x", "0x10", "99999999999999999999", " 1", "1 ", "nan", "1e999")
COUNT = (*NUMBER, "0", "1.5")
TIME = (*ODD, "x", "-1s", "10q", "0", "nan", "inf", "1e999s", "10 s")
NAME = ("", "a b", "a/b", "..", ".hidden", "x" * 33, NOT_UTF8, TWO_LINES)
PORTS = (*ODD, "0:80", "80:0", "65536:80", "80:", ":80", "-1:80", "8080:80/tls", "host:80:80")
LISTEN = (*ODD, "x", "0", "65536", "1.2.3:80", "host:80", "[::1:80", "127.0.0.1:", "-1")
URL = (*ODD, "x", "ftp://127.0.0.1", "127.0.0.1:2379")
ANY = ()            # nothing is wrong here
ABSENT = "absent"   # what does not run


@dataclass
class Row:
    good: tuple = ()            # operands with which nothing is wrong but what else is given
    few: tuple = ()             # operands that are too few, or none of what it knows
    many: tuple = ()            # and too many
    values: dict = field(default_factory=dict)      # of options that have one: wrong ones
    names: bool = False         # the first of good is a name of what runs
    fails: int = 1              # its exit status when something else than the words is wrong


TTL = {"--ttl": TIME, "--why": ANY}
RUN_VALUES = {
    "--name": NAME, "--net": (*ODD, "moon"), "-p": PORTS, "--publish": PORTS, "--lane": (*ODD, "both"), "--audit-log": ("/x" * 3000,),
    "--gate": (*ODD, "moon", "80=moon", "http,deadline=x", "http,limit=-1", "http,per-peer=x", "70000=http", "http,"), "--ins": (*COUNT, "65"),
    "--max-sockets": COUNT, "--sample-fast": (*COUNT, "49"), "--sample-slow": COUNT, "--metrics": LISTEN,
    "--ipfix": (*ODD, "udp", "udp:", "udp:host", "udp:127.0.0.1:0", "sctp:127.0.0.1:1", "file:"), "--ipfix-timeout": COUNT,
    "--netflow": LISTEN, "--netflow-allow": (*ODD, "127.0.0.1/33", "::1/129", "x/8", "1.2.3.4/-1"), "--etcd": URL, "--block": (*NUMBER, "256"),
    "--adopt": NAME}
ORDER = {"few": ((), ("web",)), "names": True}

ROWS = {
    ("run",): Row(("true",), ((),), values=RUN_VALUES, fails=125),
    ("ps",): Row(many=(("web",),)),
    ("flows",): Row(("web",), many=(("web", "db"),), names=True),
    ("top",): Row(("web",), many=(("web", "db"),), names=True,
                  values={"-d": TIME, "--delay": TIME, "-s": (*ODD, "moon"), "--sort": (*ODD, "moon"), "-g": (*ODD, "moon"), "--group": (*ODD, "moon"),
                          "-f": (*ODD[1:], "peer =", "moon = 1"), "--filter": (*ODD[1:], "peer =", "moon = 1"), "-n": COUNT, "--count": COUNT}),
    ("close",): Row(("web", "all"), values=TTL, **ORDER),
    ("reset",): Row(("web", "all"), values=TTL, **ORDER),
    ("block",): Row(("web", "192.0.2.1"), values=TTL, **ORDER),
    ("unblock",): Row(("web", "192.0.2.1"), values=TTL, **ORDER),
    ("set",): Row(("web", "all", "nodelay=1"), many=(("web", "all", "nodelay=1", "x"),), values=TTL, **ORDER),
    ("cap",): Row(("web", "all", "5"), many=(("web", "all", "5", "6"),), values={**TTL, "--per": (*COUNT, "129")}, **ORDER),
    ("backlog",): Row(("web", "all", "5"), many=(("web", "all", "5", "6"),), values=TTL, **ORDER),
    ("minrate",): Row(("web", "all", "5"), many=(("web", "all", "5", "6"),), values={**TTL, "--grace": TIME}, **ORDER),
    ("list",): Row(("web",), ((),), (("web", "db"),), names=True),
    ("undo",): Row(("web", "1"), ((), ("web",)), names=True),
    ("gate",): Row(("web", "80", "http"), (("web", "80"),), (("web", "80", "http", "x"), ("web", "0", "http"), ("web", "x", "http"), ("web", "80", "moon")),
                   values={**TTL, "--deadline": TIME, "--limit": (*NUMBER, "0", "65k"), "--per-peer": NUMBER}, names=True),
    ("frontend",): Row(("web",), ((),), (("web", "db"), *((name,) for name in NAME)),
                       values={"--balance": (*ODD, "moon"), "--etcd": URL, "--heartbeat": COUNT[:-1], "--min": COUNT, "--max": COUNT, "--high": COUNT[:-1],
                               "--low": COUNT[:-1], "--hold": COUNT[:-1]}),
    ("registry",): Row(("--etcd", "http://127.0.0.1:1", "web"), ((), ("web",), ("--etcd", "http://127.0.0.1:1")), (("--etcd", "http://127.0.0.1:1", "web", "db"),),
                       values={"--etcd": URL}),
    ("ins", "list"): Row(("web",), many=(("web", "db"),), names=True),
    ("ins", "add"): Row(("web",), ((),), (("web", "1"),), names=True),
    ("ins", "drain"): Row(("web", "1"), ((), ("web",)), (("web", "1", "2"), *(("web", n) for n in COUNT if n != "0")), names=True),
    ("ins", "kill"): Row(("web", "1"), ((), ("web",)), (("web", "1", "2"), *(("web", n) for n in COUNT if n != "0")), names=True),
    ("ins", "upgrade"): Row(("web",), ((),), (("web", "1", "2"), *(("web", n) for n in COUNT if n != "0")), names=True),
    ("xen", "setup"): Row(("--pvm", "1", "--ins", "2"), many=(("web",),), values={"--pvm": ANY, "--ins": ANY}),
    ("xen", "status"): Row(many=(("web",), ("--ins", "1"))),
    ("xen", "remove"): Row(many=(("web",), ("--keys",)), values={"--ins": ANY}),
    ("xen", "broker"): Row(("-p", "80", "--pool", "192.0.2.11-192.0.2.30/24", "web"), ((), ("web",), ("-p", "80", "web")),
                           (("-p", "80", "--pool", "192.0.2.11-192.0.2.30/24", "web", "db"),),
                           values={"-p": PORTS, "--publish": PORTS, "--pool": (*ODD, "192.0.2.1", "192.0.2.30-192.0.2.11/24", "192.0.2.11-192.0.3.30/24",
                                                                               "192.0.2.11-192.0.2.30/33"),
                                   "--gateway": (*ODD, "1.2.3", "host"), "--template": ("", "/absent", "/root/absent"), "--image": ("/absent", "a\"b", "/x" * 3000),
                                   "--ready": TIME, "--drain": TIME}),
    ("xen", "serve"): Row(many=(("web",),), values={"--name": NAME, "--audit-log": ("/x" * 3000,), "--metrics": LISTEN, "--netflow": LISTEN,
                                                    "--netflow-allow": RUN_VALUES["--netflow-allow"]}),
    ("doctor",): Row(("web",), many=(("web", "db"),), names=True),
}

# Started by `mw` alone: a person is told so, whatever is said to them.
HELPERS = {"mw-ins": "is started by `mw run`", "mw-names": "is started by `mw run`", "mw-telem": "is started by `mw run`",
           "mw-trap": "is started by `mw run`", "mw-front": "is started by `mw frontend`"}
# Programs that are other words' own: `mw` itself, and `mw xen`.
OTHERS = {"mw", "mw-xen"}
