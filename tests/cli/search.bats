#!/usr/bin/env bats
# Exact search, by the program: what it finds, what it leaves out, what it refuses.
load common
load train_shop

# A model for the texts of queries.
setup_file() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    make_shop 60 20
    "$PROGRAM" --config tiny.ini --quiet --set run.name=tiny --set run.device=cpu --set train.max_steps=2 > train.out 2>&1 || {
        cat train.out
        return 1
    }
    cp runs/tiny/best.h5 model.h5
}

setup() {
    unset_variables
    export RECTRAIN_RUN_DEVICE=cpu
    cd "$BATS_TEST_TMPDIR" || return 1
    # The example of the first recommender, whose norms are not 1: 0.99499 and 1.02470.
    printf '{"id": "u", "vector": [0.5, 0.5, 0.7]}\n' > user.jsonl
    printf '{"id": "left", "vector": [-1, 0, 0]}\n{"id": "liked", "vector": [1.0, 0.2, 0.1]}\n{"id": "none", "vector": [0, 0, 0]}\n' > shop.jsonl
    # Twelve items on a circle, twice the same one among them; three users.
    awk 'BEGIN { for (i = 0; i < 12; i++) printf "{\"id\": \"i%d\", \"vector\": [%.6f, %.6f]}\n", i, cos(i == 7 ? 3 : i), sin(i == 7 ? 3 : i) }' > items.jsonl
    awk 'BEGIN { for (i = 0; i < 3; i++) printf "{\"id\": \"u%d\", \"vector\": [%.6f, %.6f]}\n", i, 2 * cos(3 * i), 2 * sin(3 * i) }' > users.jsonl
}

# found ARGS...: items of each query, in order: "u0: i0 i6"
found() {
    expect 0 search --index items.jsonl --queries users.jsonl "$@"
    awk -F'\t' 'NR > 1 { if ($1 != last) printf "%s%s:", last == "" ? "" : "\n", $1; printf " %s", $3; last = $1 } END { print "" }' <<< "$output"
}

@test "the worked example: dot 0.67, cosine 0.65715" {
    expect 0 search --index shop.jsonl --queries user.jsonl --similarity dot --top 2
    [ "${lines[0]}" = "$(printf 'query\trank\titem\tscore')" ]
    awk -F'\t' '$3 == "liked" && $2 == 1 && ($4 - 0.67) ^ 2 < 1e-14 { n++ } END { exit n != 1 }' <<< "$output"
    [ "${lines[2]}" = "$(printf 'u\t2\tnone\t0')" ]
    expect 0 search --index shop.jsonl --queries user.jsonl --top 1
    awk -F'\t' '$3 == "liked" && $2 == 1 && ($4 - 0.65715) ^ 2 < 36e-12 { n++ } END { exit n != 1 }' <<< "$output"
    [ "${#lines[@]}" -eq 2 ]
    has "$stderr" "1 queries x 3 items of 3 numbers, by cosine"
}

@test "ties go to the item that stands first; fewer items than --top are all" {
    [ "$(found --top 3)" = "$(printf 'u0: i0 i6 i1\nu1: i3 i7 i9\nu2: i6 i0 i5')" ]
    expect 0 search --index items.jsonl --queries users.jsonl
    [ "${#lines[@]}" -eq 37 ]
    [ "$(awk -F'\t' '$3 == "i3" { print $4 }' <<< "$output")" = "$(awk -F'\t' '$3 == "i7" { print $4 }' <<< "$output")" ]
}

@test "the same bytes with any number of threads and either precision, to a file too" {
    expect 0 search --index items.jsonl --queries users.jsonl --output a.tsv
    [ -z "$output" ]
    for way in "--set run.threads=1" "--set run.threads=3" "--precision fp32" "--precision bf16" "--output -"; do
        # shellcheck disable=SC2086
        "$PROGRAM" search --index items.jsonl --queries users.jsonl $way > b.tsv
        cmp a.tsv b.tsv
    done
    [ -z "$(find . -name '*.tmp.*')" ]
}

