#!/bin/sh
# Runs every fuzz target of the repository for $FUZZTIME each (10m), and finds
# them by itself. An input that breaks a target is written to that package's
# testdata/fuzz; keep it there as a seed when the fault is mended. The other
# targets run all the same.
set -eu
cd "$(dirname "$0")/.."
time=${FUZZTIME:-10m}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz PACKAGE TARGET
fuzz() {
	# Minimizing an interesting input would take longer than a short run.
	go test "$1" -run='^$' -fuzz="^$2\$" -fuzztime="$time" -fuzzminimizetime=50x -timeout=0 >"$log" 2>&1 </dev/null && return
	# Go's fuzzer at times takes its own end for a failure of the target,
	# without an input that fails (go.dev/issue/75804; mended in Go 1.27).
	if grep -q '^    context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log"; then
		return
	fi
	cat "$log"
	return 1
}

failed=
for pkg in $(grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do
	for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$pkg"/*_test.go | cut -d' ' -f2 | sort); do
		echo "fuzz $pkg $target for $time"
		fuzz "$pkg" "$target" || failed="$failed $pkg:$target"
	done
done
[ -z "$failed" ] || { echo "broken:$failed"; exit 1; }
