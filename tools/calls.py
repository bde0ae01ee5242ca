#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The system calls that each confined process may make, with the reasons that stand beside them in the source, as doc/threat-model.md has
them. Fails when the page differs, when an INS's worker may make more than 30, or its keeper as many as the worker.

usage: calls.py [--write | PROCESS]     (in the project's root; worker, keeper, starter, depot: the calls' names, one a line)
"""
import pathlib
import re
import sys

WORKER_MAX = 30
PAGE = pathlib.Path("doc/threat-model.md")
BEGIN, END = "<!-- calls: made by tools/calls.py --write -->\n", "<!-- calls: end -->\n"
STRING = r'((?:\s*"(?:[^"\\]|\\.)*")+)'
ROW = re.compile(r"\b(?:(CALL)\(([WKSD]+), (\w+)," + STRING + r"\)|(ONLY)\(([WKSD]+), (\w+)," + STRING + r"," + STRING + r",|MORE\(([WKSD]+), (\w+),)")
WHOSE = {"W": {"worker"}, "K": {"keeper"}, "WK": {"worker", "keeper"}, "WD": {"worker"}, "S": set()}


def text(literals):
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals))


def rows():
    """{call: [whose, limit, reason]} of ins/calls.c."""
    found = {}
    for match in ROW.finditer(pathlib.Path("ins/calls.c").read_text()):
        call, whose, name, reason, only, only_whose, only_name, limit, only_reason, more_whose, more_name = match.groups()
        if call:
            found[name] = [set(WHOSE[whose]), "", text(reason)]
        elif only:
            found[only_name] = [set(WHOSE[only_whose]), text(limit), text(only_reason)]
        elif more_name not in found:
            sys.exit(f"ins/calls.c: MORE of {more_name} has no ONLY above it")
        else:
            found[more_name][0] |= WHOSE[more_whose]
    return found


def depot():
    body = pathlib.Path("broker/depot.c").read_text()
    return {name: text(reason) for name, reason in re.findall(r"^\tCALL\((\w+)," + STRING + r"\),$", body, re.M)}


def denied(path):
    """(what for, calls) of each group of a list of refused calls."""
    body = re.search(r"static const int \w+\[\] = \{\n(.*?)\n\};", pathlib.Path(path).read_text(), re.S)[1]
    for reason, calls in re.findall(r"/\* (.*?) \*/\n((?:\tSCMP.*\n?)+)", body):
        yield reason, re.findall(r"SCMP_SYS\((\w+)\)", calls)


def of(process, table):
    """The names that one process may call."""
    if process == "depot":
        return sorted(depot())
    return sorted(name for name, (whose, _, _) in table.items() if process in whose or process == "starter")


def ins_table(table):
    yield "| call | worker | keeper | limited to | for |\n|---|---|---|---|---|\n"
    for name, (whose, limit, reason) in sorted(table.items(), key=lambda item: (not item[1][0], "worker" not in item[1][0], item[0])):
        yield f"| {name} | {'yes' if 'worker' in whose else ''} | {'yes' if 'keeper' in whose else ''} | {limit} | {reason} |\n"


def page():
    table = rows()
    parts = [f"The worker may make {len(of('worker', table))} system calls, of which mmap only where the application is another machine's; the keeper "
             f"{len(of('keeper', table))}; the starter those of both and the last ones, {len(of('starter', table))} in all.\n\n"]
    parts += [*ins_table(table), f"\nThe depot may make {len(depot())}:\n\n| call | for |\n|---|---|\n"]
    parts += [f"| {name} | {reason} |\n" for name, reason in sorted(depot().items())]
    parts += ["\nRefused to mw-names and mw-telem (EPERM), beside processes of their own and raw sockets:\n\n| for | calls |\n|---|---|\n"]
    parts += [f"| {reason} | {', '.join(calls)} |\n" for reason, calls in denied("lib/deny.c")]
    parts += [f"| mw-telem: {reason} | {', '.join(calls)} |\n" for reason, calls in denied("telem/sandbox.c")]
    return "".join(parts)


def main():
    table = rows()
    if sys.argv[1:] and sys.argv[1] in ("worker", "keeper", "starter", "depot"):
        print("\n".join(of(sys.argv[1], table)))
        return
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    inside, end, after = rest.partition(END)
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(before + begin + page() + end + after)
    elif sys.argv[1:]:
        sys.exit(__doc__)
    elif inside != page():
        sys.exit(f"{PAGE}: its tables are not those of the source: tools/calls.py --write")
    worker, keeper = len(of("worker", table)), len(of("keeper", table))
    if worker > WORKER_MAX or keeper >= worker:
        sys.exit(f"ins/calls.c: {worker} system calls of the worker, {keeper} of the keeper; at most {WORKER_MAX}, and fewer")


main()
