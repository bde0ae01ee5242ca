#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""House rules that need only reading: headers of files, lengths, include direction. Names what is wrong, exits 1.

usage: lint-files.py licence|trust|length|includes|names|external|steps|manual   (in the project's root; files as git sees them)
"""
import ast
import collections
import pathlib
import re
import subprocess
import sys

TRUST = {"chan", "shim", "link", "ins", "names", "stack", "broker", "telem", "ctl", "lib", "kmod", "registry", "front", "trap", "xen"}
FUNCTION_MAX = 100
FILE_MAX = 700

# Whose headers a folder may include besides its own, or which. Folders not named here (test, bench, tools) may include any.
MAY = {
    "chan": set(),
    "lib": {"chan"},
    "link": {"chan", "lib", "kmod/uapi.h"},
    "stack": {"chan", "lib"},
    "telem": {"chan", "lib", "link"},
    "shim": {"chan", "lib", "link", "names/names.h"},
    "kmod": {"chan"},
    "ins": {"chan", "lib", "link", "stack"},
    "names": {"lib", "link"},
    "trap": {"chan", "lib", "link", "shim"},  # the shim's client of the INS, without libc's names
    "broker": {"chan", "kmod", "lib", "link", "telem"},  # of kmod/ what programs ask of it: uapi.h
    "registry": {"lib"},
    "xen": {"lib", "registry", "broker"},  # the name, ports and entries of an application, as mw run has them
    "front": {"lib", "registry"},
    "ctl": {"chan", "lib", "link", "telem", "broker"},  # one program: mw run is broker/
}


def files(*suffixes):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], check=True, capture_output=True, text=True)
    paths = (pathlib.Path(name) for name in sorted(set(listed.stdout.splitlines())))
    return [p for p in paths if p.suffix in suffixes and p.is_file()]


def licence():
    for path in files(".c", ".h", ".py", ".sh"):
        lines = path.read_text().splitlines()[:2]
        at = 1 if lines and lines[0].startswith("#!") else 0
        if len(lines) <= at or "SPDX-License-Identifier:" not in lines[at]:
            yield f"{path}:{at + 1}: no SPDX-License-Identifier on this line"


def trust():
    for path in files(".c", ".h"):
        if path.parts[0] in TRUST and not any("Trust:" in line for line in path.read_text().splitlines()[:12]):
            yield f"{path}:1: no Trust: line within the first 12 lines"


def c_functions(lines):
    """(name, first line, lines) of each function; in the house's layout a body is between ^{ and ^}."""
    start = None
    for number, line in enumerate(lines, 1):
        if start is None and (line.startswith("{") or re.match(r"\w[^;=]*\)\s*\{\s*$", line)):
            start = number
        elif start is not None and line.startswith("}"):
            head = " ".join(lines[max(0, start - 4):start])
            names = re.findall(r"(\w+)\s*\(", head) or ["?"]
            yield names[-1], start, number - start + 1
            start = None


def py_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def length():
    for path in files(".c", ".h", ".py"):
        text = path.read_text()
        lines = text.splitlines()
        if path.suffix != ".py" and len(lines) > FILE_MAX:
            yield f"{path}:{FILE_MAX}: the file has {len(lines)} lines, more than {FILE_MAX}"
        functions = py_functions(text) if path.suffix == ".py" else c_functions(lines)
        for name, at, count in functions:
            if count > FUNCTION_MAX:
                yield f"{path}:{at}: {name} has {count} lines, more than {FUNCTION_MAX}"


def included(path, name):
    """The file that an include names, from the including folder or from the root; None when there is none."""
    for base in (path.parent, pathlib.Path(".")):
        target = pathlib.Path(base, name)
        if target.is_file():
            return target.resolve().relative_to(pathlib.Path.cwd())
    return None


def includes():
    for path in files(".c", ".h"):
        own = path.parts[0]
        for number, line in enumerate(path.read_text().splitlines(), 1):
            system = re.match(r"\s*#\s*include\s*<([^>]+)>", line)
            # Only port.h knows hosts; elsewhere in chan the kernel's own, under its #ifdef.
            if system and own == "chan" and path.name != "port.h" and not system[1].startswith(("linux/", "asm/")):
                yield f"{path}:{number}: chan includes <{system[1]}>; only chan/port.h may"
            quoted = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
            if not quoted or own not in MAY:
                continue
            target = included(path, quoted[1])
            if target is None:
                if not quoted[1].startswith("build") and quoted[1] != "config.h":
                    yield f"{path}:{number}: {quoted[1]} is not in the project"
            elif len(target.parts) > 1 and target.parts[0] != own and not {target.parts[0], str(target)} & MAY[own]:
                yield f"{path}:{number}: {own} includes {target}; it may include: {', '.join(sorted(MAY[own])) or 'itself'}"


FIELD = re.compile(r'(FIELD|OPTION)\("(\w+)",(?: (\w+),)? "([\w/]*)", [\w.\[\]]+, "([^"]*)"(?:, (OWN\((\d+)\)|IANA\([\d, ]+\)|(\d+)))?\)')
DERIVED = re.compile(r'\{ "(\w+)", IPFIX_PEN, (\d+), 1, \w+, "([^"]*)" \}')
TYPES = {"FLOW_COUNT": "unsigned64", "FLOW_NUMBER": "unsigned32", "FLOW_SIGNED": "signed32", "FLOW_TIME": "dateTimeMilliseconds",
         "FLOW_SPAN": "unsigned64", "FLOW_MSEC": "unsigned32", "FLOW_USEC": "unsigned32", "FLOW_SUSPECT": "unsigned32"}
UNITS = {"FLOW_SPAN": "ns", "FLOW_TIME": "", "FLOW_MSEC": "ms", "FLOW_USEC": "us"}


def table():
    """(name, type, unit, help, number of our own element or None) of each field of the flow record, from the table's own words."""
    for kind, name, of, unit, text, _, own, first in FIELD.findall(pathlib.Path("telem/flow.c").read_text()):
        if kind == "OPTION":
            yield "app_" + name, "FLOW_SIGNED", unit, text + ", set by the application", int(first)
            yield "op_" + name, "FLOW_SIGNED", unit, text + ", set by the operator: it wins", int(first) + 1
        else:
            yield name, of, unit, text, int(own) if own else None


def fields():
    """The flow record's fields as the man page lists them."""
    lines = []
    for name, _, unit, text, _ in table():
        lines += [".TP", f".B {name}", text + (f" ({unit})" if unit else "")]
    return "\n".join(lines) + "\n"


def metrics():
    """All metrics as the man page lists them, from the table's own words."""
    lines = []
    for name, kind, labels, text in re.findall(r'METRIC\("(\w+)", (\w+), "\w*", "([\w, ]*)", "([^"]*)"', pathlib.Path("telem/metric.c").read_text()):
        end = {"COUNTER": "_total", "INFO": "_info"}.get(kind, "")
        lines += [".TP", f".B mwcomms_{name}{end}", f"({', '.join([kind.lower()] + [labels] * bool(labels))}) {text}"]
    return "\n".join(lines) + "\n"


def elements():
    """(number, name, type, unit, help) of our own IPFIX elements."""
    rows = [(int(number), name, "unsigned8", "", text)
            for name, number, text in DERIVED.findall(pathlib.Path("telem/ipfix_encode.c").read_text())]
    rows += [(number, name, TYPES.get(of, "unsigned8"), UNITS.get(of, unit), text)
             for name, of, unit, text, number in table() if number]
    return [(number, "mw" + "".join(word.capitalize() for word in name.split("_")), *more) for number, name, *more in sorted(rows)]


def elements_table():
    return "| number | name | type | unit | meaning |\n|---|---|---|---|---|\n" + "".join(
        f"| {number} | {name} | {of} | {unit} | {text} |\n" for number, name, of, unit, text in elements())


def elements_page():
    return "".join(f".TP\n.B {number} {name}\n({of}{', ' + unit if unit else ''}) {text}\n" for number, name, of, unit, text in elements())


def requests():
    """Each request of the control socket has a section in mw-control(5), each section is one, and members that are read are named there."""
    page = pathlib.Path("man/mw-control.5").read_text()
    code = pathlib.Path("telem/control.c").read_text()
    has, wanted = set(re.findall(r"^\.SS (\w+)$", page, re.M)), set(re.findall(r'^\t\{ "(\w+)", do_\w+ \}', code, re.M))
    yield from (f"man/mw-control.5: {name} is a section or a request, not both" for name in sorted(has ^ wanted))
    code += "".join(pathlib.Path(p).read_text() for p in ("telem/order.c", "telem/gate.c"))
    for name in sorted(set(re.findall(r'\(q, "(\w+)"', code))):
        if not re.search(rf"^\.BR? .*(\b|\\fB){name}\b", page, re.M):
            yield f"man/mw-control.5: nothing is said of the member {name}"


def words(name, pattern):
    """What a pattern finds in a file, each once."""
    return set(re.findall(pattern, pathlib.Path(name).read_text(), re.M))


def prototypes():
    """What the channel's headers declare, a function a line."""
    found = set()
    for path in pathlib.Path("chan").glob("*.h"):
        text = re.sub(r"/\*.*?\*/|^#[^\n]*|MW_ASSERT\(.*?\);", "", path.read_text(), flags=re.S | re.M) if path.name != "port.h" else ""
        found |= {" ".join(one.split()) for one in re.findall(r"^(\w[\w *]*\w+\([^;{}]*\));", text, re.M)}
    return found


def lists():
    """Pages that list what code has: the module's parameters, keys in XenStore, the NetFlow stream's features, the library's functions."""
    hexes = {value.lower() for line in words("man/mw-netflow.5", r"^\.B (0x.*)$") for value in re.findall(r"0x[0-9A-F]{4}", line)}
    ranges = re.findall(r"(0x\w{4}) to (0x\w{4})", pathlib.Path("man/mw-netflow.5").read_text())
    hexes |= {f"0x{n:04x}" for low, high in ranges for n in range(int(low, 16), int(high, 16) + 1)}
    options = pathlib.Path("man/mwcomms.4").read_text().partition(".SH OPTIONS")[2].partition(".SH")[0]
    parameters = {name for tag in re.findall(r"^\.TP\n\.BR? (.*)$", options, re.M) for name in re.findall(r"[a-z_]+", tag)}
    for page, said, there in (
            ("man/mwcomms.4", parameters, words("kmod/main.c", r"^module_param(?:_named)?\((\w+)")),
            ("man/libmwchan.3", words("man/libmwchan.3", r"^\.B (.*\));$"), prototypes()),
            ("man/mw-xenstore.5", words("man/mw-xenstore.5", r"^\.I (\w+)$") - {"D"}, words("xen/keys.c", r'^\t\{ "(\w+)"')),
            ("man/mw-netflow.5", hexes, words("telem/mwnf.h", r"^#define MWNF_\w+ +(0x\w{4})u"))):
        for name in sorted(said ^ there):
            yield f"{page}: {name} is in the page or in the code, not in both"


GENERATED = (
    ("man/mw-metrics.5", '.\\" metrics: made by tools/lint-files.py manual --write\n', '.\\" metrics: end\n', metrics),
    ("man/mw-flows.5", '.\\" fields: made by tools/lint-files.py manual --write\n', '.\\" fields: end\n', fields),
    ("man/mw-ipfix.5", '.\\" elements: made by tools/lint-files.py manual --write\n', '.\\" elements: end\n', elements_page),
    ("doc/ipfix.md", "<!-- made by tools/lint-files.py manual --write -->\n", "<!-- end -->\n", elements_table))


def manual():
    """Pages that name every field have the table's own words; `manual --write` puts them there. mw-control(5) has every request."""
    yield from requests()
    yield from lists()
    for name, begin, end, make in GENERATED:
        path, wanted = pathlib.Path(name), make()
        before, begin, rest = path.read_text().partition(begin)
        inside, end, after = rest.partition(end)
        if inside == wanted:
            continue
        if sys.argv[2:] == ["--write"]:
            path.write_text(before + begin + wanted + end + after)
        else:
            yield f"{path}: what is made of telem/ there is not what telem/ says: tools/lint-files.py manual --write"


def defined(text):
    """Functions that a C file's text defines: those whose name begins a line's last word before ( with a body behind it."""
    text = re.sub(r"__attribute__\(\(.*?\)\) ", "", text)
    return set(re.findall(r"^(?:[\w*][^;={}()\n]*[\s*])?(\w+)\([^;{}]*\)\s*\{", text, re.M))


def steps():
    """`file:function` in the documents: both are there."""
    for path in files(".md"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for name, function in re.findall(r"`([\w./-]+\.[ch]):(\w+)`", line):
                target = pathlib.Path(name)
                if not target.is_file():
                    yield f"{path}:{number}: there is no {name}"
                elif function not in defined(target.read_text()):
                    yield f"{path}:{number}: {name} has no function {function}"


COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


def used():
    """{word: {C file that has it, but for comments}}"""
    found = collections.defaultdict(set)
    for path in files(".c", ".h"):
        for word in re.findall(r"\w+", COMMENT.sub("", path.read_text())):
            found[word].add(path)
    return found


def external():
    """A function that its own file alone names is static there, or nobody's. The shim's are libc's names; the channel's are a library's."""
    found, kept = used(), words("shim/exports.map", r"(\w+);") | words("man/libmwchan.3", r"(\w+)\(") | words("meson.build", r"-D\w+=(\w+)") | {"main"}
    for path in files(".c"):
        if path.parts[0] not in TRUST:
            continue
        text = COMMENT.sub("", path.read_text())
        for name in re.findall(r"^(?!.*\bstatic\b)\w[^;={}()\n]*[\s*](\w+)\([^;{}]*\)\s*\{", text, re.M):
            if name not in kept and not any(other.suffix == ".c" for other in found[name] - {path}):
                yield f"{path}: {name} is named by no other C file: static, or not needed"


def names():
    """Files, functions and constants of ours that comments speak of are there."""
    sources, there = files(".c", ".h"), used()
    known = {p.name for p in files(".c", ".h", ".py", ".md", ".sh")}
    stems = "|".join(sorted({p.stem for p in sources if p.parts[0] in TRUST} | {"mwk"}))
    ours = re.compile(rf"(?<![\w/.-])(?:(?:{stems})_[a-z_]*[a-z]|MW_[A-Z0-9_]*[A-Z0-9])\b(?![*.])")
    for path in sources:
        block = re.search(r"/\*(.*?)\*/", path.read_text().split("\n", 1)[-1], re.S)
        said = block[1] if block else ""
        for name in re.findall(r"(?<![\w/])[a-z_]+\.[ch]\b", said): # with a path, it may be another project's
            if name not in known:
                yield f"{path}:1: its comment names {name}, which is not there"
        for name in re.findall(r"\b(?:MW_[A-Z0-9_]*[A-Z0-9]|[a-z]+_[a-z_]+(?=\(\)))", said):
            if name not in there:
                yield f"{path}:1: its comment names {name}, which is not there"
        text = re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', path.read_text())
        for comment in COMMENT.finditer(text) if path.parts[0] in TRUST else ():
            for name in ours.findall(comment[0]):
                if name not in there:
                    yield f"{path}:{text.count(chr(10), 0, comment.start()) + 1}: a comment names {name}, which is not there"


def main():
    checks = {"names": names, "external": external, "steps": steps, "manual": manual, "licence": licence, "trust": trust, "length": length, "includes": includes}
    if len(sys.argv) < 2 or sys.argv[1] not in checks:
        sys.exit(__doc__)
    wrong = list(checks[sys.argv[1]]())
    for line in wrong:
        print(line)
    sys.exit(1 if wrong else 0)


main()
