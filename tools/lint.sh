#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every check that needs no test to run: one line each, what failed below it. Exit 1 if any did.
# usage: tools/lint.sh [check...]     (from anywhere; default: all)
# shellcheck disable=SC2317 # the checks are called by name
set -u
cd "$(dirname "$0")/.." || exit 1

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
failed=0
warnings=(-std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror)

need() { # command, package
	command -v "$1" >/dev/null && return
	echo "$1 is missing: apt-get install $2"
	return 1
}

# --- the channel, for each of its hosts ---

chan_with() { # compiler, more flags...
	local r=0 f compiler=$1
	need "$compiler" "$compiler" || return 1
	shift
	for f in chan/*.c; do
		"$compiler" "${warnings[@]}" "$@" -I. -O2 -c -o "$tmp/out.o" "$f" || r=1
	done
	return "$r"
}

check_chan_gcc() { chan_with gcc; }
check_chan_clang() { chan_with clang; }

check_chan_freestanding() {
	local r=0 c
	for c in gcc clang; do
		chan_with "$c" -ffreestanding -nostdinc -isystem "$("$c" -print-file-name=include)" -DMW_FREESTANDING || r=1
	done
	return "$r"
}

# The module and the channel in it, against Debian's kernel headers, sparse looking on. Nothing is loaded.
check_kmod() {
	local dir=$tmp/kmod
	need sparse sparse || return 1
	V=1 tools/kmod.sh "$dir" W=1 C=2 >"$dir.log" 2>&1 || { tail -n 40 "$dir.log"; return 1; }
	[ -f "$dir/kmod/mwcomms.ko" ] || { echo "no module was built"; return 1; }
	if ! grep -q 'CHECK .*ring\.c' "$dir.log" || ! grep -q 'CHECK .*stream\.c' "$dir.log"; then
		echo "sparse did not run"
		return 1
	fi
	! grep -E '\.[ch]:[0-9].*(warning|error):' "$dir.log"
}

# Exported functions are <file>_<verb>; arena.c also has the ready bitmap.
check_chan_names() {
	local r=0 f name
	for f in chan/*.c; do
		name=$(basename "$f" .c)
		[ "$name" = arena ] && name='(arena|ready)'
		gcc -I. -c -o "$tmp/names.o" "$f" || return 1
		if nm -g --defined-only "$tmp/names.o" | awk '{ print $3 }' | grep -vE "^${name}_"; then
			echo "$f: exported without its prefix (above)"
			r=1
		fi
	done
	return "$r"
}

# --- all files ---

ours() { # pathspec...: the project's files, also those not added yet
	git ls-files -co --exclude-standard -- "$@" | sort -u
}

check_headers() {
	local r=0 f
	while read -r f; do
		[ -f "$f" ] || continue
		gcc "${warnings[@]}" -D_GNU_SOURCE -I. -fsyntax-only -x c - <<<"#include \"$f\"" ||
			{ echo "$f does not compile alone"; r=1; }
	done < <(ours '*.h' ':!kmod')
	return "$r"
}

check_licence() { python3 tools/lint-files.py licence; }
check_trust() { python3 tools/lint-files.py trust; }
check_manual() { python3 tools/lint-files.py manual; }
check_calls() { python3 tools/calls.py; }
check_length() { python3 tools/lint-files.py length; }
check_includes() { python3 tools/lint-files.py includes; }
check_names() { python3 tools/lint-files.py names; }
check_steps() { python3 tools/lint-files.py steps; }
check_verification() { python3 tools/lint-verification.py; }
check_libc_names() { python3 tools/lint-names.py; }

check_shell() {
	need shellcheck shellcheck || return 1
	local scripts
	mapfile -t scripts < <(ours '*.sh' '*.bash' 'debian/*.p[or]*' 'debian/tests/*' ':!debian/tests/control')
	[ ${#scripts[@]} -gt 0 ] && shellcheck "${scripts[@]}"
}

run() {
	if "check_$1" >"$tmp/$1.log" 2>&1; then
		echo "ok      $1"
	else
		echo "FAILED  $1"
		sed 's/^/        /' "$tmp/$1.log"
		failed=1
	fi
}

if [ $# -eq 0 ]; then
	set -- chan_gcc chan_clang chan_freestanding kmod chan_names headers licence trust length includes names steps verification libc_names manual calls shell
fi
for check in "$@"; do
	declare -F "check_$check" >/dev/null || { echo "no check named $check" >&2; exit 2; }
	run "$check"
done
exit $failed
