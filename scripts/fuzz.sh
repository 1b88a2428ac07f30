#!/bin/sh
# Runs every fuzz target of the repository for $FUZZTIME each (10m), and finds
# them by itself.
set -eu
cd "$(dirname "$0")/.."
time=${FUZZTIME:-10m}
grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r pkg; do
	grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$pkg"/*_test.go | cut -d' ' -f2 | sort | while read -r target; do
		echo "fuzz $pkg $target for $time"
		# Minimizing an interesting input would take longer than a short run.
		go test "$pkg" -run='^$' -fuzz="^$target\$" -fuzztime="$time" -fuzzminimizetime=50x </dev/null
	done
done
