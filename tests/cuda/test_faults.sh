#!/bin/bash
# Ten faults (tests/cuda/faults/table.sh), each planted in a copy of one kernel or host file, compiled without sanitizers
# and linked with the emulator's other objects: a test must fail over it, by an assertion. The same tests pass over the
# files as they are.
. tests/support/tap.sh
BUILD=${BUILD:-build}
. "$BUILD/cuemu-fast/faults.env"
. tests/cuda/faults/plant.sh

# A test's program over the objects as they are; and over one file that went the way of a planted one, so that the way
# itself changes nothing.
passes() {
    local dir=$scratch/unchanged
    mkdir -p "$dir"
    [ -x "$dir/$1" ] || link "$dir/$1" "$1" || return 1
    RECTRAIN_TEST_ONLY=$2 judge 120 "$dir/$1" "$dir/log" > "$dir/verdict"
    grep -qx passed "$dir/verdict" || { cat "$dir/verdict" "$dir/log" && return 1; }
}
all_pass() {
    local of tests=() cases=()
    fault() { tests+=("$3") cases+=("$4"); }
    . tests/cuda/faults/table.sh
    for of in "${!tests[@]}"; do passes "${tests[of]}" "${cases[of]}" || return 1; done
}
copy_passes() {
    local dir=$scratch/copy
    mkdir -p "$dir"
    plant_text kernels/cuda/convert.cu '#include "common.cuh"' '#include "common.cuh"' "$dir/convert.cu" &&
        cmp kernels/cuda/convert.cu "$dir/convert.cu" && compile "$dir/convert.cu" "$dir/convert.cu.o" &&
        link "$dir/program" test_adam "$dir/convert.cu.o" || return 1
    RECTRAIN_TEST_ONLY=conversions judge 120 "$dir/program" "$dir/log" > "$dir/verdict"
    grep -qx passed "$dir/verdict" || { cat "$dir/verdict" "$dir/log" && return 1; }
}

count=0
# noticed FILE TEST CASES OLD NEW ...
noticed() {
    local dir=$scratch/$count file=${1##*:} planted=${1%%:*} test=$2 cases=$3 verdict
    shift 3
    mkdir -p "$dir"
    cp "kernels/cuda/$file" "$dir"
    [ "$file" = "$planted" ] || cp "kernels/cuda/$planted" "$dir"
    while [ $# -gt 0 ]; do
        plant_text "$dir/$planted" "$1" "$2" "$dir/planted" && mv "$dir/planted" "$dir/$planted" || return 1
        shift 2
    done
    compile "$dir/$file" "$dir/$file.o" || { echo "it does not compile" && return 1; }
    link "$dir/program" "$test" "$dir/$file.o" || return 1
    verdict=$(RECTRAIN_TEST_ONLY=$cases judge 120 "$dir/program" "$dir/log")
    rm -f "$dir/program" "$dir"/*.o
    [ "$verdict" = noticed ] || { echo "$verdict" && cat "$dir/log" && return 1; }
}

ok "the tests pass over the files as they are" all_pass
ok "and over an unchanged copy" copy_passes
fault() {
    local name=$1
    shift
    count=$((count + 1))
    ok "$name" noticed "$@"
}
. tests/cuda/faults/table.sh
ok "ten of them" test $count -eq 10
done_testing
