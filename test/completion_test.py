# SPDX-License-Identifier: Apache-2.0
"""Bash's completion of mw knows what --help says: commands, their options, actions and values."""
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "net"))
from lib import tap  # noqa: E402
from lib.tap import case, check, equal  # noqa: E402

SCRIPT = Path(__file__).resolve().parents[1] / "completion" / "mw.bash"
MW = str(Path(os.environ["MW_BUILD"]) / "mw")


def said(*argv):
    done = subprocess.run([MW, *argv, "--help"], capture_output=True, text=True, check=False)
    equal(done.returncode, 0, f"mw {' '.join(argv)} --help")
    return done.stdout


def completed(*words):
    """What bash offers for the last of these words."""
    script = f'. {SCRIPT}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mw; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-uc", script, "bash", MW, *words], capture_output=True, text=True, check=False)
    equal((done.returncode, done.stderr), (0, ""), f"completion of {words}")
    return {line for line in done.stdout.splitlines() if line}


def commands():
    return re.findall(r"^  ([a-z]+) ", said(), re.M)


@case("each command, and each option that its --help has", limit=60)
def options(t):
    equal(completed("") - {"--help", "--version"}, set(commands()), "commands")
    for command in commands():
        wanted = set(re.findall(r"^ +(?:-\w, )?(--[a-z][a-z0-9-]*)", said(command), re.M))
        missing = wanted - completed(command, "--")
        check(not missing, f"mw {command}: {missing} are not offered")


@case("options of what has a --help of its own")
def deeper(t):
    for action in ("broker", "serve"):
        wanted = set(re.findall(r"^ +(?:-\w, )?(--[a-z][a-z0-9-]*)", said("xen", action), re.M))
        equal(completed("xen", action, "--"), wanted, f"mw xen {action}")


@case("actions and values")
def values(t):
    equal(completed("ins", ""), {"list", "add", "drain", "kill", "upgrade"}, "of mw ins")
    check({"setup", "status", "remove"} <= completed("xen", ""), "of mw xen")
    equal(completed("run", "--net", ""), {"isolated", "host"}, "of --net")
    equal(completed("frontend", "--balance", "l"), {"load", "least"}, "of --balance, with l")
    check("bash" in completed("run", "bas"), "commands behind mw run")


tap.main()
