# SPDX-License-Identifier: Apache-2.0
"""vsftpd with Debian's configuration: a local user's transfers, passive and active.

It limits its processes' address space to 200 MB: the rings of 10,000 sockets, which have more, must not count.
"""
import sys

import people

TITLE = "vsftpd"
WORK = "log in, list, send and fetch 5 MB, resume, rename; ABOR by urgent data; passive (PASV, EPSV) and active (PORT, EPRT)" \
       " from a neighbour"
PACKAGES = ["vsftpd", "curl"]
SIZE = 5_000_000

# Telnet's interrupt and synch, as RFC 959 wants it, amidst a transfer whose bytes nobody takes. It waits by then: a signal that comes between
# two of its calls vsftpd only looks at behind the next one.
ABORT = """
import ftplib, socket, sys, time
f = ftplib.FTP(sys.argv[1], sys.argv[2], sys.argv[3], timeout=20)
f.voidcmd("TYPE I")
data, size = f.ntransfercmd("RETR big")
time.sleep(1)
f.sock.sendall(b"\\xff\\xf4\\xff")
f.sock.send(b"\\xf2", socket.MSG_OOB)
f.sock.sendall(b"ABOR\\r\\n")
print(f.getmultiline())
data.close()
print(f.getmultiline())
print(f.sendcmd("NOOP"))
"""


def work(lab):
    people.arrive(lab)
    lab.folder("/run/vsftpd/empty")
    config = open("/etc/vsftpd.conf", encoding="ascii").read() + "write_enable=YES\nbackground=NO\nxferlog_enable=NO\n"
    config += "async_abor_enable=YES\n"
    lab.start(["vsftpd", lab.file("/run/vsftpd.conf", config)])
    lab.ready(21)
    ways = {"EPSV on 127.0.0.1": ("127.0.0.1", (), False), "EPSV on ::1": ("[::1]", (), False),
            "PASV on 127.0.0.1": ("127.0.0.1", ("--disable-epsv",), False),
            "EPSV, neighbour": (lab.here, (), True), "EPSV, neighbour, IPv6": (f"[{lab.here6}]", (), True),
            "PORT, neighbour": (lab.here, ("-P", "-", "--disable-eprt"), True),
            "EPRT, neighbour, IPv6": (f"[{lab.here6}]", ("-P", "-"), True)}
    for way, (host, words, there) in ways.items():
        transfer(lab, way, host, words, there)
    lab.file(f"{people.HOME}/big", lab.noise("big", 4 * SIZE), owner=people.NAME)
    for host, there in (("127.0.0.1", False), (lab.here, True)):
        words = [sys.executable, "-c", ABORT, host, people.NAME, people.PASSWORD]
        lab.note(f"aborted, {host if not there else 'neighbour'}", lab.client(words, there=there).out)
    done = curl(lab, "127.0.0.1", "", user=f"{people.NAME}:wrong", status=None)
    lab.note("a wrong password", (done.status, done.err))
    lab.note("no such file", curl(lab, "127.0.0.1", "nothing", status=None).status)


def curl(lab, host, path, *words, user=f"{people.NAME}:{people.PASSWORD}", **keys):
    return lab.client(["curl", "-sS", "--max-time", "20", "-u", user, *words, f"ftp://{host}/{path}"], **keys)


def transfer(lab, way, host, words, there):
    data = lab.noise("ftp", SIZE)
    lab.file("/run/sent", data)
    curl(lab, host, "up", *words, "-T", "/run/sent", there=there)
    lab.note(f"{way}: sent", open(f"{people.HOME}/up", "rb").read() == data)
    lab.note(f"{way}: list", curl(lab, host, "", *words, "-l", there=there).out)
    curl(lab, host, "up", *words, "-o", "/run/back", there=there)
    lab.note(f"{way}: fetched", open("/run/back", "rb").read() == data)
    lab.file("/run/back", data[:SIZE // 2])
    curl(lab, host, "up", *words, "-C", "-", "-o", "/run/back", there=there)
    lab.note(f"{way}: resumed", open("/run/back", "rb").read() == data)
    quoted = ["-Q", "-RNFR up", "-Q", "-RNTO down", "-Q", "-SIZE down"]
    lab.note(f"{way}: renamed", "down" in curl(lab, host, "", *words, *quoted, "-l", there=there).out or
             "down" in curl(lab, host, "", *words, "-l", there=there).out)
    curl(lab, host, "", *words, "-Q", "-DELE down", "-l", there=there)
    lab.note(f"{way}: deleted", curl(lab, host, "", *words, "-l", there=there).out)
