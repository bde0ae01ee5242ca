# SPDX-License-Identifier: Apache-2.0
"""mw(1) and --help speak of the same commands and options."""
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test" / "net"))
from lib import tap  # noqa: E402
from lib.tap import case, equal  # noqa: E402

MW = str(Path(os.environ["MW_BUILD"]) / "mw")
LONG = r"--[a-z][a-z0-9-]+"
OTHERS = {"--limit-rate"}    # curl's
DEEPER = (("xen", "broker"), ("xen", "serve"))    # which have a --help of their own


def said(*argv):
    return subprocess.run([MW, *argv, "--help"], capture_output=True, text=True, check=True).stdout


def commands():
    return re.findall(r"^  ([a-z]+) ", said(), re.M)


def page():
    """Without comments, which begin with .\\\\" and are for the generator."""
    text = (ROOT / "man" / "mw.1").read_text().replace("\\-", "-")
    return "\n".join(line for line in text.splitlines() if not line.startswith('.\\"'))


@case("the same options", limit=60)
def options(_):
    helped = {"--help", *(option for words in (*((c,) for c in commands()), *DEEPER) for option in re.findall(LONG, said(*words)))}
    equal(set(re.findall(LONG, page())) - OTHERS | {"--help"}, helped, "options of mw(1) and of --help")


@case("the same commands", limit=60)
def synopsis(_):
    text = page().partition(".SH SYNOPSIS")[2].partition(".SH")[0]
    named = {word for words in re.findall(r"mw (?:\\f.)?([a-z|]+)", re.sub(r"\\f.", "", text)) for word in words.split("|")}
    equal(named, set(commands()), "commands of mw(1)'s synopsis, and of --help")


tap.main()