@test "seen items, allowed items and categories" {
    printf 'user_id\titem_id\nu0\ti0\nu0\ti6\nu1\ti9\nu1\ti9\nu9\ti1\nu0\tnowhere\n' > seen.tsv
    [ "$(found --top 2 --seen seen.tsv)" = "$(printf 'u0: i1 i5\nu1: i3 i7\nu2: i6 i0')" ]
    has "$(expect 0 search --index items.jsonl --queries users.jsonl --seen seen.tsv; echo "$stderr")" "seen.tsv: 1 of 6 rows name items that are not in items.jsonl"
    printf 'sku,stock\ni1,4\ni10,2\ni10,2\nx,1\n' > allow.csv
    [ "$(found --allow allow.csv --item sku)" = "$(printf 'u0: i1 i10\nu1: i10 i1\nu2: i1 i10')" ]
    printf 'item_id\tcategory\ni0\tA\ni1\tB\ni2\tB\ni3\tA\n' > categories.tsv
    printf 'user_id\tcategory\nu0\tB\nu1\tA\nu2\tC\n' > wanted.tsv
    [ "$(found --categories categories.tsv --query-categories wanted.tsv)" = "$(printf 'u0: i1 i2\nu1: i3 i0')" ]
    has "$(expect 0 search --index items.jsonl --queries users.jsonl --categories categories.tsv --query-categories wanted.tsv; echo "$stderr")" "1 of 3 queries got no item"
    printf 'user_id\tcategory\nu0\tB\nu2\t\n' > wanted.tsv
    [ "$(found --top 2 --categories categories.tsv --query-categories wanted.tsv)" = "$(printf 'u0: i1 i2\nu1: i3 i7\nu2: i6 i0')" ]
    expect 0 search --index items.jsonl --queries users.jsonl --top 2 --output hits.tsv
    [ "$(found --top 1 --seen hits.tsv --user query --item item)" = "$(printf 'u0: i1\nu1: i9\nu2: i5')" ]
}

@test "texts become vectors, with the hits of vectors that were made before" {
    model=$BATS_FILE_TMPDIR/model.h5
    printf 'item_id\ttitle\na\tw1 v2\nb\tv3\nc\tw3 v4 v5\nd\tw7 q1\n' > items.tsv
    printf 'user_id\thistory\nann\tw1 v2\nbob\tw3 v4 v5\n' > users.tsv
    for kind in item:title user:history; do
        expect 0 embed --checkpoint "$model" --data "${kind%:*}s.tsv" --text "${kind#*:}" --id "${kind%:*}_id" --output "${kind%:*}s.h5"
    done
    expect 0 search --index items.h5 --queries users.h5 --top 4
    awk -F '\t' '$2 == 1 && $4 > 0.9999 { print $1, $3 }' <<< "$output" > best
    [ "$(cat best)" = "$(printf 'ann a\nbob c')" ]
    made=$(cut -f 1-3 <<< "$output")
    expect 0 search --index items.h5 --queries users.tsv --checkpoint "$model" --text history --id user_id --top 4
    [ "$(cut -f 1-3 <<< "$output")" = "$made" ]
    printf 'user_id\titem_id\nbob\tc\n' > seen.tsv
    expect 0 search --index items.h5 --queries users.tsv --checkpoint "$model" --text history --id user_id --top 1 --seen seen.tsv
    [ "$(cut -f 1-3 <<< "${lines[1]}")" = "$(printf 'ann\t1\ta')" ]
    lacks "${lines[2]}" "$(printf '\tc\t')"
    expect 2 search --index items.h5 --queries users.tsv --checkpoint "$model" --text history
    has "$stderr" "--id says which column"
    printf 'ann\tw9\n' >> users.tsv
    expect 65 search --index items.h5 --queries users.tsv --checkpoint "$model" --text history --id user_id
    has "$stderr" 'users.tsv:4: the id "ann" (column user_id) stands above already'
    expect 65 search --index items.h5 --queries users.tsv --checkpoint "$model" --text history --id user_id --dimensions 8 --set data.on_bad_row=skip
    has "$stderr" "of 32 numbers and users.tsv of 8"
}

