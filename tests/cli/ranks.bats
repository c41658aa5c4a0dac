#!/usr/bin/env bats
# One run on several ranks under mpirun: the same losses, one folder, one log; stopped on some ranks and gone on with on
# others; a rank that stands still or has another configuration ends all, by name.
load common
load train_shop

usual=(--config tiny.ini --set track.jsonl_every=1 --set train.epochs=5 --set optimizer.clip_norm=1)

setup_file() {
    export LONG_TESTS=${RECTRAIN_LONG_TESTS:-}
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    make_shop 160 60
}

setup() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    [ -e "$BUILD/rectrain-mpi.so" ] || skip "the MPI plugin is not built"
    command -v mpirun > /dev/null || skip "mpirun is not installed"
}

# In more ranks than cores if need be, which then give way to each other.
mpi=(mpirun --allow-run-as-root --oversubscribe --bind-to none)

# ranks N ARGS...: from three on with a sharded optimizer
ranks() {
    local n=$1 shards=no
    shift
    [ "$n" -lt 3 ] || shards=yes
    "${mpi[@]}" -n "$n" "$PROGRAM" "$@" --set distributed.shard_optimizer=$shards
}

# A failed test leaves nobody behind.
teardown() {
    pkill -KILL -f 'run.name=(still|fault) --set train.epochs=5000' || true
}

# auc NAME: of the test rows
auc() {
    sed -n 's/.*"split": "test".*"auc": \([0-9.e+-]*\),.*/\1/p' "runs/$1/metrics.jsonl"
}

@test "the same run on 1, 2, 3 and 4 ranks" {
    local n
    "$PROGRAM" "${usual[@]}" --set run.name=on1 > on1.out 2> on1.err
    for n in 2 3 4; do
        ranks $n "${usual[@]}" --set run.name=on$n > on$n.out 2> on$n.err || { cat on$n.err && false; }
        close_to on$n on1 100 1e-5
        awk -v a="$(auc on$n)" -v b="$(auc on1)" 'BEGIN { d = a - b; exit !(a > 0 && d * d <= 2e-4 * 2e-4) }'
        # Only rank 0 speaks, and it says what one process says.
        [ "$(grep -c 'best checkpoint' on$n.err)" -eq 1 ]
        [ "$(grep -c 'dev, step' on$n.out)" -eq "$(grep -c 'dev, step' on1.out)" ]
        grep -q "^$n ranks, started by mpirun" on$n.err
    done
    # The sums of the rows are of all ranks.
    diff <(grep -o '"seqs": [0-9]*, "tokens": [0-9]*' runs/on1/metrics.jsonl) \
        <(grep -o '"seqs": [0-9]*, "tokens": [0-9]*' runs/on4/metrics.jsonl)
}

@test "the suite of data planes over MPI: sums, shards and gathers, in fp32 and in bf16" {
    local n
    for n in 2 3 4; do "${mpi[@]}" -n $n "$BUILD/test/comm/mpi_planes"; done
}

# The distance of two runs' losses, at most SHARE of the first one.
near_to() {
    paste -d ' ' <(losses "$1") <(losses "$2") | awk -v least="$3" -v share="$4" '
        NR == 1 { first = $4 }
        { d = $2 - $4; if (d < 0) d = -d; if ($1 != $3 || NF != 4 || d > share * first) { print "differs: " $0; bad = 1 } }
        END { if (NR < least) { print NR " lines"; bad = 1 }; exit bad }'
}

# Each of n parts and each sum of them is off by at most 2^-8 of its size, so the direction of a step is by n 2^-8. What
# a step gains of the loss is off by as much of itself, and all steps together gain at most the loss of the first.
@test "gradients that travel in bf16: near to fp32, the same bytes from run to run, sharded or not" {
    local n
    [ -e runs/on1 ] || "$PROGRAM" "${usual[@]}" --set run.name=on1 > on1.out 2> on1.err
    usual+=(--set distributed.reduce_dtype=bf16)
    for n in 2 3; do
        "${mpi[@]}" -n $n "$PROGRAM" "${usual[@]}" --set run.name=half$n > half.out 2> half.err || { cat half.err && false; }
        near_to half$n on1 100 "$(awk -v n=$n 'BEGIN { print n / 256 }')"
        ! diff <(losses half$n) <(losses on1) > /dev/null
    done
    "${mpi[@]}" -n 2 "$PROGRAM" "${usual[@]}" --set run.name=again2 > half.out 2> half.err
    same_run runs/half2 runs/again2
    # Two parts are added in one order alone, whoever adds them.
    "${mpi[@]}" -n 2 "$PROGRAM" "${usual[@]}" --set run.name=parts2 --set distributed.shard_optimizer=yes > half.out 2> half.err
    diff <(losses half2) <(losses parts2)
}

