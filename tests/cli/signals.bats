#!/usr/bin/env bats
# Signals in each phase of a run: what is saved, what is said, which exit code.
load common
load train_shop

setup_file() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    make_shop 160 60
    # Phases that are long enough to be met: a large table to tokenise, a large set to evaluate and to test with.
    shop_rows 4 30000 > large.tsv
    for _ in $(seq 20); do tail -n +2 large.tsv; done | cat <(head -1 large.tsv) - > huge.tsv
}

setup() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
}

# begin ARGS...: starts the program behind our back
begin() {
    rm -f run.out run.err # what the run before said must not be taken for this one's words
    "$PROGRAM" --config tiny.ini --verbose "$@" > run.out 2> run.err 3>&- &
    pid=$!
}

# until_true COMMAND...: waits for it, at most 20 s
until_true() {
    local i
    for ((i = 0; i < 2000; i++)); do
        "$@" && return 0
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.01
    done
    "$@" && return 0
    echo "never: $*"
    cat run.err
    return 1
}

said() { grep -q -- "$1" run.err; }
metrics_has() { grep -q -- "$2" "runs/$1/metrics.jsonl" 2> /dev/null; }

# ends STATUS: the program ends so
ends() {
    local status=0
    wait "$pid" || status=$?
    if [ "$status" -ne "$1" ]; then
        echo "exit code $status, expected $1"
        cat run.err
        return 1
    fi
}

@test "while tokenising: 75, nothing half done, and the same command starts" {
    begin --set run.name=tokenise --set data.train=huge.tsv --set train.max_steps=3
    until_true test -d runs/tokenise/cache
    kill -TERM "$pid"
    ends 75
    said "SIGTERM"
    said "while tokenising"
    [ ! -e runs/tokenise/last.h5 ]
    begin --set run.name=tokenise --set train.max_steps=3
    ends 0
}

@test "before the first step: 75" {
    # the first handler stands before anything is read, so a signal waits for the first border
    begin --set run.name=before --set train.epochs=600
    until_true said "^configuration"
    kill -USR2 "$pid"
    status=0
    wait "$pid" || status=$?
    [ "$status" -eq 75 ]
    said "SIGUSR2\|after step"
}

@test "during an evaluation: it runs again whole, once in the log of metrics" {
    options=(--set run.name=evaluate --set data.dev=large.tsv --set data.test= --set train.epochs=1
        --set eval.every=11 --set track.jsonl_every=11 --set eval.batch_tokens=512)
    begin "${options[@]}"
    until_true metrics_has evaluate '"event": "train", "step": 11,'
    kill -TERM "$pid"
    ends 75
    metrics_has evaluate '"event": "eval"' && return 1
    begin "${options[@]}"
    ends 0
    [ "$(grep -c '"event": "eval", "step": 11,' runs/evaluate/metrics.jsonl)" -eq 1 ]
    [ "$(grep -c '"event": "eval"' runs/evaluate/metrics.jsonl)" -eq 2 ]
    [ "$(grep -c '^dev, step' runs/evaluate/report.txt)" -eq 2 ]
}

@test "during the final test: the training is kept, the test alone is left" {
    options=(--set run.name=final --set data.test=large.tsv --set train.epochs=1 --set eval.batch_tokens=512)
    begin "${options[@]}"
    until_true metrics_has final '"file": "last.h5"'
    kill -INT "$pid"
    ends 75
    said "SIGINT while testing"
    cksum runs/final/best.h5 > before
    begin "${options[@]}"
    ends 0
    cksum runs/final/best.h5 | diff before -
    [ "$(grep -c '"split": "test"' runs/final/metrics.jsonl)" -eq 1 ]
    [ "$(grep -c '^test, step' runs/final/report.txt)" -eq 1 ]
    [ "$(grep -c '"event": "train", "step": 20,' runs/final/metrics.jsonl)" -eq 1 ]
}

@test "killed between the test's report and the end line: nothing stands twice" {
    options=(--set run.name=cut --set train.epochs=1)
    begin "${options[@]}"
    ends 0
    cp runs/cut/report.txt report.before
    grep -v '"event": "end"' runs/cut/metrics.jsonl > less
    cp less runs/cut/metrics.jsonl
    begin "${options[@]}"
    ends 0
    cmp report.before runs/cut/report.txt
    [ "$(grep -c '"split": "test"' runs/cut/metrics.jsonl)" -eq 1 ]
}

