#!/usr/bin/env bats
# A run that is stopped and started again ends as if nothing had happened: bytes of checkpoints, reports, metrics.
load common
load train_shop

# Dropout stays at its 0.1; an evaluation and its best.h5 fall between the checkpoints, and every step writes a line.
usual=(--config tiny.ini --set eval.every=7 --set checkpoint.every=9 --set checkpoint.keep=3
    --set track.jsonl_every=1 --set schedule.type=linear --set schedule.warmup=0.1 --set optimizer.clip_norm=1
    --set train.patience=40 --set train.epochs=5)
often=("${usual[@]}" --set checkpoint.every=3 --set checkpoint.keep=2)

setup_file() {
    unset_variables
    memory_folder
    make_shop 160 400
    local start=${EPOCHREALTIME/[.,]/}
    "$PROGRAM" "${usual[@]}" --set run.name=whole > whole.out 2> whole.err || { cat whole.err && return 1; }
    echo $(((${EPOCHREALTIME/[.,]/} - start) / 1000)) > whole.ms
    "$PROGRAM" "${often[@]}" --set run.name=often > often.out 2> often.err || { cat often.err && return 1; }
    # Two runs alike give the same bytes, or nothing below would mean anything.
    "$PROGRAM" "${usual[@]}" --set run.name=again > again.out 2> again.err || return 1
    same_run runs/whole runs/again
}

teardown_file() {
    leave_memory_folder
}

setup() {
    unset_variables
    cd "$(cat "$BATS_FILE_TMPDIR/work")" || return 1
    RANDOM=$BATS_TEST_NUMBER
}

# begin ARGS...: starts the program behind our back; returns once it has read its configuration
begin() {
    local i
    : > run.err
    "$PROGRAM" "$@" --verbose > run.out 2> run.err 3>&- &
    pid=$!
    for ((i = 0; i < 1000; i++)); do
        if grep -q '^configuration' run.err || ! kill -0 "$pid" 2> /dev/null; then return 0; fi
        sleep 0.01
    done
    return 1
}

# a random moment of a run; no subshell, where RANDOM would begin again
pause() {
    local ms=$((RANDOM % ($(cat whole.ms) * 3 / 4 + 1))) text
    printf -v text '%d.%03d' $((ms / 1000)) $((ms % 1000))
    sleep "$text"
}

# killed_run SIGNAL KILLS NAME ARGS...: stops and goes on until the run ends by itself; counts the stops in `stops`
killed_run() {
    local signal=$1 kills=$2 name=$3 wanted=75 status
    shift 3
    [ "$signal" = KILL ] && wanted=137
    for ((stops = 0; ; )); do
        begin "$@" --set "run.name=$name"
        if ((stops < kills)); then
            pause
            kill -s "$signal" "$pid" 2> /dev/null || true
        fi
        status=0
        wait "$pid" || status=$?
        [ "$status" -eq 0 ] && return 0
        if [ "$status" -ne "$wanted" ]; then
            echo "SIG$signal after $stops stops: exit code $status, expected $wanted"
            cat run.err
            return 1
        fi
        stops=$((stops + 1))
    done
}

@test "checkpoint.keep: the newest numbered files stay, each good to go on from" {
    [ "$(cd runs/whole && echo step-*)" = "step-00000081.h5 step-00000090.h5 step-00000099.h5" ]
    expect 0 verify runs/whole/step-00000090.h5 --json
    has "$output" '"resumable": true'
    mkdir -p runs/from90
    cp runs/whole/step-00000090.h5 runs/from90/last.h5
    cp runs/whole/metrics.jsonl runs/whole/report.txt runs/whole/step-0000008* runs/from90/
    cp runs/whole/step-00000090.h5 runs/from90/
    grep -v '"event": "end"' runs/whole/metrics.jsonl > runs/from90/metrics.jsonl
    cp runs/whole/best.h5 runs/from90/ # of a step before, or written again
    expect 0 "${usual[@]}" --set run.name=from90
    same_run runs/whole runs/from90
}

@test "SIGTERM, SIGUSR1, SIGUSR2, SIGINT at twenty random moments: the same bytes" {
    all=0 round=0
    while ((all < 20)); do
        for signal in TERM USR1 USR2 INT; do
            round=$((round + 1))
            [ "$round" -le 40 ]
            killed_run "$signal" 5 "stopped-$round" "${usual[@]}"
            same_run runs/whole "runs/stopped-$round"
            rm -r "runs/stopped-$round"
            all=$((all + stops))
        done
    done
    echo "$all stops in $round runs"
}

@test "SIGKILL at random moments: the last checkpoint is good, and the end is the same" {
    all=0 round=0
    while ((all < 8)); do
        round=$((round + 1))
        [ "$round" -le 20 ]
        killed_run KILL 4 "killed-$round" "${often[@]}"
        same_run runs/often "runs/killed-$round"
        [ -z "$(find "runs/killed-$round" -name '*.tmp.*')" ]
        rm -r "runs/killed-$round"
        all=$((all + stops))
    done
}

@test "a run with early stopping, stopped and resumed, stops as early" {
    local options=("${usual[@]}" --set train.patience=2 --set train.epochs=40)
    "$PROGRAM" "${options[@]}" --set run.name=early > early.out 2> early.err
    tail -1 runs/early/metrics.jsonl
    [ "$(tail -1 runs/early/metrics.jsonl | sed 's/.*"step": \([0-9]*\).*/\1/')" -lt 800 ]
    for i in 1 2; do
        killed_run TERM 3 "early-$i" "${options[@]}"
        same_run runs/early "runs/early-$i"
    done
}

@test "one label, row weights, frozen layers and AdamW resume the same" {
    local options=("${usual[@]}" --set model.labels=click --set data.weight=weight --set "train.freeze=1 layers"
        --set optimizer.type=adamw --set optimizer.weight_decay=0.01 --set optimizer.layer_decay=0.9
        --set train.class_weights=balanced --set train.micro_batch_tokens=24 --set model.pooling=mean)
    "$PROGRAM" "${options[@]}" --set run.name=other > other.out 2> other.err
    for signal in TERM INT; do
        killed_run "$signal" 4 "other-$signal" "${options[@]}"
        same_run runs/other "runs/other-$signal"
    done
}
