# SPDX-License-Identifier: Apache-2.0
"""What README and the EXAMPLES of the manual's pages tell a reader to type, typed: each line ends as it should, and the server serves on."""
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from lib import machine, pages, servers, tap
from lib.control import Control
from lib.mw import App, command, flows, preloaded, quick
from lib.tap import Failed, case, check, equal, until

README = Path(__file__).resolve().parents[2] / "README.md"
GO_ON = re.compile(r"^mw (frontend |flows --follow)")    # until they are told to end


class Typed(App):
    """A line `mw run ...` as it is typed, in the background."""

    def __init__(self, case, line):
        words = shlex.split(line)
        self.name = words[words.index("--name") + 1] if "--name" in words else words[words.index("--") + 1]
        self.log = Path("/run/typed.log")
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen([machine.MW, *words[1:]], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **(preloaded() or {})})
        self.pid = self.child.pid
        case.callback(self.end)


def readme():
    """Lines of README that begin with build/mw, without comments."""
    return [line.split("#")[0].strip() for line in re.findall(r"^    build/(mw .*)$", README.read_text(), re.M)]


def goes_on(line):
    """A line that shows or does something until it is ended."""
    child = subprocess.Popen([machine.MW, *shlex.split(line)[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        child.wait(1)
        raise Failed(f"{line}: ended with status {child.returncode}: {child.stderr.read()}")
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGTERM)
        check(child.wait(10) in (0, -signal.SIGTERM), f"{line}: status {child.returncode} after SIGTERM")
    finally:
        child.poll() is None and child.kill()


def type_all(c, lines, app, port):
    """`mw run` first where it is among them; then `app`, or that, serves on `port` through all of the rest."""
    for line in lines:
        if line.startswith("mw run ") and "-- nginx" in line:
            app = Typed(c, line).ready(port)
        elif GO_ON.match(line):
            goes_on(line)
        elif line.startswith("mw "):
            status, _, err = quick(*shlex.split(line)[1:], limit=30)
            equal(status, 0, f"{line}: its status ({err.strip()})")
        else:
            status, out, err = command("sh", "-c", line, limit=20)
            equal((status, bool(out)), (0, True), f"{line}: its status, and whether it said anything ({err.strip()})")
        c.note(line)
        app.ready(port)
    return app


@case("README's commands for a server of one's own", limit=120)
def of_readme(c):
    servers.content("index.html", 100)
    servers.nginx_conf()
    lines = readme()
    check(len(lines) >= 10 and lines[0].startswith("mw run "), f"commands found: {lines}")
    type_all(c, lines, None, 8080)


@case("examples of mw(1)", limit=90)
def of_mw(c):
    servers.content("index.html", 100)
    servers.nginx_conf()
    type_all(c, pages.commands("mw.1"), None, 8080)


@case("examples of mwcomms(7)", limit=60)
def of_overview(c):
    servers.content("index.html", 100)
    servers.nginx_conf()
    type_all(c, pages.commands("mwcomms.7"), None, 8080)


@case("examples of formats: what mw reads and writes", limit=90)
def of_formats(c):
    servers.content("index.html", 100)
    app = servers.nginx(c, net="isolated", options=("--metrics", "9100")).ready(80)
    equal(quick("close", "nginx", "all")[0], 0, "an order, for the audit log")
    for name in ("mw-flows.5", "mw-metrics.5", "mw-audit.5", "mw-registry.5"):
        lines = pages.commands(name)
        check(lines, f"no example in {name}")
        type_all(c, lines, app, 80)


@case("examples of mw-ipfix(5)", limit=60)
def of_ipfix(c):
    for line in pages.commands("mw-ipfix.5"):
        words = shlex.split(line)
        status, out, err = quick(*words[1:], env=preloaded()) if words[0] == "mw" else command(*words)
        equal(status, 0, f"{line}: its status ({err.strip()})")
        check(words[0] == "mw" or "mwReport" in out or "IPFIX" in out or "Message" in out, f"{line}: {out[:400]}")


@case("requests of mw-control(5)", limit=60)
def of_control(c):
    app = servers.nginx(c, net="isolated").ready(80)
    control = Control(c, app.name)
    for block in pages.examples("mw-control.5", "{"):
        for line in block.splitlines():
            request = json.loads(line)
            if "flow" in request:    # an id of its time
                request["flow"] = next(f["id"] for f in flows(app.name) if f["state"] == "listen")
            answer = control.ask(**request)
            check(answer["ok"], f"{line}: {answer}")
    until(5, lambda: app.ready(80), "nginx serves")


@case("the program of mw-netflow(5)", limit=60)
def of_netflow(c):
    servers.nginx(c, net="isolated").ready(80)
    program, = pages.examples("mw-netflow.5", "import")
    status, out, err = command(sys.executable, "-c", program)
    equal((status, out.strip(), err), (0, "d32f" "00000001" "00000000" + "%016x" % 1 + "%016x" % 0, ""), "the response")


tap.main()
