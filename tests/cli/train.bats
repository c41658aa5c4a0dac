#!/usr/bin/env bats
# train, eval, predict as a user meets them: the run's folder, its files' fields, labels, run.if_exists, mistakes.
load common
load train_shop

setup_file() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    make_shop
    train two --set track.tensorboard=yes --set track.jsonl_every=8 || return 1
    train one --set model.labels=click || return 1
}

# train NAME FLAGS...
train() {
    local name=$1
    shift
    "$PROGRAM" --config tiny.ini --set "run.name=$name" "$@" > "$name.out" 2> "$name.err" || {
        cat "$name.err"
        return 1
    }
}

setup() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
}

# the keys of a JSON line, outermost only, in order: strings before a colon at depth one
keys() {
    awk '{ depth = 0; in_string = 0; word = ""; out = ""
           for (i = 1; i <= length($0); i++) { c = substr($0, i, 1)
               if (in_string) { if (c == "\\") { i++ } else if (c == "\"") in_string = 0; else word = word c }
               else if (c == "\"") { in_string = 1; word = "" }
               else if (c == "{" || c == "[") depth++
               else if (c == "}" || c == "]") depth--
               else if (c == ":" && depth == 1) out = out (out == "" ? "" : " ") word }
           print out }'
}

@test "a run's folder holds these files and no others" {
    [ "$(cd runs/two && LC_ALL=C ls | tr '\n' ' ')" = \
        "best.h5 cache config.ini last.h5 lock log.txt metrics.jsonl report.html report.txt tensorboard " ]
    [ "$(ls runs/two/tensorboard | grep -c '^events.out.tfevents')" -eq 1 ]
    [ ! -e runs/one/tensorboard ]
    # what was printed is what is kept
    diff two.out runs/two/report.txt
    [ "$(grep -c '^dev, step' two.out)" -eq 2 ]
    [ "$(grep -c '^test, step 40 (epoch 2.00)' two.out)" -eq 1 ]
    # the resolved configuration trains the same again
    "$PROGRAM" --config runs/two/config.ini --set run.output=again > again.out 2> again.err
    cmp runs/two/best.h5 again/two/best.h5
    cmp runs/two/last.h5 again/two/last.h5
}

@test "nothing that is written tells a time or a place where it must not" {
    for file in best.h5 last.h5 report.txt; do
        if grep -a -F -e "$PWD" -e "tiny.ini" -e "$(date +%Y-)" "runs/two/$file"; then return 1; fi
    done
    # another place, another name: the same bytes
    mkdir -p other/place
    cp tiny.ini vocab.txt ./*.tsv other/place
    (cd other/place && "$PROGRAM" --config tiny.ini --set run.name=x --set track.jsonl_every=8 > x.out 2>&1)
    cmp runs/two/best.h5 other/place/runs/x/best.h5
    cmp runs/two/last.h5 other/place/runs/x/last.h5
}

@test "metrics.jsonl: events in order, their fields, sums that add up" {
    m=runs/two/metrics.jsonl
    [ "$(sed 's/.*"event": "\([a-z]*\)".*/\1/' $m | tr '\n' ' ')" = \
        "start train train eval checkpoint train train train eval $(grep -q 'step": 40.*best.h5' $m && echo 'checkpoint ')checkpoint eval end " ]
    while IFS= read -r line; do
        has "$line" '{"time": '
        case $(keys <<< "$line") in
        "time event step epoch loss lr grad_norm seqs tokens seconds") has "$line" '"event": "train"' ;;
        "time event step epoch split report auc average_precision log_loss brier ne calibration ece gauc gauc_mean"*)
            has "$line" '"event": "eval"'
            ;;
        "time event step epoch file") has "$line" '"event": "checkpoint"' ;;
        "time event step epoch "*) has "$line" '"event": "start"' || has "$line" '"event": "end"' ;;
        *)
            echo "unexpected keys: $line"
            return 1
            ;;
        esac
    done < $m
    total() { grep '"event": "train"' $m | sed "s/.*\"$1\": \([0-9]*\).*/\1/" | awk '{ n += $1 } END { print n }'; }
    [ "$(total seqs)" -eq 320 ]
    # real tokens, [CLS] and two [SEP] counted
    words=$(tail -n +2 train.tsv | cut -f 2,3 | wc -w)
    [ "$(total tokens)" -eq $((2 * (words + 3 * 160))) ]
    has "$(grep '"event": "train", "step": 40, "epoch": 2,' $m)" '"lr": 0.001'
}

