#!/usr/bin/env bats
# Vectors of a table's texts: every format, what is said, and runs that were stopped.
load common
load train_shop

setup_file() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    make_shop 120 40
    "$PROGRAM" --config tiny.ini --quiet --set run.name=tiny --set train.max_steps=2 > train.out 2>&1 || {
        cat train.out
        return 1
    }
    cp runs/tiny/best.h5 model.h5
    local pooling
    for pooling in cls mean; do
        "$PROGRAM" --config tiny.ini --quiet --set run.name=$pooling --set train.max_steps=2 --set train.objective=contrastive \
            --set model.pooling=$pooling --set data.group= --set data.weight= --set eval.metric=recall@20 > train.out 2>&1 || {
            cat train.out
            return 1
        }
    done
    printf 'item_id\ttitle\tbrand\na\tw1 v2\tq1\nb\t\tq2\nc\tw3 v4 v5\tq3\nd\tw1 v2\tq9\n' > items.tsv
    # Two windows and a bit.
    shop_rows 5 20000 | awk -F '\t' 'NR == 1 { print "id\ttitle"; next } { print "i" NR "\t" $3 }' > many.tsv
}

setup() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
}

# embed OUTPUT FLAGS...
embed() {
    local to=$1 text=title
    shift
    if [ "${1:-}" = --text ]; then
        text=$2
        shift 2
    fi
    expect 0 embed --checkpoint model.h5 --data items.tsv --text "$text" --id item_id --output "$to" "$@"
}

# numbers FILE: of the vectors of JSON lines
numbers() { sed 's/.*\[\(.*\)\]}/\1/' "$1"; }

