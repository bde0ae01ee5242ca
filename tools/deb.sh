#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the Debian packages, source and binary, from a copy of the checkout: tools/deb.sh DIR
# DIR/*.deb and what dpkg-buildpackage says of them; DIR/log is its output.
set -eu
if [ $# != 1 ] || [ -z "$1" ]; then
	echo "usage: tools/deb.sh DIR" >&2
	exit 2
fi
cd "$(dirname "$0")/.."
mkdir -p "$1"
dir=$(cd "$1" && pwd)
tree=$dir/mwcomms-$(dpkg-parsechangelog --show-field Version)
rm -rf "$dir"/mwcomms[-_]* "$dir"/libmwchan-dev_* "$dir/log"
mkdir "$tree"
if [ -e .git ]; then
	git ls-files -z --cached --others --exclude-standard
else
	find . -type d -name 'build*' -prune -o -type d -name __pycache__ -prune -o -type f -print0
fi | tar --create --null --files-from=- --ignore-failed-read 2>/dev/null | tar --extract --directory="$tree"
cd "$tree"
if ! DEB_BUILD_OPTIONS="parallel=$(nproc)" dpkg-buildpackage --no-sign >"$dir/log" 2>&1; then
	tail -n 40 "$dir/log" >&2
	echo "the packages could not be built: see $dir/log" >&2
	exit 1
fi
cd "$dir"
rm -rf "$tree"
ls ./*.deb
