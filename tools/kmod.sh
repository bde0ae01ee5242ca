#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds mwcomms.ko in DIR, from copies of kmod/ and chan/. usage: tools/kmod.sh DIR [make's arguments...]     KDIR: the kernel's build directory
set -eu
cd "$(dirname "$0")/.."
dir=$1
shift
KDIR=${KDIR:-$(find /usr/src -maxdepth 1 -name 'linux-headers-*-amd64' | sort -V | tail -n 1)}
[ -n "$KDIR" ] || { echo "no kernel headers in /usr/src: apt-get install linux-headers-amd64" >&2; exit 1; }
mkdir -p "$dir/kmod" "$dir/chan"
for f in kmod/*.[ch] kmod/Kbuild; do
	cmp -s "$f" "$dir/$f" || cp "$f" "$dir/$f"
done
for f in chan/*.[ch]; do
	cmp -s "$f" "$dir/$f" || cp "$f" "$dir/$f"
done
[ -e "$dir/kmod/chan" ] || ln -s ../chan "$dir/kmod/chan"
exec make -s -C "$KDIR" M="$(cd "$dir/kmod" && pwd)" "$@"