@test "a vector a row, of length 1, in their order, with their ids" {
    embed v.jsonl
    has "$output" "v.jsonl: 4 vectors of 32 numbers, of length 1"
    [ "$(sed 's/^{"id": "\([^"]*\)".*/\1/' v.jsonl | tr '\n' ' ')" = "a b c d " ]
    # Roundings of 2^-24 and those of nine printed digits are far below 1e-6. Rows 1 and 4 have the same text; in another
    # place of a batch sums of two layers may be added up in another order, some hundred roundings.
    numbers v.jsonl | awk -F ', ' '{ s = same = 0
                                     for (i = 1; i <= NF; i++) { s += $i * $i; if (NR == 1) first[i] = $i; same += $i * first[i] }
                                     if (NF != 32 || s < 1 - 1e-6 || s > 1 + 1e-6) exit 1
                                     if ((same > 1 - 1e-5) != (NR == 1 || NR == 4)) exit 1 }'
    has "$stderr" "the mean of their tokens' last hidden states (nothing says otherwise"
    [ ! -e v.jsonl.part ] && [ ! -e v.jsonl.part.ids ] && [ ! -e v.jsonl.part.state ]
}

@test "every format holds the same numbers" {
    local f
    for f in npy fbin faiss h5; do
        embed "v.$f"
        if [ $f != h5 ]; then [ "$(tr '\n' ' ' < "v.$f.ids")" = "a b c d " ]; fi
    done
    local rows=$((4 * 32 * 4))
    tail -c $rows v.npy > rows
    tail -c $rows v.fbin | cmp - rows
    tail -c $rows v.faiss | cmp - rows
    tail -c +8193 v.h5 | head -c $rows | cmp - rows
    [ "$(tail -c 4 v.h5)" = abcd ]
    [ "$(head -c 4 v.faiss)" = IxFI ]
    [ "$(head -c 6 v.npy | tail -c 5)" = NUMPY ]
    [ "$(od -An -tu4 v.fbin | head -1 | awk '{ print $1, $2 }')" = "4 32" ]
    # a name without an end of these
    embed plain --format fbin
    cmp plain v.fbin
    # and the printed numbers of JSON lines are those of the rows
    od -An -v -w128 -tf4 rows > printed
    embed v.jsonl
    numbers v.jsonl | tr -d ',' > lines
    paste -d ' ' printed lines | awk '{ for (i = 1; i <= 32; i++) { d = $i - $(i + 32); if (d > 1e-6 || d < -1e-6) exit 1 } }'
}

@test "--prefix stands before every text, and a template joins columns" {
    embed p.fbin --prefix "q1 "
    printf 'item_id\ttitle\na\tq1 w1 v2\nb\tq1 \nc\tq1 w3 v4 v5\nd\tq1 w1 v2\n' > prefixed.tsv
    expect 0 embed --checkpoint model.h5 --data prefixed.tsv --text title --id item_id --output q.fbin
    cmp p.fbin q.fbin
    embed t.fbin --text "{brand} {title}"
    printf 'item_id\ttitle\na\tq1 w1 v2\nb\tq2 \nc\tq3 w3 v4 v5\nd\tq9 w1 v2\n' > joined.tsv
    expect 0 embed --checkpoint model.h5 --data joined.tsv --text title --id item_id --output u.fbin
    cmp t.fbin u.fbin
    run ! cmp -s p.fbin t.fbin
}

@test "--dimensions cuts and then makes the length 1; --no-normalize leaves the length" {
    embed whole.jsonl --no-normalize
    lacks "$output" "of length 1"
    embed cut.jsonl --dimensions 5
    has "$output" "4 vectors of 5 numbers, of length 1"
    numbers whole.jsonl > whole
    numbers cut.jsonl > cut
    paste -d ',' whole cut | tr -d ' ' | awk -F , '
        { s = 0; for (i = 1; i <= 5; i++) s += $i * $i; s = sqrt(s)
          for (i = 1; i <= 5; i++) { d = $i / s - $(32 + i); if (d > 1e-6 || d < -1e-6) exit 1 }
          t = 0; for (i = 1; i <= 32; i++) t += $i * $i; if (t > 0.99 && t < 1.01) exit 1 }'
    expect 78 embed --checkpoint model.h5 --data items.tsv --text title --id item_id --output x.h5 --dimensions 33
    has "$stderr" "--dimensions 33: model.h5 has 32"
}

@test "rows from stdin, packed, and as CSV and JSON lines: the same file" {
    embed v.npy
    "$PROGRAM" embed --checkpoint model.h5 --data - --text title --id item_id --output s.npy < items.tsv > /dev/null
    cmp s.npy v.npy && cmp s.npy.ids v.npy.ids
    gzip -k -f items.tsv
    expect 0 embed --checkpoint model.h5 --data items.tsv.gz --text title --id item_id --output s.npy
    cmp s.npy v.npy
    awk -F '\t' -v OFS=, '{ print $1, $2, $3 }' items.tsv > items.csv
    expect 0 embed --checkpoint model.h5 --data items.csv --text title --id item_id --output s.npy
    cmp s.npy v.npy
    awk -F '\t' 'NR > 1 { printf "{\"item_id\": \"%s\", \"title\": \"%s\"}\n", $1, $2 }' items.tsv > items.jsonl
    expect 0 embed --checkpoint model.h5 --data items.jsonl --text title --id item_id --output s.npy
    cmp s.npy v.npy
}

@test "an id that stands twice is refused with both lines, before anything is run" {
    printf 'item_id\ttitle\na\tw1\nb\tw2\n"x"\tw3\nb\tw4\n' > twice.tsv
    expect 65 embed --checkpoint model.h5 --data twice.tsv --text title --id item_id --output x.h5
    has "$stderr" 'twice.tsv: lines 3 and 5 both have the id "b" (column item_id)'
    [ ! -e x.h5 ] && [ ! -e x.h5.part ]
    run --separate-stderr bash -c "'$PROGRAM' embed --checkpoint model.h5 --data - --text title --id item_id --output x.h5 < twice.tsv"
    [ "$status" -eq 65 ]
    has "$stderr" 'x.h5: rows 1 and 3 both have the id "b"'
    [ ! -e x.h5 ] && [ ! -e x.h5.part ] && [ ! -e x.h5.part.ids ] && [ ! -e x.h5.part.state ]
}

@test "rows without an id, and bad rows: refused with their line, or skipped and counted" {
    printf 'item_id\ttitle\na\tw1\n\tw2\nc\n d\tw4\n' > bad.tsv
    expect 65 embed --checkpoint model.h5 --data bad.tsv --text title --id item_id --output x.npy
    has "$stderr" "bad.tsv:3: an id (column item_id) that is empty"
    expect 0 embed --checkpoint model.h5 --data bad.tsv --text title --id item_id --output x.npy --set data.on_bad_row=skip
    has "$output" "x.npy: 2 vectors"
    has "$stderr" "2 bad rows were skipped, the first: bad.tsv:3:"
    [ "$(tr '\n' '|' < x.npy.ids)" = "a| d|" ]
    printf 'item_id\ttitle\n' > none.tsv
    expect 65 embed --checkpoint model.h5 --data none.tsv --text title --id item_id --output y.npy
    has "$stderr" "none.tsv: no rows below the header"
    [ ! -e y.npy ]
}

@test "what is wrong with the command line or the files is told in one sentence" {
    expect 2 embed --checkpoint model.h5 --data items.tsv --text title --output x.h5
    has "$stderr" "--id"
    expect 2 embed --checkpoint model.h5 --data items.tsv --text title --id item_id --output vectors
    has "$stderr" "its end tells no format"
    expect 2 embed --checkpoint model.h5 --data items.tsv --text title --id item_id --output x.h5 --format hdf
    has "$stderr" "--format hdf: expected h5, npy, fbin, faiss or jsonl"
    expect 2 embed --checkpoint model.h5 --data items.tsv --text title --id item_id --output . --format h5
    has "$stderr" "a folder"
    expect 2 embed --checkpoint model.h5 --data items.tsv --text title --id item_id --output x.h5 --pooling max
    has "$stderr" "--pooling max: expected cls or mean"
    expect 65 embed --checkpoint model.h5 --data items.tsv --text titel --id item_id --output x.h5
    has "$stderr" 'did you mean "title"'
    expect 65 embed --checkpoint model.h5 --data items.tsv --text title --id id --output x.h5
    has "$stderr" 'no column "id"'
    expect 66 embed --checkpoint nowhere.h5 --data items.tsv --text title --id item_id --output x.h5
    expect 66 embed --checkpoint model.h5 --data nowhere.tsv --text title --id item_id --output x.h5
    expect 74 embed --checkpoint model.h5 --data items.tsv --text title --id item_id --output nowhere/x.h5
    [ ! -e x.h5 ]
}

@test "texts beyond data.max_length are cut, which is told" {
    embed v.npy --set data.max_length=4
    has "$stderr" "1 of 4 texts were longer than data.max_length = 4"
}

# stopped SIGNAL: a run over many.tsv is stopped once its first window is safe
stopped() {
    rm -f m.*
    "$PROGRAM" embed --checkpoint model.h5 --data many.tsv --text title --id id --output "m.$2" > m.out 2> m.err 3>&- &
    local pid=$! i status=0
    for ((i = 0; i < 3000; i++)); do
        [ -e "m.$2.part.state" ] && break
        kill -0 $pid 2> /dev/null || break
        sleep 0.01
    done
    kill "-$1" $pid 2> /dev/null || true
    wait $pid || status=$?
    echo "$status"
}

@test "killed, or stopped by a signal, and given again: the bytes of a run that was not" {
    local f
    for f in h5 faiss; do
        expect 0 embed --checkpoint model.h5 --data many.tsv --text title --id id --output "whole.$f"
        for signal in KILL TERM; do
            status=$(stopped $signal $f)
            # It may have been at its end before the signal came.
            if [ "$status" -ne 0 ]; then
                [ "$signal/$status" = KILL/137 ] || [ "$signal/$status" = TERM/75 ]
                if [ $signal = TERM ]; then has "$(cat m.err)" "the same command goes on"; fi
                [ ! -e "m.$f" ] && [ -e "m.$f.part.state" ]
                expect 0 embed --checkpoint model.h5 --data many.tsv --text title --id id --output "m.$f"
                has "$stderr" "an earlier run left"
                has "$stderr" "of 20000 vectors; going on after these"
            fi
            cmp "m.$f" "whole.$f"
            [ ! -e "m.$f.part" ] && [ ! -e "m.$f.part.state" ]
        done
        if [ $f = faiss ]; then cmp m.faiss.ids whole.faiss.ids; fi
    done
}

@test "what an earlier run left of other texts, options or weights is not gone on with" {
    local flags
    sed 's/w1/w2/' many.tsv > other.tsv
    for flags in "" "--prefix q1" "--no-normalize"; do
        status=$(stopped KILL npy)
        # shellcheck disable=SC2086 # several words
        expect 0 embed --checkpoint model.h5 --data "$([ "$flags" ] && echo many.tsv || echo other.tsv)" --text title \
            --id id --output m.npy $flags
        lacks "$stderr" "going on"
    done
}

@test "--pooling: the first token's state and the mean differ; a checkpoint trained for vectors has its own" {
    embed m.fbin --pooling mean
    embed f.fbin --pooling cls
    has "$stderr" "the first token's last hidden state (--pooling)"
    run ! cmp -s m.fbin f.fbin
    expect 0 embed --checkpoint runs/cls/best.h5 --data items.tsv --text title --id item_id --output c.fbin
    has "$stderr" "the first token's last hidden state (as it was trained)"
    expect 0 embed --checkpoint runs/mean/best.h5 --data items.tsv --text title --id item_id --output c.fbin
    has "$stderr" "the mean of their tokens' last hidden states (as it was trained)"
    expect 0 embed --checkpoint runs/cls/best.h5 --data items.tsv --text title --id item_id --output m.fbin --pooling mean
    has "$stderr" "(--pooling)"
}

@test "export of a model for vectors: a folder of sentence-transformers, proved and read back" {
    local pooling
    for pooling in cls mean; do
        rm -rf "st-$pooling"
        expect 0 export --checkpoint "runs/$pooling/best.h5" --to "st-$pooling" --check test.tsv
        has "$output" "modules.json, 1_Pooling/config.json"
        has "$output" "largest difference 0 "
        # three modules, the last two of which are the pooling and the length of 1
        [ "$(tr -d ' \n' < "st-$pooling/modules.json")" = '[{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},{"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.models.Pooling"},{"idx":2,"name":"2","path":"2_Normalize","type":"sentence_transformers.models.Normalize"}]' ]
        has "$(cat "st-$pooling/1_Pooling/config.json")" "\"pooling_mode\": \"$pooling\""
        has "$(cat "st-$pooling/1_Pooling/config.json")" "\"pooling_mode_cls_token\": $([ $pooling = cls ] && echo true || echo false)"
        has "$(cat "st-$pooling/1_Pooling/config.json")" "\"pooling_mode_mean_tokens\": $([ $pooling = mean ] && echo true || echo false)"
        has "$(cat "st-$pooling/1_Pooling/config.json")" '"word_embedding_dimension": 32'
        has "$(cat "st-$pooling/config.json")" '"BertModel"'
        has "$(cat "st-$pooling/sentence_bert_config.json")" '"max_seq_length": 16'
        has "$(head -1 "st-$pooling/check.jsonl")" '{"request": {"inputs": "'
        # the folder's vectors, and those of what is converted from it, are the checkpoint's
        expect 0 embed --checkpoint "runs/$pooling/best.h5" --data items.tsv --text title --id item_id --output a.fbin
        expect 0 embed --checkpoint "st-$pooling" --data items.tsv --text title --id item_id --output b.fbin --set data.max_length=16
        cmp a.fbin b.fbin
        expect 0 convert --from "st-$pooling" --to back.h5
        expect 0 embed --checkpoint back.h5 --data items.tsv --text title --id item_id --output b.fbin --set data.max_length=16
        has "$stderr" "(as sentence-transformers was told)"
        cmp a.fbin b.fbin
    done
    # a classifier is not put where it would be taken for a model of vectors
    expect 78 export --checkpoint model.h5 --to st-cls
    has "$stderr" "modules.json"
}

@test "1_Pooling/config.json in all spellings; what rectrain has not is told" {
    cp -r st-mean other
    # pooling CONFIG WORDS: with this file a folder's vectors are so
    pooling() {
        printf '%s' "$1" > other/1_Pooling/config.json
        expect 0 embed --checkpoint other --data items.tsv --text title --id item_id --output o.fbin
        has "$stderr" "$2"
    }
    pooling '{"word_embedding_dimension": 32, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}' "the first token's last hidden state (as sentence"
    pooling '{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}' "the mean of their tokens' last hidden states (as sentence"
    pooling '{"embedding_dimension": 32, "pooling_mode": "cls"}' "the first token's last hidden state (as sentence"
    pooling '{"pooling_mode_max_tokens": true}' "asks for another pooling than cls or mean"
    has "$stderr" "(nothing says otherwise"
    pooling '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}' "asks for another pooling"
    pooling '{"pooling_mode": "lasttoken", "pooling_mode_mean_tokens": true}' "asks for another pooling"
    printf '{"pooling_mode": ' > other/1_Pooling/config.json
    expect 65 embed --checkpoint other --data items.tsv --text title --id item_id --output o.fbin
    has "$stderr" "1_Pooling/config.json: no JSON object"
    printf '{"pooling_mode": "mean"}' > other/1_Pooling/config.json
    printf '[{"idx": 0, "path": "2_Dense", "type": "sentence_transformers.models.Dense"}]' > other/modules.json
    expect 0 embed --checkpoint other --data items.tsv --text title --id item_id --output o.fbin
    has "$stderr" "the module Dense is left out"
}
