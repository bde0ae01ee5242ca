# SPDX-License-Identifier: Apache-2.0
"""What doc/operations.md tells an operator to type, typed: each line ends with 0, and the server serves on."""
import re
import shlex
import socket
from pathlib import Path

from lib import servers, tap
from lib.mw import json_lines, quick
from lib.tap import case, check, equal

PAGE = Path(__file__).resolve().parents[2] / "doc" / "operations.md"
COMMAND = re.compile(r"^(?: {4}| {8})(mw \S.*)$", re.M)


def newest_ins():
    return str(max(line["ins"] for line in json_lines("ins", "list", "--json", "nginx")))


def held_verdict():
    return next(f'{v["ins"]}/{v["verdict"]}' for v in json_lines("list", "--json", "nginx") if v["status"] == "holds")


def words(line):
    """A line's words, with what stands for a name put in."""
    stands_for = {"NAME": lambda: "nginx", "N": newest_ins, "VERDICT": held_verdict}
    return [stands_for[word]() if word in stands_for else word for word in shlex.split(line)[1:]]


def answers():
    with socket.create_connection(("127.0.0.1", 80), timeout=10) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return s.makefile("rb").readline().split()[1]


@case("every command of the page", limit=180)
def page(c):
    servers.content("index.html", 100)
    servers.nginx(c, net="isolated").ready(80)
    lines = COMMAND.findall(PAGE.read_text())
    check(len(lines) > 20, f"commands found: {len(lines)}")
    for line in lines:
        status, _, err = quick(*words(line), limit=60)
        c.note(f"{line}: {status}")
        equal((status, answers()), (0, b"200"), f"{line}: its status ({err.strip()}), and nginx's behind it")


tap.main()
