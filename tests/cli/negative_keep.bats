#!/usr/bin/env bats
# Rare clicks: training on a part of the rows without a click, scores as if it had been all.
load common
load train_shop

# rare SEED N: clicks of rate 0.2 where the title's first word is below w10, else 0.04
rare() {
    awk -v state="$1" -v n="$2" 'function draw(k) { state = (state * 69069 + 12345) % 4294967296
                                                   return int(state / 65536) % k }
        BEGIN { print "session\tquery\ttitle\tclick\tweight"
                for (i = 0; i < n; i++) { w = draw(20); rate = (w < 10) ? 200 : 40
                    print int(i / 6) "\tq" draw(10) "\tw" w " v" draw(20) "\t" (draw(1000) < rate) "\t1" } }'
}

setup_file() {
    unset_variables
    memory_folder
    make_shop
    rare 1 6000 > train.tsv
    rare 2 6000 > dev.tsv
    cp dev.tsv test.tsv
    sed -i -e 's/^epochs = .*/epochs = 4/' -e 's/^batch_size = .*/batch_size = 16/' tiny.ini
    for labels in "no_click,click" click; do
        "$PROGRAM" --config tiny.ini --set "model.labels=$labels" --set "run.name=${labels//,/_}" \
            --set data.negative_keep=0.25 --set model.dropout=0 --set eval.metric=log_loss > "${labels//,/_}.out" 2> train.err ||
            { cat train.err && return 1; }
    done
}

teardown_file() {
    leave_memory_folder
}

setup() {
    unset_variables
    cd "$(cat "$BATS_FILE_TMPDIR/work")" || return 1
}

value() { sed "s/.*\"$2\": \([-0-9.e]*\).*/\1/" <<< "$1"; }

@test "the bookkeeping: rows and steps of what is kept, dev and test whole" {
    has "$(cat train.err)" "rows of label 0 were left out (data.negative_keep = 0.25)"
    kept=$(sed -n 's/^train \([0-9]*\) rows, click rate .*tokens a row.*/\1/p' train.err)
    clicks=$(awk -F '\t' '$4 == 1' train.tsv | wc -l)
    [ "$kept" -gt $((clicks + 1100)) ] && [ "$kept" -lt $((clicks + 1600)) ]
    has "$(grep '"start"' runs/click/metrics.jsonl)" "\"total_steps\": $((4 * ((kept + 15) / 16))), \"rows\": $kept"
    has "$(grep '"split": "dev"' runs/click/metrics.jsonl | head -1)" '"rows": 6000'
}

@test "the sum of scores is the number of clicks on rows that nobody left out" {
    # About 720 clicks in dev and in train: their numbers scatter by 1 / sqrt(720) = 3.7 % each, the fit by a few more
    # (last epoch's noise); uncorrected scores would be three times the clicks.
    for run in no_click_click click; do
        expect 0 eval --checkpoint runs/$run/best.h5 --data dev.tsv --json
        calibration=$(value "$output" calibration)
        awk -v c="$calibration" 'BEGIN { exit !(c > 0.75 && c < 1.3) }' || { echo "$run: $calibration" && return 1; }
        # and so do the reports of the run: best.h5 was chosen by the corrected log loss
        best=$(sed -n 's/.*"best_metric": \([0-9.e-]*\).*/\1/p' runs/$run/metrics.jsonl)
        awk -v a="$best" -v b="$(value "$output" log_loss)" 'BEGIN { d = a - b; exit !(d < 1e-6 && d > -1e-6) }'
        test_loss=$(value "$(grep '"split": "test"' runs/$run/metrics.jsonl)" log_loss)
        awk -v a="$best" -v b="$test_loss" 'BEGIN { d = a - b; exit !(d < 1e-6 && d > -1e-6) }'
    done
}

@test "best.h5 has ln(w) in its bias, last.h5 has not, and both score alike" {
    for labels in "no_click,click" click; do
        run_name=alike_${labels//,/_}
        "$PROGRAM" --config tiny.ini --set "model.labels=$labels" --set run.name=$run_name --set train.epochs=1 \
            --set data.negative_keep=0.25 --set checkpoint.keep_best=no --quiet > /dev/null
        "$PROGRAM" predict --quiet --logits --checkpoint runs/$run_name/best.h5 --data dev.tsv > best.tsv
        "$PROGRAM" predict --quiet --logits --checkpoint runs/$run_name/last.h5 --data dev.tsv > last.tsv
        cmp best.tsv last.tsv
        # as trained, without the correction: q = p / (p + (1 - p) / w), so logits differ by ln 0.25 = -1.386294
        "$PROGRAM" predict --quiet --logits --checkpoint runs/$run_name/last.h5 --data dev.tsv --set data.negative_keep=1 > raw.tsv
        column=$(head -1 best.tsv | tr '\t' '\n' | grep -n '^logit' | tail -1 | cut -d : -f 1)
        paste <(cut -f "$column" best.tsv) <(cut -f "$column" raw.tsv) |
            awk 'NR > 1 { d = $1 - $2 + 1.386294; if (d > 1e-5 || d < -1e-5) exit 1 }'
        run ! cmp -s best.tsv raw.tsv
        # a server could not correct what it is given
        "$PROGRAM" export --quiet --checkpoint runs/$run_name/best.h5 --to served_$run_name > /dev/null
        expect 78 export --checkpoint runs/$run_name/last.h5 --to wrong_$run_name
        has "$stderr" "Export best.h5 of the same run"
        [ ! -e wrong_$run_name ]
    done
}

@test "a run that was stopped goes on to the same bytes" {
    "$PROGRAM" --config tiny.ini --set run.name=whole --set train.epochs=2 --set data.negative_keep=0.25 \
        --set checkpoint.every=40 --set checkpoint.keep=50 --quiet > /dev/null
    cp -r runs/whole runs/part
    first=$(find runs/part -name 'step-*.h5' | sort | head -1)
    mv "$first" runs/part/last.h5
    rm -f runs/part/step-*.h5
    sed -i '/"event": "end"/d' runs/part/metrics.jsonl
    "$PROGRAM" --config tiny.ini --set run.name=part --set train.epochs=2 --set data.negative_keep=0.25 \
        --set checkpoint.every=40 --set checkpoint.keep=50 > /dev/null 2> part.err
    has "$(cat part.err)" "going on after step 40"
    cmp runs/whole/last.h5 runs/part/last.h5
    cmp runs/whole/best.h5 runs/part/best.h5
}

@test "more than two labels are refused" {
    expect 78 --config tiny.ini --set model.labels=a,b,c --set data.negative_keep=0.5
    has "$stderr" "data.negative_keep = 0.5 with 3 labels"
}