@test "eval: the report as text; --json with exactly these keys" {
    expect 0 eval --checkpoint runs/two/best.h5 --data dev.tsv
    has "$output" "precision    recall  f1-score   support"
    # what training printed of the same weights
    best=$(sed -n 's/.*"best_step": \([0-9]*\).*/\1/p' runs/two/metrics.jsonl)
    sed -n "/^dev, step $best /,/^$/!d; p" two.out > /dev/null
    diff <(printf '%s\n' "$output") <(awk -v s="dev, step $best " 'index($0, s) == 1 { on = 1; getline; next }
        /^(dev|test), step/ { on = 0 } on' two.out | sed '$d')
    expect 0 eval --checkpoint runs/two/best.h5 --data dev.tsv --json
    [ "$(printf '%s\n' "$output" | wc -l)" -eq 1 ]
    [ "$(keys <<< "$output")" = "report auc average_precision log_loss brier ne calibration ece gauc gauc_mean mrr@10 mrr_mind ndcg@5 ndcg@10 rows groups groups_one_class groups_no_positive slices" ]
    has "$output" '"rows": 60, "groups": 10'
    has "$output" '"no_click": {"precision": '
    expect 0 eval --checkpoint runs/one/best.h5 --data dev.tsv --json
    has "$output" '"report": {"0": {"precision": '
    # apart by the values of a column, each row in one of them
    expect 0 eval --checkpoint runs/two/best.h5 --data dev.tsv --json --set data.slice=weight,query
    for value in 1 2 3; do
        n=$(awk -F '\t' -v v=$value 'NR > 1 && $5 == v { n++ } END { print n }' dev.tsv)
        has "$output" "\"weight=$value\": {\"rows\": $n, \"click_rate\": "
    done
    has "$output" '"query=q1'
    expect 0 eval --checkpoint runs/two/best.h5 --data dev.tsv --set data.slice=weight
    has "$output" '      slice        rows  click rate      AUC  log loss  calibration'
    has "$output" '    weight=2  '
    # the group is optional, the label is not
    cut -f 2-4 dev.tsv > nogroup.tsv
    expect 0 eval --checkpoint runs/two/best.h5 --data nogroup.tsv --json
    has "$output" '"groups": 0'
    has "$stderr" 'no column "session"'
    cut -f 1-3 dev.tsv > nolabel.tsv
    expect 65 eval --checkpoint runs/two/best.h5 --data nolabel.tsv
    has "$stderr" 'nolabel.tsv:1: no column "click"'
}

@test "predict: two labels, in the rows' order, with --logits, as jsonl" {
    expect 0 predict --checkpoint runs/two/best.h5 --data dev.tsv
    [ "$(printf '%s\n' "$output" | head -1)" = $'row\tprediction\tp_no_click\tp_click\trank' ]
    [ "$(printf '%s\n' "$output" | wc -l)" -eq 61 ]
    printf '%s\n' "$output" | tail -n +2 | awk -F '\t' '$1 != NR - 1 { exit 1 } $3 + $4 < 0.99999 || $3 + $4 > 1.00001 { exit 1 }
        $2 != ($4 > $3 ? "click" : "no_click") { exit 1 }'
    expect 0 predict --checkpoint runs/two/best.h5 --data dev.tsv --logits
    printf '%s\n' "$output" > logits.tsv
    [ "$(head -1 logits.tsv)" = $'row\tprediction\tp_no_click\tp_click\tlogit_no_click\tlogit_click\trank' ]
    tail -n +2 logits.tsv | awk -F '\t' '{ p = 1 / (1 + exp($5 - $6)); if (p - $4 > 1e-6 || $4 - p > 1e-6) exit 1 }'
    expect 0 predict --checkpoint runs/two/best.h5 --data dev.tsv --logits --format jsonl
    [ "$(printf '%s\n' "$output" | keys | sort -u)" = "row prediction p_no_click p_click logit_no_click logit_click rank" ]
    # the same numbers in both forms
    diff <(tail -n +2 logits.tsv | tr '\t' ' ') \
        <(printf '%s\n' "$output" | sed 's/"[a-z_]*": //g; s/[{}",]//g')
    # ranks: of each session's rows by falling score, equal scores in the order of rows
    diff <(tail -n +2 logits.tsv | cut -f 7) <(paste <(tail -n +2 dev.tsv | cut -f 1) <(tail -n +2 logits.tsv | cut -f 1,4) |
        LC_ALL=C sort -s -t $'\t' -k 1,1n -k 3,3gr -k 2,2n | awk -F '\t' '{ n = $1 == last ? n + 1 : 1; last = $1; print $2 "\t" n }' |
        sort -n | cut -f 2)
    expect 0 predict --checkpoint runs/two/best.h5 --data dev.tsv --output ranked.tsv
    diff ranked.tsv <(cut -f 1-4,7 logits.tsv)
    # a row's score hangs on the row alone
    { head -1 dev.tsv; tail -n +2 dev.tsv | tac; } > turned.tsv
    expect 0 predict --checkpoint runs/two/best.h5 --data turned.tsv --set data.group=
    diff <(cut -f 2- logits.tsv | cut -f 1-3 | tail -n +2) <(printf '%s\n' "$output" | tail -n +2 | cut -f 2- | tac)
}

@test "predict: one label, data.keep, stdin, --output; the text columns alone are enough" {
    expect 0 predict --checkpoint runs/one/best.h5 --data dev.tsv --logits --set data.keep=title,click,nothing --set data.group=nowhere
    has "$stderr" 'no column "nothing"'
    printf '%s\n' "$output" > one.tsv
    [ "$(head -1 one.tsv)" = $'row\tscore\tlogit\ttitle\tclick' ]
    diff <(cut -f 4,5 one.tsv) <(cut -f 3,4 dev.tsv)
    tail -n +2 one.tsv | awk -F '\t' '{ p = 1 / (1 + exp(-$3)); if (p - $2 > 1e-6 || $2 - p > 1e-6) exit 1 }'
    cut -f 2,3 dev.tsv > texts.tsv
    run --separate-stderr bash -c "'$PROGRAM' predict --checkpoint runs/one/best.h5 --data - < texts.tsv"
    [ "$status" -eq 0 ]
    diff <(printf '%s\n' "$output") <(cut -f 1,2 one.tsv)
    expect 0 predict --checkpoint runs/one/best.h5 --data texts.tsv --output scores.tsv
    [ -z "$output" ]
    diff scores.tsv <(cut -f 1,2 one.tsv)
    expect 0 predict --checkpoint runs/one/best.h5 --data texts.tsv --output - --format jsonl
    [ "$(printf '%s\n' "$output" | head -1 | keys)" = "row score" ]
    run bash -c "'$PROGRAM' predict --checkpoint runs/one/best.h5 --data texts.tsv > /dev/full"
    [ "$status" -eq 74 ]
    expect 74 predict --checkpoint runs/one/best.h5 --data texts.tsv --output nowhere/scores.tsv
}

@test "labels may be 0 and 1, 1.0, true, or names: the same training" {
    awk -F '\t' -v OFS='\t' 'NR > 1 { $4 = $4 ? "click" : "no_click" } 1' train.tsv > names.tsv
    awk -F '\t' -v OFS='\t' 'NR > 1 { $4 = $4 ? "1.0" : "0.0" } 1' train.tsv > decimals.tsv
    awk -F '\t' -v OFS='\t' 'NR > 1 { $4 = $4 ? "true" : "false" } 1' train.tsv > words.tsv
    for kind in names decimals words; do
        train "$kind" --set "data.train=$kind.tsv" --set track.jsonl_every=8
        cmp runs/two/best.h5 "runs/$kind/best.h5"
    done
    awk -F '\t' -v OFS='\t' 'NR == 5 { $4 = "maybe" } 1' train.tsv > bad.tsv
    expect 65 --config tiny.ini --set run.name=bad --set data.train=bad.tsv
    has "$stderr" "bad.tsv:5:"
    has "$stderr" "click"
    has "$stderr" "maybe"
    has "$stderr" "no_click"
}

@test "CSV and JSON lines train the same" {
    awk -F '\t' 'NR > 1 { printf "{\"session\": %d, \"query\": \"%s\", \"title\": \"%s\", \"click\": %d}\n", $1, $2, $3, $4 }' \
        train.tsv > train.jsonl
    awk -F '\t' '{ printf "%s,\"%s\",\"%s\",%s\n", $1, $2, $3, $4 }' train.tsv > train.csv
    for kind in jsonl csv; do
        train "$kind" --set "data.train=train.$kind" --set track.jsonl_every=8
        cmp runs/two/best.h5 "runs/$kind/best.h5"
    done
}

@test "run.if_exists: a finished run prints its reports, byte for byte unchanged" {
    checksums runs/two > before
    expect 0 --config tiny.ini --set run.name=two --set track.tensorboard=yes
    diff <(printf '%s\n\n' "$output") two.out
    has "$stderr" "finished"
    checksums runs/two | diff before -
    # machine and place may differ
    expect 0 --config tiny.ini --set run.name=two --set run.threads=2 --set track.jsonl_every=1
    checksums runs/two | diff before -
    expect 78 --config tiny.ini --set run.name=two --set train.batch_size=4 --set optimizer.learning_rate=1e-2
    has "$stderr" "train.batch_size = 4 (stored: 8)"
    has "$stderr" "optimizer.learning_rate = "
    has "$stderr" "run.if_exists = overwrite"
    lacks "$stderr" "data.max_length"
    expect 78 --config tiny.ini --set run.name=two --set run.if_exists=refuse
    has "$stderr" "already holds a run"
    checksums runs/two | diff before -
}

@test "a finished run whose last.h5 was deleted stays finished" {
    cp -r runs/one runs/kept
    rm runs/kept/last.h5
    expect 0 --config tiny.ini --set model.labels=click --set run.name=kept
    diff <(printf '%s\n\n' "$output") one.out
    cmp runs/one/best.h5 runs/kept/best.h5
    [ ! -e runs/kept/last.h5 ]
    expect 78 --config tiny.ini --set run.name=kept
}

@test "run.if_exists = overwrite starts anew and keeps what is not its own" {
    cp -r runs/one runs/over
    echo mine > runs/over/notes.txt
    expect 0 --config tiny.ini --set run.name=over --set run.if_exists=overwrite --set track.jsonl_every=8
    cmp runs/two/best.h5 runs/over/best.h5
    [ "$(cat runs/over/notes.txt)" = mine ]
    [ "$(grep -c '"event": "start"' runs/over/metrics.jsonl)" -eq 1 ]
    # what another process works on is left alone
    flock runs/over/lock sleep 2 3>&- &
    sleep 0.2
    expect 78 --config tiny.ini --set run.name=over --set run.if_exists=overwrite
    has "$stderr" "another rectrain process"
    wait
}

@test "an unfinished run whose data or tokenizer changed is not gone on with" {
    cp -r runs/two runs/changed
    grep -v '"event": "end"' runs/two/metrics.jsonl > runs/changed/metrics.jsonl
    head -150 train.tsv > shorter.tsv
    expect 78 --config tiny.ini --set run.name=changed --set data.train=shorter.tsv
    has "$stderr" "data.train"
    { cat vocab.txt; echo more; } > longer.txt
    expect 78 --config tiny.ini --set run.name=changed --set model.vocab=longer.txt
}

@test "--dry-run prints the plan and writes nothing" {
    touch all.before
    find . | sort > all.before
    expect 0 --config tiny.ini --set run.name=dry --set run.output=nowhere --dry-run
    has "$stderr" "training: 40 steps of 8 sequences"
    has "$stderr" "ETA: about"
    has "$stderr" "--dry-run"
    find . | sort | diff all.before -
    expect 78 --config tiny.ini --dry-run --set train.freeze="3 layers"
    has "$stderr" "3 layers"
}

@test "mistakes: a typo 78, a missing file 66, a bad row 65 with its place" {
    { cat tiny.ini; printf '[eval]\nevry = 3\n'; } > typo.ini
    expect 78 --config typo.ini
    has "$stderr" "typo.ini:"
    has "$stderr" 'did you mean'
    expect 78 --config tiny.ini --set train.batch_sise=3
    has "$stderr" "batch_size"
    expect 66 --config tiny.ini --set data.train=nothing.tsv
    has "$stderr" "nothing.tsv"
    expect 66 --config tiny.ini --set model.vocab=nothing.txt
    has "$stderr" "nothing.txt"
    expect 66 --config nothing.ini
    has "$stderr" "nothing.ini"
    expect 66 eval --checkpoint nothing.h5 --data dev.tsv
    has "$stderr" "nothing.h5"
    expect 66 eval --checkpoint runs/two/best.h5 --data nothing.tsv
    has "$stderr" "nothing.tsv"
    expect 78 --config tiny.ini --set eval.metric=acc
    has "$stderr" "eval.metric = acc"
    expect 78 --config tiny.ini --set optimizer.weight_decay=0.1
    has "$stderr" "adamw"
    sed 's/^session/sessions/; s/\tclick/\tclicked/' train.tsv > columns.tsv
    expect 65 --config tiny.ini --set run.name=columns --set data.train=columns.tsv
    has "$stderr" 'columns.tsv:1: no column "click"'
    has "$stderr" 'did you mean "clicked"?'
    head -1 train.tsv > empty.tsv
    expect 65 --config tiny.ini --set run.name=empty --set data.train=empty.tsv
    has "$stderr" "no rows"
    awk 'NR == 7 { print $1; next } 1' train.tsv > short.tsv
    expect 65 --config tiny.ini --set run.name=short --set data.train=short.tsv
    has "$stderr" "short.tsv:7:"
    expect 0 --config tiny.ini --set run.name=skipped --set data.train=short.tsv --set data.on_bad_row=skip
    has "$stderr" "1 bad rows were skipped"
}

@test "without data.dev best.h5 holds the last step's weights, and so it does with keep_best = no" {
    train nodev --set data.dev= --set data.test=
    train nobest --set checkpoint.keep_best=no
    tensors() { "$PROGRAM" predict --quiet --checkpoint "$1" --data dev.tsv --logits; }
    for name in nodev nobest; do
        diff <(tensors "runs/$name/best.h5") <(tensors "runs/$name/last.h5")
    done
    [ ! -e runs/nodev/report.txt ]
    [ "$(grep -c '"event": "eval"' runs/nodev/metrics.jsonl)" -eq 0 ]
}

@test "a loss that is not finite: 65, and the weights before it are safe; skip goes on" {
    # one word, which one row alone has, gets a vector that no norm survives
    "$PROGRAM" export --quiet --checkpoint runs/two/best.h5 --to poisoned > poisoned.out
    at=$(head -c 65536 poisoned/model.safetensors | grep -a -o 'word_embeddings.weight":{[^}]*' |
        sed 's/.*"data_offsets":\[\([0-9]*\),.*/\1/')
    header=$(od -An -t u8 -N 8 poisoned/model.safetensors)
    q19=$(($(grep -n '^q19$' vocab.txt | cut -d : -f 1) - 1))
    printf '\x00\x00\x80\x7f' | # infinity
        dd of=poisoned/model.safetensors bs=1 seek=$((8 + header + at + q19 * 32 * 4)) conv=notrunc status=none
    awk -F '\t' -v OFS='\t' 'NR == 77 { $2 = "q19" } 1' train.tsv > rare.tsv
    rare=(--set data.train=rare.tsv --set model.init=base --set model.base=poisoned --set track.jsonl_every=1)
    expect 65 --config tiny.ini --set run.name=rare "${rare[@]}"
    has "$stderr" "not finite"
    has "$stderr" "train.on_nonfinite = skip"
    expect 0 verify runs/rare/last.h5
    expect 65 --config tiny.ini --set run.name=rare "${rare[@]}" # where it stopped, it stops again
    has "$stderr" "going on after step"
    expect 0 --config tiny.ini --set run.name=skips "${rare[@]}" --set train.on_nonfinite=skip
    has "$stderr" "2 steps had gradients that were not finite and were skipped"
    has "$(tail -1 runs/skips/metrics.jsonl)" '"skipped_steps": 2'
    [ "$(grep '"event": "train"' runs/skips/metrics.jsonl | grep -c '"loss": null')" -eq 2 ]
}

@test "steps whose weights are all zero change nothing and are counted" {
    awk -F '\t' -v OFS='\t' 'NR > 1 { $5 = 0 } 1' train.tsv > weightless.tsv
    expect 0 --config tiny.ini --set run.name=zero --set data.train=weightless.tsv --set data.weight=weight \
        --set data.dev= --set data.test=
    has "$stderr" "40 steps had rows of weight 0 alone"
    has "$(tail -1 runs/zero/metrics.jsonl)" '"empty_steps": 40'
}
