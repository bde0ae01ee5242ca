# SPDX-License-Identifier: Apache-2.0
"""What the lab boots: Xen, a kernel that is dom0's and every guest's, and dom0's initramfs. Made of Debian's packages alone."""
import gzip
import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[2]
sys.path.insert(0, str(TOP / "tools"))
import image  # noqa: E402

XEN = "4.17"
XEN_PACKAGES = ["xen-utils-" + XEN, "xen-utils-common", "xenstore-utils", "libxenmisc" + XEN, "libxencall1",
                "libxendevicemodel1", "libxenevtchn1", "libxenforeignmemory1", "libxengnttab1", "libxenhypfs1", "libxenstore4",
                "libxentoolcore1", "libxentoollog1", f"xen-hypervisor-{XEN}-amd64"]
DOM0_MODULES = ["xen-privcmd", "xenfs", "xen-evtchn", "xen-gntdev", "xen-gntalloc", "bridge", "xen-netback", "e1000"]


def build_directory():
    return Path(os.environ.get("MW_BUILD", TOP / "build")).resolve()


def store():
    """Where packages and images are kept."""
    return build_directory() / "xen"


class Images:
    def __init__(self):
        self.kernel = image.kernel_version()
        self.root = image.packages(store(), [f"linux-image-{self.kernel}", *XEN_PACKAGES])
        self.directory = store() / ("boot-" + image.digest(self.root.name, *(HERE / n for n in ("dom0.init", "vif", "images.py")),
                                                           TOP / "tools/image.py", Path(image.BUSYBOX)))
        self.xen, self.vmlinux, self.dom0 = (self.directory / n for n in ("xen", "vmlinux", "dom0.cpio"))
        if not self.dom0.exists():
            self._make()

    def tree(self):
        tree = image.Tree(self.root, self.kernel)
        tree.base()
        tree.busybox()
        return tree

    def _make(self):
        for old in store().glob("boot-*"):
            shutil.rmtree(old)
        self.directory.mkdir()
        self.xen.write_bytes(gzip.decompress((self.root / f"boot/xen-{XEN}-amd64.gz").read_bytes()))
        image.vmlinux(self.root / f"boot/vmlinuz-{self.kernel}", self.vmlinux)
        tree = self.tree()
        for name in ("xenstored", "xl", "xenconsoled", "libxl-save-helper", "xen-init-dom0", "lsevtchn", "xen-diag"):
            tree.program(f"/usr/lib/xen-{XEN}/bin/{name}")
        for name in ("ls", "read", "write", "watch", "chmod", "rm"):
            tree.program(f"/usr/bin/xenstore-{name}")
        tree.file("/lib/x86_64-linux-gnu/libgcc_s.so.1")  # which glibc loads when a thread is cancelled, as xl does
        tree.file("/etc/xen/xl.conf")
        tree.directory("etc/xen/scripts", "var/log/xen", "var/lib/xen")
        tree.put("etc/xen/scripts/vif", (HERE / "vif").read_bytes(), 0o755)
        tree.put("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        tree.put("etc/group", "root:x:0:\n")
        tree.module(*DOM0_MODULES)
        tree.put("mod/order", " ".join(tree.modules) + "\n")
        tree.file(self.vmlinux, "guest/vmlinux")
        tree.put("init", (HERE / "dom0.init").read_bytes(), 0o755)
        partial = tree.write(self.directory / "dom0.partial")
        partial.rename(self.dom0)
