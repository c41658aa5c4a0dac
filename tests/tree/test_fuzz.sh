#!/bin/bash
# Ten seconds of every fuzzer (two minutes with RECTRAIN_LONG_TESTS), and what the script that runs them says of failures.
. tests/support/tap.sh

build=${BUILD:-build}
seconds=10
[ -n "${RECTRAIN_LONG_TESTS:-}" ] && seconds=120

# A fuzzer that fails is one here: a script that leaves what libFuzzer would.
fake() {
    printf '#!/bin/sh\n%s\n' "$1" > "$scratch/fuzz_fake"
    chmod +x "$scratch/fuzz_fake"
}
run_fake() { tests/support/fuzz.sh run "$scratch/fuzz_fake" runs 5; }
fake 'echo "#2 INITED cov: 7 ft: 9"; echo "stat::number_of_executed_units: 5"'
ok "a run without findings is one line" says "5 executions" run_fake
fake 'for a; do case $a in -artifact_prefix=*) p=${a#*=} ;; esac; done
echo "==1== ERROR: AddressSanitizer: heap-buffer-overflow"; echo bad > "${p}crash-1"; exit 77'
ok "a failing one fails" exits 1 run_fake
ok "its words are shown" says "heap-buffer-overflow" run_fake
ok "the input is named" says "the input: $scratch/found/fake-crash-1" run_fake
ok "and how to run it again" says "again:     $scratch/fuzz_fake -timeout=2" run_fake
fake 'for a; do echo "$a"; done >&2; exit 1'
run_fake > /dev/null
for limit in -timeout=2 -rss_limit_mb=512 -malloc_limit_mb=64 -runs=5; do
    ok "it is run with $limit" grep -qx -e "$limit" "$scratch/fake.log"
done

if ! reason=$(tests/support/fuzz.sh possible); then
    skip "fuzzers" "$reason"
    done_testing
fi
make --no-print-directory -j2 BUILD="$build" fuzz SECONDS=$seconds > "$scratch/fuzz.log" 2>&1
cp "$scratch/fuzz.log" "$build/test-logs/fuzz.log" 2> /dev/null
# its part of the log: the line of the target, and what follows it up to the next one
report() { awk -v name="$1" '/^  (ok|FAIL)  / { mine = $3 == name } mine || (/rror/ && !/^  /)' "$scratch/fuzz.log" | head -n 45; }
fuzzed() { report "$1" | grep -q "^  ok    fuzz $1 " || { report "$1" && return 1; }; }
for source in tests/fuzz/fuzz_*.c; do
    name=${source##*/fuzz_}
    ok "fuzz ${name%.c}" fuzzed "${name%.c}"
done
done_testing
