#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every name in libc that takes a descriptor or a stream, or makes a socket, is in tools/libc-names.txt, and rightly.

usage: lint-names.py [--list]     (in the project's root; Debian 12's libc is the reference)
--list prints the names that libc has, one a line, instead of checking.

How a name is found: libc exports it (compatibility versions too), and either a prototype in libc6-dev's headers has a
parameter that is a descriptor by its name or a FILE, or the name itself is known to use one or is a variant (__x,
x_chk, x64, _IO_x, x_unlocked) of a name found so.
"""
import pathlib
import re
import subprocess
import sys

TABLE = pathlib.Path("tools/libc-names.txt")
CLASSES = ("replaced", "safe", "refused")
LIBRARIES = ("libc.so.6", "libpthread.so.0", "librt.so.1", "libresolv.so.2", "libanl.so.1")
NOT_ALONE = ("math-vector-fortran.h", "finclude/", "regexp.h", "sys/elf.h", "sys/vm86.h", "bits/", "gnu/")

DESCRIPTOR = re.compile(r"\bint \w*?(fd|__s|fildes|filedes|sock|socket|sockfd|infd|outfd|fdin|fdout|fd_in|fd_out|in_fd|out_fd|dfd|"
                        r"dirfd|epfd|dfp|fromfd|tofd|from|to|file|desc)\d?\b|\bpollfd\b|\bfd_set\b|\baiocb(64)?\b|file_actions_t\b")
STREAM = re.compile(r"\b(FILE|__FILE|_IO_FILE) ?\*")
# Use standard streams, start programs, move environments or make sockets of their own.
KNOWN = re.compile(r"(v?printf|v?scanf|puts|putchar|getchar|gets|putw?c?har|getwchar|putwchar|v?wprintf|v?wscanf|perror|psignal|psiginfo|"
                   r"socket|socketpair|pipe2?|eventfd|epoll_create1?|open|openat|creat|shm_open|mq_open|memfd_\w+|popen|system|daemon|"
                   r"closefrom|close_range|fcloseall|exec\w+|posix_spawnp?|wordexp|fork|vfork|_Fork|clone|sendfile|"
                   r"getaddrinfo\w*|getnameinfo|gai_\w+|gethost\w+|getnet(by|ent)\w*|sethostent|setnetent|res_\w+|"
                   r"rcmd\w*|rexec\w*|rresvport\w*|ruserok\w*|iruserok\w*|clnt\w*|svc\w*|pmap_\w+|callrpc|getrpcport|"
                   r"registerrpc|rtime|get_myaddress|bindresvport|xprt_\w+|key_\w+|if_nameindex|if_nametoindex|if_indextoname|getifaddrs|"
                   r"syslog|vsyslog|openlog|setnetgrent|innetgr|yp_\w+|getpass|login|logout|logwtmp|error|error_at_line|"
                   r"v?(err|warn)x?|[lf]?xstat\w*|(get|put)p?msg|fopen|w?file_(?!jumps)\w+|w?do_write|seekoff|seekpos|sgetn|padn|"
                   r"flush_all\w*|peekc_locked|proc_\w+|adjust_w?column|switch_to_get_mode|link_in|un_link)$")


def exported():
    names = set()
    for library in LIBRARIES:
        done = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", "/lib/x86_64-linux-gnu/" + library],
                              check=True, capture_output=True, text=True)
        for kind, name, version in re.findall(r" ([TWiVu]) (\w+)@@?(\S+)", done.stdout):
            if version != "GLIBC_PRIVATE":
                names.add(name)
    return names


def prototypes():
    """Name to parameters, for each function that a header of libc6-dev declares."""
    listed = subprocess.run(["dpkg", "-L", "libc6-dev"], check=True, capture_output=True, text=True).stdout.split()
    headers = [name.split("x86_64-linux-gnu/")[-1].removeprefix("/usr/include/") for name in listed if name.endswith(".h")]
    text = "".join(f"#include <{h}>\n" for h in headers if not h.startswith(NOT_ALONE))
    done = subprocess.run(["gcc", "-E", "-P", "-D_GNU_SOURCE", "-x", "c", "-"], input=text, capture_output=True, text=True,
                          check=True)
    text = re.sub(r"__restrict(_arr)?|__extension__|__attribute__ *\(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\)", "", done.stdout)
    return re.findall(r"\b(\w+) *\(((?:[^()]|\([^()]*\))*)\) *(?:__asm__|__attribute__|;)", " ".join(text.split()))


def stem(name):
    """read of __read_chk: the name that a variant is a variant of."""
    name = re.sub(r"^(_IO_|__libc_|__isoc\d\d_|__new_|__)", "", name)
    return re.sub(r"(_chk|_unlocked|64_time64|64v2|v2|64|_2|_l)+$", "", name) or name


def found():
    names = exported()
    using = {name for name, parameters in prototypes() if DESCRIPTOR.search(parameters) or STREAM.search(parameters)}
    stems = {stem(name) for name in using}
    return {name for name in names if name in using or stem(name) in stems or KNOWN.match(stem(name))}


def table():
    rows = {}
    for number, line in enumerate(TABLE.read_text().splitlines(), 1):
        words = line.split(None, 2)
        if not words or line.startswith("#"):
            continue
        if len(words) < 3 or words[1] not in CLASSES or words[0] in rows:
            yield f"{TABLE}:{number}: want once: NAME {'|'.join(CLASSES)} REASON"
            continue
        rows[words[0]] = words[1]
    names = found()
    shim = set(re.findall(r"(\w+);", pathlib.Path("shim/exports.map").read_text()))
    yield from (f"{TABLE}: {name} is in libc and not here" for name in sorted(names - set(rows)))
    yield from (f"{TABLE}: {name} is here and not in libc, or takes no descriptor" for name in sorted(set(rows) - names))
    yield from (f"{TABLE}: {name} is said to be replaced and is not in shim/exports.map"
                for name in sorted(rows) if rows[name] == "replaced" and name not in shim)
    yield from (f"{TABLE}: {name} is in shim/exports.map and said to be {rows[name]}"
                for name in sorted(rows) if rows[name] != "replaced" and name in shim)


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(sorted(found())))
        return
    wrong = list(table())
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)


main()
