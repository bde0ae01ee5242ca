#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What soak_test.py measured, as pictures: plot.py DIRECTORY TITLE=BUILD...

BUILD/soak/meter.tsv and events.tsv of each build; the first is the upper row of every picture. Values are means of so long a time that a
line has POINTS of them; of the slowest request it is the longest.
"""
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

POINTS = 120
CLASSES = ("ins", "broker", "telemetry", "frontend", "nginx", "apache", "redis")
LOUD = ("ins_replaced", "frontend_killed", "frontend_ended")   # marked by a line; the others come every few seconds
SETTINGS = """
set terminal svg size 900,{height} font "sans,11" background "white"
set output "{out}"
set multiplot layout {rows},1
set key outside right top
set grid
set xrange [0:{minutes}]
set yrange [0:*]
set xlabel "minutes"
"""
# Each picture: (name, what a row is called, unit, [(columns that are added, name of the line)], logarithmic)
PICTURES = (
    ("memory", "memory", "MiB", [((f"mem_{c}",), c) for c in CLASSES] + [(("mem_arenas",), "arenas"), (("mem_telemetry_logs",), "telemetry's logs"),
                                                                      (("mem_states",), "states"), (("mem_ended",), "ended INSs' arenas")], True),
    ("descriptors", "open descriptors", "", [((f"fds_{c}",), c) for c in CLASSES], False),
    ("slots", "slots in use", "", [(("slots_nginx",), "nginx"), (("slots_apache-event",), "apache"), (("slots_redis",), "redis")], False),
    ("rules", "rules and elements", "", [(("rules",), "lines of rules"), (("elements",), "elements"), (("tracked",), "tracked connections")], False),
    ("files", "files, memory files, namespaces, processes", "", [(("files_mw",), "files, /run/mw"), (("files_shared",), "/run, /dev/shm, /tmp"), (("memfds",), "memory files"),
                ("namespaces", "namespaces"), (tuple(f"processes_{c}" for c in CLASSES), "processes"), (tuple(f"threads_{c}" for c in CLASSES), "threads")], False),
    ("requests", "honest requests", "", [(("requests_per_s",), "requests a second"), (("slowest_s",), "slowest, s (right)"), (("lost",), "lost")], False))


def rows_of(build):
    with open(Path(build) / "soak/meter.tsv", encoding="ascii") as table:
        return list(csv.DictReader(table, delimiter="\t"))[1:]     # the first has what was before the load, too


def marks_of(build):
    """(minute, kind)"""
    with open(Path(build) / "soak/events.tsv", encoding="utf-8") as table:
        lines = [line.rstrip("\n").split("\t") for line in table]
    warm = next(i for i, line in enumerate(lines) if line[1] == "load")     # before it the clock was another
    return [(float(line[0]), line[1]) for line in lines[warm + 1:]]


def line_of(rows, columns):
    """(minute, value) at most POINTS times."""
    columns = (columns,) if isinstance(columns, str) else columns
    some = max(1, -(-len(rows) // POINTS))
    for at in range(0, len(rows), some):
        part = [row for row in rows[at:at + some] if all(row.get(c, "?") != "?" for c in columns)]
        values = [sum(float(row[c]) for c in columns) for row in part]
        if values:
            yield float(part[0]["minute"]), max(values) if columns == ("slowest_s",) else sum(values) / len(values)


def draw(directory, picture, builds):
    name, what, unit, lines, logarithmic = picture
    out = directory / f"{name}.svg"
    minutes = max(float(rows[-1]["minute"]) for _, rows, _ in builds)
    script = SETTINGS.format(height=330 * len(builds), out=out, rows=len(builds), minutes=round(minutes + 0.5))
    if logarithmic:
        script += "set logscale y\nset yrange [0.05:*]\n"
    with tempfile.TemporaryDirectory() as data:
        for title, rows, marks in builds:
            script += f'set title "{what}{", " + unit if unit else ""}: {title}"\nunset arrow\n'
            if name == "requests":
                script += 'set ytics nomirror\nset y2tics\nset y2range [0:*]\nset y2label "s"\n'
                script += "".join(f'set arrow from {at}, graph 0 to {at}, graph 1 nohead lc "#cccccc" back\n' for at, kind in marks if kind in LOUD)
            plots = []
            for columns, label in lines:
                path = Path(data) / f"{len(list(Path(data).iterdir()))}"
                path.write_text("".join(f"{minute:.2f} {value:.3f}\n" for minute, value in line_of(rows, columns)))
                if not path.stat().st_size:     # a table of before it was looked at
                    continue
                axes, color = ("x1y2" if columns == ("slowest_s",) else "x1y1"), len(plots)
                plots.append(f'"{path}" axes {axes} with lines lw 1.5 lt {color % 8 + 1} dt {color // 8 + 1} title "{label}"')
            script += "plot " + ", ".join(plots) + "\n"
        script += "unset multiplot\n"
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
    print(f"{out}: {out.stat().st_size} bytes")


def main():
    directory = Path(sys.argv[1])
    directory.mkdir(exist_ok=True)
    builds = [(title, rows_of(build), marks_of(build)) for title, _, build in (word.partition("=") for word in sys.argv[2:])]
    for picture in PICTURES:
        draw(directory, picture, builds)


main()
