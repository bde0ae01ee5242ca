# SPDX-License-Identifier: Apache-2.0
"""Guests' kernels and initramfs images, made of Debian's packages: nothing is installed, and nobody needs to be root.

Packages come by `apt-get download` into a store, are unpacked beside it, and are found again by their names and sums. A Tree
is an initramfs in the making: files, programs with the libraries that they load, modules with those that they need.
"""
import hashlib
import lzma
import re
import stat
import struct
import subprocess
import zlib
from pathlib import Path

LIBRARIES = "lib/x86_64-linux-gnu"
BUSYBOX = "/usr/bin/busybox"


class Problem(Exception):
    """The image cannot be made; the text says why and what to do."""


def kernel_version():
    """Of the newest of Debian's kernels whose headers are here, so that modules built here fit."""
    found = [p.name for p in Path("/usr/src").glob("linux-headers-*-amd64") if (p / "Makefile").exists()]
    if not found:
        raise Problem("no kernel headers in /usr/src: apt-get install linux-headers-amd64")
    return max(found, key=lambda name: [int(n) for n in re.findall(r"\d+", name)]).removeprefix("linux-headers-")


def packages(store, names):
    """The directory in which these packages lie unpacked."""
    store = Path(store)
    store.mkdir(parents=True, exist_ok=True)
    listed = output("apt-get", "download", "--print-uris", *names)
    found = re.findall(r"^'(\S+)' (\S+) (\d+) (\S*)$", listed, re.M)
    if len(found) != len(names):
        raise Problem(f"apt-get knows {len(found)} of these {len(names)} packages: {' '.join(names)}; run apt-get update")
    root = store / ("root-" + digest(*(name + total for _, name, _, total in sorted(found))))
    if root.exists():
        return root
    debs = [store / deb_name(name) for _, name, _, _ in found]
    if not all(deb.exists() for deb in debs):
        run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *names, cwd=store)
    partial = store / (root.name + ".partial")
    for deb in debs:
        if not deb.exists():
            raise Problem(f"apt-get download brought no {deb.name}")
        run("dpkg", "-x", deb, partial)
    partial.rename(root)
    return root


def deb_name(listed):
    return listed.replace("%3A", "%3a").replace("%2B", "+")


def vmlinux(bzimage, to):
    """The ELF file within a bzImage: `xl create` takes a quarter of the time with it."""
    data = Path(bzimage).read_bytes()
    begin, length = struct.unpack_from("<II", data, 0x248)  # payload_offset and _length of the boot protocol's setup header
    begin += ((data[0x1F1] or 4) + 1) * 512
    payload = data[begin:begin + length]
    if payload.startswith(b"\xfd7zXZ\0"):
        elf = lzma.LZMADecompressor().decompress(payload)
    elif payload.startswith(b"\x1f\x8b"):
        elf = zlib.decompressobj(31).decompress(payload)
    else:
        raise Problem(f"{bzimage}: compressed in a way that is not known here ({payload[:6].hex()})")
    Path(to).write_bytes(elf)
    run("strip", to)
    return Path(to)


