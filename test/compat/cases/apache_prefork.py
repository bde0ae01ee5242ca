# SPDX-License-Identifier: Apache-2.0
"""Apache, MPM prefork."""
import apache

TITLE = "Apache (prefork)"
WORK = apache.WORK.replace(" HTTP/2,", "")
PACKAGES = apache.PACKAGES


def work(lab):
    apache.work(lab, "prefork")
