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

# --- each file, as the build has it ---

check_gcc() {
	python3 tools/lint-c.py gcc "${warnings[@]}" -Wcast-qual -Wduplicated-cond -Wformat=2 -Wno-format-nonliteral \
		-Wlogical-op -Wnested-externs -Wnull-dereference -Wold-style-definition -Wpointer-arith -Wredundant-decls \
		-Wstringop-overflow=4 -Wundef -Wunused-const-variable -Wunused-macros -Wvla -Wwrite-strings
}

# All that there are, but those of habits that are not ours.
check_clang() {
	local no=(alloca atomic-implicit-seq-cst bad-function-cast cast-align cast-qual class-varargs comma conditional-uninitialized
		declaration-after-statement disabled-macro-expansion extra-semi-stmt float-equal format-nonliteral gnu-statement-expression
		gnu-zero-variadic-macro-arguments language-extension-token missing-field-initializers missing-noreturn padded reserved-identifier
		reserved-macro-identifier sign-conversion switch-enum unknown-warning-option unreachable-code-return used-but-marked-unused)
	need clang clang && python3 tools/lint-c.py clang -std=gnu11 -Weverything -Werror "${no[@]/#/-Wno-}"
}

check_tidy() { need clang-tidy clang-tidy && python3 tools/lint-c.py clang-tidy; }

# Of its style, what may be a mistake. Left out, as the compilers know better: conditions and variables that it cannot follow into
# functions (known*, identical*, *uninit*, redundant*, unreadVariable), macros without their headers (unknownMacro, internalAstError).
check_cppcheck() {
	local no=(allocaCalled clarifyCalculation constParameter ctuuninitvar duplicateCondition identicalConditionAfterEarlyExit internalAstError
		knownConditionTrueFalse legacyUninitvar redundantAssignment redundantInitialization shadowFunction uninitvar unknownMacro unreadVariable unusedStructMember variableScope)
	need cppcheck cppcheck &&
		python3 tools/lint-c.py cppcheck -D__CHECKER__ --enable=warning,performance,portability,style --template=gcc --inline-suppr "${no[@]/#/--suppress=}"
}

# What the shim shows is what its map has.
check_exports() {
	ninja -C "${BUILD:-build}" --quiet libmwshim.so || return 1
	diff <(grep -oE '\w+;' shim/exports.map | tr -d ';' | sort) \
		<(nm -D --defined-only "${BUILD:-build}/libmwshim.so" | awk '{ print $3 }' | sort)
}

# --- the channel, for each of its hosts ---

check_chan_freestanding() {
	local r=0 f c
	for c in gcc clang; do
		for f in chan/*.c; do
			"$c" "${warnings[@]}" -ffreestanding -nostdinc -isystem "$("$c" -print-file-name=include)" -DMW_FREESTANDING \
				-I. -O2 -c -o "$tmp/out.o" "$f" || r=1
		done
	done
	return "$r"
}

# What lies in shared memory lies where it lay.
check_layout() {
	gcc -std=gnu11 -I. -o "$tmp/layout" test/unit/layout_test.c chan/arena.c chan/bits.c && "$tmp/layout" chan/layout.golden
}

# The module and the channel in it, and each of its headers alone, against Debian's kernel headers, sparse looking on. Nothing is loaded.
check_kmod() {
	local dir=$tmp/kmod alone=() f
	need sparse sparse || return 1
	V=1 tools/kmod.sh "$dir" W=1 C=2 >"$dir.log" 2>&1 || { tail -n 40 "$dir.log"; return 1; }
	mkdir "$dir/alone"
	while read -r f; do
		[ -f "$f" ] || continue
		alone+=("$(basename "$f" .h).o")
		echo "#include \"$f\"" >"$dir/alone/$(basename "$f" .h).c"
	done < <(ours 'kmod/*.h')
	printf '%s\n' "always-y := ${alone[*]}" "ccflags-y := -I\$(src)/.. -Werror" >"$dir/alone/Kbuild"
	V=1 tools/kmod.sh "$dir" M="$dir/alone" W=1 C=2 >>"$dir.log" 2>&1 || { tail -n 40 "$dir.log"; return 1; }
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
check_external() { python3 tools/lint-files.py external; }
check_steps() { python3 tools/lint-files.py steps; }
check_verification() { python3 tools/lint-verification.py; }
check_libc_names() { python3 tools/lint-names.py; }

# Names that are not there, or not used.
check_python() {
	need pyflakes3 pyflakes3 || return 1
	local scripts
	mapfile -t scripts < <(ours '*.py')
	pyflakes3 "${scripts[@]}"
}

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
	set -- gcc clang tidy cppcheck exports chan_freestanding layout kmod chan_names headers licence trust length includes names external steps verification libc_names manual calls python shell
fi
for check in "$@"; do
	declare -F "check_$check" >/dev/null || { echo "no check named $check" >&2; exit 2; }
	run "$check"
done
exit $failed
