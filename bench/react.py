# SPDX-License-Identifier: Apache-2.0
"""How soon telemetry reacts: from an event to its reader, and verbs beside 9,000 connections. Measured by what the tests use."""
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import idle
from procs import Failure, output

sys.path.append(str(Path(__file__).resolve().parent.parent / "test/net"))
# pylint: disable=wrong-import-position
from lib import soon  # noqa: E402
from lib.control import Control  # noqa: E402
from lib.tap import Failed  # noqa: E402

HELD = 9000
EVENT = "event"
RUNTIME = os.environ.get("MW_RUNTIME_DIR") or "/run/mw"


def measure(bench, running):
    """{what: {"p50_ms", "p99_ms", "count"}}"""
    info = next((one for one in map(json.loads, output([str(bench.mw), "ps", "--json"]).splitlines())
                 if one["name"] == running.mw_name), None)
    if not info:
        raise Failure(f"mw ps does not list {running.mw_name}")
    where = (running.place.host, running.port)
    try:
        with ExitStack() as stack:
            seconds = {EVENT: soon.events(f"{RUNTIME}/{running.mw_name}/control", where, info["ins_pid"], info["telem_pid"])}
            stack.enter_context(idle.holding(running, HELD))
            orders, follow = (Control(stack, running.mw_name, RUNTIME) for _ in range(2))
            seconds |= soon.verbs(orders, follow.follow(), where)
    except (Failed, OSError) as error:
        raise Failure(str(error)) from None
    running.check()
    return {what: {"p50_ms": soon.percentile(each, 0.5) * 1e3, "p99_ms": soon.percentile(each, 0.99) * 1e3, "count": len(each)}
            for what, each in seconds.items()}
