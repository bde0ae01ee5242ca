#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds mwcomms.ko in DIR, from copies of kmod/ and chan/.
# usage: tools/kmod.sh DIR [make's arguments...]     KDIR: the kernel's build directory; V: say what is done
#        tools/kmod.sh --tree DIR                    the copies alone, with what DKMS wants
set -eu
cd "$(dirname "$0")/.."
tree=
[ "${1-}" != --tree ] || { tree=1; shift; }
case ${1-} in
'' | -*) echo "usage: tools/kmod.sh [--tree] DIR [make's arguments...]" >&2; exit 2 ;;
esac
dir=$1
shift
mkdir -p "$dir/kmod" "$dir/chan"
for f in kmod/*.[ch] kmod/Kbuild chan/*.[ch]; do
	cmp -s "$f" "$dir/$f" || cp "$f" "$dir/$f"
done
[ -e "$dir/kmod/chan" ] || ln -s ../chan "$dir/kmod/chan"
if [ -n "$tree" ]; then
	cp kmod/dkms.conf "$dir"
	exit
fi
KDIR=${KDIR:-$(find /usr/src -maxdepth 1 -name 'linux-headers-*-amd64' | sort -V | tail -n 1)}
[ -n "$KDIR" ] || { echo "no kernel headers in /usr/src: apt-get install linux-headers-amd64" >&2; exit 1; }
quiet=-s
[ -z "${V:-}" ] || quiet=V=0
exec make "$quiet" -C "$KDIR" M="$(cd "$dir/kmod" && pwd)" "$@"
