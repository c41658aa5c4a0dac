#!/usr/bin/env bats
# docs/recommend.md from its first command to its last, as they stand there, on a small shop and a tiny model of random
# weights in the places where `make quickstart` leaves its own.
load common

page=$TREE/docs/recommend.md

setup_file() {
    unset_variables
    export RECTRAIN_RUN_THREADS=1 RECTRAIN_RUN_DEVICE=cpu RECTRAIN_RUN_PRECISION=fp32
    cd "$BATS_FILE_TMPDIR" || return 1
    mkdir build
    ln -s "$PROGRAM" build/rectrain
    cp -r "$TREE/configs" configs
    make_shop_and_model || return 1
    # Every block of commands, one after the other; each may read what those before it left.
    awk '/^```sh$/ { on = 1; next } /^```$/ { on = 0 } on' "$page" > commands.sh
    status_of_page=0
    RECTRAIN_TRAIN_MAX_STEPS=4 bash -e -x commands.sh > page.out 2> page.err || status_of_page=$?
    echo "$status_of_page" > page.status
}

setup() { cd "$BATS_FILE_TMPDIR" || return 1; }

make_shop_and_model() {
    "$PROGRAM" example --to build/quickstart/shop --users 60 > /dev/null 2>&1 || return 1
    {
        printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' ';'
        cut -f 2 build/quickstart/shop/items.tsv | tail -n +2 | tr 'A-Z ' 'a-z\n' | grep -x '[a-z][a-z]*' | LC_ALL=C sort -u
    } > vocab.txt
    cat > tiny.ini << 'INI'
[model]
init = random
vocab = vocab.txt
hidden = 32
layers = 1
heads = 2
ffn = 32
labels = no_click, click
[data]
train = build/quickstart/shop/train.tsv
dev = build/quickstart/shop/dev.tsv
text_a = query
text_b = title
label = click
max_length = 64
[train]
max_steps = 1
INI
    "$PROGRAM" --config tiny.ini > /dev/null 2> tiny.err || { cat tiny.err && return 1; }
    cp runs/tiny/best.h5 build/quickstart/minilm.h5
}

@test "the page has commands, and every one of them runs" {
    [ "$(grep -c '^build/rectrain' commands.sh)" -ge 6 ]
    [ "$(cat page.status)" -eq 0 ] || { tail -20 page.err && false; }
}

@test "every command of the way is on the page" {
    for command in '--config configs/retriever.ini' embed search '--config configs/ecommerce.ini' recommend '--evaluate'; do
        has "$(cat commands.sh)" "$command"
    done
}

@test "the retriever was evaluated over the whole catalogue, as the page shows it" {
    items=$(($(wc -l < build/quickstart/shop/items.tsv) - 1))
    has "$(tr -d ',' < page.out)" "items $items relevant pairs"
    for word in recall@1 recall@100 MRR@10 nDCG@20; do
        has "$(cat page.out)" "$word"
        has "$(cat "$page")" "$word"
    done
}

@test "vectors, hits and lists are there, for the users of the page" {
    [ -s items.h5 ]
    [ "$(head -1 hits.tsv)" = "$(printf 'query\trank\titem\tscore')" ]
    [ "$(wc -l < hits.tsv)" -eq 11 ]
    [ "$(cut -f 1 hits.tsv | tail -n +2 | sort -u | tr '\n' ' ')" = "ann ben " ]
    [ "$(cut -f 1 lists.tsv | tail -n +2 | sort -u | tr '\n' ' ')" = "ann ben " ]
    [ "$(wc -l < lists.tsv)" -eq 11 ]
}

@test "the rules of the page name columns and values that the shop has, and are kept" {
    sed -n "s/^printf '%s.n' \('must.*\) > rules.txt$/\1/p" commands.sh | grep -q must
    cut -f 3 build/quickstart/shop/items.tsv | grep -qx baby
    tail -n +2 lists.tsv | cut -f 1,3 | while read -r user item; do
        awk -F '\t' -v user="$user" -v item="$item" '$1 == item { print user "\t" $3 "\t" $5 }' build/quickstart/shop/items.tsv
    done > listed
    [ "$(wc -l < listed)" -eq 10 ]
    run ! grep -q "$(printf '\tbaby\t')" listed
    [ "$(awk -F '\t' '$3 != "" { print $1 "\t" $3 }' listed | sort | uniq -c | awk '$1 > 2' | wc -l)" -eq 0 ]
}

@test "the measured table has the parts that the page names" {
    for word in popularity item-knn retriever pipeline "cold users" "new items"; do has "$(cat measured.txt)" "$word"; done
}

@test "options and files that the page names exist" {
    "$PROGRAM" config --defaults 2> /dev/null | sed -n -e 's/^\[\(.*\)\]$/[\1/p' -e 's/^#\{0,1\} \{0,1\}\([a-z0-9_]*\) =.*/\1/p' |
        awk '/^\[/ { section = substr($0, 2); next } { print section "." $0 }' > options
    grep -oE '`(run|model|data|train|contrastive|optimizer|eval)\.[a-z_]+' "$page" | tr -d '`' | sort -u > named
    [ "$(wc -l < named)" -ge 8 ]
    run ! grep -vxF -f options named
    grep -oE '(configs|tests)/[a-z_/]+\.(ini|bats)' "$page" | sort -u | while read -r file; do [ -s "$TREE/$file" ]; done
}
