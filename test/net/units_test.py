# SPDX-License-Identifier: Apache-2.0
"""The systemd units: systemd reads them without complaint, and finds no more exposed than doc/design.md says."""
import os
import socket
import subprocess
import tempfile
from pathlib import Path

from lib import machine, tap
from lib.mw import command, preloaded, quick
from lib.tap import case, check, equal, matches

EXPOSURE = {"mw@": 5.6, "mw-frontend@": 2.0}


def units(c):
    """Copies that name the program under test."""
    directory = Path(tempfile.mkdtemp(prefix="units-", dir="/run"))
    for name in EXPOSURE:
        text = (machine.BUILD / f"{name}.service").read_text()
        matches(text, r"^ExecStart=/\S+/bin/mw (run|frontend) ", f"{name}.service")
        start = next(line for line in text.splitlines() if line.startswith("ExecStart="))
        (directory / f"{name}.service").write_text(text.replace(start.split()[0], f"ExecStart={machine.MW}").replace("Documentation=man:mw(1)\n", ""))
        c.callback(os.unlink, directory / f"{name}.service")
    return directory


@case("systemd takes the units, and their exposure is at most what is stated", limit=60)
def analyze(c):
    directory = units(c)
    for name, most in EXPOSURE.items():
        status, out, err = command("systemd-analyze", "verify", str(directory / f"{name}web.service"), limit=30)
        equal((status, out + err), (0, ""), f"systemd-analyze verify {name}")
        status, out, err = command("systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={most * 10:.0f}",
                                   str(directory / f"{name}.service"), limit=30)
        check(status == 0, lambda out=out: f"the exposure of {name} is above {most}: {out[-200:]}")
        matches(out, rf"Overall exposure level for .*: {most} ", f"the exposure of {name}, as doc/design.md states it")
    stated = (Path(__file__).resolve().parents[2] / "doc/design.md").read_text()
    for name, most in EXPOSURE.items():
        check(f"`{name}.service` {most}" in stated, f"doc/design.md states `{name}.service` {most}")


@case("mw run tells systemd that it is ready, that it lives, and that it ends; the application is not told of systemd", limit=30)
def told(_):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("/run/told")
        ear.settimeout(10)
        env = {**os.environ, **(preloaded() or {}), "NOTIFY_SOCKET": "/run/told", "WATCHDOG_USEC": "600000"}
        with subprocess.Popen([machine.MW, "run", "--name", "told", "--", "sh", "-c", "env; sleep 2"], stdin=subprocess.DEVNULL, env=env,
                              stdout=subprocess.PIPE, text=True) as child:
            words = [ear.recv(100)]
            while words[-1] != b"STOPPING=1":
                words.append(ear.recv(100))
            out = child.stdout.read()
        equal((child.returncode, words[0], words[-1]), (0, b"READY=1", b"STOPPING=1"), "first and last words")
        check(words.count(b"WATCHDOG=1") >= 4, f"it is alive: {words}")
        check("PATH=" in out and "NOTIFY_SOCKET" not in out and "WATCHDOG" not in out, f"the application's environment: {out}")


@case("each option in the units' comments is one that mw takes", limit=30)
def options(_):
    for name in EXPOSURE:
        text = (machine.BUILD / f"{name}.service").read_text()
        sub = "run" if name == "mw@" else "frontend"
        _, usage, _ = quick(sub, "--help")
        example = next(line for line in text.splitlines() if line.startswith("#   ARGS="))
        for word in example.removeprefix("#   ARGS=").split(" -- ")[0].split():
            check(not word.startswith("-") or word in usage, f"{word} is an option of mw {sub}")


if __name__ == "__main__":
    tap.main()
