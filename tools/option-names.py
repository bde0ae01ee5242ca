#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Socket options by name, as this system's kernel headers have them: prints a C table for test/same/option_walk.c.

usage: option-names.py CC...     (the compiler's command)

A header's macros that begin as its options do are taken, also those that are values of options or limits: their numbers
then are options like any, mostly unknown ones. A newer header adds rows by itself.
"""
import re
import subprocess
import sys

LEVELS = (  # level, its number, header, first letters
    ("SOL_SOCKET", "SOL_SOCKET", "asm/socket.h", "SO_"),
    ("IPPROTO_TCP", "6", "linux/tcp.h", "TCP_"),
    ("IPPROTO_IP", "0", "linux/in.h", "IP_|MCAST_"),
    ("IPPROTO_IPV6", "41", "linux/in6.h", "IPV6_|MCAST_"),
    ("IPPROTO_UDP", "17", "linux/udp.h", "UDP_"),
)


def macros(cc, header):
    done = subprocess.run([*cc, "-E", "-dM", "-x", "c", "-"], input=f"#include <{header}>\n", text=True,
                          capture_output=True, check=True)
    return sorted(re.findall(r"^#define (\w+) [^\"]", done.stdout, re.M))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    rows = [(level, number, name) for level, number, header, first in LEVELS
            for name in macros(sys.argv[1:], header) if re.match(first, name)]
    if len(rows) < 200:
        sys.exit(f"option-names.py: only {len(rows)} options found: are the kernel's headers (linux-libc-dev) there?")
    for header in sorted({level[2] for level in LEVELS}):
        print(f"#include <{header}>")
    print('#include "test/same/option_names.h"\n\nconst struct option_name option_names[] = {')
    for level, number, name in rows:
        print(f'\t{{ "{level}", "{name}", {number}, (int)({name}) }},')
    print("\t{ 0, 0, 0, 0 },\n};")


main()
