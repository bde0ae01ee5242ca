#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each command in doc/verification.md can be typed: its file, target, program and check are there, and whatever it names is a case's name.

usage: lint-verification.py     (in the project's root). Nothing is run but `--list` of test programs.
"""
import functools
import os
import pathlib
import re
import shlex
import subprocess
import sys

TABLE = pathlib.Path("doc/verification.md")
MESON = pathlib.Path("meson.build").read_text()
MADE_NAMES = re.compile(r"^(net|fuzz|process|option-walk)-|-stream$")     # meson.build puts them before or behind a name of a list


def commands():
    """(line, command) of each command in the tables' column of that name."""
    column = None
    for number, line in enumerate(TABLE.read_text().splitlines(), 1):
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) < 3:
            column = None
        elif column is None:
            column = cells.index("command") if "command" in cells else 0    # before the first |: empty
        for text in re.findall(r"`([^`]+)`", cells[column]) if column else ():
            yield from ((number, command) for command in text.split(" && "))


@functools.cache
def cases(file):
    """What a program says of its cases' names; tests' long ones too."""
    done = subprocess.run([sys.executable, file, "--list"], capture_output=True, text=True, check=False, env={**os.environ, "MW_LONG": "1"})
    return done.stdout if done.returncode == 0 else ""


def declared(word):
    """Whether meson.build has a test of that name, or of that part of one."""
    name = MADE_NAMES.sub("", word.rpartition("/")[2])
    return not name or any(part in MESON for part in (f"'{name}", f"{name}'", f"'{name.replace('-', '_')}"))


def python(file, *words):
    if not pathlib.Path(file).is_file():
        yield f"there is no {file}"
    elif file == "test/run.py":
        yield from (f"meson.build has no test {word}" for word in words if not word.startswith("build") or "/" in word if not declared(word))
    else:
        yield from (f"{file} has no case {word}" for word in words if word not in cases(file))


def make(target, *settings):
    if not re.search(rf"^{target}:", pathlib.Path("Makefile").read_text(), re.M):
        yield f"make has no target {target}"
    for name, _, value in (setting.partition("=") for setting in settings):
        words = [word for word in value.split() if not word.startswith("-")]
        yield from (f"meson.build has no test {word}" for word in words if name == "TESTS" and not declared(word))
        yield from (f"bench/bench.py has no case {word}" for word in words if name == "BENCH" and word not in cases("bench/bench.py"))


def lint(*checks):
    known = pathlib.Path("tools/lint.sh").read_text()
    yield from (f"tools/lint.sh has no check {name}" for name in checks if f"check_{name}()" not in known)


def program(path):
    name = path.removeprefix("build/")
    if name == path or not re.search(rf"'{name}(_test)?'", MESON):
        yield f"{path} is neither built nor known here"


def wrong(command):
    words = shlex.split(command)
    while "=" in words[0]:
        words.pop(0)
    first, rest = words[0], words[1:]
    ways = {"python3": python, "make": make, "tools/lint.sh": lint}
    return ways[first](*rest) if first in ways else program(first)


def main():
    found, bad = list(commands()), 0
    for number, command in found:
        for text in wrong(command):
            bad += 1
            print(f"{TABLE}:{number}: {command}: {text}")
    if not found:
        print(f"{TABLE} has no commands")
    sys.exit(1 if bad or not found else 0)


main()
