# SPDX-License-Identifier: Apache-2.0
"""The benchmark's own network: a client and a server namespace, each on a veth, and the rules that publish ports.

    client namespace ──veth── host ──veth── server namespace (native-ns)
                              host ──veth── the INS's namespace (mw-isolated; made by mw)

Addresses are from 198.18.0.0/15, set aside for benchmarks (RFC 2544). Names hold our pid, so that a later run
can remove what a killed one left behind.
"""
import os
import re
from pathlib import Path

from procs import Failure, output

NAMESPACE = re.compile(r"^mwbench-(\d+)-\w+")
TABLE = re.compile(r"^table inet mwbench_(\d+)$")

# The work that mw's own table (broker/plan.c) has the kernel do for a packet: keep these chains like those.
RULES = """\
table inet {table} {{
    chain spoof {{
        type filter hook prerouting priority -300; policy accept;
        iifname "{link}" ip saddr != {server} drop
    }}
    chain publish {{
        ip daddr 127.0.0.0/8 return
    }}
    chain prerouting {{
        type nat hook prerouting priority -100; policy accept;
        fib daddr type local jump publish
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        fib daddr type local jump publish
    }}
    chain postrouting {{
        type nat hook postrouting priority 100; policy accept;
        ip saddr {server} masquerade
    }}
    chain forward {{
        type filter hook forward priority 0; policy accept;
        oifname "{link}" ct state established,related accept
        oifname "{link}" ct status dnat accept
        oifname "{link}" drop
        iifname "{link}" accept
    }}
}}
"""


class Lab:
    def __init__(self):
        sweep()
        pid = os.getpid()
        self.net = free_network(pid)
        self.client_ns = f"mwbench-{pid}-client"
        self.server_ns = f"mwbench-{pid}-server"
        self.table = f"mwbench_{pid}"
        self.client_link = f"mwb{pid}c"
        self.server_link = f"mwb{pid}s"
        self.address = f"{self.net}.1"
        self.server = f"{self.net}.6"

    def __enter__(self):
        try:
            self.attach(self.client_ns, self.client_link, f"{self.net}.1", f"{self.net}.2")
            self.attach(self.server_ns, self.server_link, f"{self.net}.5", self.server)
            nft(RULES.format(table=self.table, link=self.server_link, server=self.server))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        remove_table(self.table)
        for link in (self.client_link, self.server_link):
            attempt("ip", "link", "del", link)
        for namespace in (self.client_ns, self.server_ns):
            attempt("ip", "netns", "del", namespace)

    def attach(self, namespace, link, near, far):
        """A namespace whose eth0 is the far end of a veth and whose default route is the near end."""
        output(["ip", "netns", "add", namespace])
        output(["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace])
        output(["ip", "address", "add", f"{near}/30", "dev", link])
        output(["ip", "link", "set", link, "up"])
        inside = ["ip", "-n", namespace]
        output([*inside, "link", "set", "lo", "up"])
        output([*inside, "address", "add", f"{far}/30", "dev", "eth0"])
        output([*inside, "link", "set", "eth0", "up"])
        output([*inside, "route", "add", "default", "via", near])
        Path(f"/proc/sys/net/ipv4/conf/{link}/forwarding").write_text("1")

    def publish(self, port):
        """Sends a port of the host's addresses, as the client namespace sees it, to that of the server namespace."""
        nft(f"add rule inet {self.table} publish iifname {self.client_link} "
            f"tcp dport {port} dnat ip to {self.server}:{port}")

    def in_client(self):
        return ["ip", "netns", "exec", self.client_ns]

    def in_server(self):
        return ["ip", "netns", "exec", self.server_ns]


def nft(command):
    output(["nft", command])


def attempt(*argv):
    try:
        output(list(argv))
    except Failure:
        pass


def remove_table(name):
    attempt("nft", f"delete table inet {name}")


def free_network(seed):
    """The first three octets of a /24 in 198.18.0.0/16 that the host has no address or route in."""
    used = output(["ip", "-4", "-o", "address"]) + output(["ip", "-4", "route"])
    for step in range(256):
        net = f"198.18.{(seed + step) % 256}"
        if f" {net}." not in used and not re.search(rf"^{re.escape(net)}\.", used, re.M):
            return net
    raise Failure("no free network in 198.18.0.0/16")


def sweep():
    """Removes the namespaces and tables of benchmark runs that were killed."""
    for line in output(["ip", "netns", "list"]).splitlines():
        match = NAMESPACE.match(line)
        if match and is_gone(match[1]):
            attempt("ip", "netns", "del", line.split()[0])
    for line in output(["nft", "list tables"]).splitlines():
        match = TABLE.match(line)
        if match and is_gone(match[1]):
            remove_table(f"mwbench_{match[1]}")


def is_gone(pid):
    return not os.path.exists(f"/proc/{pid}")
