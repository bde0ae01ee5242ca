#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzz target for some seconds, keeping what it learns: tools/fuzz.sh BUILD SECONDS
set -eu
build=${1:-build}
seconds=${2:-3600}
for target in "$build"/*_fuzz; do
	corpus=$build/corpus/$(basename "$target")
	seeds=test/fuzz/seeds/$(basename "$target" _fuzz)
	mkdir -p "$corpus"
	[ -d "$seeds" ] || seeds=$corpus
	"$target" -max_len=320 -len_control=0 -max_total_time="$seconds" "$corpus" "$seeds"
done
