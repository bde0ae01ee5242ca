#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every C file of the programs, libraries and tests before one checker, on all processors. Exits 1 if it said anything.

usage: lint-c.py gcc|clang|clang-tidy|cppcheck [flag...]     (in the project's root; BUILD, or build/, has been set up)

The files and their definitions are those of the build; the flags are added. The module's files are the kernel's build's.
"""
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path.cwd()
BUILD = pathlib.Path(os.environ.get("BUILD", "build"))
PAIRS = ("-D", "-U", "-I", "-include")


def meaning(command):
    """What decides what a file means: not the build's warnings, optimization and outputs."""
    words, kept = iter(shlex.split(command)), []
    for word in words:
        if word in PAIRS:
            kept += [word, next(words)]
        elif word.startswith((*PAIRS, "-std=")):
            kept.append(word)
    return kept


def units():
    """{file: flags} as in the build; of a file in several programs the first. Fuzz targets are made by a command of their own there."""
    found = {}
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        file = pathlib.Path(entry["directory"], entry["file"]).resolve()
        if file.is_relative_to(ROOT) and not file.is_relative_to(BUILD.resolve()):
            found.setdefault(file, meaning(entry["command"]))
    for file in ROOT.glob("test/fuzz/*.c"):
        found[file] = ["-std=gnu11", "-D_GNU_SOURCE", f"-I{ROOT}", "-Wno-missing-prototypes"] # of libc's functions under other names
    return found


def words(checker, file, own, more):
    if checker == "clang-tidy":
        shallow = [f"--extra-arg={word}" for word in ("-Xclang", "-analyzer-config", "-Xclang", "mode=shallow")] # a twentieth of the time
        return [checker, "--quiet", *shallow, file, *more, "--", *own]
    if checker == "cppcheck": # it finds no header of the system's, and needs none
        return [checker, "--quiet", *more, *(f for f in own if f[:2] in ("-D", "-U", "-I")), file]
    return [checker, *more, *own, "-O2", "-c", "-o", "/dev/null", file] # some warnings come of optimizing


def check(command):
    done = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if not line.endswith(("warning generated.", "warnings generated."))]
    if done.returncode and not said:
        said = [f"{command[0]} ended with {done.returncode}: {command[-1]}"]
    if said:
        print("\n".join(said).replace(f"{ROOT}/", ""), flush=True)
    return not said


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in ("gcc", "clang", "clang-tidy", "cppcheck"):
        sys.exit(__doc__)
    commands = [words(sys.argv[1], file, own, sys.argv[2:]) for file, own in units().items()]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        sys.exit(not all(list(pool.map(check, commands))))


main()
