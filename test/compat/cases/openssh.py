# SPDX-License-Identifier: Apache-2.0
"""OpenSSH's server: sessions, scp and sftp, forwarded ports; it runs itself anew for each connection.

Its unprivileged child allows itself little more than read(), write() and poll() (seccomp).
"""
import subprocess

import people
import web
from lab import connect
from lib import http, mw

TITLE = "OpenSSH"
WORK = "sessions by key and password, a terminal, scp and sftp of 5 MB, forwarding both ways, 10 at once, reload"
PACKAGES = ["openssh-server", "openssh-client", "curl"]

CONFIG = """
Include /etc/ssh/sshd_config
HostKey /run/keys/host
AuthorizedKeysFile /run/keys/person.pub
PidFile /run/sshd.pid
LogLevel VERBOSE
"""
SIZE = 5_000_000


COMMON = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]


class Client:
    def __init__(self, lab, host="127.0.0.1"):
        self.lab, self.host = lab, host
        self.options = [*COMMON, "-i", "/run/keys/person", "-o", "BatchMode=yes"]

    def command(self, *words):
        return ["ssh", *self.options, f"{people.NAME}@{self.host}", *words]

    def run(self, *words, **keys):
        return self.lab.client(self.command(*words), **keys)

    def place(self, path):
        return f"{people.NAME}@{f'[{self.host}]' if ':' in self.host else self.host}:{path}"


def work(lab):
    people.arrive(lab)
    lab.folder("/run/keys")
    for name in ("host", "person"):
        lab.client(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"/run/keys/{name}"])
    lab.folder("/run/sshd")
    config = lab.file("/run/sshd_config", CONFIG)
    web.origin(lab, 9000, there=True)
    app = lab.start(["/usr/sbin/sshd", "-D", "-e", "-f", config])
    lab.ready(22)
    for host in ("127.0.0.1", "::1"):
        session(lab, Client(lab, host))
    files(lab, Client(lab))
    password(lab)
    forwarding(lab, Client(lab))
    children = [subprocess.Popen(Client(lab).command(f"sleep 1; echo {i}"), stdin=subprocess.DEVNULL, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for i in range(10)]
    lab.note("10 at once", [child.communicate(timeout=40)[0] for child in children])
    reload(lab, app)


def session(lab, client):
    host = client.host
    lab.note(f"{host}: who", client.run("id -un; echo $SSH_CONNECTION | cut -d' ' -f1,3,4; exit 7", status=7).out)
    lab.note(f"{host}: both outputs", client.run("echo out; echo err >&2")[1:])
    data = "".join(f"{i} {i * i}\n" for i in range(100_000))
    lab.note(f"{host}: stdin to stdout", client.run("cat", stdin=data).out == data)
    lab.note(f"{host}: much output", client.run("seq 300000").out)
    lab.note(f"{host}: a terminal", client.run("-tt", "tty | tr -d 0-9; stty size", stdin="").out)
    lab.note(f"{host}: from the session outwards",
             client.run(f"curl -s http://{lab.there}:9000/bytes/1000 | md5sum").out)
    lab.note(f"{host}: a process of the session", client.run("sleep 100 & kill $!; wait $!; echo $?").out)


def files(lab, client):
    data = lab.noise("scp", SIZE)
    lab.file("/run/sent", data)
    for way in ((), ("-O",)):
        lab.client(["scp", *way, *client.options, "/run/sent", client.place("there")])
        lab.client(["scp", *way, *client.options, client.place("there"), "/run/back"])
        lab.note(f"scp {' '.join(way)}", open("/run/back", "rb").read() == data)
    batch = "put /run/sent second\nls -l\nrename second third\nget third /run/third\nrm third\nls\n"
    done = lab.client(["sftp", *client.options, "-b", "-", client.place("")], stdin=batch)
    listed = [line.split()[-1] for line in done.out.splitlines() if line.startswith("-") or line.endswith("there")]
    lab.note("sftp", listed)
    lab.note("sftp's file", open("/run/third", "rb").read() == data)


def password(lab):
    """By SSH_ASKPASS, which needs no terminal."""
    for what, word in (("right", people.PASSWORD), ("wrong", "none")):
        ask = lab.file("/run/askpass", f"#!/bin/sh\necho '{word}'\n", mode=0o755)
        done = lab.client(["ssh", *COMMON, "-o", "NumberOfPasswordPrompts=1", "-o", "PubkeyAuthentication=no",
                           f"{people.NAME}@127.0.0.1", "echo in"], status=None,
                          env={"SSH_ASKPASS": ask, "SSH_ASKPASS_REQUIRE": "force"})
        lab.note(f"{what} password", done)


def forwarding(lab, client):
    """-L: the server connects; -R: it listens."""
    web_here = lab.backend(["python3", "-m", "http.server", "--bind", "127.0.0.1", "-d", "/run/keys", "9100"])
    lab.ready(9100)
    child = subprocess.Popen(client.command("-N", "-L", f"8100:{lab.there}:9000", "-L", "8101:127.0.0.1:9",
                                            "-R", "127.0.0.1:8200:127.0.0.1:9100"), stdin=subprocess.DEVNULL)
    lab.callback(child.wait)
    lab.callback(child.kill)
    lab.ready(8100, 8200)
    lab.note("-L", http.get("/bytes/1000000", port=8100).checksum)
    with connect("127.0.0.1", 8101) as s:
        lab.note("-L to nobody", s.recv(10))
    lab.note("-R", http.get("/person.pub", port=8200).body == open("/run/keys/person.pub", "rb").read())
    child.terminate()
    child.wait()
    lab.until(10, lambda: not mw.connects("127.0.0.1", 8200), "the forwarded port is closed")
    lab.check(web_here.running(), "the forwarded server goes on")


def reload(lab, app):
    """SIGHUP: it executes itself; a session stays."""
    child = subprocess.Popen(Client(lab).command("echo ready; read line; echo $line"), text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    lab.callback(child.kill)
    lab.note("a session before", child.stdout.readline())
    listens = app.said().count("Server listening on")
    lab.client(["sh", "-c", "kill -HUP $(cat /run/sshd.pid)"])
    lab.until(15, lambda: app.said().count("Server listening on") == 2 * listens, "it listens again")
    lab.note("a session after", Client(lab).run("echo new").out)
    lab.note("and the one from before", child.communicate("still here\n", timeout=20)[0])
