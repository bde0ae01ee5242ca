# SPDX-License-Identifier: Apache-2.0
"""The packages: built by tools/deb.sh into build/deb, and what dpkg says of them."""
import fcntl
import subprocess
from pathlib import Path

from root import STORE

TOP = Path(__file__).resolve().parents[2]
NAMES = ("libmwchan-dev", "mwcomms", "mwcomms-dkms", "mwcomms-xen")


def said(*argv):
    """Output of a command that must succeed."""
    done = subprocess.run(argv, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: status {done.returncode}: {done.stdout}")
    return done.stdout


def build():
    """Unless they are newer than every file of the tree; by one test at a time."""
    STORE.mkdir(parents=True, exist_ok=True)
    with open(STORE / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build_if_older()


def build_if_older():
    changes = [path.stat().st_mtime for path in STORE.glob("*.changes")]
    files = [TOP / name for name in said("git", "ls-files", "-co", "--exclude-standard").splitlines()]
    if not changes or max(path.stat().st_mtime for path in files if path.is_file()) > changes[0]:
        said("tools/deb.sh", STORE)


def version():
    return said("dpkg-parsechangelog", "--show-field", "Version").strip()


def deb(name):
    found, = STORE.glob(f"{name}_*.deb")
    return found


def field(name, which):
    return said("dpkg-deb", "--field", deb(name), which).strip()


def contents(name):
    """Path without directories, and mode as ls shows it, of each file."""
    lines = (line.split(None, 5) for line in said("dpkg-deb", "--contents", deb(name)).splitlines())
    return {path.split(" -> ")[0].removeprefix("."): mode for mode, _, _, _, _, path in lines if not path.endswith("/")}


def needs():
    """What the packages depend on that is not among them."""
    words = ", ".join(field(name, "Depends") for name in NAMES if name != "libmwchan-dev").split(", ")
    return sorted({word for word in words if word.split()[0] not in NAMES})