@test "batches smaller than the number of ranks, by row and by class weighted" {
    local more=(--set train.batch_size=2 --set data.weight=weight --set train.class_weights=1,2 --set train.epochs=1)
    "$PROGRAM" "${usual[@]}" "${more[@]}" --set run.name=small1 > /dev/null 2> small.err
    ranks 4 "${usual[@]}" "${more[@]}" --set run.name=small4 > /dev/null 2> small.err || { cat small.err && false; }
    close_to small4 small1 80 1e-5
}

@test "evaluation of one checkpoint is the same to the bit on any number of ranks" {
    local n args=(--config tiny.ini --set optimizer.learning_rate=0 --set train.epochs=1 --set eval.batch_tokens=512
        --set data.dev=train.tsv)
    "$PROGRAM" "${args[@]}" --set run.name=still1 > still1.out 2> still.err
    for n in 2 3; do
        ranks $n "${args[@]}" --set run.name=still$n > still$n.out 2> still.err
        cmp still1.out still$n.out
    done
}

# linked GBPS NAME ARGS...: a run on two ranks over a simulated network; link.0 tells of rank 0's transfers
linked() {
    local gbps=$1 name=$2
    shift 2
    "${mpi[@]}" -n 2 -x LD_PRELOAD="$BUILD/test/slow_link.so" -x SLOW_LINK_GBPS="$gbps" -x SLOW_LINK_US=50 \
        -x SLOW_LINK_LOG="$PWD/link" "$PROGRAM" "${usual[@]}" --set run.name="$name" "$@" > linked.out 2> linked.err || {
        cat linked.err && false
    }
}

@test "a slow network: the same bytes; transfers begin one by one as backward goes on, not all at its end" {
    [ -e runs/pair ] || ranks 2 "${usual[@]}" --set run.name=pair > /dev/null 2> pair.err
    linked 0.05 slow
    same_run runs/pair runs/slow
    # Nine transfers a step, 100 steps. Between those of two ranges rank 0 asks how far they are; only those of the last
    # range, the embeddings, begin together.
    awk '$1 == "begin" { n++; asked += $5 > 0 } END { exit !(n == 900 && asked >= 600) }' link.0
}

@test "words that no rank has seen in a step are not sent" {
    cp vocab.txt words.txt
    seq -f 'unseen%g' 3000 >> words.txt
    local more=(--set model.vocab=words.txt --set train.epochs=1)
    "$PROGRAM" "${usual[@]}" "${more[@]}" --set run.name=words1 > words.out 2> words.err
    linked 0 words2 "${more[@]}"
    close_to words2 words1 20 1e-5
    # A step's gradient is 3,065 x 32 numbers and those of two small layers, half a megabyte in all.
    awk '$1 == "all" { exit !($3 / 20 > 60000 && $3 / 20 < 160000) }' link.0
}

# stopped N NAME SIGNAL: a run on N ranks that a signal ends in its middle, with exit code 75
stopped() {
    local i pid status=0
    "${mpi[@]}" -n "$1" "$PROGRAM" "${usual[@]}" --set run.name="$2" --set distributed.shard_optimizer=yes > stop.out 2> stop.err 3>&- &
    pid=$!
    for ((i = 0; i < 3000; i++)); do
        grep -q '"event": "train", "step": 1[0-9],' "runs/$2/metrics.jsonl" 2> /dev/null && break
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.01
    done
    kill -s "$3" "$pid" || true
    wait "$pid" || status=$?
    [ "$status" -eq 75 ] || { echo "exit code $status" && cat stop.err && return 1; }
}

# goes_on N NAME: the run, stopped on another number of ranks, goes on with N and ends as if it had not been stopped
goes_on() {
    ranks "$1" "${usual[@]}" --set run.name="$2" > /dev/null 2> elastic.err || { cat elastic.err && return 1; }
    grep -q 'going on after step' elastic.err
    close_to "$2" steady 100 1e-5
}

@test "stopped on 4 ranks, gone on with 1, 2 or 3 from the same last.h5; and back, from 2 on 4" {
    local n
    "$PROGRAM" "${usual[@]}" --set run.name=steady > /dev/null 2> steady.err
    stopped 4 elastic USR1 # mpirun passes it on to every rank
    ! grep -q '"event": "end"' runs/elastic/metrics.jsonl
    for n in 1 2 3; do
        cp -r runs/elastic runs/elastic$n
        goes_on $n elastic$n
    done
    stopped 2 back USR1
    goes_on 4 back
}

@test "stopped and gone on with on the same number: the same bytes" {
    ranks 2 "${usual[@]}" --set run.name=pair > /dev/null 2> pair.err
    ranks 2 "${usual[@]}" --set run.name=again > /dev/null 2> pair.err
    same_run runs/pair runs/again
    stopped 2 broken USR1
    ranks 2 "${usual[@]}" --set run.name=broken > /dev/null 2> broken.err
    cmp runs/pair/best.h5 runs/broken/best.h5
    cmp runs/pair/last.h5 runs/broken/last.h5
}

# node CACHE: one rank of a node of its own, whose files the others do not see
node() {
    printf '%s\n' -n 1 env OMPI_COMM_WORLD_LOCAL_RANK=0 OMPI_COMM_WORLD_LOCAL_SIZE=2 "$PROGRAM" "${usual[@]}" \
        --set run.name=nodes --set train.epochs=1 --set "data.cache=$1"
}

