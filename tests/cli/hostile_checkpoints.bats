#!/usr/bin/env bats
# Checkpoints that are cut, altered, endless, or something else altogether.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # bats and the helpers set and read variables of one another
load common
load train_shop
load hostile

@test "a checkpoint that is none, in every command" {
    local kind code words
    for kind in empty half nul utf8 deep line sparse folder pipe circle nowhere device; do
        altered $kind bad.h5 best.h5
        code=65 words=bad.h5
        case $kind in
        circle) code=66 words="bad.h5: links that lead in a circle" ;;
        nowhere) code=66 words="bad.h5: a link to a file that is not there" ;;
        folder) words="bad.h5: a folder" ;;
        pipe | device) words="bad.h5: not a regular file" ;;
        empty | deep | line | sparse) words="bad.h5: not an HDF5 file" ;;
        esac
        hostile $code "$words" bad.h5 verify bad.h5
        [ $kind != folder ] || code=66 words=bad.h5
        hostile $code "$words" bad.h5 eval --checkpoint bad.h5 --data dev.tsv
        hostile $code "$words" bad.h5 predict --checkpoint bad.h5 --data dev.tsv
        hostile $code "$words" bad.h5 tokenize --checkpoint bad.h5
        hostile $code "$words" bad.h5 export --checkpoint bad.h5 --to exported
        hostile $code "$words" bad.h5 --config tiny.ini --set model.base=bad.h5 --set model.init=base --set run.name=none
    done
    [ ! -e exported ]
    all_right 72
}

@test "no bit of a checkpoint changes unnoticed, wherever it is, and no cut either" {
    local i at bit size state=3 accepted='' status
    cp best.h5 turned.h5
    read_bytes best.h5
    size=${#bytes[@]}
    # half of them where HDF5's own structures stand: the first thousands of bytes
    for ((i = 0; i < 160; i++)); do
        if ((i % 2)); then random "$size"; else random 4096; fi
        at=$drawn
        random 8 && bit=$drawn
        put_byte turned.h5 "$at" $((bytes[at] ^ (1 << bit)))
        status=0
        "$PROGRAM" verify turned.h5 > got.out 2> got.err || status=$?
        [ $status -eq 65 ] || accepted+="byte $at, bit $bit: exit code $status: $(head -c 300 got.err)"$'\n'
        if ((i % 16 == 0)); then
            hostile 65 turned.h5 turned.h5 eval --checkpoint turned.h5 --data dev.tsv
            hostile 65 turned.h5 turned.h5 predict --checkpoint turned.h5 --data dev.tsv
        fi
        put_byte turned.h5 "$at" "${bytes[at]}"
    done
    cmp turned.h5 best.h5
    for i in 1 7 8 96 512 1000 2048 4096 8192 $((size / 2)) $((size - 4096)) $((size - 1)); do
        head -c "$i" best.h5 > cut.h5
        hostile 65 cut.h5 cut.h5 verify cut.h5
    done
    { cat best.h5 && printf x; } > longer.h5
    hostile 65 longer.h5 longer.h5 verify longer.h5
    [ -z "$accepted" ] || { printf '%s' "$accepted" && return 1; }
    all_right 33
}
