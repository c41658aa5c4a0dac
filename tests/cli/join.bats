#!/usr/bin/env bats
# Pairs from an item table and an event log, by the program.
load common

setup() {
    unset_variables
    cd "$BATS_TEST_TMPDIR" || return 1
    printf 'item_id\ttitle\tkind\n1\tRed shoe\tshoes\n2\tBlue hat\thats\n3\tGreen bag\tbags\n' > items.tsv
    {
        printf 'user_id\titem_id\ttime\tclick\tsearch\n'
        for i in $(seq 0 59); do
            printf 'u%d\t%d\t%d\t%d\ts%d\n' $((i / 3 % 4)) $((i % 3 + 1)) $((i / 3)) $((i % 3 == 0)) $((i / 3))
        done
    } > log.tsv
}

@test "a join writes its files, prints the check, and says what it did" {
    expect 0 join --items items.tsv --events log.tsv --out pairs --click click --category kind
    has "$output" "3 items, 60 rows of events"
    has "$output" "split: 80/10/10 of the rows, by time; dev from 16; test from 18"
    has "$output" "train and dev"
    has "$output" "pairs of texts with both labels"
    has "$output" "negatives: all rows of the log"
    [ "$(echo pairs/*)" = "pairs/dev.tsv pairs/items.tsv pairs/summary.json pairs/test.tsv pairs/train.tsv" ]
    [ "$(head -1 pairs/train.tsv)" = "$(printf 'impression_id\tuser_id\titem_id\ttime\thistory\ttitle\tcategory\tclick\tnew_item\tcold_user')" ]
    [ $(($(cat pairs/{train,dev,test}.tsv | wc -l) - 3)) -eq 60 ]
    rows=$(($(wc -l < pairs/train.tsv) - 1))
    has "$(grep '^  train ' <<< "$output")" " $rows "
    [ -z "$(find pairs -name '.*' -type f)" ]
}

@test "--json is summary.json, with the rate at which non-clicks were kept" {
    expect 0 join --items items.tsv --events log.tsv --out pairs --click click --impression search --negatives 1 --json
    [ "$output" = "$(cat pairs/summary.json)" ]
    has "$output" '"negatives": "of the impression"'
    has "$output" '"negatives_per_click": 1'
    has "$output" '"negative_keep": 0.5'
    has "$output" '"seed": 1'
}

@test "the same seed, the same bytes; a log of clicks alone needs --negatives" {
    {
        printf 'user_id\titem_id\ttime\n'
        for i in $(seq 60); do printf 'u%d\t%d\t%d\n' $((i % 4)) $((i * i % 47)) "$i"; done
    } > plays.tsv
    for i in $(seq 0 46); do printf '%d\tSong %d\tkind\n' "$i" "$i"; done > songs && sed -i -e '2,$d' items.tsv && cat songs >> items.tsv
    for seed in 1 1 2; do
        "$PROGRAM" join --items items.tsv --events plays.tsv --out "p$((++n))" --negatives 1 --seed $seed > said
    done
    grep -q "1 SAMPLED for each click" said
    diff -r p1 p2
    run ! cmp -s p1/train.tsv p3/train.tsv
    expect 2 join --items items.tsv --events plays.tsv --out pairs
    has "$stderr" "every row would be a click"
    [ ! -e pairs ]
}

@test "pipes and packed files are read; a configuration takes what comes out" {
    gzip -k log.tsv
    expect 0 join --items <(cat items.tsv) --events log.tsv.gz --out pairs --click click
    "$PROGRAM" join --items items.tsv --events log.tsv --out plain --click click > /dev/null
    diff -r pairs plain
    for domain in news video reviews music; do
        expect 0 config --config "$TREE/configs/$domain.ini" --set data.train=pairs/train.tsv --set data.dev=pairs/dev.tsv \
            --set data.test=pairs/test.tsv
        for key in text_a text_b label group user item time; do
            column=$(sed -n "s/^$key = //p" "$TREE/configs/$domain.ini")
            head -1 pairs/train.tsv | tr '\t' '\n' | grep -qx "$column"
        done
    done
}

@test "errors name file, line, what was found and what is accepted" {
    expect 2 join --items items.tsv --events log.tsv
    has "$stderr" "needs --out DIR"
    expect 2 join --items items.tsv --events log.tsv --out p --format xml
    has "$stderr" "expected table, mind or movielens"
    expect 2 join --items items.tsv --events log.tsv --out p --on-bad-row go
    has "$stderr" "expected stop or skip"
    expect 2 join --items items.tsv --events log.tsv --out p --click click --split 50/60
    has "$stderr" "--split 50/60: expected shares"
    expect 2 join --items items.tsv --events log.tsv --out p --clik click
    has "$stderr" "did you mean --click?"
    expect 65 join --items items.tsv --events log.tsv --out p --click clicked
    has "$stderr" 'log.tsv:1: no column "clicked"; found user_id, item_id, time, click, search; did you mean "click"?'
    printf 'u1\t9\t3\t1\ts\n' >> log.tsv
    expect 65 join --items items.tsv --events log.tsv --out p --click click
    has "$stderr" 'log.tsv:62: no such item in the item table: "9"'
    expect 0 join --items items.tsv --events log.tsv --out p --click click --on-bad-row skip
    has "$output" "1 bad rows were skipped"
    has "$stderr" "skipped: log.tsv:62"
    expect 66 join --items none.tsv --events log.tsv --out p --click click
    expect 66 join --items items.tsv --events none.tsv --out p --click click
    touch file
    expect 74 join --items items.tsv --events log.tsv --out file/p --click click
    expect 78 join --items items.tsv --events log.tsv --out q --click click --set train.batch_size=0
    [ ! -e q ]
}

@test "a signal ends it with 75 and leaves no file" {
    mkfifo slow
    "$PROGRAM" join --items items.tsv --events /dev/fd/3 --out pairs --click click 3<> slow 2> said &
    pid=$!
    # More rows than between two looks at the signal; the pipe stays open, so the program waits for more.
    { cat log.tsv && yes "$(printf 'u1\t2\t99\t1\ts')" | head -n 10000; } > slow
    kill -TERM $pid
    # It may have left already: then nobody reads, until what is left is taken below.
    { timeout 20 bash -c 'yes "$1" | head -n 10000 > slow' writer "$(printf 'u1\t2\t99\t1\ts')" || true; } 3>&- &
    writer=$!
    status=0
    wait $pid || status=$?
    timeout 5 cat slow > rest || true # what the program did not take
    wait $writer || true
    [ "$status" -eq 75 ]
    has "$(cat said)" "stopped by SIGTERM; pairs is as it was before"
    [ -z "$(ls -A pairs)" ]
}

@test "killed at once, it leaves no temporary file" {
    mkfifo slow
    "$PROGRAM" join --items items.tsv --events /dev/fd/3 --out pairs --click click --memory 16 3<> slow 2> said &
    pid=$!
    { cat log.tsv && yes "$(printf 'u1\t2\t99\t1\ts')" | head -n 100000; } > slow
    kill -KILL $pid
    wait $pid || true
    [ -d pairs ] && [ -z "$(ls -A pairs)" ]
}
