# SPDX-License-Identifier: Apache-2.0
"""An initramfs from a list of files, in the kernel's own cpio format. The same files give the same bytes.

    image = Image()
    image.busybox()
    image.program("/usr/sbin/nginx")            # with its shared libraries, each where ldd says
    image.file("/etc/mime.types")               # from here, to the same place
    image.text("/etc/passwd", "root:x:0:0::/:/bin/sh\n")
    image.text("/init", "#!/bin/sh\n...", 0o755)
    image.write(path)

Several images behind one another are one to the kernel; later files replace earlier ones.
"""
import re
import stat
import subprocess
import tempfile
from pathlib import Path

DIRECTORIES = ("/bin", "/dev", "/etc", "/lib", "/lib64", "/mod", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr/bin", "/usr/lib", "/var")


class Image:
    """Entries by path in the image; directories on the way come by themselves."""

    def __init__(self, directories=DIRECTORIES):
        self.entries = {}       # path: (mode with type, bytes, (major, minor))
        for path in directories:
            self.directory(path)

    def _put(self, path, mode, data=b"", device=(0, 0)):
        path = "/" + str(path).strip("/")
        if path != "/" and (parent := str(Path(path).parent)) not in self.entries and parent != "/":
            self.directory(parent)
        self.entries[path] = (mode, data, device)

    def directory(self, path, mode=0o755):
        self._put(path, stat.S_IFDIR | mode)

    def text(self, path, text, mode=0o644):
        self._put(path, stat.S_IFREG | mode, text.encode() if isinstance(text, str) else text)

    def link(self, path, target):
        self._put(path, stat.S_IFLNK | 0o777, str(target).encode())

    def node(self, path, kind, major, minor, mode=0o666):
        """A device; kind is "c" or "b"."""
        self._put(path, (stat.S_IFCHR if kind == "c" else stat.S_IFBLK) | mode, device=(major, minor))

    def file(self, source, path=None, mode=None):
        """A file from here."""
        source = Path(source)
        self._put(path or source, stat.S_IFREG | (mode if mode is not None else source.stat().st_mode & 0o777), source.read_bytes())

    def files(self, source, path=None):
        """A directory from here, whole."""
        source, path = Path(source), Path(path or source)
        for found in sorted(source.rglob("*")):
            to = path / found.relative_to(source)
            if found.is_symlink():
                self.link(to, found.readlink())
            elif found.is_dir():
                self.directory(to)
            elif found.is_file():
                self.file(found, to)

    def program(self, source, path=None, root=None):
        """A program and the shared libraries that it asks for. root: where those are looked for first."""
        self.file(source, path, 0o755)
        self.libraries(source, root)

    def libraries(self, source, root=None):
        for library in libraries(source, root):
            at = "/" + str(library.relative_to(root)) if root and library.is_relative_to(root) else library
            if str(at) not in self.entries:
                self.file(library, at, 0o755)

    def busybox(self):
        """busybox as sh and as all that it can be."""
        self.file("/usr/bin/busybox" if Path("/usr/bin/busybox").exists() else "/bin/busybox", "/bin/busybox", 0o755)
        names = subprocess.run(["busybox", "--list-full"], check=True, capture_output=True, text=True).stdout.split()
        for name in names:
            if name != "bin/busybox" and "/" + name not in self.entries:
                self.link("/" + name, "/bin/busybox")
        self.node("/dev/console", "c", 5, 1, 0o600)
        self.node("/dev/null", "c", 1, 3)

    def modules(self, paths):
        """Kernel modules, under /mod, without what a debugger wants."""
        for path in paths:
            self.text(f"/mod/{path.name}", stripped(path))

    def write(self, path):
        """The file is there whole or as it was: others may read it."""
        partial = Path(f"{path}.partial")
        partial.write_bytes(self.data())
        partial.rename(path)

    def data(self):
        out = bytearray()
        for inode, (name, (mode, data, device)) in enumerate(sorted(self.entries.items()), 1):
            add(out, name.lstrip("/"), inode, mode, data, device)
        add(out, "TRAILER!!!", 0, 0, b"", (0, 0))
        return bytes(out + bytes(-len(out) % 512))


def protected_machine(image, build):
    """What `make install` puts there, as far as `mw` asks for it."""
    image.program(build / "mw", "/usr/local/bin/mw")
    for name in ("mw-ins", "mw-names", "mw-telem", "mw-trap"):
        image.program(build / name, f"/usr/local/libexec/mwcomms/{name}")
    image.program(build / "libmwshim.so", "/usr/local/lib/mwcomms/libmwshim.so")


def add(out, name, inode, mode, data, device):
    """One newc entry: thirteen fields of eight hexadecimal digits, name, data, each padded to four."""
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
    out += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    out += bytes(-len(out) % 4) + data
    out += bytes(-len(out) % 4)


def libraries(program, root=None):
    """Paths of the shared libraries that ldd says, the loader among them."""
    env = {"LC_ALL": "C"}
    if root:
        env["LD_LIBRARY_PATH"] = f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False, env={**env, "PATH": "/usr/bin:/bin"}).stdout
    if missing := re.findall(r"(\S+) => not found", said):
        raise FileNotFoundError(f"{program} needs {', '.join(missing)}")
    return [Path(path) for path in re.findall(r"(?:=> |^\s*)(/\S+) \(0x", said, re.M)]


def stripped(path):
    with tempfile.NamedTemporaryFile(prefix="mw-vm-") as out:
        subprocess.run(["strip", "-g", "-o", out.name, path], check=True)
        return Path(out.name).read_bytes()
