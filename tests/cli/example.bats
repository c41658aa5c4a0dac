#!/usr/bin/env bats
# The simulated shop, and the machine's report.
load common

@test "the shop is written, and says that it is a simulation" {
    expect 0 example --to shop --users 60
    has "$output" "SIMULATION"
    has "$output" "ceiling of a text model"
    has "$output" "a constant"
    for file in train dev test items; do
        [ -s "shop/$file.tsv" ]
        head -1 "shop/$file.tsv" | grep -q "item_id"
    done
    # the rows it speaks of are there
    rows=$(($(wc -l < shop/train.tsv) - 1))
    has "$output" "train.tsv $rows rows"
}

@test "the same seed, the same bytes; another seed, another shop" {
    "$PROGRAM" example --to a --users 60 --seed 3 > /dev/null
    "$PROGRAM" example --to b --users 60 --seed 3 > /dev/null
    "$PROGRAM" example --to c --users 60 --seed 4 > /dev/null
    diff -r a b
    run ! cmp -s a/train.tsv c/train.tsv
}

@test "the shipped configurations name columns that the shop has" {
    "$PROGRAM" example --to shop --users 60 > /dev/null
    for file in "$TREE"/configs/*.ini; do
        for key in text_a text_b label group item user; do
            column=$(sed -n "s/^$key = //p" "$file")
            [ -z "$column" ] || head -1 shop/train.tsv | tr '\t' '\n' | grep -qx "$column"
        done
    done
}

@test "a folder that cannot be made is an error with its name" {
    touch file
    expect 74 example --to file/shop --users 60
    has "$stderr" "file"
}

@test "doctor says what the machine can do, and exits 0" {
    expect 0 doctor
    for word in processor "instruction level" bf16 memory oneDNN HDF5 CUDA "model cache"; do has "$output" "$word"; done
    RECTRAIN_ISA=generic expect 0 doctor
    has "$output" "generic, forced by RECTRAIN_ISA"
    RECTRAIN_ISA=v9 expect 0 doctor
    has "$output" "v9"
    HF_HUB_CACHE=$PWD/cache expect 0 doctor
    has "$output" "$PWD/cache"
    mkdir -p cache/models--org--name
    HF_HUB_CACHE=$PWD/cache expect 0 doctor
    has "$output" "1 model: org--name"
    expect 0 doctor --json
    [ "${lines[0]}" = "{" ] && [ "${lines[-1]}" = "}" ]
}

@test "doctor loads no plugin that others could have written, and none from where a run would not" {
    mkdir -p bin lib/rectrain
    cp "$PROGRAM" bin/rectrain
    # It would leave a file behind if it were loaded.
    printf '#include <stdio.h>\n__attribute__((constructor)) static void f(void) { fclose(fopen("loaded", "w")); }\n' > p.c
    gcc -shared -fPIC p.c -o lib/rectrain-mpi.so
    cp lib/rectrain-mpi.so lib/rectrain-cuda.so
    PROGRAM=bin/rectrain expect 0 doctor
    has "$output" "rectrain-mpi.so is not there"
    mv lib/*.so lib/rectrain/
    chmod o+w lib/rectrain/*.so
    PROGRAM=bin/rectrain expect 0 doctor
    has "$output" "rectrain-mpi.so is not loaded: others could write this file"
    [ ! -e loaded ]
}
