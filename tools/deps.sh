#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs those of the named Debian packages that are missing. Starts no service: the servers are only for tests.
set -eu

missing=()
for package in "$@"; do
	dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ]; then
	echo "missing packages: ${missing[*]}; run as root: make deps" >&2
	exit 1
fi
echo "installing: ${missing[*]}"
policy=/usr/sbin/policy-rc.d # Debian's way to say that installing shall start nothing
made=
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	made=1
fi
trap '[ -z "$made" ] || rm -f $policy' EXIT
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "could not install: ${missing[*]}; see above; is the network up, and this Debian 12?" >&2
	rm -f "$log"
	exit 1
fi
rm -f "$log"
