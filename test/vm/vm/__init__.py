# SPDX-License-Identifier: Apache-2.0
"""Virtual machines for tests: Debian's packages unpacked (debs), an initramfs from a list of files (image), QEMU (guest)."""

EMULATED = 4    # Limits are said for a machine that is emulated and nothing else; where other tests share the processor, that many times longer.
