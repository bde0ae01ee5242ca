# SPDX-License-Identifier: Apache-2.0
"""A program whose calls fail, one after the other: what test/net/starve.c is told, and what it counted."""
import functools
import mmap
import shutil
import struct
import subprocess
import tempfile

from . import machine

KINDS = ("fail", "interrupt", "shorten")
HEAD, SITE, SITES_MAX = struct.Struct("24sIIIIII"), struct.Struct("II24s"), 1024     # struct order, struct site
LIBRARY = machine.BUILD / "libmw-starve.so"


class Starve:
    """Of one program, however many processes of it there are."""

    def __init__(self, c, program, kind):
        self.program, self.kind = program, KINDS.index(kind)
        self.file = tempfile.NamedTemporaryFile(dir="/run", prefix="starve-")
        self.file.truncate(HEAD.size + SITES_MAX * SITE.size)
        self.memory = mmap.mmap(self.file.fileno(), 0)
        c.callback(self.file.close)
        c.callback(self.memory.close)
        self.reset()

    def env(self):
        return {"LD_PRELOAD": str(LIBRARY), "MW_STARVE": self.file.name}

    def reset(self, offset=0, nth=1, always=False):
        """Nothing is counted yet; a site of such an offset fails when it is reached for the nth time."""
        self.memory[:] = bytes(len(self.memory))
        HEAD.pack_into(self.memory, 0, self.program.encode(), self.kind, offset, nth, always, 0, 0)

    def done(self):
        """How many calls failed."""
        return HEAD.unpack_from(self.memory)[5]

    def sites(self):
        """{offset: (function, how often it was reached)}, by offset."""
        found = {}
        for i in range(HEAD.unpack_from(self.memory)[6]):
            offset, reached, name = SITE.unpack_from(self.memory, HEAD.size + i * SITE.size)
            found[offset] = (name.rstrip(b"\0").decode(), reached)
        return dict(sorted(found.items()))

    @functools.lru_cache(None)
    def place(self, offset):
        """For a reader."""
        if not shutil.which("addr2line"):
            return f"{self.program}+{offset:#x}"
        done = subprocess.run(["addr2line", "-e", str(machine.BUILD / self.program), "-fpi", hex(offset - 1)], capture_output=True, text=True, check=False)
        function, _, where = done.stdout.splitlines()[0].partition(" at ")  # the innermost, where it is part of others
        return f"{where.rpartition('../')[2]} ({function})"