@test "checkpoint.on_usr1 = save: saves at the next step and goes on to the end" {
    begin --set run.name=usr1 --set train.epochs=200 --set data.dev= --set data.test= --set checkpoint.on_usr1=save --set checkpoint.every=0
    until_true metrics_has usr1 '"event": "train"'
    kill -USR1 "$pid"
    until_true test -e runs/usr1/last.h5
    ends 0
    metrics_has usr1 '"event": "end"'
    # one by the signal, one at the end
    [ "$(grep -c '"file": "last.h5"' runs/usr1/metrics.jsonl)" -eq 2 ]
}

@test "SIGHUP stops a run like the others, and under nohup not at all" {
    begin --set run.name=hangup --set train.epochs=600
    until_true metrics_has hangup '"event": "train"'
    kill -HUP "$pid"
    ends 75
    said "stopped by a signal"
    nohup "$PROGRAM" --config tiny.ini --set run.name=nohup --set train.epochs=200 --set data.dev= \
        --set data.test= > run.out 2> run.err 3>&- < /dev/null &
    pid=$!
    until_true metrics_has nohup '"event": "train"'
    kill -HUP "$pid"
    ends 0
    metrics_has nohup '"event": "end"'
}

@test "a second SIGINT ends at once" {
    # one step of all rows, which takes far longer than this test: the first SIGINT waits for its end
    begin --set run.name=twice --set data.train=large.tsv --set train.batch_size=30000 --set model.hidden=256 \
        --set model.layers=6 --set model.ffn=1024 --set data.dev= --set data.test=
    until_true metrics_has twice '"event": "start"'
    kill -INT "$pid"
    sleep 0.3
    kill -0 "$pid"
    kill -INT "$pid"
    ends 130
    said "second Ctrl-C"
}

# catches: the program has its handler of SIGTERM (bit 14 of the mask)
catches() {
    local key mask
    while read -r key mask; do
        [ "$key" = SigCgt: ] && (((0x$mask >> 14) & 1)) && return 0
    done 2> /dev/null < "/proc/$pid/status"
    return 1
}

@test "data: 75, and who stopped it" {
    "$PROGRAM" data huge.tsv --config tiny.ini > run.out 2> run.err 3>&- &
    pid=$!
    until_true catches
    kill -TERM "$pid"
    ends 75
    said "stopped by SIGTERM; nothing was kept"
    [ ! -s run.out ]
}

# interrupted WORDS ARGS...: a signal somewhere in the command: it ends with 75, or was done before; no temporary stays
interrupted() {
    local words=$1 try status
    shift
    for ((try = 0; try < 40; try++)); do
        rm -rf stopped
        "$PROGRAM" "$@" > run.out 2> run.err 3>&- &
        pid=$!
        until catches || ! kill -0 "$pid" 2> /dev/null; do :; done
        kill -TERM "$pid" 2> /dev/null
        status=0
        wait "$pid" || status=$?
        [ -z "$(find stopped -name '*.tmp.*' 2> /dev/null)" ] || return 1
        [ "$status" -ne 75 ] || { said "stopped by SIGTERM; stopped.* is whole, $words" && return 0; }
        [ "$status" -eq 0 ] || { cat run.err && echo "exit code $status" && return 1; }
    done
    echo "never stopped"
    return 1
}

@test "convert and export write what they began: 75, the files whole, no temporary left" {
    "$PROGRAM" train --config tiny.ini --quiet --set run.name=wide --set model.hidden=256 --set model.layers=4 \
        --set model.ffn=1024 --set train.max_steps=1 --set data.dev= --set data.test= > /dev/null
    interrupted "but --check was not done" export --checkpoint runs/wide/last.h5 --to stopped --check test.tsv
    "$PROGRAM" export --checkpoint runs/wide/last.h5 --to whole --quiet > /dev/null
    mkdir -p stopped
    interrupted "but was not read back" convert --from whole --to stopped/wide.h5
    "$PROGRAM" verify stopped/wide.h5
}