@test "two nodes that share no cache: the first rank of each tokenises" {
    local first second
    mapfile -t first < <(node cache0)
    mapfile -t second < <(node cache1)
    "${mpi[@]}" "${first[@]}" : "${second[@]}" > nodes.out 2> nodes.err || { cat nodes.err && false; }
    # Rank 0 alone looks through the rows, and keeps what it found.
    diff <(cd cache0 && printf '%s\n' * | grep -v '[.]found$') <(cd cache1 && printf '%s\n' *)
}

@test "another configuration on one rank" {
    local status=0
    "${mpi[@]}" -n 1 "$PROGRAM" "${usual[@]}" --set run.name=differs : \
        -n 1 "$PROGRAM" "${usual[@]}" --set run.name=differs --set optimizer.learning_rate=1e-2 > /dev/null 2> differs.err ||
        status=$?
    [ "$status" -eq 78 ] || { cat differs.err && false; }
    grep -q 'rank 1 on .* has another configuration' differs.err
    [ ! -e runs/differs/last.h5 ]
}

@test "a failure of rank 0 ends the others with its words and its exit code" {
    local status=0
    ranks 3 "${usual[@]}" --set run.name=fails --set data.train=nothere.tsv > /dev/null 2> fails.err || status=$?
    [ "$status" -eq 66 ] || { cat fails.err && false; }
    grep -q '^error: nothere.tsv: no such file' fails.err
}

# begin NAME TIMEOUT: three ranks that would train for long; returns when they are at it
begin() {
    local i
    "${mpi[@]}" -n 3 "$PROGRAM" "${usual[@]}" --set run.name="$1" --set train.epochs=5000 --set checkpoint.every=5 \
        --set distributed.timeout="$2" > /dev/null 2> "$1.err" 3>&- &
    pid=$!
    for ((i = 0; i < 3000; i++)); do
        grep -q '"event": "train", "step": 2[0-9],' "runs/$1/metrics.jsonl" 2> /dev/null && return 0
        sleep 0.01
    done
    cat "$1.err"
    return 1
}

# signal_rank RANK SIGNAL: to that rank of mpirun's
signal_rank() {
    local child
    for child in $(pgrep -P "$pid"); do
        if tr '\0' '\n' < "/proc/$child/environ" | grep -q "^OMPI_COMM_WORLD_RANK=$1\$"; then kill -s "$2" "$child"; fi
    done
}

# gone NAME: nobody of that run is left
gone() {
    local i
    for ((i = 0; i < 500; i++)); do
        pgrep -f "run.name=$1 --set train.epochs=5000" > /dev/null || return 0
        sleep 0.01
    done
    echo "orphans of $1:" && pgrep -af "run.name=$1"
    return 1
}

@test "a rank that stands still: the others name it and end in time" {
    local status=0
    begin still 5
    signal_rank 1 STOP
    SECONDS=0
    wait "$pid" || status=$?
    [ "$status" -ne 0 ]
    [ "$SECONDS" -le 30 ] # 5 s, and what a busy machine adds
    grep -q 'rank 1 on .* has not answered for .* s; last heard of at step [0-9]*, ' still.err || { cat still.err && false; }
    gone still
}

@test "ranks that die or stand still, again and again: an end in time, no orphan, a checkpoint that goes on" {
    local n times=5 kind status
    [ -z "$LONG_TESTS" ] || times=20
    for ((n = 0; n < times; n++)); do
        kind=KILL status=0
        [ $((n % 3)) -ne 2 ] || kind=STOP
        rm -rf runs/fault
        begin fault 3
        signal_rank $((n % 3)) $kind
        SECONDS=0
        wait "$pid" || status=$?
        [ "$status" -ne 0 ]
        [ "$SECONDS" -le 30 ]
        gone fault
        "$PROGRAM" verify runs/fault/last.h5 > /dev/null
    done
    # All of the same run goes on from it.
    ranks 2 "${usual[@]}" --set run.name=fault --set train.epochs=5000 --dry-run > /dev/null 2> fault.err || {
        cat fault.err && false
    }
}

@test "launchers that cannot work say which line does" {
    local status=0
    RANK=0 WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=4444 "$PROGRAM" "${usual[@]}" 2> launch.err || status=$?
    [ "$status" -eq 78 ]
    grep -q 'torchrun started 2 ranks.*mpirun -n 2 rectrain' launch.err
    status=0
    SLURM_JOB_ID=1 SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_NTASKS=2 "$PROGRAM" "${usual[@]}" 2> launch.err || status=$?
    [ "$status" -eq 78 ]
    grep -q '^rank 1 on .*srun --mpi=pmix -n 2 rectrain' launch.err
    status=0
    RANK=7 WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=4444 "$PROGRAM" "${usual[@]}" 2> launch.err || status=$?
    [ "$status" -eq 78 ]
    grep -q 'rank 7 of 2' launch.err
}
