# SPDX-License-Identifier: Apache-2.0
"""Apache, MPM event."""
import apache

TITLE = "Apache (event)"
WORK = apache.WORK
PACKAGES = apache.PACKAGES


def work(lab):
    apache.work(lab, "event")
