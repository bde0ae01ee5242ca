# SPDX-License-Identifier: Apache-2.0
"""Virtual machines for tests: Debian's packages unpacked (debs), an initramfs from a list of files (image), QEMU (guest)."""
