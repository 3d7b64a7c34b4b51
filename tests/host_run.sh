#!/bin/sh
# Runs one host test program and writes "passed failed" into a result file, or sums such files. Called by tests/host.mk.
#   host_run.sh unit PROGRAM RESULT
#   host_run.sh fuzz PROGRAM RESULT ci|keep LIBFUZZER-OPTION...
#   host_run.sh sum LABEL "OBJECTS" RESULT...
set -u
export ASAN_OPTIONS=abort_on_error=0:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1

finish() # RESULT NAME PASSED FAILED LOG
{
	echo "$3 $4" >"$1"
	if [ "$4" -ne 0 ]; then
		echo "FAIL $2 ($3 passed, $4 failed), see $5"
		[ ! -f "$5" ] || tail -n 40 "$5"
	else
		echo "ok   $2 ($3)"
	fi
}

run_unit() # PROGRAM RESULT
{
	name=$(basename "$1") log=$1.log
	if [ ! -x "$1" ]; then
		finish "$2" "$name" 0 1 "the compiler's message above"
		return
	fi
	CMOCKA_MESSAGE_OUTPUT=STDOUT "$1" >"$log" 2>&1
	status=$?
	passed=$(awk '/^\[  PASSED  \] [0-9]+ test/ { n += $4 } END { print n + 0 }' "$log")
	failed=$(awk '/^\[  FAILED  \] [0-9]+ test/ { n += $4 } END { print n + 0 }' "$log")
	# A crash, and a program that ran nothing, are one failure.
	if [ "$failed" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$passed" -eq 0 ]; }; then
		failed=1
	fi
	finish "$2" "$name" "$passed" "$failed" "$log"
}

run_fuzz() # PROGRAM RESULT ci|keep OPTION...
{
	program=$1 result=$2 mode=$3 name=$(basename "$1") log=$1.log
	shift 3
	if [ ! -x "$program" ]; then
		finish "$result" "$name" 0 1 "the compiler's message above"
		return
	fi
	subject=${name#fuzz_} host=$(dirname "$(dirname "$program")")
	kept=$host/corpus/$subject seeds=tests/fuzz/corpus/$subject dict=tests/fuzz/$subject.dict
	if [ "$mode" = ci ]; then
		kept=$host/corpus-ci/$subject
		rm -rf "$kept"
	fi
	mkdir -p "$kept" "$host/crash"
	[ ! -f "$dict" ] || set -- "$@" -dict="$dict"
	set -- "$@" -timeout=30 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$host/crash/$subject-" "$kept"
	[ ! -d "$seeds" ] || set -- "$@" "$seeds"
	if "$program" "$@" >"$log" 2>&1; then
		finish "$result" "$name" 1 0 "$log"
	else
		finish "$result" "$name" 0 1 "$log"
	fi
}

sum() # LABEL OBJECTS RESULT...
{
	label=$1 passed=0 failed=0
	for object in $2; do
		if [ ! -f "$object" ]; then
			echo "FAIL $object does not compile"
			failed=$((failed + 1))
		fi
	done
	shift 2
	for result in "$@"; do
		read -r p f <"$result"
		passed=$((passed + p)) failed=$((failed + f))
	done
	echo "$label: $passed passed, $failed failed"
	[ "$failed" -eq 0 ]
}

verb=$1
shift
case $verb in
unit) run_unit "$@" ;;
fuzz) run_fuzz "$@" ;;
sum)  sum "$@" ;;
esac
