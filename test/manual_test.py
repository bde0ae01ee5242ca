# SPDX-License-Identifier: Apache-2.0
"""The manual against the programs: what --help, the option tables and the library say is in the pages, and nothing else; pages are clean; C examples run."""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = Path(os.environ["MW_BUILD"]).resolve()
sys.path.insert(0, str(ROOT / "test" / "net"))
from lib import pages, tap  # noqa: E402
from lib.tap import case, check, equal  # noqa: E402

LONG = r"--[a-z][a-z0-9-]+"
OTHERS = {"--limit-rate"}    # curl's
DEEPER = (("xen", "broker"), ("xen", "serve"))    # which have a --help of their own
STARTED = ("mw-ins", "mw-names", "mw-telem", "mw-trap", "mw-front", "mw-xen")    # by mw
TABLES = {"mw": ("ctl", "broker"), "mw-front": ("front",), "mw-xen": ("xen",)}    # whose getopt_long() tables are where


def run(*argv, **keys):
    return subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False, env={**os.environ, "MANWIDTH": "200"}, **keys)


def said(program, *argv):
    done = run(BUILD / program, *argv, "--help")
    equal((done.returncode, done.stderr), (0, ""), f"{program} {' '.join(argv)} --help")
    return done.stdout


def commands():
    return re.findall(r"^  ([a-z]+) ", said("mw"), re.M)


def all_help():
    return "".join(said("mw", *words) for words in [(), *((c,) for c in commands()), *DEEPER])


def long_options(text):
    return set(re.findall(LONG, text)) - OTHERS


@case("mw(1) and mw-xen(8) have the options of mw's --help", limit=60)
def options(_):
    equal(long_options(pages.plain("mw.1") + pages.plain("mw-xen.8")), long_options(all_help()), "options")


@case("mw(1) has the commands of mw's --help", limit=60)
def synopsis(_):
    text = pages.section("mw.1", "SYNOPSIS")
    named = {word for words in re.findall(r"mw (?:\\f.)?([a-z|]+)", re.sub(r"\\f.", "", text)) for word in words.split("|")}
    equal(named, set(commands()), "commands of mw(1)'s synopsis, and of --help")


def invocations():
    """(command, all that its lines of mw(1)'s synopsis say); those of mw xen but serve are in mw-xen(8)."""
    found = {}
    for block in re.split(r"^\.br\n", pages.section("mw.1", "SYNOPSIS") + ".br\n" + pages.section("mw-xen.8", "SYNOPSIS"), flags=re.M):
        text = re.sub(r"\\f.", "", block)
        for word in re.findall(r"mw ([a-z|]+)", text)[:1]:
            for command in word.split("|"):
                found[command] = found.get(command, "") + text
    return found


@case("each command's line in the synopsis has the options of its --help, unless it says OPTIONS", limit=60)
def each(_):
    for command, text in invocations().items():
        helped = "".join(said("mw", command, *more) for more in ((), *(more for first, *more in DEEPER if first == command)))
        shorts = dict(re.findall(r"^ +(-\w), (--[a-z-]+)", helped, re.M))
        named = {shorts.get(word, word) for word in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text)}
        wanted = long_options(helped) - {"--help", "--version"}
        check("OPTIONS" in text or wanted <= named, lambda command=command: f"mw {command}: not in the synopsis: {wanted - named}")
        equal(named - wanted, set(), f"mw {command}: in the synopsis, and not in --help")


@case("each option that a program takes is in its --help")
def tables(_):
    helped = {"mw": all_help(), "mw-front": said("mw", "frontend") + said("mw", "registry") + said("mw-front"), "mw-xen": said("mw-xen") + said("mw", "xen", "broker")}
    for program, folders in TABLES.items():
        texts = (path.read_text() for folder in folders for path in (ROOT / folder).glob("*.c"))
        taken = {name for text in texts for name in re.findall(r'\{ "([a-z][a-z-]*)", [01], NULL, ', text)}
        check(len(taken) > 5, f"options found of {program}: {taken}")
        equal({name for name in taken if f"--{name}" not in helped[program]}, set(), f"{program}: options that its --help does not have")