# The plugin over the emulator of tests/cli/cuda.bats; with FAKE_CUDA_STRICT it ends with 86 where a rule was broken.
@test "a GPU finds the same, in each of its precisions" {
    mkdir bin && cp "$PROGRAM" "$BUILD/test/fake/rectrain-cuda.so" bin/
    expect 0 search --index items.jsonl --queries users.jsonl --output hits.tsv
    expect 0 search --index shop.jsonl --queries user.jsonl --output one.tsv
    for precision in fp32 tf32 bf16; do
        FAKE_CUDA_STRICT=1 bin/rectrain search --quiet --index items.jsonl --queries users.jsonl --output gpu.tsv \
            --set run.device=cuda --set run.precision=$precision
        cmp hits.tsv gpu.tsv
        FAKE_CUDA_STRICT=1 bin/rectrain search --quiet --index shop.jsonl --queries user.jsonl --output gpu.tsv \
            --set run.device=cuda --set run.precision=$precision
        cmp one.tsv gpu.tsv
    done
}

@test "jsonl output; ids of any bytes stay one cell and one line" {
    printf '{"id": "a\\tb \\"c\\" \\u001b[31m", "vector": [1, 0]}\n' > items.jsonl
    expect 0 search --index items.jsonl --queries users.jsonl --top 1 --format jsonl
    [ "${#lines[@]}" -eq 3 ]
    [ "${lines[0]}" = '{"query": "u0", "rank": 1, "item": "a\tb \"c\" \u001b[31m", "score": 1}' ]
    expect 0 search --index items.jsonl --queries users.jsonl --top 1
    [ "$(awk -F'\t' '{ print NF }' <<< "$output" | sort -u)" = 4 ]
}

@test "other files, other widths, wrong command lines" {
    expect 65 search --index shop.jsonl --queries users.jsonl
    has "$stderr" "shop.jsonl has vectors of 3 numbers and users.jsonl of 2"
    expect 66 search --index nowhere.h5 --queries users.jsonl
    expect 66 search --index items.jsonl --queries nowhere.h5
    expect 65 search --index items.jsonl --queries "$TREE/Makefile"
    expect 2 search --index items.jsonl
    has "$stderr" "--queries"
    expect 2 search --index items.jsonl --queries users.jsonl --similarity l2
    has "$stderr" "expected cosine or dot"
    expect 2 search --index items.jsonl --queries users.jsonl --format csv
    has "$stderr" "expected tsv or jsonl"
    expect 2 search --index items.jsonl --queries users.jsonl --precision int8
    expect 2 search --index items.jsonl --queries users.jsonl --top 0
    expect 2 search --index items.jsonl --queries users.jsonl --text title
    has "$stderr" "--checkpoint"
    expect 2 search --index items.jsonl --queries users.jsonl --categories items.tsv
    has "$stderr" "go together"
    printf 'user\titem\nu0\ti0\n' > seen.tsv
    expect 65 search --index items.jsonl --queries users.jsonl --seen seen.tsv
    has "$stderr" 'no column "user_id"'
    printf '{"id": "big", "vector": [3e38, 3e38]}\n' > items.jsonl
    expect 65 search --index items.jsonl --queries users.jsonl --similarity dot
    has "$stderr" "has no place in"
    expect 0 search --index items.jsonl --queries users.jsonl
}

@test "what was there stays where a search fails, and a full disk is told" {
    echo before > hits.tsv
    expect 65 search --index shop.jsonl --queries users.jsonl --output hits.tsv
    [ "$(cat hits.tsv)" = before ]
    expect 74 search --index items.jsonl --queries users.jsonl --output nowhere/hits.tsv
    expect 74 search --index items.jsonl --queries users.jsonl --output /dev/full
}

# zeros N WIDTH: a .fbin of vectors of zeros
zeros() {
    printf "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 % 256)) $(($1 / 256 % 256)) $(($1 / 65536)) 0 $(($2 % 256)) $(($2 / 256)) 0 0)"
    head -c $(($1 * $2 * 4)) /dev/zero
}

@test "a signal ends a search: 75, and what was there stays" {
    zeros 200000 64 > items.fbin
    zeros 30000 64 > queries.fbin
    echo before > hits.tsv
    RECTRAIN_PROGRESS_SECONDS=0.01 "$PROGRAM" search --index items.fbin --queries queries.fbin --top 1 --output hits.tsv 2> log &
    pid=$!
    until grep -q "searching items.fbin" log; do kill -0 $pid && sleep 0.01; done
    kill -TERM $pid
    status=0
    wait $pid || status=$?
    [ "$status" -eq 75 ]
    has "$(cat log)" "stopped by SIGTERM after"
    [ "$(cat hits.tsv)" = before ]
    [ -z "$(find . -name '*.tmp.*')" ]
}
