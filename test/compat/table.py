# SPDX-License-Identifier: Apache-2.0
"""The table of doc/compatibility.md: a row for each case, between two marks; the rest of the page is not ours."""
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "doc/compatibility.md"
BEGIN, END = "<!-- servers: test/compat/compat_test.py --write -->", "<!-- servers: end -->"
HEAD = ["| program | its work | `--net isolated` | `--net host` |", "|---|---|---|---|"]


def line(row):
    return "| " + " | ".join(row[key].replace("|", "\\|") for key in ("title", "work", "isolated", "host")) + " |"


def parts():
    """The page before the table, the table's rows by their title, and the page behind it."""
    before, _, rest = PAGE.read_text().partition(BEGIN + "\n")
    inside, _, after = rest.partition(END)
    rows = {text.split(" | ")[0].removeprefix("| "): text for text in inside.splitlines()[len(HEAD):] if text}
    return before, rows, after


def write(rows, every):
    """Puts these rows in; rows of other cases stay, those of no case go when all ran."""
    before, have, after = parts()
    wanted = {row["title"]: line(row) for row in rows.values()}
    if set(rows) != set(every):
        wanted = {**have, **wanted}
    body = [BEGIN, *HEAD, *(wanted[title] for title in sorted(wanted, key=str.casefold)), END]
    PAGE.write_text(before + "\n".join(body) + after)


def differences(rows, every):
    """'' or how the page differs from what was seen."""
    _, have, _ = parts()
    wanted = {row["title"]: line(row) for row in rows.values()}
    wrong = [f"seen:  {text}\npage:  {have.get(title, 'nothing')}" for title, text in wanted.items()
             if have.get(title) != text]
    if set(rows) == set(every):
        wrong += [f"page:  {have[title]}\nis of no case" for title in have if title not in wanted]
    return "\n".join(wrong + ["put it right with test/compat/compat_test.py --write"]) if wrong else ""
