#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what MwComms costs beside native servers and HAProxy: speed, latency, CPU per request, idle memory.

All setups of an application run at once, idle but for the one that is measured; the rounds go through them in turn.
"""
import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import report
from apps import NGINX_NOTE
from cases import CASES, IDLE, IDLE_WHAT, NAMES, REACT, REACT_WHAT
from lab import Lab
from measure import measure_all
from procs import Failure
from setups import REPOSITORY, SETUPS, Bench, versions

PACKAGES = ("nginx", "redis-server", "redis-tools", "haproxy", "wrk")
TOOLS = {"setpriv": "util-linux"}
APP_TOOLS = {"nginx": {"nginx": "nginx", "curl": "curl"},
             "redis": {"redis-server": "redis-server", "redis-benchmark": "redis-tools", "redis-cli": "redis-tools"}}
LAB_TOOLS = {"ip": "iproute2", "nft": "nftables"}


class Problems:
    """What went wrong, said at once and counted for the exit status."""

    def __init__(self):
        self.texts = []

    def add(self, text):
        self.texts.append(text)
        print(f"FAILED {text}", flush=True)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="Exit status: 0, or 1 when a "
                                     "measurement failed or a server did not start. Missed targets do not change it.")
    parser.add_argument("--quick", action="store_true", help="a smoke test: 1 round of 1 second, 500 idle connections")
    parser.add_argument("--rounds", type=int, help="rounds through all setups (default 5)")
    parser.add_argument("--seconds", type=int, help="length of one measurement (default 3)")
    parser.add_argument("--idle", type=int, metavar="N", help="idle connections (default 2000)")
    parser.add_argument("--only", metavar="CASE,...", help="these cases only; see --list")
    parser.add_argument("--setups", metavar="SETUP,...", help="these setups only, and those they are compared with")
    parser.add_argument("--mw", type=Path, default=REPOSITORY / "build/mw", help="the mw binary (default build/mw)")
    parser.add_argument("--without-mw", action="store_true", help="leave out the setups that need mw")
    parser.add_argument("--json", type=Path, default=REPOSITORY / "build/bench.json", metavar="FILE",
                        help="where all figures go (default build/bench.json)")
    parser.add_argument("--list", action="store_true", help="list cases and setups")
    options = parser.parse_args(argv)
    for name, quick, full in (("rounds", 1, 5), ("seconds", 1, 3), ("idle", 500, 2000)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    options.only = chosen(parser, "--only", options.only, NAMES)
    options.setups = with_bases(chosen(parser, "--setups", options.setups, tuple(SETUPS)))
    return options


def chosen(parser, option, text, known):
    names = text.split(",") if text else known
    for name in names:
        if name not in known:
            parser.error(f"{option}: no such name: {name} (there are: {', '.join(known)})")
    return [name for name in known if name in names]


def with_bases(names):
    wanted = set(names) | {SETUPS[name].base for name in names}
    return [name for name in SETUPS if name in wanted]


def print_list():
    print("cases")
    for name, what in [(case.name, case.what) for case in CASES] + [(IDLE, IDLE_WHAT), (REACT, REACT_WHAT)]:
        print(f"  {name:<18}{what}")
    print("setups")
    for setup in SETUPS.values():
        print(f"  {setup.name:<18}{setup.what}")


def preflight(options):
    """Takes out the setups that are not wanted; Failure when something that is needed is not there."""
    if options.without_mw:
        options.setups = [name for name in options.setups if not SETUPS[name].mw]
        print("note: --without-mw: the mw setups are left out, and the targets with them")
    elif any(SETUPS[name].mw for name in options.setups) and not os.access(options.mw, os.X_OK):
        raise Failure(f"{options.mw} is not there or not executable: build it first (make), or give --without-mw")
    options.mw = options.mw.resolve()
    missing = {tool: package for tool, package in needed(options).items() if not find(tool)}
    if missing:
        raise Failure(f"missing programs: {', '.join(missing)}; install them with: "
                      f"apt-get install {' '.join(sorted(set(missing.values())))}")
    if os.geteuid() and any(SETUPS[name].isolated for name in options.setups):
        raise Failure("namespaces need root: run as root, or choose setups without them: --setups mw-host,haproxy")
    if os.geteuid() and REACT in options.only and any(SETUPS[name].mw for name in options.setups):
        raise Failure(f"{REACT} needs root: run as root, or choose others by --only")


def needed(options):
    tools = dict(TOOLS)
    for app in apps_of(options):
        tools |= APP_TOOLS[app]
    if set(options.only) & {case.name for case in CASES if case.app == "nginx"}:
        tools["wrk"] = "wrk"
    if "haproxy" in options.setups:
        tools["haproxy"] = "haproxy"
    return tools | LAB_TOOLS if any(SETUPS[name].isolated for name in options.setups) else tools


def apps_of(options):
    return ({"nginx"} if {IDLE, REACT} & set(options.only) else set()) | {case.app for case in CASES if case.name in options.only}


def find(tool):
    return shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def machine():
    return {"cores": len(os.sched_getaffinity(0)), "kernel": platform.release(), "machine": platform.machine(),
            "versions": versions(PACKAGES), "load": os.getloadavg()}


def run(options, problems):
    about = machine()
    print(f"{about['cores']} cores, Linux {about['kernel']}, load {about['load'][0]:.2f}; "
          + ", ".join(f"{name} {version}" for name, version in about["versions"].items()))
    print(f"nginx: {NGINX_NOTE}; wrk -t 1; rounds: {options.rounds}, {options.seconds} s a measurement\n", flush=True)
    sweep_work()
    with ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"mwbench-{os.getpid()}-"))
        os.chmod(work, 0o755)       # nginx's worker is www-data
        isolated = any(SETUPS[name].isolated for name in options.setups)
        lab = stack.enter_context(Lab()) if isolated else None
        samples, memory, react = measure_all(options, Bench(work, lab, options.mw), problems)
    summary = report.summarise(samples)
    verdicts = report.judge(summary, memory, react)
    print()
    for line in (*report.table_lines(summary, memory, react), *report.quiet_lines(samples), *report.verdict_lines(verdicts)):
        print(line)
    write_json(options.json, {"machine": about, "rounds": options.rounds, "seconds": options.seconds,
                              "summary": summary, "idle": memory, "react": react, "targets": verdicts,
                              "failures": problems.texts, "samples": samples})
    if problems.texts:
        print(f"\nnot all could be measured; failed: {len(problems.texts)}")
        for text in problems.texts:
            print(f"  {text.splitlines()[0].removesuffix('; its last words:')}")


def sweep_work():
    """Removes the directories of benchmark runs that were killed."""
    for path in Path(tempfile.gettempdir()).glob("mwbench-*-*"):
        pid = path.name.split("-")[1]
        if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            shutil.rmtree(path, ignore_errors=True)


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"\nall figures: {path}")


def leave(number, _frame):
    """Unwinds through every clean-up, undisturbed by further signals."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    print(f"\n{signal.Signals(number).name}: ending all that was started", flush=True)
    sys.exit(128 + number)


def main(argv):
    options = parse(argv)
    if options.list:
        print_list()
        return 0
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, leave)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    problems = Problems()
    try:
        preflight(options)
        run(options, problems)
    except Failure as failure:
        problems.add(str(failure))
    return 1 if problems.texts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
