# SPDX-License-Identifier: Apache-2.0
"""Apache, MPM worker."""
import apache

TITLE = "Apache (worker)"
WORK = apache.WORK
PACKAGES = apache.PACKAGES


def work(lab):
    apache.work(lab, "worker")
