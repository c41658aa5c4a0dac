#!/usr/bin/env bats
# One run on several GPUs: plain processes with torchrun's variables, which meet over TCP; gradients through the fake of
# NCCL in a plugin over the emulator, beside a copy of the program. What such a plugin shows as GPUs comes from
# FAKE_CUDA_* in the environment; with FAKE_CUDA_STRICT a process ends with status 86 where it broke a rule of CUDA's or
# NCCL's, or left memory behind.
load common
load train_shop

setup_file() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    make_shop 96 40
    # The narrowest head that the GPU takes has 32 channels.
    sed -i -e 's/^heads = .*/heads = 1/' -e 's/^device = .*/device = cuda/' tiny.ini
    mkdir bin
    cp "$PROGRAM" "$BUILD/test/fake/rectrain-cuda.so" bin/
}

setup() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    export FAKE_CUDA_STRICT=1 FAKE_CUDA_DEVICES=4
    PROGRAM=$PWD/bin/rectrain
    usual=(--config tiny.ini --set track.jsonl_every=1 --set optimizer.clip_norm=1 --set distributed.timeout=60)
    pids=()
}

teardown() {
    local pid
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2> /dev/null || :; done
}

# A port of this machine that nobody listens on.
choose_port() {
    port=$((20000 + RANDOM % 12000))
    while (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do port=$((port + 1)); done
}

# start RANK SIZE NAME ARGS...: one process of a run; its output is in NAME.RANK.out and .err, its number in pids
start() {
    local rank=$1 size=$2 name=$3
    shift 3
    RANK=$rank WORLD_SIZE=$size LOCAL_RANK=$rank LOCAL_WORLD_SIZE=$size MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
        "$PROGRAM" "${usual[@]}" --set "run.name=$name" "$@" > "$name.$rank.out" 2> "$name.$rank.err" 3>&- &
    pids[rank]=$!
}

# ended RANK NAME STATUS: waits for it
ended() {
    local status=0
    wait "${pids[$1]}" || status=$?
    [ "$status" -eq "$3" ] || {
        echo "rank $1 of $2: exit code $status"
        cat "$2.$1.err"
        return 1
    }
}

# on SIZE NAME ARGS...: a whole run
on() {
    local size=$1 name=$2 rank
    shift 2
    choose_port
    for ((rank = 0; rank < size; rank++)); do start $rank "$size" "$name" "$@"; done
    for ((rank = 0; rank < size; rank++)); do ended $rank "$name" 0 || return 1; done
}

# until_step NAME RANK: waits until a few steps are done
until_step() {
    local i
    for ((i = 0; i < 3000; i++)); do
        grep -q '"event": "train", "step": [4-9]' "runs/$1/metrics.jsonl" 2> /dev/null && return 0
        kill -0 "${pids[$2]}" 2> /dev/null || break
        sleep 0.02
    done
    cat "$1.$2.err"
    return 1
}

@test "the same run on 1 and 2 GPUs: one folder, one voice" {
    "$PROGRAM" "${usual[@]}" --set run.name=one > one.out 2> one.err
    on 2 two
    close_to two one 24 2e-5
    grep -q '^2 ranks, started by torchrun, meet at 127.0.0.1 port' two.0.err
    grep -q 'GPU 0: Emulated GPU 0' two.0.err
    [ "$(grep -c 'dev, step' two.0.out)" -eq "$(grep -c 'dev, step' one.out)" ]
    [ ! -s two.1.out ] && [ ! -s two.1.err ]
    expect 0 verify runs/two/best.h5
}

@test "other orders of the GPUs' work, a late NCCL: the same bytes" {
    on 2 calm --set train.epochs=1
    FAKE_CUDA_SEED=5 FAKE_NCCL_DELAY=30 on 2 wild --set train.epochs=1
    cmp runs/calm/best.h5 runs/wild/best.h5
    cmp runs/calm/last.h5 runs/wild/last.h5
}

@test "the optimizer's state in shares: the numbers and the files of one that is whole" {
    # Some 150,000 trainables: three blocks of 2^16, dealt to two ranks and to three.
    local wide=(--set model.hidden=96 --set model.heads=3 --set model.ffn=192 --set train.epochs=1)
    on 2 whole "${wide[@]}" --set distributed.shard_optimizer=no
    on 2 parts "${wide[@]}" --set distributed.shard_optimizer=yes
    on 3 thirds "${wide[@]}" --set distributed.shard_optimizer=yes
    # The fake adds in rank order either way, so nothing is left for rounding.
    diff <(losses whole) <(losses parts)
    cmp runs/whole/best.h5 runs/parts/best.h5
    cmp runs/whole/last.h5 runs/parts/last.h5
    close_to thirds whole 12 2e-5
    # A run of shares goes on whole, and the other way round: the files are the same.
    expect 0 verify runs/thirds/last.h5
}

@test "gradients in bf16: near to fp32, the same bytes whatever the order of the GPUs' work" {
    on 2 half --set train.epochs=1 --set distributed.reduce_dtype=bf16
    FAKE_CUDA_SEED=7 FAKE_NCCL_DELAY=30 on 2 behind --set train.epochs=1 --set distributed.reduce_dtype=bf16
    cmp runs/half/last.h5 runs/behind/last.h5
    "$PROGRAM" "${usual[@]}" --set run.name=full --set train.epochs=1 > full.out 2> full.err
    # tests/cli/ranks.bats says why 2 / 256 of the first loss; losses here are all about as large as that.
    close_to half full 12 0.0078
    ! diff <(losses half) <(losses full) > /dev/null
}

@test "a process that is killed: the other ends with 69, names it, leaves the checkpoint whole" {
    choose_port
    usual+=(--set train.epochs=5000 --set distributed.timeout=10 --set checkpoint.every=2)
    start 0 2 killed
    start 1 2 killed
    until_step killed 0
    kill -KILL "${pids[1]}"
    ended 0 killed 69
    grep -q "^error: rank 1 on $(hostname) died; last heard of at step [0-9]*, " killed.0.err
    expect 0 verify runs/killed/last.h5
    ! pgrep -f 'run.name=killed' # no orphan
}

@test "SIGTERM to one of two: one checkpoint, 75 from both, and it goes on" {
    choose_port
    start 0 2 stopped --set train.epochs=5000
    start 1 2 stopped --set train.epochs=5000
    until_step stopped 0
    kill -TERM "${pids[1]}"
    ended 0 stopped 75
    ended 1 stopped 75
    expect 0 verify runs/stopped/last.h5
}

@test "an error that NCCL reports, a call that fails: words and 69" {
    choose_port
    usual+=(--set distributed.timeout=20)
    start 0 2 late
    FAKE_NCCL_REMOTE_ERROR=9 start 1 2 late
    ended 1 late 69
    ended 0 late 69
    grep -q 'NCCL: .*: remote process exited or there was a network error' late.1.err
    grep -q "^error: rank 1 on $(hostname) ended: NCCL: " late.0.err
    choose_port
    start 0 2 early
    FAKE_NCCL_FAIL=2 start 1 2 early
    ended 1 early 69
    ended 0 early 69
    grep -q "^rank 1 on $(hostname): error: NCCL: starting NCCL: unhandled system error" early.1.err
}

@test "more ranks than GPUs, another token, a rank on the CPU" {
    usual+=(--set distributed.timeout=4)
    choose_port
    FAKE_CUDA_DEVICES=1 start 1 2 few
    ended 1 few 69
    grep -q 'no GPU 1: 1 is visible' few.1.err
    start 0 2 stranger
    RECTRAIN_RUN_TOKEN=other start 1 2 stranger
    ended 0 stranger 69
    ended 1 stranger 69
    grep -q 'rank 1; [0-9]* connections* of strangers refused' stranger.0.err
    choose_port
    start 0 2 mixed
    start 1 2 mixed --set run.device=cpu
    ended 1 mixed 78
    ended 0 mixed 69
    grep -q 'torchrun started 2 ranks, but this run computes on the CPU' mixed.1.err
    grep -q 'of 2 ranks, 1 did not come within 4 s' mixed.0.err
}
