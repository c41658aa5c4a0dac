#!/usr/bin/env bats
# A checkpoint's way: trained, verified, exported with its proof, converted back.
load common

setup_file() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    "$PROGRAM" example --to shop --users 60 > /dev/null || return 1
    # A vocabulary of the shop's own words, and letters so that nothing is unknown.
    {
        printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]'
        tail -n +2 shop/train.tsv | cut -f 4-6 | tr '\t ' '\n\n' | tr 'A-Z' 'a-z' | grep -E '^[a-z]+$' | sort -u
    } > vocab.txt
    train two
    train one --set model.labels=click
    train mean --set model.pooling=mean
}

# train NAME FLAGS...: a model of one narrow layer, a few steps
train() {
    local name=$1
    shift
    "$PROGRAM" train --quiet --set run.output=runs --set "run.name=$name" --set run.device=cpu --set run.precision=fp32 \
        --set model.init=random --set model.vocab=vocab.txt --set model.hidden=16 --set model.layers=1 --set model.heads=2 \
        --set model.ffn=16 --set model.labels=no_click,click --set data.train=shop/train.tsv --set data.dev=shop/dev.tsv \
        --set data.text_a=query --set data.text_b=title --set data.label=click --set data.group=impression_id \
        --set data.max_length=24 --set train.max_steps=3 --set track.tensorboard=no "$@" > "$name.out" 2>&1 || {
        cat "$name.out"
        return 1
    }
}

setup() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
}

@test "verify: a good file, and one with a changed byte" {
    expect 0 verify runs/two/best.h5
    has "$output" "runs/two/best.h5: ok."
    has "$output" "for serving"
    expect 0 verify runs/two/last.h5 --json
    has "$output" '"ok": true'
    has "$output" '"resumable": true'
    cp runs/two/best.h5 changed.h5
    size=$(stat -c %s changed.h5)
    printf '\x55' | dd of=changed.h5 bs=1 seek=$((size - 100)) conv=notrunc status=none
    expect 65 verify changed.h5
    has "$stderr" "changed.h5"
    head -c 5000 runs/two/best.h5 > short.h5
    expect 65 verify short.h5
    expect 66 verify nothing.h5
    expect 65 verify vocab.txt
    has "$stderr" "vocab.txt"
}

@test "tokenize with a checkpoint uses its vocabulary, casing and length" {
    run bash -c "sed -n 2p shop/train.tsv | cut -f 4,6 | '$PROGRAM' tokenize --checkpoint runs/two/best.h5 --json"
    [ "$status" -eq 0 ]
    has "$output" '"[CLS]"'
    lacks "$output" '"[UNK]"'
    run bash -c "for i in \$(seq 100); do printf 'red '; done | '$PROGRAM' tokenize --checkpoint runs/two/best.h5 | wc -w"
    [ "$output" -eq 24 ]
    run bash -c "for i in \$(seq 100); do printf 'red '; done | '$PROGRAM' tokenize --checkpoint runs/two/best.h5 --max-length 9 | wc -w"
    [ "$output" -eq 9 ]
    expect 2 tokenize --checkpoint runs/two/best.h5 --cased
}

@test "export --check: the folder says the same, and twenty answers lie beside it" {
    expect 0 export --checkpoint runs/two/best.h5 --to two --check shop/test.tsv
    has "$output" "largest difference"
    for file in config.json model.safetensors tokenizer.json tokenizer_config.json special_tokens_map.json vocab.txt \
        sentence_bert_config.json check.jsonl; do [ -s "two/$file" ]; done
    [ "$(wc -l < two/check.jsonl)" -eq 20 ]
    has "$(head -1 two/check.jsonl)" '{"request": {"inputs": ["'
    has "$(head -1 two/check.jsonl)" '"label": "no_click"'
    grep -q '"max_seq_length": *24' two/sentence_bert_config.json
    # the answers are predict's
    "$PROGRAM" predict --checkpoint runs/two/best.h5 --data shop/test.tsv --format jsonl --quiet 2> /dev/null | head -1 > first
    p=$(sed 's/.*"p_click": \([0-9.e-]*\).*/\1/' first)
    has "$(head -1 two/check.jsonl)" "$p"
}

