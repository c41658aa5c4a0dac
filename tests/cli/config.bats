#!/usr/bin/env bats
# What the configuration resolves to, and from where.
load common

@test "each value with its origin" {
    printf '[train]\nbatch_size = 8\nepochs = 2\n' > my.ini
    RECTRAIN_TRAIN_EPOCHS=3 expect 0 config --config my.ini --set run.seed=7
    has "$output" $'# from my.ini:2\nbatch_size = 8'
    has "$output" $'# from RECTRAIN_TRAIN_EPOCHS\nepochs = 3'
    has "$output" $'# from --set\nseed = 7'
    has "$output" $'# from default\ntype = adam'
    has "$stderr" "configuration: my.ini"
    expect 0 config --config my.ini --quiet
    [ -z "$stderr" ]
}

@test "what it prints is a configuration that resolves to itself" {
    "$PROGRAM" config --set train.batch_size=8 --set data.text_b= > one.ini
    grep -v '^#' one.ini > a
    "$PROGRAM" config --config one.ini 2>/dev/null | grep -v '^#' > b
    cmp a b
    "$PROGRAM" config --defaults > reference.ini
    expect 0 config --config reference.ini
}

@test "--defaults explains every option and leaves places open" {
    expect 0 config --defaults
    has "$output" "# The learning rate after warm-up."
    has "$output" $'\n# output ='
    has "$output" $'\n# base ='
    lacks "$output" "$PWD"
    # no key without a comment above it
    awk '/^(# )?[a-z_0-9]+ =/ { if (before !~ /^# /) { print "no comment above: " $0; bad = 1 } } { before = $0 } END { exit bad }' <<< "$output"
}

@test "--json names value and origin" {
    expect 0 config --json --set train.batch_size=8
    has "$output" '"train.batch_size": {"value": "8", "origin": "--set"}'
    has "$output" '"data.text_b": {"value": "text_b", "origin": "default"}'
    [ "${lines[0]}" = "{" ]
    [ "${lines[-1]}" = "}" ]
}

@test "a typo: exit 78, file, line, key, what was found, what is accepted" {
    printf '[train]\n\nbatch_size = many\n' > bad.ini
    expect 78 config --config bad.ini
    has "$stderr" "bad.ini:3: train.batch_size = many: expected a whole number from 1 to 65536"
    printf '[train]\nper_device_train_batch_size = 4\n' > bad.ini
    expect 78 config --config bad.ini
    has "$stderr" "bad.ini:2: no option train.per_device_train_batch_size; did you mean train.batch_size"
    RECTRAIN_RUN_SEED=x expect 78 config
    has "$stderr" "RECTRAIN_RUN_SEED = x: expected"
    expect 2 config --set nonsense
    has "$stderr" "expected section.key=value"
    [ -z "$output" ]
}

@test "an unknown variable only warns" {
    RECTRAIN_TRAIN_EPOCH=3 expect 0 config
    has "$stderr" "RECTRAIN_TRAIN_EPOCH"
    has "$stderr" "did you mean RECTRAIN_TRAIN_EPOCHS?"
    RECTRAIN_ISA=generic RECTRAIN_CONFIG_PATH=/tmp expect 0 config
    [ -z "$stderr" ]
}

@test "a name is looked for: as given, RECTRAIN_CONFIG_PATH, the configs beside the binary" {
    mkdir a b
    printf '[run]\nseed = 1\n' > a/shop.ini
    printf '[run]\nseed = 2\n' > b/shop.ini
    RECTRAIN_CONFIG_PATH=$PWD/none:$PWD/a:$PWD/b expect 0 config --config shop
    has "$output" "seed = 1"
    has "$stderr" "configuration: $PWD/a/shop.ini"
    printf '[run]\nseed = 3\n' > shop.ini
    RECTRAIN_CONFIG_PATH=$PWD/a expect 0 config --config shop
    has "$output" "seed = 3"
    expect 66 config --config nowhere
    has "$stderr" "no such file"
    mkdir -p there/bin there/share/rectrain/configs
    cp "$PROGRAM" there/bin/rectrain
    printf '[run]\nseed = 4\n' > there/share/rectrain/configs/only.ini
    run --separate-stderr there/bin/rectrain config --config only
    [ "$status" -eq 0 ]
    has "$output" "seed = 4"
    # also through a link elsewhere
    ln -s "$PWD/there/bin/rectrain" link
    run --separate-stderr ./link config --config only.ini
    [ "$status" -eq 0 ]
}

@test "paths in a file start from the file, those of flags from here" {
    mkdir -p conf data
    touch data/b.tsv data/a.tsv
    printf '[data]\ntrain = ../data/*.tsv\n' > conf/c.ini
    expect 0 config --config conf/c.ini
    has "$output" "train = $PWD/data/a.tsv, $PWD/data/b.tsv"
    expect 0 config --config conf/c.ini --set 'data.train=data/b*'
    has "$output" "train = $PWD/data/b.tsv"
    expect 66 config --config conf/c.ini --set 'data.train=nothing/*'
    has "$stderr" "no file matches"
}

@test "the shipped configurations resolve, and every key in them is explained" {
    for file in "$TREE"/configs/*.ini; do
        expect 0 config --config "$file"
        lacks "$stderr" warning
        # places are left to the user
        run ! grep -E '^(output|name) *=' "$file"
        # a key has a comment above it, or shares that of the key above
        awk '/^[a-z_0-9]+ *=/ { if (before !~ /^(#|[a-z_0-9]+ *=)/) { print FILENAME ": no comment above: " $0; bad = 1 } }
             { before = $0 } END { exit bad }' "$file"
    done
}
