# SPDX-License-Identifier: Apache-2.0
"""Real Xen in a test; it shares test/vm/'s builder of images."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "vm"))
