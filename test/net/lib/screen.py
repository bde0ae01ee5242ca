# SPDX-License-Identifier: Apache-2.0
"""A program on a terminal: tmux is the terminal, and says what is on it."""
import itertools
import os
import re
import subprocess
from pathlib import Path

from .tap import check, until

counter = itertools.count(1)


class Screen:
    """A terminal of so many columns and rows in which `argv` runs; when that has ended, what it left stays on it."""

    def __init__(self, case, *argv, columns=80, rows=24, term="screen-256color", env=None):
        base = Path(f"/run/screen-{os.getpid()}-{next(counter)}")
        conf = base.with_suffix(".conf")
        conf.write_text("set -g status off\nset -g remain-on-exit on\nset -g remain-on-exit-format ''\nset -g escape-time 0\n"
                        f"set -g default-terminal {term}\n")
        self.tmux = ("tmux", "-u", "-S", str(base.with_suffix(".socket")), "-f", str(conf))
        settings = {"LC_ALL": "C.utf8", **(env or {})}
        self.do("new-session", "-d", "-x", str(columns), "-y", str(rows), "env", "-u", "TMUX",
                *(f"{name}={value}" for name, value in settings.items()), *argv)
        self.pid = int(self.do("display-message", "-p", "#{pane_pid}"))
        case.callback(self.end)

    def do(self, *argv):
        done = subprocess.run([*self.tmux, *argv], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
        check(done.returncode == 0, f"tmux {' '.join(argv)}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode()

    def end(self):
        subprocess.run([*self.tmux, "kill-server"], capture_output=True, timeout=10, check=False)

    def text(self, *how):
        return self.do("capture-pane", "-p", *how)

    def lines(self):
        return self.text().splitlines()

    def keys(self, *keys):
        """Names as tmux knows them (Enter, Down, C-c), or characters."""
        self.do("send-keys", *keys)

    def type(self, text):
        self.do("send-keys", "-l", text)

    def resize(self, columns, rows):
        self.do("resize-window", "-x", str(columns), "-y", str(rows))

    def ended(self):
        return self.do("display-message", "-p", "#{pane_dead}").strip() == "1"

    def shows(self, pattern, seconds=6):
        """Waits until a line matches; the match."""
        return until(seconds, lambda: re.search(pattern, self.text(), re.M),
                     lambda: f"{pattern!r} on the screen:\n{self.text()}")

    def lacks(self, pattern, seconds=6):
        until(seconds, lambda: not re.search(pattern, self.text(), re.M), lambda: f"no {pattern!r} on the screen:\n{self.text()}")
