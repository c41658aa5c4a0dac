#!/bin/bash
# Plants small faults, one at a time, in copies of the CUDA kernels and their host files (tests/cuda/faults/mutants.awk
# lists them), runs the test programs of that file over each and tells the share that they find. Of what could be planted
# at most 150 are tried: so many of each kind, spread evenly over the files, the same ones every time.
# Usage: tools/mutate.sh [FILE...]   FILE as in kernels/cuda; none: all. make mutate builds what it needs.
# What was tried stays in $BUILD/mutate/results and is not tried again while the file is the same, but for what was not found. Two at a time; a test
# program that runs for more than 300 s over a fault has found it. What the tests miss without sanitizers is tried once
# more with them. Faults that change nothing (tests/cuda/faults/equivalent.txt) and those that do not compile do not count.
# Exit 1 where less than 90 % are found.
set -u
BUILD=${BUILD:-build}
limit=${MUTATE_SECONDS:-300}
jobs=${MUTATE_JOBS:-2}
faults=tests/cuda/faults
work=$BUILD/mutate
results=$work/results
. $faults/plant.sh
mkdir -p "$work"
# The files as they are now: they may be edited while this runs.
rm -rf "$work/src" "$work"/try.*
cp -r kernels/cuda "$work/src"
# A test may have been written for what was not found.
touch "$results"
sed -i "/ SURVIVED /d" "$results"

# How many of each kind.
quotas='barrier 24
copy_wait 8
order 12
lane 10
accumulate 8
scale 10
check 8
error 10
early_end 14
bound 18
index 6
logic 8
sign 6
product 4
sum 4'

# What is compiled for a file, and the programs that must notice.
compiled_for() {
    case $1 in
    common.cuh) echo residual_norm.cu rows.cu ;;
    attention.cuh) echo attention_forward.cu attention_backward.cu attention_plain.cu attention_first.cu ;;
    *) echo "$1" ;;
    esac
}
tests_of() {
    case $1 in
    adam.cu | convert.cu) echo test_adam test_backend ;;
    attention*.cu | attention.cuh) echo test_attention test_dropout ;;
    classify.cu) echo test_classify ;;
    columns.cu) echo test_columns test_residual_norm test_embed test_linear ;;
    common.cuh) echo test_rows test_residual_norm test_dropout ;;
    embed.cu) echo test_embed test_dropout ;;
    narrow.cu) echo test_linear ;;
    residual_norm.cu) echo test_residual_norm test_dropout ;;
    rows.cu) echo test_rows test_dropout ;;
    sdpa.cu | attention*.c) echo test_sdpa ;;
    gemm_cublaslt.c) echo test_gemm test_backend ;;
    linear_products.c) echo test_linear test_backend ;;
    *) echo test_backend test_late_copies test_training ;;
    esac
}

# All that could be planted; the files that take longest to compile last. The emulator has its own device.cuh.
candidates() {
    local file
    {
        for file in "$work"/src/*.c "$work"/src/*.cu "$work"/src/*.cuh; do
            case $file in */device.cuh | */attention*.cu*) ;; *) echo "$file" ;; esac
        done
        ls "$work"/src/attention*.cu "$work"/src/attention.cuh
    } | while read -r file; do awk -f $faults/mutants.awk "$file"; done
}

# The equivalents leave, then each kind's list is thinned out to its quota.
chosen() {
    candidates | awk -F '\t' -v quotas="$quotas" -v equivalents=$faults/equivalent.txt '
        BEGIN {
            n = split(quotas, q, /[ \n]/)
            for (i = 1; i < n; i += 2) quota[q[i]] = q[i + 1]
            while ((getline line < equivalents) > 0) if (line ~ /^[a-z_]*\.[a-z]*: /) gone[line] = 1
        }
        {
            trimmed = $5
            sub(/^ */, "", trimmed)
            if (($1 ": " trimmed) in gone) next
            kind = $3
            gsub(/ /, "_", kind)
            count[kind]++
            row[NR] = $0; kinds[NR] = kind; place[NR] = count[kind] - 1
        }
        END {
            for (i = 1; i <= NR; i++) {
                if (!(i in row)) continue
                k = kinds[i]; all = count[k]; most = quota[k] + 0
                if (all <= most || int(place[i] * most / all) != int((place[i] + 1) * most / all)) print row[i]
            }
        }'
}