@test "a one-label model is exported as a re-ranker" {
    expect 0 export --checkpoint runs/one/best.h5 --to one --check shop/test.tsv
    has "$(head -1 one/check.jsonl)" '{"request": {"query": "'
    has "$(head -1 one/check.jsonl)" '"answer": [{"index": 0, "score": '
}

@test "export --check names the file or column that is missing" {
    expect 66 export --checkpoint runs/two/best.h5 --to other --check nothing.tsv
    has "$stderr" "nothing.tsv"
    printf 'query\nx\n' > narrow.tsv
    expect 65 export --checkpoint runs/two/best.h5 --to other --check narrow.tsv
    has "$stderr" 'no column "title"'
}

@test "a mean-pooled classifier is not exported: 78, and what can be done" {
    expect 78 export --checkpoint runs/mean/best.h5 --to mean
    has "$stderr" "mean"
    [ ! -e mean/model.safetensors ]
}

@test "convert brings an exported folder back, to the same scores" {
    "$PROGRAM" export --checkpoint runs/two/best.h5 --to back --quiet > /dev/null
    expect 0 convert --from back --to new/folder/back.h5
    has "$output" "new/folder/back.h5: "
    expect 0 verify new/folder/back.h5
    columns=(--set data.text_a=query --set data.text_b=title --set data.max_length=24)
    "$PROGRAM" predict --quiet --checkpoint runs/two/best.h5 --data shop/dev.tsv --logits --set data.group= > a.tsv
    "$PROGRAM" predict --quiet --checkpoint new/folder/back.h5 --data shop/dev.tsv --logits "${columns[@]}" > b.tsv
    cmp a.tsv b.tsv
    expect 66 convert --from nothing --to x.h5
    expect 2 convert --from back --to new
    has "$stderr" "is a folder"
    [ ! -e x.h5 ]
}

@test "example --checkpoint: the cosine of an encoder that has seen no click, and nothing written for a bad one" {
    for run in two mean; do # whatever it pools by itself
        expect 0 example --to again --users 60 --checkpoint "runs/$run/best.h5"
        has "$output" "the untrained cosine of query and title, as runs/$run/best.h5 encodes them"
        auc=$(printf '%s\n' "$output" | sed -n 's/^  \([01]\.[0-9]*\)  the untrained cosine.*/\1/p')
        awk -v auc="$auc" 'BEGIN { exit !(auc > 0.3 && auc < 0.9) }'
        cmp again/test.tsv shop/test.tsv
    done
    expect 66 example --to none --checkpoint nothing.h5
    [ ! -e none ]
    expect 65 example --to none --checkpoint vocab.txt
    [ ! -e none ]
}

@test "a base that is not there: the message says what named it, and how such a file is made" {
    local none=(train --quiet --set data.train=shop/train.tsv --set run.name=none)
    expect 66 "${none[@]}" --set model.base=build/quickstart/none.h5
    has "$stderr" "model.base = $PWD/build/quickstart/none.h5: no such file. Make it: make quickstart" ||
        has "$stderr" "model.base = build/quickstart/none.h5: no such file. Make it: make quickstart"
    expect 66 "${none[@]}" --set model.base=none.h5
    has "$stderr" "rectrain convert --from HF_DIR --to"
    lacks "$stderr" fetch_model
    expect 66 "${none[@]}" --set model.base=bert-none
    has "$stderr" "tools/fetch_model.sh bert-none"
    expect 66 convert --from none --to none.h5
    has "$stderr" "--from none: no such file or folder"
    for command in "eval --data shop/test.tsv" "predict --data shop/test.tsv" "export --to served" tokenize; do
        # shellcheck disable=SC2086 # a command and its flags
        expect 66 $command --checkpoint none.h5 < /dev/null
        has "$stderr" "--checkpoint none.h5: no such file"
        lacks "$stderr" model.base
    done
}
