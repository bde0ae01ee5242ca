# SPDX-License-Identifier: Apache-2.0
"""mw doctor: a healthy application, a program that no shim sees, a refused call, and the machine itself."""
import subprocess
from pathlib import Path

from lib import machine as own_machine, servers, tap
from lib.mw import App, command, preloaded, quick
from lib.tap import case, check, equal, matches, until

STATIC = """
#include <netinet/in.h>
#include <unistd.h>
int main(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET };

	listen(socket(AF_INET, SOCK_STREAM, 0), 1);
	bind(socket(AF_INET, SOCK_DGRAM, 0), (struct sockaddr *)&any, sizeof(any));
	return pause();
}
"""
REFUSED = """
import socket, time
for kind, protocol, number in ((socket.SOCK_DGRAM, 1, 13), (socket.SOCK_RAW, 1, 1)):
    try:
        socket.socket(socket.AF_INET, kind, protocol)
    except OSError as e:
        assert e.errno == number, e
time.sleep(60)
"""


@case("the machine has what is needed, and what is not done is listed")
def machine(c):
    status, out, err = quick("doctor")
    equal(status, 0, f"status; it said: {out}{err}")
    for words in ("ok +programs: .*mw-ins", "ok +network namespaces", "ok +nftables", "not done yet", "IP_RECVERR"):
        matches(out, words, "output")


@case("a directory that is closed to other users, who could not load the shim, is told of")
def closed(_):
    closed_to_others, build = Path("/run/closed"), Path("/run/closed/build")
    equal("is closed to them" in quick("doctor")[1], False, "of one that is open")
    build.mkdir(parents=True)
    closed_to_others.chmod(0o700)
    own_machine.run("mount", "--bind", str(own_machine.BUILD), str(build))
    out = own_machine.run(str(build / "mw"), "doctor")
    matches(out, r"note +programs that processes of other users execute reach nothing: /run/closed is closed to them", "output")
    equal(command(str(build / "mw"), "run", "--net", "host", "true", env=preloaded()),
          (0, "", "mw: /run/closed is closed to other users: programs that their processes execute reach nothing; make install puts mw where all can read it\n"),
          "mw run")


@case("a limit of descriptors that is too low is a problem, however low")
def few_descriptors(c):
    for limit, connections in ((1000, 468), (64, 0), (48, 0)):
        status, out, err = quick("doctor", prefix=("prlimit", f"--nofile={limit}", "--"))
        equal(status, 1, f"status with {limit}; it said: {out}{err}")
        matches(out, rf"PROBLEM descriptors: the hard limit of {limit} allows {connections} connections$", "output")


@case("nginx: the shim is active in every process, nothing bypassed it", nets=("isolated", "host"))
def healthy(c):
    app = servers.nginx(c).ready(80)
    until(10, lambda: quick("doctor", app.name)[1].count("the shim is active") >= 2, "master and worker are seen")
    status, out, err = quick("doctor", app.name)
    equal(status, 0, f"status; it said: {out}{err}")
    check(out.count("the shim is active") >= 2, f"master and worker: {out}")
    matches(out, "ok +no IP socket in the application's own namespace", "output")
    status, out, err = quick("doctor", str(app.app_pid()))
    equal(status, 0, f"status by process id; it said: {out}{err}")
    equal(out.count("the shim is active"), 1, "one process")


def static_program():
    source, program = Path("/run/static.c"), Path("/run/static")
    source.write_text(STATIC)
    subprocess.run(["gcc", "-static", "-o", program, source], check=True, env={"PATH": "/usr/bin:/bin"})
    return str(program)


@case("a static program has its system calls trapped", nets=("host",))
def static(c):
    app = App(c, static_program())
    until(5, lambda: "trapped" in quick("doctor", app.name)[1], "doctor sees the filter")
    _, out, _ = quick("doctor", app.name)
    matches(out, r"ok +process \d+ \(static\): its system calls are trapped", "output")
    equal(app.listed()["lane"], "stream", "lane")


@case("a program that no lane sees is found, and the sockets it made past the shim", nets=("host",))
def unseen(c):
    app = App(c, static_program(), options=("--lane", "ring"))
    app.listed()
    until(5, lambda: "past the shim" in quick("doctor", app.name)[1], "doctor sees the sockets")
    status, out, _ = quick("doctor", app.name)
    equal(status, 1, "status")
    matches(out, r"PROBLEM process \d+ \(static\): the shim is not active", "output")
    matches(out, r"PROBLEM 1 udp socket\(s\) were made past the shim", "output")
    matches(out, r"PROBLEM 1 tcp socket\(s\) were made past the shim", "output")
    matches(out, "-> ", "what to do")


@case("calls that were refused are counted", nets=("host",))
def refused(c):
    app = App(c, "/usr/bin/python3", "-c", REFUSED)
    app.listed()
    until(5, lambda: "refused" in quick("doctor", app.name)[1], "doctor sees the refusals")
    status, out, _ = quick("doctor", app.name)
    equal(status, 1, "status")
    matches(out, r"refused 1 times: datagram sockets that are not UDP", "output")


@case("a name of digits alone is that application's while it runs, else a process", nets=("host",))
def digits(c):
    app = App(c, "/usr/bin/sleep", "60", name="1234567")
    app.listed()
    for name in "0", "99999999999":
        equal(quick("doctor", name)[0:2], (1, ""), f"of {name}, which is neither")
    status, out, err = quick("doctor", app.name)
    equal(status, 0, f"status; it said: {out}{err}")
    matches(out, r"^1234567 \(--net host", "output")
    app.end()
    status, out, _ = quick("doctor", app.name)
    equal((status, "process 1234567 is in no protected application" in out), (1, True), f"when it has ended; it said: {out}")


@case("a process that is in no application")
def stranger(c):
    status, out, err = quick("doctor", "1")
    equal(status, 1, f"status; it said: {out}{err}")
    matches(out, "PROBLEM process 1 is in no protected application", "output")


tap.main()
