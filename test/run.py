#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests that meson.build declares: run.py [OPTIONS] BUILD... [PATTERN...]

Several run at once, since most of their time is waiting; those with the longest time limit first. None meets another: each has a
network of its own, made by itself or, for root, here. A program that prints TAP counts by its cases; any other counts as one, by its
exit status (77: skipped).
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

SKIPPED_STATUS = 77
CPUS = os.cpu_count()
JOBS = min(3 * CPUS, 12)
HEAVY = {"vm", "xen"}   # suites whose programs keep a core busy, emulating a machine
ALONE = ("unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh") if os.geteuid() == 0 else ()
IN_ONE = {"same", "hostile", "door"}    # suites of programs that take the network they are in; others make their own, or use none
RESULT = re.compile(r"^\s*(not ok|ok)\b\s*(\d*)\s*(?:-\s*)?(.*)$")
PLAN = re.compile(r"^\s*1\.\.(\d+)\s*(?:#\s*SKIP\b\s*(.*))?$", re.I)
SKIP = re.compile(r"(.*?)\s*#\s*SKIP\S*\s*(.*)$", re.I)
REPORT = re.compile(r"ERROR: \w+Sanitizer|runtime error: |ASan runtime does not come first")
COLOURS = {"ok": "32", "FAILED": "31", "skipped": "33"}
running = set()
shown = sys.stdout.isatty() and "NO_COLOR" not in os.environ


@dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: list = field(default_factory=list)     # (case, reason)
    problems: list = field(default_factory=list)    # what is wrong with the run as a whole

    def word(self):
        return "FAILED" if self.failed else "ok" if self.passed else "skipped"

    def counts(self):
        parts = [f"{self.passed} passed"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{len(self.skipped)} skipped"] if self.skipped else []
        return ", ".join(parts)


class Run:
    """What is to be run yet, and what has come of the rest; workers share it."""

    def __init__(self, tests, again):
        self.waiting = sorted(tests, key=lambda test: -(test["timeout"] or 1 << 20))   # 0: its own
        self.total, self.failing, self.repeated, self.again, self.stopped = Outcome(), [], [], again, False
        self.rest = []      # failed, and run again when nothing else runs
        self.width = max((len(test["title"]) for test in tests), default=0)
        self.lock, self.heavy = threading.Lock(), 0

    def next(self):
        """The first that may run beside those that do; who finds none is not needed any more."""
        with self.lock:
            for test in self.waiting if not self.stopped else ():
                heavy = bool(test["suites"] & HEAVY)
                if not heavy or self.heavy < CPUS:
                    self.heavy += heavy
                    self.waiting.remove(test)
                    return test
        return None

    def work(self):
        while test := self.next():
            self.one(test)
            with self.lock:
                self.heavy -= bool(test["suites"] & HEAVY)

    def work_alone(self):
        while self.rest:
            self.one(self.rest.pop(0))

    def one(self, test):
        outcome, text, seconds = run(test)
        with self.lock:
            show(test, self.width, outcome, text, seconds)
            if outcome.failed and self.repeated.count(test["title"]) < self.again:
                self.repeated.append(test["title"])
                self.rest.append(test)
                return
            self.total.passed += outcome.passed
            self.total.failed += outcome.failed
            self.total.skipped += outcome.skipped
            self.failing += [test["title"]] if outcome.failed else []


def main():
    options = arguments()
    tests = [test for build in options.builds for test in declared(build)
             if wanted(test, options.suite, options.patterns)]
    if options.list:
        for test in tests:
            print(test["title"])
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)    # in the background it was ignored: not what a program starts with
    state = Run(tests, options.again)
    threads = [threading.Thread(target=state.work, daemon=True) for _ in range(options.jobs)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
        state.work_alone()
    except KeyboardInterrupt:
        state.stopped = True
        for child in list(running):
            end_group(child)
        sys.exit(130)
    if state.repeated:
        print("failed and run again: " + ", ".join(state.repeated))
    if state.failing:
        print("failing: " + ", ".join(state.failing))
    if not tests:
        print("no test has such a name; --list shows them")
    print(f"{state.total.passed} passed, {state.total.failed} failed, {len(state.total.skipped)} skipped", flush=True)
    return 1 if state.total.failed or not state.total.passed else 0


def arguments():
    parser = argparse.ArgumentParser(description="Run the tests that meson.build declares.")
    parser.add_argument("words", nargs="+", metavar="BUILD|PATTERN",
                        help="build directories, then parts of names: only tests with one of them in their name")
    parser.add_argument("--suite", action="append", default=[], help="only tests of this suite (repeatable)")
    parser.add_argument("--again", type=int, default=0, metavar="N",
                        help="run a test that failed again in the end, alone, up to N times: a busy machine is told from a fault. It is said")
    parser.add_argument("--jobs", type=int, default=JOBS, metavar="N", help="so many at once (%(default)s)")
    parser.add_argument("--list", action="store_true", help="names, without running anything")
    options = parser.parse_args()
    options.builds = [word for word in options.words if (Path(word) / "meson-info").is_dir()]
    options.patterns = [word for word in options.words if word not in options.builds]
    if not options.builds:
        parser.error(f"{options.words[0]} is not a build directory: run make")
    return options


def declared(build):
    """What `meson introspect --tests` says; titles name the build where it is not the first one's default."""
    done = subprocess.run(["meson", "introspect", "--tests", build], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"run.py: meson introspect --tests {build}: {done.stderr.strip() or done.stdout.strip()}")
    tests = json.loads(done.stdout)
    for test in tests:
        test["build"] = Path(build).resolve()
        test["suites"] = {suite.rpartition(":")[2] for suite in test["suite"]}
        test["title"] = f"{Path(build).name}/{test['name']}"
    return tests


def wanted(test, suites, patterns):
    return (not suites or test["suites"] & set(suites)) and (not patterns or any(p in test["title"] for p in patterns))


def run(test):
    """Its outcome, what it said, and how long it took."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        status = execute(test, output)
        output.seek(0)
        text = output.read().decode(errors="replace")
    outcome = judge(text, status, test["timeout"])
    if REPORT.search(text): # it may be of a program whose end is the same natively and protected
        problem(outcome, "a sanitizer reported")
    return outcome, text, time.monotonic() - started


def show(test, width, outcome, text, seconds):
    print(f"{test['title']:{width}}  {seconds:7.1f} s  {colour(outcome.word())}  {outcome.counts()}", flush=True)
    for case, reason in outcome.skipped:
        print(f"    skipped: {case}{': ' if case and reason else ''}{reason}")
    if outcome.failed:
        report(text, outcome)


def report(text, outcome):
    for line in text.splitlines():
        print(f"    | {line}")
    for problem in outcome.problems:
        print(f"    {problem}")
    sys.stdout.flush()


def colour(word):
    return f"\033[{COLOURS[word]}m{word}\033[0m" if shown else word


def execute(test, output):
    """Its exit status, or None after the time limit."""
    env = {**os.environ, "MW_BUILD": str(test["build"]), **test["env"]}
    env.setdefault("CMOCKA_MESSAGE_OUTPUT", "TAP")
    try:
        child = subprocess.Popen([*(ALONE if test["suites"] & IN_ONE else ()), *test["cmd"]], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                 cwd=test["workdir"] or test["build"], env=env, start_new_session=True)
    except OSError as e:
        output.write(f"cannot start {test['cmd'][0]}: {e.strerror}\n".encode())
        return 127
    running.add(child)
    try:
        return child.wait(test["timeout"] or None)
    except subprocess.TimeoutExpired:
        return None
    finally:
        end_group(child)
        running.discard(child)


def end_group(child):
    """The program and what it left in its process group: asked, then made to."""
    for number, seconds in ((signal.SIGTERM, 3), (signal.SIGKILL, 3)):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    child.wait()


def judge(text, status, limit):
    outcome, planned, seen = Outcome(), 0, 0
    tap = any(map(PLAN.match, text.splitlines()))
    for line in text.splitlines():
        plan, result = PLAN.match(line), RESULT.match(line)
        if plan:    # cmocka prints one for each group
            planned += int(plan[1])
            if plan[1] == "0":
                outcome.skipped.append(("", plan[2] or "nothing to run"))
        elif result and tap:
            seen += 1
            count(outcome, *result.group(1, 3))
    if not tap:
        return without_tap(status, limit)
    if status is None:
        problem(outcome, f"no end after {limit} s")
    elif seen != planned:
        problem(outcome, f"{seen} of {planned} planned cases reported; {ended(status)}")
    elif status not in (0, SKIPPED_STATUS) and not outcome.failed:
        problem(outcome, f"no case failed, but it {ended(status)}")
    return outcome


def count(outcome, word, name):
    skip = SKIP.match(name)
    if word == "not ok":
        outcome.failed += 1
    elif skip:
        outcome.skipped.append((skip[1], skip[2]))
    else:
        outcome.passed += 1


def without_tap(status, limit):
    outcome = Outcome()
    if status == 0:
        outcome.passed = 1
    elif status == SKIPPED_STATUS:
        outcome.skipped.append(("", "its own decision (status 77)"))
    else:
        problem(outcome, f"no end after {limit} s" if status is None else f"it {ended(status)}")
    return outcome


def problem(outcome, text):
    outcome.failed += 1
    outcome.problems.append(text)


def ended(status):
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


if __name__ == "__main__":
    sys.exit(main())