# found_by MODE FILE DIR: compiles, links, runs; leaves "verdict program" in DIR/verdict. True: found, or not to compile.
found_by() {
    local mode=$1 file=$2 dir=$3 made test verdict objects=()
    # shellcheck disable=SC1090
    . "$BUILD/$mode/faults.env"
    for made in $(compiled_for "$file"); do
        [ "$made" = "$file" ] || cp "$work/src/$made" "$dir/$made"
        if ! compile "$dir/$made" "$dir/$made.o" > "$dir/compiler" 2>&1; then
            echo "no-compile -" > "$dir/verdict"
            return 0
        fi
        objects+=("$dir/$made.o")
    done
    for test in $(tests_of "$file"); do
        [[ $unsound != *" $mode/$test "* ]] || continue
        link "$dir/program" "$test" "${objects[@]}" || { echo "no-link $test" > "$dir/verdict" && return 0; }
        verdict=$(judge "$limit" "$dir/program" "$dir/log.$test")
        rm -f "$dir/program"
        if [ "$verdict" != passed ]; then
            echo "$verdict $test" > "$dir/verdict"
            return 0
        fi
    done
    echo "SURVIVED -" > "$dir/verdict"
    return 1
}

# try FILE LINE KIND COLUMN TEXT
try() {
    local file=$1 line=$2 kind=$3 column=$4 text=$5 dir id
    dir=$(mktemp -d "$work/try.XXXXXX")
    plant_line "$work/src/$file" "$line" "$text" "$dir/$file"
    id="$file:$line:$column:${kind// /_}:$(cksum < "$dir/$file" | tr ' ' -)"
    if ! grep -qF "$id " "$results"; then
        found_by cuemu-fast "$file" "$dir" || { [ ! -e "$BUILD/cuemu/faults.env" ] || found_by cuemu "$file" "$dir"; }
        printf '%s %s\n' "$id" "$(cat "$dir/verdict")" >> "$results"
    fi
    printf '  %-10s %-15s %s:%s %s: %s\n' "$(grep -F "$id " "$results" | tail -n 1 | cut -d ' ' -f 2)" \
        "$(grep -F "$id " "$results" | tail -n 1 | cut -d ' ' -f 3)" "$file" "$line" "$kind" "${text#"${text%%[! ]*}"}" \
        | tee -a "$work/report"
    rm -rf "$dir"
}

# A test that fails without any fault tells nothing.
sound() {
    local mode test
    for mode in cuemu-fast cuemu; do
        [ -e "$BUILD/$mode/faults.env" ] || continue
        # shellcheck disable=SC1090
        . "$BUILD/$mode/faults.env"
        for test in $(cut -f 1 "$work/chosen" | sort -u | while read -r file; do tests_of "$file"; done | tr ' ' '\n' | sort -u); do
            link "$work/$mode.$test" "$test" && [ "$(judge "$limit" "$work/$mode.$test" "$work/log")" = passed ] || {
                echo "$test ($mode) does not pass over the files as they are: it is left out ($(grep -m 1 ERROR "$work/log"))"
                unsound+=" $mode/$test "
            }
            rm -f "$work/$mode.$test"
        done
    done
}
unsound=
: > "$work/report"
chosen | while IFS=$'\t' read -r file rest; do
    [ $# -eq 0 ] || [[ " $* " == *" $file "* ]] || continue
    printf '%s\t%s\n' "$file" "$rest"
done > "$work/chosen"
sound
# shellcheck disable=SC2046 # a list of process ids
trap 'kill $(jobs -p) 2> /dev/null; wait; rm -rf "$work"/try.*; exit 130' INT TERM
while IFS=$'\t' read -r file line kind column text <&3; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    try "$file" "$line" "$kind" "$column" "$text" &
done 3< "$work/chosen"
wait
awk '
    { all++; verdicts[$1]++ }
    $1 == "SURVIVED" { survived[++n] = $0 }
    END {
        tried = all - verdicts["no-compile"] - verdicts["no-link"]
        found = tried - n
        if (n) print "\nnot found:"
        for (i = 1; i <= n; i++) print survived[i]
        printf "\n%d faults planted (%d more do not compile): %d found (%d by a failed check, %d crashed, %d ran too long), " \
            "%d not: %.1f %%\n", tried, all - tried, found, verdicts["noticed"], verdicts["crashed"], \
            verdicts["timeout"], n, tried ? 100 * found / tried : 0
        exit tried == 0 || found < 0.9 * tried
    }' "$work/report"
