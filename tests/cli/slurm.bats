#!/usr/bin/env bats
# Runs under a real Slurm that this file starts and stops: srun with PMIx and without, the shipped batch script, scancel,
# requeue by exit code 75, preemption. Whatever stopped a run, its bytes are those of one that nothing stopped.
load common
load train_shop
load slurm

usual=(--config tiny.ini --set track.jsonl_every=1 --set train.epochs=60 --set optimizer.clip_norm=1)
more=() # what a run of submit has besides

setup_file() {
    export LONG_TESTS=${RECTRAIN_LONG_TESTS:-} # the program would warn of a variable that it does not know
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    make_shop 160 60
    slurm_missing > missing
    [ ! -e "$BUILD/rectrain-mpi.so" ] || [ -s missing ] || slurm_start
}

teardown_file() {
    [ -z "${SLURM_FOLDER:-}" ] || slurm_stop
}

setup() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    [ -e "$BUILD/rectrain-mpi.so" ] || skip "the MPI plugin is not built"
    [ ! -s missing ] || skip "$(cat missing)"
}

# What the logs say is worth more than "exit code 1".
teardown() {
    [ -n "${BATS_TEST_COMPLETED:-}" ] || [ -z "${SLURM_FOLDER:-}" ] || {
        tail -n 15 "$SLURM_FOLDER"/slurm*.log ./*.err job-*.log
        squeue
    }
}

# ranks NAME: on two ranks by srun, never stopped
ranks() { srun --mpi=pmix -n 2 "$PROGRAM" "${usual[@]}" --set run.name="$1" > "$1.out" 2> "$1.err"; }

# submit NAME OPTIONS...: the shipped batch script with two tasks and this run's name; prints the job's number
submit() {
    local name=$1
    shift
    RECTRAIN=$PROGRAM CONFIG=tiny.ini sbatch --parsable --job-name="$name" --nodes=1 --ntasks-per-node=2 \
        --cpus-per-task=1 --output="job-$name.log" "$@" "$TREE/docs/cluster/slurm.sbatch" "${usual[@]:2}" \
        --set run.name="$name" "${more[@]}"
}

under_way() { grep -q '"event": "train", "step": [1-9][0-9]' "runs/$1/metrics.jsonl"; }
complete() { grep -q '"event": "end"' "runs/$1/metrics.jsonl"; }

@test "srun with PMIx: the losses of one process, one voice" {
    "$PROGRAM" "${usual[@]}" --set run.name=one > one.out 2> one.err
    ranks pair
    grep -q '^2 ranks, started by srun' pair.err
    [ "$(grep -c 'best checkpoint' pair.err)" -eq 1 ]
    [ "$(grep -c 'dev, step' pair.out)" -eq "$(grep -c 'dev, step' one.out)" ]
    # Sixty epochs on 160 rows multiply what rounding differs in: the first hundred steps are compared.
    paste -d ' ' <(train_losses one) <(train_losses pair) | head -n 100 | awk '
        { d = $2 - $4; if (d < 0) d = -d; if ($1 != $3 || NF != 4 || d > 1e-5 * $4) { print "differs: " $0; bad = 1 } }
        END { if (NR < 100) { print NR " lines"; bad = 1 }; exit bad }'
}

# train_losses NAME: step and loss of every train line
train_losses() {
    sed -n 's/.*"event": "train", "step": \([0-9]*\),.*"loss": \([0-9.e+-]*\),.*/\1 \2/p' "runs/$1/metrics.jsonl"
}

@test "four ranks on two processors" {
    srun --mpi=pmix -n 4 --overcommit "$PROGRAM" "${usual[@]}" --set train.epochs=2 --set run.name=four \
        > four.out 2> four.err
    grep -q '^4 ranks, started by srun' four.err
    complete four
}

@test "srun without PMIx: the line that does" {
    local status=0
    srun --mpi=none -n 2 "$PROGRAM" "${usual[@]}" --set run.name=none > none.out 2> none.err || status=$?
    [ "$status" -eq 78 ]
    grep -q '^error: srun started 2 ranks without PMIx.*srun --mpi=pmix -n 2 rectrain' none.err
    [ ! -e runs/none/last.h5 ]
}

@test "a batch script without srun: one process, and a warning" {
    local job
    job=$(sbatch --parsable -n 2 --output=job-alone.log \
        --wrap "exec '$PROGRAM' --config tiny.ini --set train.epochs=1 --set run.name=alone")
    until_true 120 job_over "$job"
    job_is "$job" COMPLETED
    grep -q '^warning: Slurm gave this job 2 tasks, but this is one process outside srun.*srun --mpi=pmix' job-alone.log
    ! grep -q 'ranks, started by' job-alone.log
}

@test "SIGTERM: one checkpoint, exit code 75, requeued by itself, the same bytes" {
    local job
    job=$(submit requeue)
    until_true 120 under_way requeue
    scancel --signal=TERM "$job"
    until_true 120 restarted "$job" 1
    job_is "$job" COMPLETED || [ "$(job_field "$job" ExitCode)" = 75:0 ]
    grep -q 'tasks 0-1: Exited with exit code 75' job-requeue.log
    grep -q '^error: stopped by a signal after step' job-requeue.log
    grep -q '^rank 1 on .*: error: stopped by a signal after step' job-requeue.log
    until_true 180 job_over "$job"
    job_is "$job" COMPLETED
    # Both halves are in one log.
    [ "$(grep -c '^2 ranks, started by srun' job-requeue.log)" -eq 2 ]
    grep -q 'going on after step' job-requeue.log
    complete pair
    same_run runs/requeue runs/pair
}

@test "a job of higher priority preempts; the run comes back and completes, the same bytes" {
    local job high
    job=$(submit preempted)
    until_true 120 under_way preempted
    high=$(sbatch --parsable --partition=high -n 2 --output=job-high.log --wrap 'echo it ran')
    until_true 120 job_over "$high"
    grep -q 'it ran' job-high.log
    restarted "$job" 1
    grep -q 'tasks 0-1: Exited with exit code 75' job-preempted.log
    until_true 180 job_over "$job"
    job_is "$job" COMPLETED
    grep -q 'going on after step' job-preempted.log
    complete pair
    same_run runs/preempted runs/pair
}

@test "scancel: a checkpoint, no requeue; submitted again it goes on" {
    local job
    job=$(submit cancelled)
    until_true 120 under_way cancelled
    scancel "$job"
    until_true 120 no_jobs
    job_is "$job" CANCELLED
    [ "$(job_field "$job" Restarts)" -eq 0 ]
    grep -q '^error: stopped by a signal after step' job-cancelled.log
    ! complete cancelled
    job=$(submit cancelled)
    until_true 180 job_over "$job"
    job_is "$job" COMPLETED
    grep -q 'going on after step' job-cancelled.log
    same_run runs/cancelled runs/pair
}

# signal_rank SIGNAL JOB RANK
signal_rank() {
    local pid found
    for pid in $(pgrep -x rectrain); do
        found=$(tr '\0' '\n' < "/proc/$pid/environ" 2> /dev/null | grep -cxE "SLURM_JOB_ID=$2|SLURM_PROCID=$3") || true
        [ "$found" != 2 ] || { kill -s "$1" "$pid" && return; }
    done
    echo "no rank $3 of job $2" && return 1
}

no_rank() { ! signal_rank 0 "$1" "$2"; }

@test "a rank that stands still: named, and the job fails; submitted again it goes on" {
    local job
    more=(--set distributed.timeout=10)
    job=$(submit still --no-requeue)
    until_true 120 under_way still
    signal_rank STOP "$job" 1
    until_true 180 job_over "$job"
    job_is "$job" FAILED
    grep -q '^error: rank 1 on .* has not answered for .* s; last heard of at step [0-9]*, ' job-still.log
    grep -q 'task 0: Exited with exit code 69' job-still.log
    ! complete still
    job=$(submit still)
    until_true 180 job_over "$job"
    job_is "$job" COMPLETED
    cmp runs/still/last.h5 runs/pair/last.h5
}

# Slurm's PMIx kills the other tasks at once, perhaps before they can say who died: then srun alone says it.
@test "a rank that is killed: the job fails, nobody is left" {
    local job
    job=$(submit killed --no-requeue)
    until_true 120 under_way killed
    signal_rank KILL "$job" 1
    until_true 120 job_over "$job"
    job_is "$job" FAILED
    grep -q 'srun: error: .* task 1: Killed' job-killed.log
    ! grep -q 'error: rank [^1]' job-killed.log
    no_rank "$job" 0
    no_rank "$job" 1
    ! complete killed
}

@test "the signal before the time limit" {
    local job
    [ -n "$LONG_TESTS" ] || skip "it takes two minutes"
    more=(--set train.epochs=100000)
    job=$(submit limited --time=2 --signal=TERM@30) # Slurm counts in minutes, and may be a minute early
    until_true 400 restarted "$job" 1
    grep -q 'tasks 0-1: Exited with exit code 75' job-limited.log
    grep -q '^error: stopped by a signal after step' job-limited.log
    ! grep -q 'DUE TO TIME LIMIT' job-limited.log
    until_true 120 grep -q 'going on after step' job-limited.log
    scancel "$job"
}
