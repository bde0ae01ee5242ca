# SPDX-License-Identifier: Apache-2.0
"""What is typed wrongly, and where it is said to: every program, subcommand and option of lib/words.py, times each fault.

Each is answered with one line on stderr that says what is wrong and where help is, nothing on stdout, status 2, at once; and what has
neither a row nor a value there fails.
"""
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lib import machine, mw, tap
from lib.mw import App
from lib.tap import case, check, equal, matches
from lib.words import ABSENT, HELPERS, NAME, NOT_UTF8, ODD, OTHERS, ROWS, TWO_LINES

SECONDS = 5
TOOLS = Path(__file__).resolve().parents[2] / "tools"
TERMS = ("", "dumb", "no-such-terminal")


def given(words, *more, program=None, **how):
    """(status, stdout, stderr) of a call; bytes that are no UTF-8 are shown as such."""
    began = time.monotonic()
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    done = subprocess.run([program or machine.MW, *map(os.fsencode, (*words, *more))], timeout=4 * SECONDS, check=False, **how)
    check(time.monotonic() - began < SECONDS, f"{words} {more}: {time.monotonic() - began:.1f} s")
    return done.returncode, (done.stdout or b"").decode(errors="replace"), (done.stderr or b"").decode(errors="replace")


def refused(words, *more, status=2, pattern="", **how):
    """One line, that names whose it is, with no byte that a terminal takes for more than text."""
    what = f"mw {' '.join(words)} {[m[:60] for m in more]!r}"
    seen, out, err = given(words, *more, **how)
    equal(seen, status, f"{what}: status; it said {err[:300]!r}")
    equal(out, "", f"{what}: stdout")
    check(err.endswith("\n") and err.count("\n") == 1, f"{what}: not one line: {err!r}")
    check(all(" " <= ch <= "~" for ch in err[:-1]), f"{what}: {err!r}")
    check(len(err) < 700, f"{what}: {len(err)} bytes")
    if status == 2:
        first = words[0] if words else ""
        matches(err, rf"^mw( {first}( \w+)?)?: .*; see `mw ({first} (\w+ )?)?--help`$", what)
    if pattern:
        matches(err, pattern, what)


