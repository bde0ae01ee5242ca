# SPDX-License-Identifier: Apache-2.0
"""Programs that make, replace and hand over processes: reloads, upgrades, children, sessions."""
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

from lib import http, machine, mw, procs, servers, tap
from lib.mw import App, command
from lib.tap import NETS, case, check, equal, until

FPM = "/usr/sbin/php-fpm8.2"


def descriptors(app):
    """Of the INS and the broker, when nothing is open: comparable before and after."""
    return procs.fd_count(app.ins_pid()), procs.fd_count(app.broker_pid())


def sockets(app):
    return sum(1 for f in app.flows() if f["state"] != "closed")


def master(app):
    """nginx's master process."""
    return min((p.pid for p in procs.below(app.app_pid()) if p.comm == "nginx"))


def workers(pid):
    return [p.pid for p in procs.table().values() if p.parent == pid]


def settled(app, pid, count):
    """All of the old workers have gone, and what they held."""
    until(20, lambda: len(workers(pid)) == count, lambda: f"{count} workers, not {workers(pid)}")
    until(20, lambda: not app.connections(), "no connection is left")


def reload_all(c, app, times, every, report=0):
    """Reloads under wrk; then nothing may be more than before."""
    servers.need("wrk")
    pid = app.app_pid()
    count = os.sysconf("SC_NPROCESSORS_ONLN")   # worker_processes auto; they come after the port
    settled(app, pid, count)
    held = procs.fd_count(pid), *descriptors(app), sockets(app)
    before = set(workers(pid))
    load = http.Load("/small.txt", servers.content("small.txt", 1200), threads=4)
    seconds = int(times * every * 1.2) + 2
    wrk = ["wrk", "-t1", "-c16", f"-d{seconds}", "http://127.0.0.1/small.txt"]
    out = Path("/run/wrk.out")
    with open(out, "w", encoding="utf-8") as to:
        child = mw.subprocess.Popen(wrk, stdout=to, stderr=to, stdin=mw.subprocess.DEVNULL)
    c.callback(lambda: child.poll() is None and child.kill())
    with load:
        for i in range(times):
            os.kill(pid, signal.SIGHUP)
            time.sleep(every)
            if report and (i + 1) % report == 0:
                print(f"# {i + 1} reloads; {load.text()}", flush=True)
    child.wait(seconds + 20)
    c.note(f"{times} reloads: {load.text()}")
    check(not load.lost, lambda: "lost:\n" + "\n".join(load.lost[:5]))
    check(load.done > times, f"only {load.done} requests: the load did not run")
    text = out.read_text(encoding="utf-8")
    check("Non-2xx" not in text and "requests in" in text, lambda: f"wrk: {text}")
    settled(app, pid, count)
    check(not before & set(workers(pid)), "the workers were not replaced")
    until(20, lambda: (procs.fd_count(pid), *descriptors(app), sockets(app)) == held,
          lambda: f"descriptors of nginx, mw-ins and the broker, and sockets: "
                  f"{(procs.fd_count(pid), *descriptors(app), sockets(app))}, not {held}")


@case("nginx: 100 reloads under load lose no request and leave nothing", limit=150, nets=("isolated",))
def reloads(c):
    reload_all(c, servers.nginx(c).ready(80), 100, 0.1)


@case("nginx: 10,000 reloads under load lose no request and leave nothing", limit=5400, nets=("isolated",), long=True)
def reloads_long(c):
    reload_all(c, servers.nginx(c).ready(80), 10_000, 0.1, report=500)


@case("nginx: binary upgrade (USR2, WINCH, QUIT) under load loses no request", limit=60, nets=NETS)
def upgrade(c):
    servers.nginx_conf()
    app = App(c, shutil.which("nginx"), name="nginx").ready(80, 81)  # a daemon: in the foreground it ignores USR2
    old = until(10, lambda: upgraded(0), "nginx.pid")
    load = http.Load("/page.bin", servers.content("page.bin", 100_000))
    with load:
        time.sleep(0.5)
        os.kill(old, signal.SIGUSR2)
        new = until(15, lambda: upgraded(old), "the new master")
        until(15, lambda: workers(new), "its workers")
        time.sleep(0.5)
        os.kill(old, signal.SIGWINCH)
        until(20, lambda: workers(old) == [new], lambda: f"the old workers are gone: {workers(old)}")
        os.kill(old, signal.SIGQUIT)
        until(20, lambda: not procs.alive(old), "the old master is gone")
        time.sleep(0.5)
    c.note(load.text())
    check(not load.lost, lambda: "lost:\n" + "\n".join(load.lost[:5]))
    check(load.done > 100, f"only {load.done} requests: the load did not run")
    app.running()
    equal(http.get("/page.bin").status, 200, "the new one serves")
    os.kill(new, signal.SIGQUIT)
    equal(app.wait(15), 0, "status")


