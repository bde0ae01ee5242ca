# SPDX-License-Identifier: Apache-2.0
"""Root directories of bare Debian 12 below build/deb: debootstrap's, made once, and copies with packages installed."""
import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

BUILD = Path(os.environ.get("MW_BUILD") or Path(__file__).resolve().parents[2] / "build").resolve()
STORE = BUILD / "deb"
SUITE = "bookworm"
SCRIPT = """
mount --make-rprivate /
mount --bind "$0" "$0"
mount -t proc proc "$0/proc"
mount --rbind /sys "$0/sys"
mount --rbind /dev "$0/dev"
mount -t tmpfs -o mode=0755 tmpfs "$0/run"
cd "$0"
pivot_root . mnt
umount -l /mnt
exec env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""


def inside(root, *argv):
    """The words of a command that runs argv in there, on this machine's network, in a process space of its own."""
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", SCRIPT, str(root), *argv]


def run(root, *argv):
    """Output of a command that must succeed."""
    done = subprocess.run(inside(root, *argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: status {done.returncode}: {done.stdout[-3000:]}")
    return done.stdout


@contextmanager
def made(name):
    """A directory that is kept when its maker comes to the end; None when it was there. One maker at a time."""
    STORE.mkdir(parents=True, exist_ok=True)
    with open(STORE / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        half = STORE / f"{name}.half"
        if (STORE / name).is_dir():
            yield None
            return
        remove(half)
        yield half
        half.rename(STORE / name)


def remove(directory):
    shutil.rmtree(directory, ignore_errors=True)


def mirror():
    """Where this machine's own packages come from; nothing, for debootstrap's default, if it is not of that suite."""
    said = subprocess.run(["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"], capture_output=True, text=True, check=False)
    return [uri for codename, uri in (line.split() for line in said.stdout.splitlines()) if codename == SUITE][:1]


def strap(root, again=2):
    done = subprocess.run(["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, root, *mirror()], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode and again:           # the network may be away for a moment
        remove(root)
        strap(root, again - 1)
    elif done.returncode:
        raise RuntimeError(f"debootstrap: status {done.returncode}: {done.stdout[-3000:]}")


def bare():
    """debootstrap's smallest, and certificates."""
    with made("bare") as root:
        if root:
            strap(root)
    return STORE / "bare"


def copy_to(root):
    subprocess.run(["cp", "-a", "--reflink=auto", bare(), root], check=True)


def with_packages(name, *wanted):
    """A copy of it where these dependencies, as debian/control has them, are satisfied; the services among them are not started."""
    stamp = STORE / name / ".packages"
    if stamp.is_file() and stamp.read_text() != "\n".join(wanted):
        remove(STORE / name)
    with made(name) as root:
        if root:
            copy_to(root)
            (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
            (root / "usr/sbin/policy-rc.d").chmod(0o755)
            (root / "etc/apt/apt.conf.d/retries").write_text('Acquire::Retries "5";\n')
            run(root, "apt-get", "-q", "update")
            run(root, "apt-get", "-q", "satisfy", "-y", "--no-install-recommends", *wanted)
            run(root, "apt-get", "-q", "clean")
            (root / "usr/sbin/policy-rc.d").unlink()
            (root / ".packages").write_text("\n".join(wanted))
    return STORE / name
