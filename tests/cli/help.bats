#!/usr/bin/env bats
# Help, versions, wrong command lines.
load common

@test "no arguments: the short help on stderr, exit 2" {
    expect 2
    [ -z "$output" ]
    has "$stderr" "rectrain --config ecommerce.ini"
    has "$stderr" "predict"
}

@test "--help and -h: exit 0, an example first, every command" {
    for flag in --help -h help; do
        expect 0 "$flag"
        [ -z "$stderr" ]
        [ "${lines[0]}" = "Examples:" ]
        has "${lines[1]}" "rectrain --config"
        for command in train eval predict convert export tokenize example join data verify config doctor; do
            has "$output" "  $command"
        done
    done
}

@test "each command's help shows an example first and its flags" {
    for command in train eval predict convert export tokenize example join data verify config doctor; do
        expect 0 "$command" --help
        has "${lines[0]}" "Example"
        has "${lines[1]}" "rectrain"
        has "$output" "Usage: rectrain $command"
        has "$output" "--set section.key=value"
        expect 0 help "$command"
        has "$output" "Usage: rectrain $command"
    done
    # help wins over whatever else is wrong on the line
    expect 0 eval --no-such-flag -h
}

@test "--version: exit 0, one line" {
    expect 0 --version
    [ "${#lines[@]}" -eq 1 ]
    has "$output" "rectrain "
}

@test "an unknown command: exit 2 and the nearest one" {
    expect 2 evall
    has "$stderr" "did you mean eval?"
    expect 2 xyzzy
    has "$stderr" "there are train, eval, predict"
    echo "[run]" > my.ini
    expect 2 my.ini
    has "$stderr" "did you mean rectrain --config my.ini?"
}

@test "an unknown flag: exit 2 and the nearest one" {
    expect 2 eval --checkpint x.h5
    has "$stderr" "unknown flag --checkpint; did you mean --checkpoint?"
    expect 2 --confg x.ini
    has "$stderr" "did you mean --config?"
    expect 2 eval --logits
    has "$stderr" "rectrain eval takes no --logits; rectrain predict does"
    expect 2 eval -Z
    has "$stderr" "unknown flag -Z"
}

@test "flags take their value after a blank or an equals sign" {
    expect 0 config --set train.batch_size=8
    has "$output" "batch_size = 8"
    expect 0 config --set=train.batch_size=8
    has "$output" "batch_size = 8"
    expect 2 config --set
    has "$stderr" "--set needs a value"
    expect 2 config --json=yes
    has "$stderr" "--json takes no value"
    expect 2 config --config a.ini --config b.ini
    has "$stderr" "given twice"
    expect 2 config --config=
    has "$stderr" "--config is empty"
}

@test "what a command cannot do without is named" {
    expect 2 eval --data x.tsv
    has "$stderr" "needs --checkpoint FILE.h5"
    expect 2 eval --checkpoint x.h5
    has "$stderr" "needs --data FILE"
    expect 2 train
    has "$stderr" "needs --config FILE"
    expect 2 verify
    has "$stderr" "needs a file"
    expect 2 verify a.h5 b.h5
    has "$stderr" "takes one FILE.h5"
    expect 2 tokenize
    has "$stderr" "either --checkpoint FILE.h5 or --vocab FILE"
    expect 2 tokenize --vocab a --checkpoint b
    expect 2 tokenize --vocab a --max-length 2
    has "$stderr" "--max-length 2: expected a whole number from 3"
    expect 2 predict --checkpoint a --data b --format xml
    has "$stderr" "expected tsv or jsonl"
    expect 2 eval extra --checkpoint a --data b
    has "$stderr" "did not expect extra"
    expect 2 convert --from a --to b
    has "$stderr" "ends in .h5"
}

@test "--set is checked by every command, before anything is done" {
    for line in "eval --checkpoint x.h5 --data x.tsv" "predict --checkpoint x.h5 --data x.tsv" \
        "tokenize --vocab nothing.txt" "example --to shop" "verify x.h5" "config" "doctor" "convert --from a --to b.h5"; do
        # shellcheck disable=SC2086 # words
        run --separate-stderr "$PROGRAM" $line --set train.batch_size=0
        [ "$status" -ne 0 ]
        # a missing file may be told first
        [ "$status" -eq 78 ] || [ "$status" -eq 66 ]
    done
    [ ! -e shop ]
}

@test "the man page and the completions know every option" {
    expect 0 help man
    has "$output" ".TH RECTRAIN 1"
    has "$output" ".B learning_rate"
    has "$output" ".B rectrain tokenize"
    if command -v man > /dev/null 2>&1 && command -v groff > /dev/null 2>&1; then
        "$PROGRAM" help man > rectrain.1
        run groff -man -Tutf8 -ww rectrain.1
        [ "$status" -eq 0 ]
    fi
    expect 0 help bash
    has "$output" "optimizer.learning_rate"
    "$PROGRAM" help bash > completions
    run bash -n completions
    [ "$status" -eq 0 ]
    # shellcheck disable=SC2034
    run bash -c 'source completions; COMP_WORDS=(rectrain ev); COMP_CWORD=1; _rectrain; echo "${COMPREPLY[@]}"'
    [ "$output" = "eval" ]
}

@test "a full disk and a closed stdout are errors: 74; a reader that left ends it as SIGPIPE does" {
    [ -e /dev/full ] || skip "no /dev/full"
    run bash -c "'$PROGRAM' config > /dev/full"
    [ "$status" -eq 74 ]
    has "$output" "stdout"
    run bash -c "'$PROGRAM' --help > /dev/full"
    [ "$status" -eq 74 ]
    run bash -c "set -o pipefail; '$PROGRAM' help man 2>err | true"
    # the reader may leave before or after the page fits into the pipe
    [ "$status" -eq 141 ] || [ "$status" -eq 0 ]
    run bash -c "'$PROGRAM' config >&-"
    [ "$status" -eq 74 ]
}

@test "no colour without a terminal; errors begin with error:" {
    expect 2 evall
    lacks "$stderr" $'\x1b'
    has "$stderr" "error: "
    TERM=xterm expect 2 evall
    lacks "$stderr" $'\x1b'
}