def upgraded(old):
    try:
        new = int(Path("/run/nginx.pid").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0
    return new if new != old and procs.alive(new) else 0


# --- Apache's children ---

CGI = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
printf '%s %s ' "$REQUEST_METHOD" "$REMOTE_ADDR"
cat
ls /proc/self/fd | wc -l
"""


def enable(*names):
    for name in names:
        for end in (".load", ".conf"):
            target = Path("/etc/apache2/mods-available") / (name + end)
            link = Path("/etc/apache2/mods-enabled") / (name + end)
            if target.exists() and not link.is_symlink():
                link.symlink_to(target)


def apache_with(c, mpm, conf, *modules):
    servers.own("/etc/apache2")
    enable(*modules)
    Path("/etc/apache2/conf-enabled/children.conf").write_text(conf, encoding="utf-8")
    c.callback(Path("/etc/apache2/conf-enabled/children.conf").unlink)
    return servers.apache(c, mpm)


def cgi(c, mpm, module):
    root = Path("/run/cgi")
    root.mkdir(exist_ok=True)
    Path("/run/apache2/socks").mkdir(exist_ok=True, parents=True)
    os.chown("/run/apache2/socks", servers.WWW_DATA, servers.WWW_DATA)
    (root / "say").write_text(CGI, encoding="utf-8")
    (root / "say").chmod(0o755)
    apache_with(c, mpm, 'ScriptAlias /cgi/ /run/cgi/\n<Directory /run/cgi>\nRequire all granted\n</Directory>\n',
                module).ready(80, seconds=20)
    for _ in range(20):
        answer = http.get("/cgi/say", machine.HERE4)
        equal((answer.status, answer.body.split()[:2]), (200, [b"GET", machine.HERE4.encode()]), "GET of a script")
        equal(int(answer.body.split()[-1]) <= 8, True, f"descriptors that it inherited: {answer.body}")
    with http.Connection() as connection:
        answer = connection.ask("/cgi/say", "POST", b"body " * 1000)
        equal((answer.status, answer.body.count(b"body ")), (200, 1000), "POST to a script")


for _mpm, _module in (("event", "cgid"), ("prefork", "cgi")):
    case(f"apache {_mpm}: scripts by {_module}", 60, NETS)(lambda c, m=_mpm, n=_module: cgi(c, m, n))


def fpm(c, listen, proxy):
    """PHP-FPM and Apache in one protected application."""
    if not os.path.exists(FPM):
        raise RuntimeError("not installed: php-fpm: run make deps")
    Path("/run/php").mkdir(exist_ok=True)
    Path("/run/fpm.conf").write_text(
        "[global]\nerror_log = /run/fpm.log\ndaemonize = yes\npid = /run/fpm.pid\n[www]\nuser = www-data\n"
        f"group = www-data\nlisten = {listen}\nlisten.owner = www-data\npm = dynamic\npm.max_children = 5\n"
        "pm.start_servers = 2\npm.min_spare_servers = 1\npm.max_spare_servers = 3\npm.max_requests = 20\n",
        encoding="utf-8")
    (servers.ROOT / "say.php").write_text('<?php echo $_SERVER["REMOTE_ADDR"], " ", strlen(file_get_contents("php://input"));',
                                          encoding="utf-8")
    servers.own("/etc/apache2")
    enable("proxy", "proxy_fcgi")
    conf = Path("/etc/apache2/conf-enabled/children.conf")
    conf.write_text(f'<FilesMatch "[.]php$">\nSetHandler "{proxy}"\n</FilesMatch>\n', encoding="utf-8")
    c.callback(conf.unlink)
    servers.apache(c, "event", "sh", "-c", f"{FPM} -y /run/fpm.conf && . /etc/apache2/envvars && "
                   "exec apache2 -D FOREGROUND").ready(80, seconds=20)
    c.callback(lambda: os.kill(int(Path("/run/fpm.pid").read_text(encoding="utf-8")), signal.SIGTERM))
    for i in range(60):     # children are replaced after 20 each
        with http.Connection(machine.HERE4) as connection:
            answer = connection.ask("/say.php", "POST", b"x" * (i * 100))
        equal((answer.status, answer.body), (200, f"{machine.HERE4} {i * 100}".encode()), f"request {i}")


@case("apache event and php-fpm over TCP", limit=60, nets=NETS)
def fpm_tcp(c):
    fpm(c, "127.0.0.1:9000", "proxy:fcgi://127.0.0.1:9000")


@case("apache event and php-fpm over a UNIX socket", limit=60, nets=NETS)
def fpm_unix(c):
    fpm(c, "/run/php/test.sock", "proxy:unix:/run/php/test.sock|fcgi://localhost")


# --- a shell's servers ---

@case("a shell script that starts servers in the background", limit=40, nets=NETS)
def script(c):
    server = Path(__file__).parent / "lib" / "server.py"
    app = App(c, "sh", "-c", f"for p in 7001 7002 7003; do python3 {server} echo $p & done; "
              f"(python3 {server} echo 7004 &); wait").ready(7001, 7002, 7003, 7004)
    for port in (7001, 7002, 7003, 7004):
        with http.Connection(port=port) as connection:
            connection.send(b"hello")
            equal(connection.socket.recv(5), b"hello", f"port {port}")
    app.child.send_signal(signal.SIGTERM)
    app.wait(10)


# --- sshd ---

def ssh_server(c):
    """Debian's default configuration but for the port, the keys and root's key, which the test makes."""
    for program in ("sshd", "ssh", "scp", "ssh-keygen"):
        if not shutil.which(program, path="/usr/sbin:/usr/bin"):
            raise RuntimeError("not installed: openssh-server: run make deps")
    for path in ("/run/sshd", "/run/ssh-test", "/run/ssh-test/home"):
        Path(path).mkdir(exist_ok=True, mode=0o755)
    for name in ("host", "user"):
        if not Path(f"/run/ssh-test/{name}").exists():
            machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"/run/ssh-test/{name}")
    shutil.copy("/run/ssh-test/user.pub", "/run/ssh-test/authorized")
    Path("/run/ssh-test/authorized").chmod(0o644)
    return App(c, "/usr/sbin/sshd", "-D", "-e", "-p", "2222", "-h", "/run/ssh-test/host",
               "-o", "AuthorizedKeysFile=/run/ssh-test/authorized", "-o", "StrictModes=no",
               name="sshd").ready(2222)


def ssh(*argv, program="ssh", limit=20, stdin=None):
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
               "-o", "LogLevel=ERROR", "-i", "/run/ssh-test/user"]
    return command(program, *options, "-p" if program == "ssh" else "-P", "2222", *argv, limit=limit, stdin=stdin)


@case("sshd: a session, its own processes, and scp both ways", limit=90, nets=NETS)
def sessions(c):
    app = ssh_server(c)
    for host in ("127.0.0.1", machine.HERE4):
        status, out, err = ssh(f"root@{host}", "echo said; cat; exit 3", stdin="typed\n")
        equal((status, out), (3, "said\ntyped\n"), f"a command on {host}: {err}\n{app.said()[-1500:]}")
    status, out, err = ssh("-tt", "root@127.0.0.1", "tty && stty size", stdin="")
    check(status == 0 and "/dev/pts/" in out, f"a terminal: {status} {out}{err}")
    data = servers.noise("scp", 5 << 20)
    Path("/run/ssh-test/from").write_bytes(data)
    for pair in (("/run/ssh-test/from", "root@127.0.0.1:/run/ssh-test/there"),
                 ("root@127.0.0.1:/run/ssh-test/there", "/run/ssh-test/back")):
        status, out, err = ssh(*pair, program="scp", limit=40)
        equal(status, 0, f"scp {' '.join(pair)}: {out}{err}\n{app.said()[-1500:]}")
    equal(Path("/run/ssh-test/back").read_bytes() == data, True, "what came back")
    until(10, lambda: not app.connections(), "no connection is left")
    os.kill(app.app_pid(), signal.SIGHUP)   # it executes itself anew
    time.sleep(0.5)
    equal(ssh("root@127.0.0.1", "true")[0], 0, "after SIGHUP")


# --- privileges ---

PRIVILEGED = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(7000), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	unsigned r, e, s;
	char text[99];
	int fd = socket(AF_INET, SOCK_STREAM, 0), n;

	getresuid(&r, &e, &s);
	n = snprintf(text, 99, "%s%d: %u %u %u %u %u secure %lu", argv[0], argc, r, e, s, getgid(), getegid(), getauxval(AT_SECURE));
	printf("%s\n", text);
	printf("%s\n", connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? strerror(errno) : "connected");
	fflush(stdout);
	return send(fd, text, n, MSG_NOSIGNAL) != n;
}
"""
EXECUTES = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 7000))
def child(how, path, *ids):
    pid = os.fork()
    if pid == 0:
        how(*ids)
        os.execv(path, ["helper"])
    received(lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
def received(end):
    print("status", end(), flush=True)
    server.settimeout(0.2)
    try:
        print("received", server.accept()[0].recv(99).decode(), flush=True)
    except TimeoutError:
        print("nobody came", flush=True)
child(os.seteuid, "/run/plain", 65534)
child(os.setegid, "/run/plain", 65534)
child(os.seteuid, "/run/static", 65534)
for kind in "user", "group", "static":
    child(lambda: None, "/run/set-" + kind)
pid = os.posix_spawn("/run/set-user", ["helper"], os.environ)
received(lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
if "unprivileged" in sys.argv:
    child(os.setresuid, "/run/set-root", 1000, 1000, 1000)
    child(os.setresuid, "/run/capable", 1000, 1000, 1000)
print("end", flush=True)
"""


def privileged_programs():
    Path("/run/privileged.c").write_text(PRIVILEGED, encoding="utf-8")
    machine.run("mount", "-o", "remount,suid,exec", "/run")
    for name, mode, owner, group, *options in (
            ("plain", 0o755, 0, 0), ("static", 0o755, 0, 0, "-static"), ("set-user", 0o4755, 65534, 0),
            ("set-group", 0o2755, 0, 65534), ("set-static", 0o4755, 65534, 0, "-static"), ("set-root", 0o4755, 0, 0),
            ("capable", 0o755, 0, 0)):
        machine.run("gcc", *options, "-o", f"/run/{name}", "/run/privileged.c")
        os.chown(f"/run/{name}", owner, group)
        os.chmod(f"/run/{name}", mode)
    os.setxattr("/run/capable", "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))  # CAP_NET_RAW


@case("programs executed with other privileges than their caller's: as natively", limit=60, nets=NETS)
def privileged(c):
    privileged_programs()
    wanted = subprocess.run(["python3", "-c", EXECUTES], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=20, check=True).stdout
    equal(wanted.count("secure 1"), 14, f"executed so natively, said twice each:\n{wanted}")
    app = App(c, "python3", "-c", EXECUTES)
    until(20, lambda: "end\n" in app.said(), app.said)
    equal(app.said(), wanted, "protected")


@case("an unprivileged caller's set-user-ID program keeps its privileges, and reaches nothing", limit=60, nets=NETS)
def unprivileged(c):
    privileged_programs()
    app = App(c, "python3", "-c", EXECUTES, "unprivileged")
    until(20, lambda: "end\n" in app.said(), app.said)
    equal(app.said().splitlines()[-9:],
          ["helper1: 1000 0 0 0 0 secure 1", "Network is unreachable", "status 1", "nobody came",
           "helper1: 1000 1000 1000 0 0 secure 1", "Network is unreachable", "status 1", "nobody came", "end"], "its last")


# --- a socket as standard input and output ---

INETD = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 7000))
for command in sys.argv[1:]:
    connection, _ = server.accept()
    if os.fork() == 0:
        for fd in range(3):
            os.dup2(connection.fileno(), fd)
        os.closerange(3, 64)
        os.execvp("sh", ["sh", "-c", "exec " + command])
    connection.close()
for command in sys.argv[1:]:
    os.wait()
"""
STDIO = """
#include <stdio.h>
int main(void)
{
	char line[80];

	while (fgets(line, sizeof(line), stdin)) {
		printf("static %s", line);
		fflush(stdout);
	}
	return 0;
}
"""


def asked():
    """What one of the programs says to three lines, the last two of which come together, and then the end."""
    with http.Connection(port=7000) as connection:
        connection.send(b"one\n")
        time.sleep(0.2)
        connection.send(b"two\nthree\n")
        connection.socket.shutdown(socket.SHUT_WR)
        said = b""
        while part := connection.socket.recv(1000):
            said += part
    return said.decode()


@case("a socket as standard input and output, read by stdio: as natively", limit=60, nets=NETS)
def inetd(c):
    Path("/run/stdio.c").write_text(STDIO)
    machine.run("gcc", "-static", "-o", "/run/stdio", "/run/stdio.c")
    commands = ["cat", "sh -c 'read a; read b; echo $a $b; cat'", "sed -u s/^/sed/", "/run/stdio",
                "python3 -c 'import sys; [print(line, end=\"\", flush=True) for line in sys.stdin]'"]
    argv = ("python3", "-c", INETD, *commands)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as native:
        until(10, lambda: mw.listening(), "the native one listens")
        wanted = [asked() for _ in commands]
        equal(native.wait(10), 0, "native status")
    app = App(c, *argv)
    app.listed()
    until(10, lambda: mw.listening(), "it listens, and its port is published")
    for line, text in zip(commands, wanted):
        equal(asked(), text, line)
    equal(app.wait(10), 0, "status")


LISTENER = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 7000), backlog=256)
os.set_inheritable(server.fileno(), True)
os.execv(sys.argv[1], [sys.argv[1], str(server.fileno())])
"""
INTERRUPTED = """
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
static void nothing(int signal) { (void)signal; }
int main(int argc, char **argv)
{
	struct sigaction a = { .sa_handler = nothing };
	struct itimerval often = { { 0, 50 }, { 0, 50 } };
	int fd;

	(void)argc;
	sigaction(SIGALRM, &a, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	while ((fd = accept(atoi(argv[1]), NULL, NULL)) >= 0 || errno == EINTR) {
		if (fd < 0)
			continue;
		while (write(fd, "x", 1) < 0 && errno == EINTR)
			;
		close(fd);
	}
	return 1;
}
"""


@case("a listener that a static program inherited: signals in accept() lose no connection", limit=60, nets=NETS)
def interrupted(c):
    Path("/run/interrupted.c").write_text(INTERRUPTED)
    machine.run("gcc", "-static", "-o", "/run/interrupted", "/run/interrupted.c")
    app = App(c, "python3", "-c", LISTENER, "/run/interrupted")
    app.listed()
    until(10, lambda: [f for f in app.flows() if f["state"] == "listen"], "it listens")
    app.ready(7000) # it is published a moment later
    served = 0
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", 7000), 5) as connection:
            connection.settimeout(2)
            served += connection.recv(1) == b"x"
    equal(served, 300, "connections served")


# --- limits ---

SPACE = """
#include <stdio.h>
#include <sys/resource.h>
int main(void)
{
	struct rlimit l;
	int r = getrlimit(RLIMIT_AS, &l);

	return printf("%d %lu %lu\\n", r, l.rlim_cur, l.rlim_max) < 0;
}
"""
LIMITS = "import os, resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 31)); os.execv('/run/space', ['space'])"


@case("ulimit -v: as it was set, for a static program and where mw run itself has one", limit=40, nets=("isolated",))
def space(_):
    Path("/run/space.c").write_text(SPACE, encoding="utf-8")
    for static in ("-static", "-no-pie"):
        machine.run("gcc", static, "-o", "/run/space", "/run/space.c")
        equal(mw.protected("python3", "-c", LIMITS)[1], f"0 {1 << 30} {1 << 31}\n", f"set by its parent, {static}")
        argv = ("prlimit", f"--as={1 << 32}", machine.MW, "run", "/run/space")
        equal(command(*argv, env=mw.preloaded())[1], f"0 {1 << 32} {1 << 32}\n", f"set before, {static}")


FULL = """
import errno, socket, sys
made, listener = [], socket.create_server(("127.0.0.1", 7000))
print("listening", flush=True)
try:
    while len(made) < 200:
        made.append(socket.socket())
except OSError as e:
    print(errno.errorcode[e.errno], len(made) < 64, flush=True)
for line in sys.stdin:
    made.pop().close()
    made.pop().close()
    connection, _ = listener.accept()
    connection.sendall(b"hello")
    print("accepted", flush=True)
    break
"""


@case("--max-sockets: ENFILE for socket(), and a connection waits until there is room", limit=40, nets=NETS)
def full(c):
    pipe = Path("/run/full.pipe")
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    app = App(c, "sh", "-c", f'exec python3 -c "$0" <{pipe}', FULL, options=("--max-sockets", "64"))
    with open(pipe, "w", encoding="utf-8") as to:
        until(15, lambda: "ENFILE True" in app.said(), lambda: f"ENFILE; it said:\n{app.said()}")
        with http.Connection(port=7000) as connection:
            time.sleep(0.5)
            to.write("go\n")
            to.flush()
            equal(connection.socket.recv(5), b"hello", "the connection that waited")
    until(10, lambda: "accepted" in app.said(), lambda: app.said())


tap.main()
