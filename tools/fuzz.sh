#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs fuzz targets, all or those that are named: tools/fuzz.sh BUILD HOW LONG [TARGET...]. HOW LONG:
#   a number   minutes for each, as many at once as there are processors. What they learn stays in BUILD/corpus/TARGET, and is where the
#              next run begins; beside it are TARGET.log and what made it fail. Totals at the end
#   a number x so many inputs, the same ones each time
#   seeds      each input of test/fuzz/seeds/TARGET once
# Exit 1 if any did fail.
set -u
usage() {
	echo "$1; usage: tools/fuzz.sh BUILD MINUTES|INPUTSx|seeds [TARGET...], or make fuzz MINUTES=30 TESTS=\"ring msg\"" >&2
	exit 2
}
[ $# -ge 2 ] || usage "BUILD and MINUTES are needed"
build=$1
long=$2
shift 2
[[ $long =~ ^([1-9][0-9]{0,6}x?|seeds)$ ]] || usage "MINUTES is a number from 1 on, not '$long'"
[ -n "$(compgen -G "$build/*_fuzz")" ] || usage "there are no fuzz targets in '$build' (clang builds them)"
for name in "$@"; do
	[ -x "$build/${name}_fuzz" ] || usage "no fuzz target is named '$name'"
done
build=$(realpath "$build")
cd "$(dirname "$0")/.." || exit 1
corpus=$build/corpus
TIMEFORMAT='processor: %U %S %R'

# Steps of a conversation take more than a text or a record.
length() { # name
	case $1 in
	ins | shim | door | ready | etcd | flow | broker | control | depot | owner | request) echo 1000 ;;
	*) echo 400 ;;
	esac
}

seeds() { # target, name
	"$1" -runs=0 -error_exitcode=1 -timeout=30 -artifact_prefix="$corpus/$2." "test/fuzz/seeds/$2" 2>&1 | tail -n 40
	return "${PIPESTATUS[0]}"
}

some() { # target, name, inputs
	local scratch status
	scratch=$(mktemp -d)
	"$1" -runs="$3" -max_len="$(length "$2")" -len_control=0 -seed=1 -max_total_time=60 -error_exitcode=1 -artifact_prefix="$scratch-" "$scratch" "test/fuzz/seeds/$2" 2>&1 | tail -n 60
	status=${PIPESTATUS[0]}
	rm -r "$scratch"
	return "$status"
}

long_run() { # target, name
	local dir=$corpus/$2 log=$corpus/$2.log status
	mkdir -p "$dir"
	{
		time "$1" -max_len="$(length "$2")" -len_control=0 -max_total_time=$((long * 60)) -timeout=30 -print_final_stats=1 -artifact_prefix="$corpus/$2." "$dir" "test/fuzz/seeds/$2" >"$log" 2>&1
		status=$?
	} 2>"$log.time"
	cat "$log.time" >>"$log"
	rm "$log.time"
	if [ $status -ne 0 ]; then
		printf '%-8s FAILED  see %s\n' "$2" "$log"
		return 1
	fi
	awk -v name="$2" '/number_of_executed_units/ { runs = $2 } / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) } /^processor: / { s = $2 + $3; m = $4 / 60 }
		END { printf "%-8s ok      %11d runs, %5d edges, %4.0f minutes, %5.0f s of processor\n", name, runs, cov, m, s }' "$log"
}

one() { # target
	local name
	name=$(basename "$1" _fuzz)
	case $long in
	seeds) seeds "$1" "$name" ;;
	*x) some "$1" "$name" "${long%x}" ;;
	*) long_run "$1" "$name" | tee "$corpus/$name.sum"; return "${PIPESTATUS[0]}" ;;
	esac
}

failed=0
names=()
mkdir -p "$corpus"
for target in "$build"/*_fuzz; do
	name=$(basename "$target" _fuzz)
	[ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
	while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
		wait -n || failed=1
	done
	names+=("$name")
	one "$target" &
done
while [ "$(jobs -rp | wc -l)" -gt 0 ]; do
	wait -n || failed=1
done
[ ${#names[@]} -gt 0 ] || { echo "no such target in $build" && exit 1; }
[[ $long =~ [^0-9] ]] || (cd "$corpus" && cat "${names[@]/%/.sum}") | awk '/ ok / { runs += $3; cpu += $9 } { n++ } END { printf "%d targets, %d runs, %.0f s of processor\n", n, runs, cpu }'
exit $failed