def words_of_help(text):
    """The first column of what --help lists."""
    return {word.strip(" '") for words in re.findall(r"^  (?:  )?(\S.*?)(?:  .*)?$", text.partition("\n\n")[2], re.M) for word in re.split(r"(?<=\w), (?=-)", words)}


@case("programs that mw starts: --help, --version, and a page with the same words", limit=60)
def started(_):
    for program in STARTED:
        equal(run(BUILD / program, "--version").stdout, run(BUILD / "mw", "--version").stdout.replace("mw", program, 1), f"{program} --version")
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([BUILD / program, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
            equal((done.returncode, done.stderr), (1, f"{program}: cannot write to standard output: No space left on device\n"), f"{program} --help >/dev/full")
        page = pages.tags(f"{program}.8", "OPTIONS")
        helped = words_of_help(said(program))
        if program == "mw-xen":    # its options are sorted by what they are for, and those of the broker are in another text
            page, helped = long_options("\n".join(page)), long_options("\n".join(helped) + said("mw", "xen", "broker"))
        equal(page, helped, f"{program}: words of the page, and of --help")


@case("every program, format and header has a page, and each page is installed and named in mwcomms(7)")
def every(_):
    there = {path.name for path in (ROOT / "man").iterdir()}
    equal(set(re.findall(r"'man/([\w.-]+)'", (ROOT / "meson.build").read_text())), there, "pages that meson.build installs")
    named = {f"{name}.{number}" for name, number in re.findall(r"^\.BR ([\w.-]+) \((\d)\)", pages.plain("mwcomms.7").partition(".SH EXAMPLES")[0], re.M)}
    equal(named | {"mwcomms.7"}, there, "pages that mwcomms(7) names")
    programs = set(re.findall(r"executable\('(mw(?:-\w+)?)',[^#]*?install: true", (ROOT / "meson.build").read_text()))
    equal({name for name in programs if not there & {f"{name}.1", f"{name}.8"}}, set(), "programs without a page")


@case("pages are clean: mandoc, groff", limit=60)
def clean(_):
    for path in sorted((ROOT / "man").iterdir()):
        heard = [line for line in run("mandoc", "-T", "lint", "-W", "warning", path).stdout.splitlines() if "missing date" not in line]
        equal(heard, [], f"mandoc of {path.name}")
        done = run("groff", "-K", "utf8", "-man", "-ww", "-z", "-T", "utf8", path)
        equal((done.returncode, done.stdout + done.stderr), (0, ""), f"groff of {path.name}")
        order = re.findall(r"^\.SH (NAME|SYNOPSIS|DESCRIPTION|OPTIONS|EXIT STATUS|FILES|ENVIRONMENT|EXAMPLES|SEE ALSO)$", path.read_text(), re.M)
        check(order[0] == "NAME" and "DESCRIPTION" in order and order[-1] == "SEE ALSO", f"sections of {path.name}: {order}")


@case("pages refer to pages that there are")
def references(_):
    there = {path.name for path in (ROOT / "man").iterdir()}
    for path in sorted((ROOT / "man").iterdir()):
        for name, number in re.findall(r"\b((?:mw|mwcomms|libmwchan)(?:-[a-z]+)?(?:\.conf)?)\s*\((\d)\)", re.sub(r"\\f.", "", pages.plain(path.name))):
            check(f"{name}.{number}" in there, f"{path.name} refers to {name}({number})")


@case("C examples compile against what is installed, and run", limit=60)
def examples(_):
    with tempfile.TemporaryDirectory() as tmp:
        include = Path(tmp, "mwcomms")
        include.mkdir()
        for path in (*(ROOT / "chan").glob("*.h"), ROOT / "kmod/uapi.h"):
            (include / path.name).symlink_to(path)
        for name, output in (("libmwchan.3", "hello\n"), ("mwcomms.4", None)):
            for text in pages.examples(name, "#include"):
                Path(tmp, "example.c").write_text(text)
                done = run("cc", "-Wall", "-Wextra", "-Werror", "-I", tmp, "-o", f"{tmp}/example", f"{tmp}/example.c", BUILD / "libmwchan.a")
                equal((done.returncode, done.stderr), (0, ""), f"{name}: cc")
                done = run(f"{tmp}/example")
                check(output is None or (done.returncode, done.stdout) == (0, output), lambda done=done, name=name: f"{name}: {done}")


tap.main()
