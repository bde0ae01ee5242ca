# SPDX-License-Identifier: Apache-2.0
"""Manual pages as text: sections, tags, examples. Of roff they use little, and this knows no more."""
import re
from pathlib import Path

MAN = Path(__file__).resolve().parents[3] / "man"


def plain(name):
    """Without comments, which begin with .\\\\" and are for the generator."""
    text = (MAN / name).read_text().replace("\\-", "-")
    return "".join(line + "\n" for line in text.splitlines() if not line.startswith('.\\"'))


def section(name, title):
    return re.search(rf"^\.SH {title}\n(.*?)(?=^\.SH |\Z)", plain(name), re.M | re.S)[1]


def text_of(line):
    """A line's words without fonts."""
    macro = re.match(r"\.[BI][BIR]? (.*)", line)
    if macro:
        parts = re.findall(r'"((?:[^"]|"")*)"|(\S+)', macro[1])
        line = (" " if re.match(r"\.[BI] ", line) else "").join(quoted or word for quoted, word in parts)
    return re.sub(r"\\f[BIR]", "", line)


def tags(name, title):
    """What a section's .TP paragraphs begin with; several of one are separated by commas."""
    found = re.findall(r"^\.TP\n(.*)$", section(name, title), re.M)
    return {word for line in found for word in re.split(r"(?<=\w), (?=-)", text_of(line))}


def examples(name, begin):
    """Blocks of EXAMPLES that begin so, as they are typed."""
    blocks = re.findall(r"^\.nf\n(.*?)^\.fi$", section(name, "EXAMPLES"), re.M | re.S)
    return [block.replace("\\(aq", "'").replace("\\e", "\\") for block in blocks if block.startswith(begin)]


def commands(name):
    """Lines of EXAMPLES that are commands."""
    return [line for begin in ("mw ", "curl ", "cat ", "tail ", "ipfixDump ", "xenstore-ls ", "systemctl ") for block in examples(name, begin) for line in block.splitlines()]
