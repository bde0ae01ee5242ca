# SPDX-License-Identifier: Apache-2.0
"""Which system calls the confined processes of a stack make, seen by strace: since each has its filter."""
import re
import tempfile
from pathlib import Path

CALL = re.compile(r"^(\w+)\(")


class Traced:
    """`prefix` is for App. What strace tells of each process lies in a file of its own."""

    def __init__(self, case):
        self.directory = Path(case.enter_context(tempfile.TemporaryDirectory(dir="/run")))
        self.prefix = ("strace", "-D", "-ff", "-qq", "-s", "200", "-o", str(self.directory / "t"))

    def seen(self):
        """{process: names of calls}; the starter's are all that came before a keeper's or worker's own filter."""
        found = {"worker": set(), "keeper": set(), "starter": set(), "depot": set()}
        for path in self.directory.iterdir():
            own = None      # whose filter it has
            lines = path.read_text(errors="replace").splitlines()
            kind = kind_of(lines)
            for line in lines:
                if line.startswith("seccomp(SECCOMP_SET_MODE_FILTER") and line.endswith(" = 0"):
                    own = "depot" if kind == "depot" else "starter"
                    continue
                if kind == "worker" or kind == "starter":
                    own = own or "starter"      # it has been made by who has it
                match = CALL.match(line)
                if own and kind and match:
                    found[own].add(match[1])
                if line.startswith("prctl(PR_SET_SECCOMP"):
                    own = kind
        return found


def kind_of(lines):
    """By what it does at its beginning."""
    for line in lines[:400]:
        if 'PR_SET_NAME, "mw-depot"' in line:
            return "depot"
        if 'PR_SET_NAME, "mw-ins-starter"' in line:
            return "starter"
        if 'PR_SET_NAME, "mw-ins"' in line:
            return "worker"
        if line.startswith("execve(") and "/mw-ins\"" in line:
            return "keeper"
    return None
