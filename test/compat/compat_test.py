#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real servers and clients doing their real work, natively and protected, and what differs.

compat_test.py [--write] [--list] [NAME...]: cases are cases/NAME.py (lab.py says what one is). Each runs natively,
then with --net isolated, then with --net host, every pass on a machine of its own, and the transcripts are compared.
The rows of doc/compatibility.md must say what this run saw; --write puts that there.
"""
import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "net")]

import table  # noqa: E402
from lab import Lab  # noqa: E402
from lib import machine, procs, tap  # noqa: E402

PASSES = {"native": None, "isolated": "isolated", "host": "host"}
LIMIT_SECONDS = 90
CLEANING_SECONDS = 30
MAKEFILE = HERE.parents[1] / "Makefile"


def main():
    parser = argparse.ArgumentParser(description="Compare real servers natively and protected.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases; default: all")
    parser.add_argument("--write", action="store_true", help="put what was seen into doc/compatibility.md")
    parser.add_argument("--list", action="store_true", help="names and titles, without running anything")
    parser.add_argument("--passes", default=",".join(PASSES),
                        help="only these; no table then (%(default)s)")
    parser.add_argument("--one-pass", help=argparse.SUPPRESS)
    options = parser.parse_args()
    every = sorted(path.stem for path in (HERE / "cases").glob("*.py") if path.stem != "__init__")
    names = options.names or every
    if unknown := set(names) - set(every):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if options.one_pass:
        return one_pass(load(names[0]), options.one_pass)
    if options.list:
        for name in names:
            print(f"{name:16} {load(name).TITLE}")
        return 0
    if os.geteuid():
        print("1..0 # SKIP needs root")
        return 0
    return run_all(names, every, options)


def load(name):
    return importlib.import_module(f"cases.{name}")


# --- the one that compares ---

def run_all(names, every, options):
    passes = options.passes.split(",")
    whole = passes == list(PASSES)
    print(f"1..{len(names) + whole}", flush=True)
    failed, rows = 0, {}
    for number, name in enumerate(names, 1):
        started = time.monotonic()
        rows[name], text = run_case(name, passes)
        failed += bool(text)
        print(f"{'not ok' if text else 'ok'} {number} - {name}")
        for line in [*text.splitlines(), f"{time.monotonic() - started:.1f} s"]:
            print(f"# {line}", flush=True)
    if whole:
        if options.write:
            table.write(rows, every)
        text = table.differences(rows, every)
        failed += bool(text)
        print(f"{'not ok' if text else 'ok'} {len(names) + 1} - doc/compatibility.md says what was seen")
        for line in text.splitlines():
            print(f"# {line}", flush=True)
    return 1 if failed else 0


def run_case(name, passes):
    """(row of the table, what is wrong)"""
    module = load(name)
    row = {"title": module.TITLE, "work": module.WORK}
    if missing := lacking(module.PACKAGES):
        return {**row, "isolated": "?", "host": "?"}, missing
    native, text = None, ""
    for which in passes:
        seen = start_pass(module, name, which)
        if which == "native":
            native = seen
            text += f"native: {seen['why']}\n{seen['said']}\n" if seen["why"] else ""
            if text:
                return {**row, "isolated": "?", "host": "?"}, text
        else:
            row[which], wrong = judge(native, seen)
            text += f"{which}: {wrong}\n{seen['said']}\n" if wrong else ""
    return row, text


def lacking(packages):
    named = MAKEFILE.read_text().split()
    if unnamed := [p for p in packages if p not in named]:
        return f"not in the Makefile's PACKAGES: {' '.join(unnamed)}"
    done = subprocess.run(["dpkg-query", "-W", "-f=${db:Status-Status} ${Package}\n", *packages], text=True,
                          capture_output=True, check=False)
    there = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("installed ")}
    missing = [p for p in packages if p not in there]
    return f"not installed: {' '.join(missing)}: run make deps" if missing else ""


def judge(native, seen):
    """(cell of the table, what is wrong)"""
    if native is None:
        return "?", seen["why"]
    keys, wrong = [], []
    for (key, wanted), (other, value) in zip(native["lines"], seen["lines"]):
        if key != other:
            wrong.append(f"natively {key!r} comes next, protected {other!r}")
            keys.append(key)
            break
        if wanted != value:
            wrong.append(f"{key}:\n  native    {wanted!r}\n  protected {value!r}")
            keys.append(key)
    rest = native["lines"][len(seen["lines"]):]
    if seen["why"]:
        wrong.append(seen["why"])
    if not keys and rest:
        keys.append(rest[0][0])
        wrong.append(f"ended before {rest[0][0]!r}")
    if keys or wrong:
        return "differs: " + "; ".join(keys or ["its end"]), "\n".join(wrong)
    return f"same ({len(native['lines'])} lines)", ""


def start_pass(module, name, which):
    """{'lines': transcript, 'why': what went wrong or '', 'said': by the programs} of one pass: a process, a machine of its own."""
    limit = getattr(module, "LIMIT", LIMIT_SECONDS) + 2 * CLEANING_SECONDS
    argv = [sys.executable, str(HERE / "compat_test.py"), "--one-pass", which, name]
    env = {k: v for k, v in os.environ.items() if k != machine.MARK}
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env=env)
    try:
        out, err = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        child.kill()    # unshare --kill-child: the machine goes with it
        out, err = child.communicate()
        return {"lines": [], "why": f"no end after {limit} s: {err[-2000:]}", "said": ""}
    finally:
        if child.poll() is None:
            child.kill()
    try:
        return json.loads(out.splitlines()[-1])
    except (IndexError, ValueError):
        return {"lines": [], "why": f"status {child.returncode}: {(out + err)[-3000:]}", "said": ""}


# --- the one that does the work, in a machine of its own ---

def one_pass(module, which):
    machine.enter()
    lab = Lab(PASSES[which])
    before = procs.table()
    signal.signal(signal.SIGALRM, alarmed)
    why = attempt(getattr(module, "LIMIT", LIMIT_SECONDS), lambda: module.work(lab))
    said = lab.logs()
    why += attempt(CLEANING_SECONDS, lab.close)
    if not lab.native and not why:
        left = procs.end_all(procs.table().keys() - before.keys())
        why = "processes left behind: " + ", ".join(f"{p.pid} {p.comm}" for p in left) if left else ""
    print(json.dumps({"lines": lab.transcript, "why": why, "said": said}), flush=True)
    return 0


def attempt(seconds, what):
    """'' or what went wrong."""
    signal.alarm(seconds)
    try:
        what()
    except tap.Failed as failure:
        return f"{failure}\n{tap.place(failure)}"
    except tap.TimedOut as late:
        return f"no end after {seconds} s\n{tap.place(late)}"
    except Exception:  # the report must come
        return traceback.format_exc()
    finally:
        signal.alarm(0)
    return ""


def alarmed(*_):
    raise tap.TimedOut


if __name__ == "__main__":
    sys.exit(main())
