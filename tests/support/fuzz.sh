#!/bin/bash
# Runs fuzzers. Usage:
#   tests/support/fuzz.sh possible                              can this machine build them? The reason, if not; exit 69
#   tests/support/fuzz.sh run PROGRAM seconds|runs N [FOLDER]   one fuzzer; its log and what it finds go to FOLDER
# A line with executions, speed and coverage; on a failure the input that fails, and how to run it again, and exit 1.
# Limits make a hang, a leak and an allocation that a file can choose failures too.
set -u
mb_of_one_allocation=64 mb_resident=512 seconds_of_one_input=2

possible() {
    local work
    command -v clang > /dev/null 2>&1 || { echo "clang is not installed (tools/install_deps.sh fuzz)" && return 69; }
    work=$(mktemp -d) || return 74
    printf '#include <stddef.h>\n#include <stdint.h>\nint LLVMFuzzerTestOneInput(const uint8_t *d, size_t n) { return d && n > 9 ? 0 : 0; }\n' > "$work/f.c"
    clang -fsanitize=fuzzer,address,undefined -fopenmp "$work/f.c" -o "$work/f" > /dev/null 2>&1 && "$work/f" -runs=1 > /dev/null 2>&1
    local status=$?
    rm -rf "$work"
    [ $status -eq 0 ] || { echo "clang is here without its libFuzzer, sanitizer or OpenMP runtime (tools/install_deps.sh fuzz)" && return 69; }
}

run() {
    local program=$1 unit=$2 n=$3 folder=${4:-${1%/*}} name log artifact limit status
    name=${program##*/fuzz_}
    log=$folder/$name.log
    mkdir -p "$folder/found" "$folder/corpus/$name"
    rm -f "$folder/found/$name-"*
    case $unit in seconds) limit=-max_total_time=$n ;; *) limit=-runs=$n ;; esac
    set -- "$limit" -timeout=$seconds_of_one_input -rss_limit_mb=$mb_resident -malloc_limit_mb=$mb_of_one_allocation \
        -print_final_stats=1 "-artifact_prefix=$folder/found/$name-"
    [ -e "tests/fuzz/$name.dict" ] && set -- "$@" "-dict=tests/fuzz/$name.dict"
    set -- "$@" "$folder/corpus/$name"
    [ -d "tests/fuzz/corpus/$name" ] && set -- "$@" "tests/fuzz/corpus/$name"
    # A small quarantine: what was freed long ago must not count as memory that the input chose.
    export ASAN_OPTIONS=detect_leaks=1:quarantine_size_mb=16 UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=1
    "$program" "$@" > "$log" 2>&1
    status=$?
    if [ $status -eq 0 ]; then
        awk -v name="$name" '
            / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") edges = $(i + 1) }
            /^stat::number_of_executed_units/ { runs = $2 }
            /^stat::average_exec_per_sec/ { speed = $2 }
            END { printf "  ok    fuzz %-16s %9d executions, %6d/s, %5d edges\n", name, runs, speed ? speed : runs, edges }' "$log"
        return 0
    fi
    artifact=$(find "$folder/found" -name "$name-*" -print -quit)
    echo "  FAIL  fuzz $name (exit status $status; all of it: $log)"
    grep -vE '^#[0-9]+\s+(NEW|REDUCE|pulse)' "$log" | grep -E 'ERROR|SUMMARY|runtime error|^ +#[0-9]+ ' | head -n 25 | sed 's/^/    | /'
    if [ -n "$artifact" ]; then
        echo "    the input: $artifact ($(wc -c < "$artifact") bytes)"
        echo "    again:     $program -timeout=$seconds_of_one_input -rss_limit_mb=$mb_resident -malloc_limit_mb=$mb_of_one_allocation $artifact"
        echo "    once it is mended, keep the input: cp $artifact tests/fuzz/corpus/$name/"
    fi
    return 1
}

case ${1:-} in
possible) possible ;;
run) shift && run "$@" ;;
*)
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
