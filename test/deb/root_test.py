# SPDX-License-Identifier: Apache-2.0
"""The Debian packages in a root directory of bare Debian 12: installed by apt, booted, used, upgraded, purged.

On the real machine's network first: build/deb/root, where all that the packages need is installed. The rest is offline.
"""
import os
import re
import sys
import time
from pathlib import Path

import packages
import root
from packages import NAMES, TOP

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "net"))

from lib import machine, procs, tap                 # noqa: E402
from lib.booted import Booted                       # noqa: E402
from lib.mw import command, nft_tables              # noqa: E402
from lib.tap import case, check, equal, matches, until  # noqa: E402

# Beside what the packages need: their tests' needs, systemd, and headers to build the module for.
MORE = ("nginx-light", "curl", "gcc", "libc6-dev", "pkg-config", "systemd", "systemd-sysv", "linux-headers-amd64")
PORT = 8080
# Not of the packages: apt's, dpkg's and ld.so's books and logs, nginx's data, depmod's, DKMS's key for signing, copies of /etc/group.
BOOKS = re.compile(r"/(var/(lib/dpkg|lib/apt|lib/systemd|lib/nginx|cache|log)/|run/|proc/|sys/|dev/|tmp/|debs/|etc/ld\.so\.cache$|etc/g(roup|shadow)-$|"
                   r"lib/modules/[^/]*/modules\.|usr/lib/modules/[^/]*/modules\.|var/lib/dkms/mok\.)")


class Installed(Booted):
    """Booted from build/deb/root, with the packages installed from a directory of it."""

    def __init__(self, c):
        super().__init__(c, root.STORE / "root")
        self.path("/etc/systemd/system/multi-user.target.wants").mkdir()
        self.before = self.files()
        self.path("/debs").mkdir()
        for name in NAMES:
            self.path(f"/debs/{packages.deb(name).name}").write_bytes(packages.deb(name).read_bytes())
        self.apt("install", *self.debs(*NAMES))

    @staticmethod
    def debs(*names):
        return [f"/debs/{packages.deb(name).name}" for name in names]

    def apt(self, *argv):
        return self.run("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "apt-get", "-q", "-y", *argv, limit=240)

    def files(self):
        """All paths, and what /etc has in its files, without BOOKS."""
        found, top = {}, str(self.path(""))
        for at, directories, names in os.walk(top):
            for name in [*directories, *names]:
                path = f"{at}/{name}".removeprefix(top)
                if not BOOKS.match(path + ("/" if name in directories else "")):
                    full = Path(f"{at}/{name}")
                    found[path] = full.read_bytes() if path.startswith("/etc/") and full.is_file() and not full.is_symlink() else None
            directories[:] = [name for name in directories if not BOOKS.match(f"{at}/{name}/".removeprefix(top)) and not os.path.islink(f"{at}/{name}")]
        return found

    def page(self):
        """What a neighbour gets: a status of curl's."""
        return command(*machine.in_neighbour(), "curl", "-sSf", "--max-time", "5", "-o", "/dev/null", f"http://{machine.HERE4}:{PORT}/")[0]

    def serve(self):
        """nginx as Debian installs it, by the unit, as its comment says; enabled too."""
        self.write("/etc/mwcomms/web.conf", f"ARGS=-p {PORT}:80 -- nginx -g 'daemon off;'\n")
        self.run("systemctl", "enable", "mw@web", "mw-frontend@web")
        self.start("mw@web")
        until(10, lambda: self.page() == 0, lambda: f"nginx's page: {self.journal('mw@web')}", 0.1)

    def purged(self):
        said = self.apt("purge", *NAMES)
        after = self.files()
        equal(sorted(set(after) ^ set(self.before)), [], f"files after purge ({said[-600:]})")
        equal([path for path, text in after.items() if self.before[path] != text], [], "files that changed in /etc")


class Steps:
    """What each took."""

    def __init__(self, c):
        self.case, self.began = c, time.monotonic()

    def end(self, what):
        self.case.note(f"{what}: {time.monotonic() - self.began:.1f} s")
        self.began = time.monotonic()


def module(boot):
    """DKMS has built the module for Debian's kernel."""
    release, = [name for name in os.listdir(boot.path("/lib/modules")) if re.fullmatch(r"\d[\w.]*-\d+-amd64", name)]
    matches(boot.run("dkms", "status"), rf"^mwcomms/{re.escape(packages.version())}, {re.escape(release)}, \w+: installed", "dkms status")
    ko = f"/lib/modules/{release}/updates/dkms/mwcomms.ko"
    matches(boot.run("modinfo", "-F", "vermagic", ko), re.escape(release), "what it is for")
    matches(boot.run("getent", "group", "mwcomms"), "^mwcomms:", "the group")


def autopkgtests(boot):
    for name in re.findall(r"^Tests: (\w+)$", (TOP / "debian/tests/control").read_text(), re.M):
        boot.path(f"/debs/{name}").write_text((TOP / "debian/tests" / name).read_text())
        boot.run("sh", f"/debs/{name}", limit=90)


@case("apt installs them, DKMS builds the module, debian/tests pass, mw@ starts nginx; an upgrade leaves it alone; purge ends it and leaves nothing", limit=700)
def used(c):
    steps, boot = Steps(c), Installed(c)
    steps.end("installed, module built")
    tables = nft_tables()
    equal(boot.run("systemctl", "list-units", "--no-legend", "mw*"), "", "units that run by installing")
    module(boot)
    autopkgtests(boot)
    steps.end("debian/tests")
    boot.serve()
    matches(boot.run("mw", "ps"), r"^web\b", "mw ps")
    master = min(pid for pid in boot.processes("mw@web") if procs.look(pid).comm == "nginx")
    boot.apt("reinstall", *boot.debs("mwcomms"))
    equal((boot.page(), boot.show("mw@web", "ActiveState")), (0, "active"), "nginx's page and unit after mwcomms was installed again")
    check(master in boot.processes("mw@web"), "nginx went on")
    steps.end("used, installed again")
    boot.purged()
    equal(boot.show("mw@web", "ActiveState"), "inactive", "the unit after purge")
    equal(nft_tables(), tables, "nftables' tables")
    steps.end("purged")


def prepare():
    """What needs the network, before the test's own machine is entered."""
    packages.build()
    root.with_packages("root", *packages.needs(), *MORE)


if __name__ == "__main__":
    if os.geteuid() == 0 and machine.outside():
        prepare()
    tap.main()
