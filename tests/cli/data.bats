#!/usr/bin/env bats
# The data check as a command.
load common
load train_shop

setup() {
    unset_variables
    cd "$BATS_TEST_TMPDIR" || return 1
    make_shop
}

@test "data: what a file holds, what another shares with it, in words and as JSON" {
    expect 0 data train.tsv --against test.tsv --config tiny.ini --set data.slice=weight
    has "$output" "160 rows, "
    has "$output" "tokens a row: "
    has "$output" "repeat the texts of an earlier row"
    has "$output" "the same texts with both labels: "
    has "$output" "groups: 27, "
    has "$output" "slice weight=1: "
    has "$output" "suggested: data.max_length = 16, train.batch_size = 16"
    has "$output" "shared: "
    clicks=$(awk -F '\t' 'NR > 1 { n += $4 } END { print n }' train.tsv)
    expect 0 data train.tsv --against test.tsv --config tiny.ini --json
    has "$output" "{\"data\": {\"rows\": 160, \"clicks\": $clicks, "
    has "$output" '"against": {"rows": 60, '
    has "$output" '"shared": {"rows": '
    repeats=$(tail -n +2 train.tsv | cut -f 2,3 | sort | uniq -d -c | awk '{ n += $1 - 1 } END { print n + 0 }')
    has "$output" "\"duplicates\": $repeats, "
    [ ! -e runs ]
}

@test "data: several files, and no vocabulary" {
    expect 0 data train.tsv dev.tsv --set data.text_a=query --set data.text_b=title --set data.label=click --json
    has "$output" '{"data": {"rows": 220, '
    has "$output" '"unit": "words"'
    has "$output" '"data.max_length": null'
    has "$stderr" "no vocabulary is given"
    words=$(cat train.tsv dev.tsv | grep -v session | cut -f 2,3 | wc -w)
    has "$output" "\"mean\": $(awk -v n="$words" 'BEGIN { printf "%.3f", n / 220 + 3 }')"
}

@test "data: wrong lines and files" {
    expect 2 data
    has "$stderr" "rectrain data needs a file"
    expect 66 data nothing.tsv
    has "$stderr" "nothing.tsv"
    expect 65 data train.tsv --set data.text_a=query --set data.text_b=title
    has "$stderr" 'train.tsv:1: no column "label"'
    expect 2 verify a.h5 b.h5
    has "$stderr" "found a.h5 and b.h5"
}
