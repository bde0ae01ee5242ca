#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzz target for some minutes, as many at once as there are processors: tools/fuzz.sh BUILD MINUTES [TARGET...]
# What they learn stays in BUILD/corpus/TARGET, and is where the next run begins; beside it are TARGET.log and what made it fail. Exit 1 if any did.
set -u
usage() {
	echo "$1; usage: tools/fuzz.sh BUILD MINUTES [TARGET...], or make fuzz MINUTES=30 TESTS=\"ring msg\"" >&2
	exit 2
}
[ $# -ge 2 ] || usage "BUILD and MINUTES are needed"
build=$1
minutes=$2
shift 2
[[ $minutes =~ ^[1-9][0-9]{0,4}$ ]] || usage "MINUTES is a number from 1 to 99999, not '$minutes'"
[ -n "$(compgen -G "$build/*_fuzz")" ] || usage "there are no fuzz targets in '$build' (clang builds them)"
for name in "$@"; do
	[ -x "$build/${name}_fuzz" ] || usage "no fuzz target is named '$name'"
done
corpus=$build/corpus
mkdir -p "$corpus"

one() { # target
	local name seeds dir
	name=$(basename "$1" _fuzz)
	dir=$corpus/$name
	seeds=test/fuzz/seeds/$name
	mkdir -p "$dir"
	[ -d "$seeds" ] || seeds=
	# shellcheck disable=SC2086 # there may be no seeds
	if "$1" -max_len=400 -len_control=0 -max_total_time=$((minutes * 60)) -print_final_stats=1 -artifact_prefix="$corpus/$name." "$dir" $seeds >"$corpus/$name.log" 2>&1; then
		awk -v name="$name" '/number_of_executed_units/ { runs = $2 } / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
			END { printf "%-8s ok      %11d runs, %5d edges\n", name, runs, cov }' "$corpus/$name.log"
	else
		printf '%-8s FAILED  see %s\n' "$name" "$corpus/$name.log"
		return 1
	fi
}

failed=0
for target in "$build"/*_fuzz; do
	name=$(basename "$target" _fuzz)
	[ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
	while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
		wait -n || failed=1
	done
	one "$target" &
done
while [ "$(jobs -rp | wc -l)" -gt 0 ]; do
	wait -n || failed=1
done
exit $failed
