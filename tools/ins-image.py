#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the INS domain's kernel and initramfs from Debian's packages and what was built: ins-image.py BUILD

BUILD/ins-image/vmlinux boots at once as PV and PVH; BUILD/ins-image/initramfs holds mw-ins, busybox and three modules.
"""
import gzip
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "test/vm"))
sys.path.insert(0, str(TOP / "test/xen"))
from vm import debs  # noqa: E402
from vm.image import Image, stripped  # noqa: E402
from xenlab.images import LIBGCC, vmlinux  # noqa: E402

MODULES = ("xen-netfront", "xen-evtchn", "xen-gntdev")
APPLETS = ("sh", "mount", "insmod", "mkdir", "ip", "sleep", "usleep", "poweroff", "udhcpc")


def initramfs(build, kernel):
    image = Image(("/bin", "/dev", "/etc", "/lib", "/mod", "/proc", "/run", "/sys", "/tmp"))
    image.file("/usr/bin/busybox", "/bin/busybox", 0o755)
    for name in APPLETS:
        image.link(f"/bin/{name}", "busybox")
    image.node("/dev/console", "c", 5, 1, 0o600)
    image.node("/dev/null", "c", 1, 3)
    modules = kernel.with_needs(*MODULES)
    image.modules(modules)
    image.text("/mod/order", " ".join(path.stem for path in modules) + "\n")
    image.libraries(build / "mw-ins")
    image.text("/usr/bin/mw-ins", stripped(build / "mw-ins"), 0o755)
    image.file(LIBGCC)
    image.text("/etc/passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    image.file(TOP / "ins/xen/dhcp.sh", "/bin/dhcp", 0o755)
    image.file(TOP / "ins/xen/init.sh", "/init", 0o755)
    return image


def main():
    build = Path(sys.argv[1] if len(sys.argv) > 1 else TOP / "build").resolve()
    if len(sys.argv) > 2 or not (build / "mw-ins").exists():
        print(f"there is no mw-ins in {build}; usage: tools/ins-image.py [BUILD], or make ins-image", file=sys.stderr)
        sys.exit(2)
    kernel, to = debs.Kernel(), build / "ins-image"
    to.mkdir(exist_ok=True)
    stamp = to / "release"
    if not stamp.exists() or stamp.read_text() != kernel.release:
        (to / "vmlinux").write_bytes(vmlinux(kernel.image))
        subprocess.run(["strip", to / "vmlinux"], check=True)
        stamp.write_text(kernel.release)
    packed = gzip.compress(initramfs(build, kernel).data(), mtime=0)    # as small as the domain's memory is to be
    partial = to / "initramfs.partial"
    partial.write_bytes(packed + bytes(-len(packed) % 512))     # another may come behind it
    partial.rename(to / "initramfs")
    print(f"{to}/vmlinux: Linux {kernel.release}, {(to / 'vmlinux').stat().st_size >> 20} MiB")
    print(f"{to}/initramfs: {(to / 'initramfs').stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
