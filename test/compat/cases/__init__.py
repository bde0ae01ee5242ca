# SPDX-License-Identifier: Apache-2.0
"""One module for each server; lab.py says what is in one."""
