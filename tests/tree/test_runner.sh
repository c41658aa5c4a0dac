#!/bin/bash
# The runner of the tests: what fails must be counted as failed, whatever way it fails.
. tests/support/tap.sh

mkdir -p "$scratch/t"
echo 'mod/prog:allowed  because' > "$scratch/skips"
echo '*/case.sh:allowed  because' >> "$scratch/skips"
# run SCRIPT_TEXT: the runner over one program
run() {
    printf '%s\n' "$1" > "$scratch/t/case.sh"
    BUILD=$scratch/build RECTRAIN_SKIPS=$scratch/skips RECTRAIN_TEST_SECONDS=1 tests/support/run.sh "$scratch/t/case.sh"
}
last() { run "$2" | tail -n 1 | grep -qxF "$1" || { run "$2" && return 1; }; }

ok "two passed" last "2 passed, 0 failed, 0 skipped" 'echo 1..2; echo "ok 1 - a"; echo "ok 2 - b"'
ok "and exits 0" exits 0 run 'echo 1..1; echo "ok 1 - a"'
ok "one failed" last "1 passed, 1 failed, 0 skipped" 'echo 1..2; echo "ok 1 - a"; echo "not ok 2 - b"; exit 1'
ok "and exits 1" exits 1 run 'echo 1..1; echo "not ok 1 - a"'
ok "a crash in the middle" last "1 passed, 1 failed, 0 skipped" 'echo 1..3; echo "ok 1 - a"; kill -SEGV $$'
ok "an exit status without a failed test" last "1 passed, 1 failed, 0 skipped" 'echo 1..1; echo "ok 1 - a"; exit 3'
ok "no test at all" last "0 passed, 1 failed, 0 skipped" 'exit 0'
ok "a plan of none" last "0 passed, 1 failed, 0 skipped" 'echo 1..0'
ok "fewer than planned with status 0" last "1 passed, 1 failed, 0 skipped" 'echo 1..2; echo "ok 1 - a"'
ok "no end in time" last "1 passed, 1 failed, 0 skipped" 'echo 1..1; echo "ok 1 - a"; sleep 20'
ok "a skip on the list, as bats writes it" last "1 passed, 0 failed, 1 skipped" \
    'echo 1..2; echo "ok 1 - a"; echo "ok 2 allowed # skip (why)"'
ok "a skip on the list, as cmocka writes it" last "1 passed, 0 failed, 1 skipped" \
    'echo 1..2; echo "ok 1 - a"; echo "not ok 2 # SKIP allowed"'
ok "its reason is printed" says "allowed: because" run 'echo 1..1; echo "ok 1 allowed # skip"'
ok "a skip that is not on the list fails" last "0 passed, 1 failed, 0 skipped" 'echo 1..1; echo "ok 1 other # skip (why)"'
ok "two groups in one program" last "2 passed, 0 failed, 0 skipped" 'echo 1..1; echo "ok 1 - a"; echo 1..1; echo "ok 1 - b"'
ok "the words of a failure are shown" says "| # 3 is not 4" run 'echo 1..1; echo "not ok 1 - a"; echo "# 3 is not 4"; exit 1'
# The first ends last; what is printed keeps the order.
order() {
    echo 'sleep 0.4; echo "ok 1 - a"; echo 1..1' > "$scratch/t/slow.sh"
    echo 'echo "ok 1 - a"; echo 1..1' > "$scratch/t/quick.sh"
    BUILD=$scratch/build RECTRAIN_TEST_JOBS=$1 tests/support/run.sh "$scratch"/t/{slow,quick}.sh |
        sed -n 's/.*ok .*t\/\([a-z]*\)\.sh .*/\1/p' | tr '\n' ' '
}
ok "two at a time, reported in order" says "slow quick " order 2
ok "one at a time too" says "slow quick " order 1
# shellcheck disable=SC2016 # the words are for the shell of the test
ok "what kills the runner of one program is a failure, not a hang" last "0 passed, 1 failed, 0 skipped" \
    'kill -KILL $(cut -d " " -f 4 "/proc/$PPID/stat")'
done_testing
