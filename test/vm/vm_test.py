#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The virtual machine itself: it boots, does what it is told, says how that ended, and goes away. And what it is made of is fetched, or it is said why not."""
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "net")]

from lib.tap import case, check, equal, main, matches
from vm import debs
from vm.debs import Kernel
from vm.guest import Guest, with_agent
from vm.image import Image


KERNEL = Kernel()     # fetched, if need be, while there still is a network


@case("a machine boots, runs scripts and says how they ended", limit=120)
def boots(c):
    image = with_agent(Image())
    image.program("/usr/bin/env")
    image.modules(KERNEL.with_needs("xt_TCPMSS"))
    with tempfile.NamedTemporaryFile(prefix="mw-vm-") as file:
        image.write(file.name)
        guest = c.enter_context(Guest(KERNEL.image, [file.name]))
        equal(guest.run("uname -r"), (0, KERNEL.release + "\n"), "uname -r")
        equal(guest.run("echo no; exit 3"), (3, "no\n"), "a status")
        equal(guest.run("sleep 60", limit=1)[0], 137, "a time limit")
        equal(guest.run("A=1 env -u A env | grep -c ^A=")[1], "0\n", "a program with its libraries")
        equal(guest.run("for m in x_tables xt_TCPMSS; do insmod /mod/$m.ko || exit 1; done")[0], 0, "modules")
        check("Linux version" in guest.good("dmesg"), "dmesg")
        many = guest.good("head -c 300000 /dev/zero | tr '\\0' x")
        equal(len(many), 300000, "bytes of a long answer")


# apt-get download PACKAGE that fails as often as the file `failures` has lines; then it makes a package of a file that says which.
APT = """#!/bin/sh
echo "$*" >>"$APT/calls"
[ "$2" = update ] && exit 0
if [ -s "$APT/failures" ]; then
	sed -i 1d "$APT/failures"
	echo half >x_1_all.deb
	echo "E: Temporary failure resolving 'deb.example'" >&2
	exit 100
fi
for p; do :; done
mkdir -p "$APT/$p/DEBIAN" "$APT/$p/etc"
printf 'Package: %s\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@example>\\nDescription: x\\n' "$p" >"$APT/$p/DEBIAN/control"
echo "$p" >"$APT/$p/etc/$p"
dpkg-deb -b "$APT/$p" "$PWD/${p}_1_all.deb" >/dev/null
"""


def archive(c, failures):
    """A directory for packages, and an archive that fails so often."""
    where = Path(c.enter_context(tempfile.TemporaryDirectory(prefix="mw-vm-")))
    (where / "apt-get").write_text(APT)
    (where / "apt-get").chmod(0o755)
    (where / "failures").write_text("x\n" * failures)
    c.enter_context(mock.patch.dict(os.environ, APT=str(where), PATH=f"{where}:{os.environ['PATH']}"))
    del os.environ[debs.OFFLINE]
    c.enter_context(mock.patch.object(debs, "STORE", where / "store"))
    c.enter_context(mock.patch.object(debs.time, "sleep"))
    return where


@case("what is fetched: an archive that is not reached for a moment is asked again, and a package is there whole or not at all", limit=60)
def fetches(c):
    where = archive(c, failures=2)
    root = debs.tree("one", "x")
    equal((root / "etc/x").read_text(), "x\n", "the package")
    equal((where / "calls").read_text().count("download"), 3, "downloads")
    equal(debs.tree("one", "x"), root, "the same again")
    equal((where / "calls").read_text().count("download"), 3, "downloads")
    (where / "failures").write_text("x\n" * 99)
    try:
        debs.tree("one", "y")
    except debs.Missing as missing:
        matches(str(missing), "apt-get download y: .*Temporary failure resolving.*\n.*make guests", "what is said")
    else:
        check(False, "it was fetched from nowhere")
    equal((root / ".packages").read_text(), "x", "what was there")


if __name__ == "__main__":
    main()
