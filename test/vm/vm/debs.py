# SPDX-License-Identifier: Apache-2.0
"""Debian's packages, fetched and unpacked beside the build; nothing of them is installed here."""
import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

BUILD = Path(os.environ.get("MW_BUILD", Path(__file__).resolve().parents[3] / "build"))
STORE = Path(os.environ.get("MW_VM_STORE", BUILD.parent / "build" / "vm"))


class Missing(Exception):
    """A package cannot be had; the text says which, and what apt said."""


def tree(name, *packages):
    """A directory with these packages unpacked in it: made once, then as it is. Any number of processes may ask at once."""
    STORE.mkdir(parents=True, exist_ok=True)
    done = STORE / f"{name}.root"
    wanted = " ".join(sorted(packages))
    with open(STORE / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = done / ".packages"
        if not stamp.is_file() or stamp.read_text() != wanted:
            shutil.rmtree(done, ignore_errors=True)
            done.mkdir()
            unpack(done, packages)
            stamp.write_text(wanted)
    return done


def unpack(root, packages):
    with_debs = root / "debs"
    with_debs.mkdir()
    said = subprocess.run(["apt-get", "-q", "download", *packages], cwd=with_debs, capture_output=True, text=True, check=False)
    if said.returncode:
        raise Missing(f"apt-get download {' '.join(packages)}: {said.stderr.strip()}")
    for deb in sorted(with_debs.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
    shutil.rmtree(with_debs)


class Kernel:
    """Debian's kernel whose headers are here: the package's files, unpacked."""

    def __init__(self):
        self.release = release()
        self.root = tree("linux-" + self.release, "linux-image-" + self.release)
        self.image = self.root / "boot" / ("vmlinuz-" + self.release)
        self.config = (self.root / "boot" / ("config-" + self.release)).read_text()
        self.modules = {path.stem.replace("-", "_"): path
                        for path in (self.root / "lib/modules" / self.release / "kernel").rglob("*.ko")}

    def with_needs(self, *names):
        """The files of these modules and of all that they need, in the order to load them."""
        paths = []
        for name in names:
            path = self.modules[name.replace("-", "_")]
            for needed in [*self.with_needs(*depends(path)), path]:
                if needed not in paths:
                    paths.append(needed)
        return paths


def release():
    """MW_KERNEL, or the newest kernel that headers are installed for."""
    if named := os.environ.get("MW_KERNEL"):
        return named
    found = [path.name.removeprefix("linux-headers-") for path in Path("/usr/src").glob("linux-headers-*-amd64")]
    if not found:
        raise Missing("no kernel headers in /usr/src: apt-get install linux-headers-amd64")
    return max(found, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


def depends(module):
    """The modules that a module's file names as needed."""
    found = re.search(rb"\0depends=([^\0]*)\0", module.read_bytes())
    return [name for name in found[1].decode().split(",") if name] if found else []
