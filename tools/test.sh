#!/usr/bin/env bash
# `make test`: sets up, builds, checks the layers, runs the host tests, the fuzzers (bounded) and the system tests. The
# last line is "N passed, N failed"; a part that could not run counts as one failure. Logs: BUILD_DIR/test-logs.
# `make test-all` sets TEST_ALL: then the system tests that are marked as slow run, too.
#   test.sh BUILD_DIR [EXPRESSION]        EXPRESSION: only these system tests (pytest -k)
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1 only=${2-}
logs=$build/test-logs
jobs=$(nproc)
passed=0 failed=0
mkdir -p "$logs"

count() { passed=$((passed + $1)) failed=$((failed + $2)); }

# step NAME COMMAND...: one test by itself.
step() {
	local name=$1
	shift
	if "$@" >"$logs/$name.log" 2>&1; then
		echo "ok   $name"
		count 1 0
	else
		tail -n 40 "$logs/$name.log"
		echo "FAIL $name, see $logs/$name.log"
		count 0 1
		return 1
	fi
}

# counted NAME COMMAND...: runs a command whose output has a line "NAME: N passed, N failed".
counted() {
	local name=$1 line
	shift
	"$@" 2>&1 | tee "$logs/$name.log" | grep -E '^(ok|FAIL|FAILED|SKIPPED|ERROR) |: error: '
	line=$(grep -E "^$name: [0-9]+ passed, [0-9]+ failed" "$logs/$name.log" | tail -n 1)
	if [[ $line =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
		echo "$line"
		count "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
	else
		tail -n 20 "$logs/$name.log"
		echo "FAIL $name did not run, see $logs/$name.log"
		count 0 1
	fi
}

finish() {
	echo "$passed passed, $failed failed"
	[[ $failed -eq 0 ]]
	exit
}

"$here/setup.sh" build run test nested || { count 0 1; finish; }
# shellcheck disable=SC2317 # called through step and counted
make() { command make --no-print-directory BUILD="$build" "$@"; }

step build make -j"$jobs" all payloads || finish
if [[ ! $only ]]; then
	step layers make layers
	counted unit make -k -j"$jobs" unit
	counted sim make -k -j"$jobs" sim
	counted fuzz make -k -j"$jobs" fuzz-ci
fi
counted system /usr/bin/python3 "$here/../tests/system/run.py" "$build" "$jobs" ${only:+-k "$only"}
finish
