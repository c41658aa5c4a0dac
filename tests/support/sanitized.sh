#!/bin/bash
# Runs tests that were built with a sanitizer; what it reports is a failure, also where a test expects the program to
# fail, or where nobody looks at the exit code of the process that reported.
# Usage: tests/support/sanitized.sh NAME PROGRAM...   NAME: asan, tsan. BUILD from make.
set -u
name=$1
shift
build=${BUILD:?}
reports=$PWD/$build/reports
case $build in /*) reports=$build/reports ;; esac
rm -rf "$reports"
mkdir -p "$reports"
# Exit code 99: none of the program's own.
common=exitcode=99:log_path=$reports/$name
export ASAN_OPTIONS=$common:detect_leaks=1:detect_stack_use_after_return=1
export LSAN_OPTIONS=print_suppressions=0
export UBSAN_OPTIONS=$common:print_stacktrace=1
# libgomp and oneDNN are not built for ThreadSanitizer: what they do inside is not looked at. libomp is known to it
# through archer, which tells it where threads of a parallel region meet.
export TSAN_OPTIONS=$common:ignore_noninstrumented_modules=1:suppressions=$PWD/tests/support/tsan.supp:second_deadlock_stack=1
export RECTRAIN_TEST_SECONDS=${RECTRAIN_TEST_SECONDS:-1800}
tests/support/run.sh "$@"
status=$?
shopt -s nullglob
found=("$reports"/*)
[ ${#found[@]} -eq 0 ] && exit $status
echo
echo "$name: ${#found[@]} reports in $reports; the first ones:"
for f in "${found[@]:0:5}"; do
    echo "  $f"
    head -n 40 "$f" | sed 's/^/    | /'
done
exit 1
