# SPDX-License-Identifier: Apache-2.0
"""What the lab boots: Xen, a kernel that is dom0's and every guest's, and dom0's initramfs. Made of Debian's packages alone."""
import gzip
import hashlib
import lzma
import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

from vm import debs
from vm.image import Image

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[2]
XEN = "4.17"
XEN_PACKAGES = [f"xen-hypervisor-{XEN}-amd64", "xen-utils-" + XEN, "xen-utils-common", "xenstore-utils", "libxenmisc" + XEN, "libxencall1",
                "libxendevicemodel1", "libxenevtchn1", "libxenforeignmemory1", "libxengnttab1", "libxenhypfs1", "libxenstore4",
                "libxentoolcore1", "libxentoollog1"]
DOM0_MODULES = ["xen-privcmd", "xenfs", "xen-evtchn", "xen-gntdev", "xen-gntalloc", "bridge", "xen-netback", "e1000",
                "crc32c_generic", "nft_chain_nat", "nft_nat", "nft_fib_inet", "nft_numgen", "nft_hash", "nf_conntrack_netlink"]  # a frontend's
LIBGCC = "/lib/x86_64-linux-gnu/libgcc_s.so.1"  # glibc loads it when a thread is cancelled, as xl and libxenstore do
STORE = Path(os.environ.get("MW_XEN_STORE", debs.STORE.parent / "xen"))


class Problem(Exception):
    """An image cannot be made; the text says why."""


def xen_root():
    """Xen's packages, unpacked."""
    return debs.tree("xen-" + XEN, *XEN_PACKAGES)


def digest(*parts):
    """A short name for contents: of texts, and of files by what is in them."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.read_bytes() if isinstance(part, Path) else str(part).encode())
        total.update(b"\0")
    return total.hexdigest()[:16]


def vmlinux(bzimage):
    """The ELF file within a bzImage: `xl create` takes a quarter of the time with it."""
    data = Path(bzimage).read_bytes()
    begin, length = struct.unpack_from("<II", data, 0x248)  # payload_offset and _length of the boot protocol's setup header
    begin += ((data[0x1F1] or 4) + 1) * 512
    payload = data[begin:begin + length]
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(payload)
    if payload.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(31).decompress(payload)
    raise Problem(f"{bzimage}: compressed in a way that is not known here ({payload[:6].hex()})")


class Boot:
    """The files that QEMU boots, kept by what they are made of."""

    def __init__(self):
        self.kernel, self.root = debs.Kernel(), xen_root()
        names = [p.name for p in (self.root / "usr/share/doc").iterdir()]
        self.directory = STORE / ("boot-" + digest(self.kernel.release, self.kernel.image, self.root / f"boot/xen-{XEN}-amd64.gz", *sorted(names),
                                                   *sorted(HERE.glob("dom0*")), HERE / "vif", HERE / "images.py", Path("/usr/bin/busybox")))
        self.xen, self.vmlinux, self.dom0 = (self.directory / n for n in ("xen", "vmlinux", "dom0.cpio"))
        if not self.dom0.exists():
            self._make()

    def _make(self):
        for old in STORE.glob("boot-*"):
            shutil.rmtree(old)
        self.directory.mkdir(parents=True)
        self.xen.write_bytes(gzip.decompress((self.root / f"boot/xen-{XEN}-amd64.gz").read_bytes()))
        self.vmlinux.write_bytes(vmlinux(self.kernel.image))
        subprocess.run(["strip", self.vmlinux], check=True)
        partial = self.directory / "dom0.partial"
        self._dom0().write(partial)
        partial.rename(self.dom0)

    def _dom0(self):
        image = Image()
        image.busybox()
        for name in ("xenstored", "xl", "xenconsoled", "libxl-save-helper", "xen-init-dom0", "lsevtchn"):
            self._program(image, f"/usr/lib/xen-{XEN}/bin/{name}")
        for name in ("ls", "read", "write", "watch", "chmod", "rm"):
            self._program(image, f"/usr/bin/xenstore-{name}")
        image.file(LIBGCC)
        image.file(self.root / "etc/xen/xl.conf", "/etc/xen/xl.conf")
        image.link("/var/run", "../run")
        image.directory("/var/log/xen")
        image.directory("/var/lib/xen")
        image.file(HERE / "vif", "/etc/xen/scripts/vif", 0o755)
        image.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        image.text("/etc/group", "root:x:0:\n")
        modules = self.kernel.with_needs(*DOM0_MODULES)
        image.modules(modules)
        image.text("/mod/order", " ".join(path.stem for path in modules) + "\n")
        image.file(self.vmlinux, "/guest/vmlinux")
        image.file(HERE / "dom0.init", "/init", 0o755)
        return image

    def _program(self, image, path):
        image.program(self.root / path.lstrip("/"), path, self.root)