class Tree:
    """What an initramfs will hold. `root`: unpacked packages, looked at before this machine."""

    def __init__(self, root, kernel):
        self.root, self.kernel, self.entries, self.modules = Path(root), kernel, {}, []

    def put(self, path, data, mode=0o644):
        data = data.encode() if isinstance(data, str) else data
        self._add(path, stat.S_IFREG | mode, data)

    def file(self, source, path=None, mode=None):
        """A file of the packages or of this machine, links followed."""
        found = self.find(source)
        self.put(path or source, found.read_bytes(), mode or stat.S_IMODE(found.stat().st_mode))

    def directory(self, *paths, mode=0o755):
        for path in paths:
            self._add(path, stat.S_IFDIR | mode, b"")

    def link(self, path, target):
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path, major, minor):
        self._add(path, stat.S_IFCHR | 0o600, b"", (major, minor))

    def copy(self, directory):
        """A directory of the packages or of this machine, with links as they are."""
        top = self.find(directory)
        for source in sorted(top.rglob("*")):
            path = f"{directory}/{source.relative_to(top)}"
            if source.is_symlink():
                self.link(path, str(source.readlink()))
            elif source.is_dir():
                self.directory(path)
            elif source.is_file():
                self.put(path, source.read_bytes(), stat.S_IMODE(source.stat().st_mode))

    def program(self, source, path=None):
        """With the libraries that it loads."""
        self.file(source, path or str(source), 0o755)
        self.libraries(source)

    def libraries(self, source):
        where = ":".join(str(self.root / p) for p in ("usr/" + LIBRARIES, LIBRARIES))
        done = subprocess.run(["ldd", self.find(source)], env={"LD_LIBRARY_PATH": where, "PATH": "/usr/bin:/bin"},
                              capture_output=True, text=True, check=False)
        if "not found" in done.stdout:
            raise Problem(f"{source}: libraries are missing:\n{done.stdout}")
        for library in re.findall(r"(/\S+) \(0x", done.stdout):
            path = library if library.startswith("/lib64/") else f"{LIBRARIES}/{Path(library).name}"
            if clean(path) not in self.entries:
                self.put(path, Path(library).resolve().read_bytes(), 0o755)

    def module(self, *names):
        """Kernel modules in /mod, and those that they need; `self.modules` is the order to load them in."""
        for name in names:
            if name in self.modules:
                continue
            found = list((self.root / "lib/modules" / self.kernel).rglob(f"{name}.ko"))
            if not found:
                continue  # built in
            data = found[0].read_bytes()
            for needed in re.search(rb"\0depends=([^\0]*)\0", data)[1].decode().split(","):
                self.module(*{needed, needed.replace("_", "-")} - {""})
            self.put(f"mod/{name}.ko", data)
            self.modules.append(name)

    def busybox(self):
        self.file(BUSYBOX, "bin/busybox", 0o755)
        self.link("bin/sh", "busybox")

    def base(self):
        """What every guest has: the directories that things are mounted on, and a console."""
        self.directory("dev", "proc", "sys", "run", "root", "etc", "var", "var/log", "var/lib", "usr", "mod")
        self.directory("tmp", mode=0o1777)
        self.link("var/run", "../run")
        self.device("dev/console", 5, 1)
        self.device("dev/null", 1, 3)

    def find(self, source):
        source = Path(source)
        inside = self.root / str(source).lstrip("/")
        if inside.exists():
            return inside
        if not source.exists():
            raise Problem(f"{source} is neither in the packages nor on this machine")
        return source

    def write(self, path):
        """As a cpio archive of the newc format, the same for the same contents."""
        with open(path, "wb") as archive:
            for number, (name, (mode, data, device)) in enumerate(sorted(self.entries.items()), 1):
                archive.write(record(name, mode, data, device, number))
            archive.write(record("TRAILER!!!", 0, b"", (0, 0), 0))
        return Path(path)

    def _add(self, path, mode, data, device=(0, 0)):
        path = clean(path)
        for parent in list(Path(path).parents)[-2::-1]:
            self.entries.setdefault(str(parent), (stat.S_IFDIR | 0o755, b"", (0, 0)))
        self.entries[path] = (mode, data, device)


def clean(path):
    return str(path).lstrip("/")


def record(name, mode, data, device, number):
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return padded(head) + padded(data)


def padded(data):
    return data + bytes(-len(data) % 4)


def digest(*parts):
    """A short name for contents: of texts, and of files by what is in them."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.read_bytes() if isinstance(part, Path) else str(part).encode())
        total.update(b"\0")
    return total.hexdigest()[:16]


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **more)
    if done.returncode:
        raise Problem(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def output(*command):
    return run(*command)
