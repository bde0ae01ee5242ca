# SPDX-License-Identifier: Apache-2.0
"""Debian's packages, fetched and unpacked beside the build; nothing of them is installed here."""
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

BUILD = Path(os.environ.get("MW_BUILD", Path(__file__).resolve().parents[3] / "build"))
STORE = Path(os.environ.get("MW_VM_STORE", BUILD.parent / "build" / "vm"))
TRIES, FETCH_S = 5, 600
OFFLINE = "MW_TEST_MACHINE"     # set in a test's own machine, which reaches nobody


class Missing(Exception):
    """A package cannot be had; the text says which, and what apt said."""


def tree(name, *packages):
    """A directory with these packages unpacked in it: made once, whole or not at all. Any number of processes may ask at once."""
    STORE.mkdir(parents=True, exist_ok=True)
    done = STORE / f"{name}.root"
    wanted = " ".join(sorted(packages))
    with open(STORE / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = done / ".packages"
        if not stamp.is_file() or stamp.read_text() != wanted:
            partial = STORE / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            unpack(partial, packages)
            (partial / ".packages").write_text(wanted)
            shutil.rmtree(done, ignore_errors=True)
            partial.rename(done)
    return done


def unpack(root, packages):
    with_debs = root / "debs"
    with_debs.mkdir()
    download(with_debs, packages)
    for deb in sorted(with_debs.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
    shutil.rmtree(with_debs)


def download(to, packages):
    """apt compares each with the checksum that the archive has signed. Some failures pass: a resolver's, a mirror's, a list that is too old."""
    why = ""
    for attempt in range(1 if OFFLINE in os.environ else TRIES):
        if attempt:
            print(f"fetching {' '.join(packages)}: {why}; again", file=sys.stderr, flush=True)
            time.sleep(2 ** attempt)
            for half in to.iterdir():
                half.unlink()
            subprocess.run(["apt-get", "-q", "update"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=FETCH_S)
        try:
            said = subprocess.run(["apt-get", "-q", "-o", "Acquire::Retries=3", "download", *packages], cwd=to, capture_output=True, text=True,
                                  check=False, timeout=FETCH_S)
        except subprocess.TimeoutExpired:
            why = f"no end after {FETCH_S} s"
            continue
        missing = [package for package in packages if not list(to.glob(f"{package}_*.deb"))]
        if not said.returncode and not missing:
            return
        why = said.stderr.strip() or "no " + ", ".join(missing)
    raise Missing(f"apt-get download {' '.join(packages)}: {why}\nThe tests' virtual machines are made of these packages; `make guests` fetches them, "
                  "from a machine that reaches Debian's archive")


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
