#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The virtual machine itself: it boots, does what it is told, says how that ended, and goes away."""
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "net")]

from lib.tap import case, check, equal, main
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


if __name__ == "__main__":
    main()
