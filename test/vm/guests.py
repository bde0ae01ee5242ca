#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fetches, once, what the tests' virtual machines are made of: Debian's kernel, and Xen. No test does it later, where there may be no network."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "xen"))
from xenlab import images  # noqa: E402
from vm import debs  # noqa: E402

try:
    debs.Kernel()
    images.xen_root()
except debs.Missing as missing:
    sys.exit(f"guests.py: {missing}")
