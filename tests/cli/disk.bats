#!/usr/bin/env bats
# Disks that are full or read-only: 74 with a sentence, what was saved before is untouched, and the run goes on later.
load common
load train_shop

many=(--config tiny.ini --set train.epochs=25 --set checkpoint.every=6 --set eval.every=40)

setup_file() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    make_shop
    "$PROGRAM" "${many[@]}" --set run.name=run > whole.out 2> whole.err || { cat whole.err && return 1; }
}

setup() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
}

teardown() {
    if mountpoint -q "$BATS_FILE_TMPDIR/disk" 2> /dev/null; then umount "$BATS_FILE_TMPDIR/disk"; fi
}

# mounted OPTIONS: a file system in memory at ./disk, or a skip
mounted() {
    mkdir -p disk
    mount -t tmpfs -o "$1" tmpfs disk 2> /dev/null || skip "no right to mount a file system"
}

# half_a_run OUTPUT: a run that was stopped in its midst
half_a_run() {
    local i status=0
    "$PROGRAM" "${many[@]}" --set "run.output=$1" --set run.name=run > half.out 2> half.err 3>&- &
    pid=$!
    for ((i = 0; i < 2000; i++)); do
        [ -e "$1/run/last.h5" ] && break
        sleep 0.005
    done
    kill -TERM "$pid"
    wait "$pid" || status=$?
    [ "$status" -eq 75 ] || { cat half.err && return 1; }
    cksum "$1/run/last.h5" > last.before
}

unharmed() {
    cksum "$1/run/last.h5" | diff last.before - || return 1
    [ -z "$(find "$1" -name '*.tmp.*')" ]
}

@test "mounted: a full disk while saving: 74, the old checkpoint untouched, later the same end" {
    mounted size=3m
    half_a_run disk
    # room for lines and reports, not for a checkpoint; then room for nothing at all
    for room in 150 0; do
        rm -f disk/fill
        dd if=/dev/zero of=disk/fill bs=1024 count=1000000 status=none 2> /dev/null || true
        truncate -s "$(($(stat -c %s disk/fill) - room * 1024))" disk/fill
        expect 74 "${many[@]}" --set run.output=disk --set run.name=run
        has "$stderr" "disk/run/"
        has "$stderr" "No space left on device"
        unharmed disk
    done
    rm disk/fill
    expect 0 "${many[@]}" --set run.output=disk --set run.name=run
    same_run runs/run disk/run
}

@test "a file that may not grow so large: 74, the old checkpoint untouched, later the same end" {
    half_a_run small
    run --separate-stderr bash -c "ulimit -f 300; exec '$PROGRAM' \"\$@\"" _ "${many[@]}" --set run.output=small --set run.name=run
    [ "$status" -eq 74 ]
    has "$stderr" "small/run/last.h5"
    has "$stderr" "File too large"
    unharmed small
    expect 0 "${many[@]}" --set run.output=small --set run.name=run
    same_run runs/run small/run
}

@test "mounted: a read-only disk: 74 names it, for a new run and for one to go on with" {
    mounted size=3m
    half_a_run disk
    mount -o remount,ro disk
    expect 74 "${many[@]}" --set run.output=disk --set run.name=run
    has "$stderr" "disk/run"
    has "$stderr" "Read-only file system"
    unharmed disk
    expect 74 "${many[@]}" --set run.output=disk --set run.name=new
    has "$stderr" "disk/new"
    expect 74 predict --checkpoint disk/run/last.h5 --data dev.tsv --output disk/scores.tsv
    has "$stderr" "disk/scores.tsv"
    # reading is enough to score
    expect 0 predict --checkpoint disk/run/last.h5 --data dev.tsv
    mount -o remount,rw disk
    expect 0 "${many[@]}" --set run.output=disk --set run.name=run
    same_run runs/run disk/run
}

@test "an output that cannot be: below a file, in /proc" {
    expect 74 "${many[@]}" --set run.output=tiny.ini/runs --set run.name=run
    has "$stderr" "tiny.ini"
    expect 74 "${many[@]}" --set run.output=/proc/rectrain --set run.name=run
    has "$stderr" "/proc/rectrain"
}

@test "a token cache that cannot be written: a warning, and the same run" {
    expect 0 "${many[@]}" --set run.name=nocache --set data.cache=tiny.ini/cache
    has "$stderr" "warning: tiny.ini: cannot be made"
    has "$stderr" "going on with the tokens in memory"
    same_run runs/run runs/nocache
}

@test "mounted: a token cache on a full disk: a warning, and the same run" {
    mounted size=4k,nr_inodes=3
    mkdir disk/cache
    expect 0 "${many[@]}" --set run.name=fullcache --set data.cache="$PWD/disk/cache"
    has "$stderr" "warning"
    same_run runs/run runs/fullcache
}

@test "stdout that takes nothing: 74, and the report is printed later" {
    run --separate-stderr bash -c "exec '$PROGRAM' \"\$@\" > /dev/full" _ "${many[@]}" --set run.name=mute
    [ "$status" -eq 74 ]
    has "$stderr" "stdout"
    expect 0 "${many[@]}" --set run.name=mute
    same_run runs/run runs/mute
}
