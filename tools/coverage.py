#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the tests run of the code: coverage.py report BUILD | run BUILD [run.py's arguments]

BUILD is made with clang's counters (`make coverage`). They are in a file that each process maps as it starts (%c), so they count in
processes that may open nothing any more, and survive kill -9: gcov, which writes at exit, sees neither. One file for each program (%m).
The report has lines and branches by folder, and fails below LINES and BRANCHES for any of FOLDERS. Nothing is left out: asserts count with
their branch that is never taken, and so does what needs Xen or another machine's kernel, whose counters stay there. What several
programs are made of counts where any of them runs it. Runs add up until BUILD/prof is removed; of a function that was changed, those since.
"""
import json
import os
import struct
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("chan", "shim", "ins", "stack", "telem", "broker", "front")
LINES, BRANCHES = 85, 75     # percent


def for_all(folder):
    """Whatever a program's umask, any user may write what is made in it (acl(5): an owner's, a group's and others' default entry)."""
    entries = b"".join(struct.pack("<HHi", tag, 7, -1) for tag in (1, 4, 0x20))
    os.setxattr(folder, "system.posix_acl_default", struct.pack("<I", 2) + entries)


def run(build, arguments):
    counters = build / "prof"
    counters.mkdir(exist_ok=True)
    counters.chmod(0o777)    # servers' workers are other users
    for_all(counters)
    env = {**os.environ, "LLVM_PROFILE_FILE": f"{counters}/%m%c.profraw"}
    subprocess.run([sys.executable, ROOT / "test" / "run.py", *arguments, build], env=env, check=False)


def programs(build):
    """What may have counters: programs and libraries in the build folder itself."""
    return sorted(p for p in build.iterdir() if p.is_file() and os.access(p, os.X_OK) and p.suffix in ("", ".so"))


def files(build):
    """(path, its numbers) of each source file, of whichever programs it is in."""
    raw = sorted((build / "prof").glob("*.profraw"))
    if not raw:
        sys.exit(f"coverage.py: nothing in {build}/prof: make coverage")
    merged = build / "prof" / "all.profdata"
    subprocess.run(["llvm-profdata", "merge", "-sparse", "-failure-mode=all", *raw, "-o", merged], check=True)
    first, *others = programs(build)
    command = ["llvm-cov", "export", "-summary-only", "-instr-profile", merged, first]
    for other in others:
        command += ["-object", other]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for entry in json.loads(done.stdout)["data"][0]["files"]:
        path = Path(os.path.relpath(entry["filename"], ROOT))
        yield path, entry["summary"]


def report(build):
    sums = defaultdict(lambda: [0, 0, 0, 0])
    for path, numbers in sorted(files(build)):
        row = [numbers["lines"]["covered"], numbers["lines"]["count"], numbers["branches"]["covered"], numbers["branches"]["count"]]
        if path.parts[0] in FOLDERS:
            print(line(str(path), row))
            sums[path.parts[0]] = [a + b for a, b in zip(sums[path.parts[0]], row)]
    print()
    low = []
    for folder in FOLDERS:
        print(line(folder, sums[folder]))
        if percent(*sums[folder][:2]) < LINES or percent(*sums[folder][2:]) < BRANCHES:
            low.append(folder)
    if low:
        print(f"less than {LINES} % of lines or {BRANCHES} % of branches: {', '.join(low)}")
    return 1 if low else 0


def percent(part, whole):
    return 100 * part / whole if whole else 100


def line(name, row):
    return f"{name:32} lines {percent(*row[:2]):5.1f} % of {row[1]:5}   branches {percent(*row[2:]):5.1f} % of {row[3]:5}"


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("run", "report"):
        print("usage: tools/coverage.py run|report BUILD [test/run.py's arguments...], or make coverage", file=sys.stderr)
        return 2
    build = Path(sys.argv[2]).resolve()
    if sys.argv[1] == "run":
        run(build, sys.argv[3:])
        return 0
    return report(build)


sys.exit(main())
