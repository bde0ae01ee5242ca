# SPDX-License-Identifier: Apache-2.0
"""Cases: declared with @case, run one after the other on a machine of their own, reported as TAP.

A case gets a Case: an ExitStack that knows the network mode and says what to clean up. Each has a time limit;
whatever process or nftables rule it leaves behind fails it, and processes are ended. Rules of others are there too, and must stay.
"""
import os
import re
import signal
import sys
import time
import traceback
from contextlib import ExitStack

from . import machine, procs, rules

NETS = ("isolated", "host")
CASES = []
patience = 1    # a case's limit is that many times longer


class Failed(Exception):
    """Something is not as it must be; the text says what."""


class Skip(Exception):
    """Cannot be tested here; the text says why."""


class TimedOut(BaseException):
    """Not an Exception: nothing but the runner may catch it."""


class Case(ExitStack):
    def __init__(self, net):
        super().__init__()
        self.net = net
        self.notes = []

    def note(self, text):
        """A line for the reader, printed with the result."""
        self.notes.append(text)


def case(name, limit=20, nets=(None,), long=False):
    """long: takes many minutes, and runs only where MW_LONG is set (make check-long)."""
    def declare(function):
        for net in nets if not long or "MW_LONG" in os.environ else ():
            CASES.append((f"{name} ({net})" if net else name, limit, net, function))
        return function
    return declare


def check(good, text):
    if not good:
        raise Failed(text() if callable(text) else text)


def equal(seen, wanted, what):
    check(seen == wanted, lambda: f"{what}: {seen!r}, not {wanted!r}")


def matches(text, pattern, what):
    check(re.search(pattern, text, re.M), lambda: f"{what}: no match of {pattern!r} in:\n{text.strip()}")


def until(seconds, ready, what, step=0.02):
    """What ready() returns as soon as it is true; Failed after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        value = ready()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"{what() if callable(what) else what}: not within {seconds} s")
        time.sleep(step)


def main():
    """Runs the cases whose name contains one of the arguments, or all. --list: says their names, and runs nothing."""
    if sys.argv[1:] == ["--list"]:
        print(*(name for name, *_ in CASES), sep="\n")
        return
    if not machine.enter():
        print("1..0 # SKIP needs root")
        return
    wanted = [c for c in CASES if len(sys.argv) < 2 or any(word in c[0] for word in sys.argv[1:])]
    failed = 0
    print(f"1..{len(wanted)}", flush=True)
    for number, (name, limit, net, function) in enumerate(wanted, 1):
        failed += not run_one(number, name, limit, net, function)
    sys.exit(1 if failed else 0)


def run_one(number, name, limit, net, function):
    started = time.monotonic()
    current = Case(net)
    before, found = procs.table(), rules.before()
    good, why, skipped = limited(current, limit, function)
    left = procs.end_all(procs.table().keys() - before.keys())
    if left:
        good, why = False, why + "processes left behind: " + ", ".join(f"{p.pid} {p.comm}" for p in left)
    changed = rules.after(found)
    if changed:
        good, why = False, why + changed
    text = f"{'ok' if good else 'not ok'} {number} - {name}"
    print(text + (f" # SKIP {skipped}" if skipped else ""), flush=True)
    for line in [*current.notes, *why.splitlines(), f"{time.monotonic() - started:.2f} s"]:
        print(f"# {line}", flush=True)
    return good


def limited(current, limit, function):
    """(good, why not, why skipped); the limit is for the case, and once more 20 s for its cleaning up."""
    why, skipped = [], ""

    def attempt(seconds, what):
        nonlocal skipped
        signal.alarm(seconds)
        try:
            what()
        except Skip as skip:
            skipped = str(skip)
        except Failed as failure:
            why.append(f"{failure}\n{place(failure)}")
        except TimedOut as late:
            why.append(f"no end after {seconds} s\n{place(late)}")
        except Exception:  # a case that breaks must not stop the next
            why.append(traceback.format_exc())
        finally:
            signal.alarm(0)

    signal.signal(signal.SIGALRM, alarmed)
    attempt(limit * patience, lambda: function(current))
    attempt(20, current.close)
    return not why, "\n".join(why), skipped


def alarmed(*_):
    raise TimedOut


def place(error):
    return "\n".join(f"  at {frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
                     if "/lib/tap.py" not in frame.filename)