def all_refused(calls, **how):
    """Four at a time."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda call: refused(*call, **how), calls))


def rows(group):
    return [(words, row) for words, row in ROWS.items() if words[0] in group]


# --- the table has all ---

def help_of(*words):
    status, out, err = given(words, "--help")
    equal((status, err), (0, ""), f"mw {' '.join(words)} --help")
    return out


def subcommands(command):
    """What its usage says can follow it, in lower case."""
    usage = help_of(command).split("\n\n")[0]
    return sorted(set(re.findall(rf"mw {command} ([a-z]+)", usage)) | set(re.findall(r"\| ([a-z]+)", usage))) if command in ("ins", "xen") else []


@case("the table has every program, command and option, and none more", limit=40)
def whole(c):
    commands = re.findall(r"^  ([a-z]+) ", help_of(), re.M)
    found = {(command, *sub) for command in commands for sub in ([(s,) for s in subcommands(command)] or [()])}
    equal(sorted(set(ROWS) ^ found), [], "rows without a command, or the other way")
    for words in ROWS:
        text = help_of(*(words if words in (("xen", "broker"), ("xen", "serve")) else words[:1]))
        options = {w for line in re.findall(r"^ +((?:-\w[ ,].*)?--[a-z].*)$", text, re.M) for w in re.findall(r"(-\w|--[a-z-]+)(?:, | [A-Z\[]| [a-z]+\|)", line)
                   if re.search(rf"{w}(, --[a-z-]+)? ([A-Z\[]|[a-z]+\|)", line)}
        absent = options - set(ROWS[words].values) if words[0] not in ("xen",) or words[1] in ("broker", "serve") else set()
        equal(sorted(absent), [], f"options of {' '.join(words)} without a row")
        c.note(f"{' '.join(words)}: {len(options)} options with a value")
    programs = {p.name for p in machine.BUILD.glob("mw*") if p.is_file() and os.access(p, os.X_OK) and not re.search(r"[._]", p.name)} - {"mw-ins-other"}
    equal(programs, set(HELPERS) | OTHERS, "programs")


# --- words ---

@case("no argument, an unknown option, surplus and missing operands: one line, status 2", limit=60)
def words_alone(c):
    before = mw.remains()
    calls = [((),), *(((), word) for word in ("frobnicate", *ODD))]
    calls += [((command,), *more) for command in ("ins", "xen") for more in ((), ("frobnicate",), ("",), (TWO_LINES,))]
    for words, row in ROWS.items():
        for option in ("--frob", "-Z", "--no-such-option=1", "--" + TWO_LINES, "--" + NOT_UTF8, "--help=yes"):
            calls.append((words, option, *row.good))
        if row.values.get("--ttl") and not {"--per", "--per-peer"} & row.values.keys():
            calls.append((words, "--per", "24", *row.good))
        if row.values.get("--ttl") and "--grace" not in row.values:
            calls.append((words, "--grace", "5s", *row.good))
        calls += [(words, *operands) for operands in (*row.few, *row.many)]
    all_refused(calls)
    mw.nothing_left(before)


def wrong_values(c, group):
    before, calls = mw.remains(), []
    for words, row in rows(group):
        for option, values in row.values.items():
            calls.append((words, option) if words == ("run",) else (words, *row.good, option))      # none
            calls += [(words, option, value, *row.good) for value in values]
    all_refused(calls)
    mw.nothing_left(before)
    c.note(f"{len(calls)} calls")


for names in (["run"], ["frontend", "registry"], ["xen"], sorted({words[0] for words in ROWS} - {"run", "frontend", "registry", "xen"})):
    case(f"wrong values of options: one line each, status 2: {', '.join(names)}", limit=60)(lambda c, names=names: wrong_values(c, names))


@case("a name under which nothing runs, or that is none: one line, status 1", limit=60)
def absent(c):
    before = mw.remains()
    all_refused([(words, name, *row.good[1:]) for words, row in ROWS.items() if row.names for name in (ABSENT, *NAME, "x" * 3000, "../../run")],
                status=1, pattern="^mw: ")
    for words in (("close", ABSENT, "1", "2"), ("block", ABSENT, "192.0.2.1", "192.0.2.2"), ("undo", ABSENT, "1", "2", "3")):
        refused(words, status=1, pattern="nothing runs under the name absent")
    refused(("run",), "--adopt", ABSENT, status=125, pattern="nothing runs under the name absent")
    mw.nothing_left(before)


@case("programs that mw starts say so to who starts them by hand", limit=30)
def by_hand(c):
    for name, pattern in HELPERS.items():
        for more in ((), ("--frob",), ("isolated",), ("a", "b"), (TWO_LINES,)):
            if name == "mw-trap" and len(more) == 2:
                continue    # a program to run
            status, out, err = given((), *more, program=str(machine.BUILD / name))
            equal((status, out, len(err.splitlines())), (2, "", 1), f"{name} {more}: {err}")
            matches(err, f"^{name}:? {re.escape(pattern)}", f"{name} {more}")


@case("tools that a user types: one line, status 2, nothing made", limit=30)
def tools(c):
    build, absent = str(machine.BUILD), "/run/absent"
    Path("/run/empty").mkdir()
    for argv in (["deb.sh"], ["deb.sh", ""], ["deb.sh", "a", "b"], ["kmod.sh"], ["kmod.sh", "--tree"], ["kmod.sh", "--frob"], ["kmod.sh", ""], ["fuzz.sh"], ["fuzz.sh", build],
                 ["fuzz.sh", build, "x"], ["fuzz.sh", build, "0"], ["fuzz.sh", build, "-1"], ["fuzz.sh", build, "9" * 20], ["fuzz.sh", absent, "1"],
                 ["fuzz.sh", "/run/empty", "1"], ["lint.sh", "moon"], ["ins-image.py", absent], ["ins-image.py", build, "x"],
                 ["coverage.py"], ["coverage.py", "moon"], ["coverage.py", "report"]):
        prefix = [sys.executable] if argv[0].endswith(".py") else ["bash"] if argv[0] == "fuzz.sh" else []
        status, out, err = mw.command(*prefix, str(TOOLS / argv[0]), *argv[1:], cwd="/run/empty" if argv[0] == "fuzz.sh" else TOOLS.parent)
        equal((status, (out + err).count("\n")), (2, 1), f"{argv}: {out}{err}")
        check(not Path(absent).exists() and not os.listdir("/run/empty"), f"{argv} made something")
    for variables in ({"FOR": "x"}, {"PORT": "x"}, {"PORT": "1;true"}, {"FOR": "-1"}):
        status, out, err = mw.command(str(TOOLS / "demo.sh"), env={**variables, "MW_BUILD": build})
        equal((status, out, err.count("\n")), (2, "", 1), f"make run {variables}: {err}")


# --- standard input, output, error ---

def closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def ignoring():
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def unheard(words, *more, good=0):
    """Its output cannot be written, in four ways."""
    what = f"mw {' '.join((*words, *more))}"
    with open("/dev/full", "wb") as full:
        status, _, err = given(words, *more, stdout=full)
    equal((status, err), (good or 1, "mw: cannot write to standard output: No space left on device\n"), f"{what} > /dev/full")
    status, _, err = given(words, *more, stdout=None, preexec_fn=lambda: os.close(1))
    equal((status, err), (good or 1, "mw: cannot write to standard output: Bad file descriptor\n"), f"{what} >&-")
    for before, wanted in ((ignoring, (good or 1, "mw: cannot write to standard output: Broken pipe\n")), (None, (-signal.SIGPIPE, ""))):
        pipe = closed_pipe()
        try:
            status, _, err = given(words, *more, stdout=pipe, preexec_fn=before, restore_signals=before is None)
        finally:
            os.close(pipe)
        equal((status, err), wanted, f"{what} | nobody, SIGPIPE {'ignored' if before else 'as it is'}")


@case("output that cannot be written: one line and status 1, or SIGPIPE", limit=60)
def unheard_help(c):
    for words in ((), *ROWS):
        unheard(words, "--help")
    unheard((), "--version")


@case("the same where something runs", limit=60)
def unheard_live(c):
    app = App(c, "sleep", "1000", name="web", net="host")
    app.listed()
    for words in (("ps",), ("ps", "--json"), ("list", "web"), ("ins", "list"), ("ins", "list", "--json", "web"), ("top", "--once", "web"),
                  ("top", "-n", "2", "-d", "0.1"), ("doctor", "web"), ("block", "web", "192.0.2.1")):
        unheard(words)
    for words in (("flows", "web"), ("gate", "web"), ("flows", "--json", "web")):
        with open("/dev/full", "wb") as full:
            equal(given(words, stdout=full)[0], 0, f"{words}: nothing to say, nothing amiss")


@case("standard input or error that is closed changes nothing", limit=60)
def closed(c):
    before = mw.remains()
    for words in ((), *ROWS):
        equal(given(words, "--help", stdin=None, preexec_fn=lambda: os.close(0))[::2], (0, ""), f"{words} --help <&-")
        status, out, _ = given(words, "--frob", stderr=None, preexec_fn=lambda: os.close(2))
        equal((status, out), (2, ""), f"{words} --frob 2>&-")
    for name in HELPERS:
        equal(given((), "--frob", program=str(machine.BUILD / name), stderr=None, preexec_fn=lambda: os.close(2))[0], 2, f"{name} 2>&-")
    mw.nothing_left(before)


@case("a command's closed standard descriptors stay closed, as natively", limit=60, nets=tap.NETS)
def passed(c):
    program = ["/usr/bin/python3", "-c", "import os, sys\nopen = []\nfor fd in range(3):\n  try: os.fstat(fd); open.append(fd)\n  except OSError: pass\n"
               "sys.exit(10 + sum(1 << fd for fd in open))"]
    for shut in ((0,), (1,), (2,), (0, 1, 2)):
        close = lambda shut=shut: [os.close(fd) for fd in shut]
        how = {"stdin": None if 0 in shut else subprocess.DEVNULL, "stdout": None if 1 in shut else subprocess.DEVNULL, "stderr": None if 2 in shut else subprocess.DEVNULL,
               "preexec_fn": close, "check": False, "timeout": 20}
        native = subprocess.run(program, **how).returncode
        seen = subprocess.run([machine.MW, "run", "--net", c.net, *program], env={**os.environ, **(mw.preloaded() or {})}, **how).returncode
        equal(seen, native, f"{shut} closed")


# --- terminals ---

@case("no terminal, or an unknown one: mw top prints a table; nothing has colours", limit=40)
def terminals(c):
    App(c, "sleep", "1000", name="web", net="host").listed()
    for term in TERMS:
        status, out, err = given(("top",), env={**os.environ, "TERM": term})
        equal((status, err), (0, ""), f"TERM={term!r}")
        check("\x1b" not in out and out, f"TERM={term!r}: {out!r}")
        tty = subprocess.run(["script", "-qec", f"{machine.MW} top", "/dev/null"], env={**os.environ, "TERM": term}, stdin=subprocess.DEVNULL,
                             capture_output=True, timeout=20, check=False)
        equal(tty.returncode, 0, f"TERM={term!r} on a terminal: {tty.stdout}")
        check(b"\x1b" not in tty.stdout and b"1 application" in tty.stdout, f"TERM={term!r} on a terminal: {tty.stdout!r}")
    for words in ROWS:
        check("\x1b" not in help_of(*words), f"{words}: colours")


tap.main()
