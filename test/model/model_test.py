# SPDX-License-Identifier: Apache-2.0
"""The channel's rules in a model checker (spin): every interleaving, within the bounds that each model's first lines give. A model with a
step of the protocol taken out must fail: else it would prove nothing."""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "net"))
from lib import tap  # noqa: E402
from lib.tap import case, check, equal  # noqa: E402

HERE = Path(__file__).resolve().parent


def errors(t, model, *defines):
    """How many spin finds, all states visited."""
    with tempfile.TemporaryDirectory(prefix="mw-model-") as directory:
        for command in (["spin", "-a", *[f"-D{d}" for d in defines], HERE / f"{model}.pml"],
                        ["gcc", "-O2", "-w", "-DSAFETY", "-DVECTORSZ=2048", "-o", "pan", "pan.c"], ["./pan", "-m1000000", "-w24"]):
            done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=200)
            check(done.returncode == 0, lambda d=done, c=command: f"{c[0]}: status {d.returncode}: {d.stdout}{d.stderr}")
    found = int(re.search(r"errors: (\d+)", done.stdout)[1])
    check(found or not re.search("Search not completed|max search depth too small", done.stdout), done.stdout)
    t.note(f"{model} {' '.join(defines)}: {re.search(r'(.*) states, stored', done.stdout)[1].strip()} states, {found} errors")
    return found


@case("who sleeps is woken, and by marks alone", limit=240)
def sleep(t):
    equal(errors(t, "sleep"), 0, "errors")
    equal(errors(t, "sleep", "WRITERS=1", "MARKS=6"), 0, "errors, one writer")


@case("a token tells of every byte that nobody has read, and of no other", limit=240)
def token(t):
    equal(errors(t, "token"), 0, "errors, edge-triggered")
    equal(errors(t, "token", "LEVEL"), 0, "errors, level-triggered")


@case("all who sleep are woken, though one record wakes one", limit=240)
def readers(t):
    equal(errors(t, "readers"), 0, "errors")


@case("without any one of its steps each rule is broken", limit=240)
def wrong(t):
    for define in ("NO_WRITER_FENCE", "NO_SERVER_FENCE", "LOOK_FIRST"):
        check(errors(t, "sleep", define) > 0, f"sleep.pml with {define} is proven")
    for define in ("ONE_TOKEN", "WOKEN_LATE", "WAITS_EARLY"):
        check(errors(t, "readers", define) > 0, f"readers.pml with {define} is proven")
    for define in ("NO_INS_FENCE", "NO_READER_FENCE", "RUNG_AFTER_LOOK"):
        check(errors(t, "token", define, "LEVEL") > 0, f"token.pml with {define} is proven")


tap.main()
