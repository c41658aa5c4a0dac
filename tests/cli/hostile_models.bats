#!/usr/bin/env bats
# Checkpoints, Hugging Face folders and vocabularies that are cut, altered, endless, or something else altogether.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # bats and the helpers set and read variables of one another
load common
load train_shop
load hostile

setup_file() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    make_victims
}

setup() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    begin
}

# What any file can be instead of what it says: altered KIND FILE ORIGINAL
altered() {
    rm -rf "$2"
    case $1 in
    empty) : > "$2" ;;
    half) head -c $(($(stat -c %s "$3") / 2)) "$3" > "$2" ;;
    nul) cp "$3" "$2" && put_byte "$2" 5 0 ;;
    utf8) cp "$3" "$2" && put_byte "$2" 5 255 ;;
    deep) zeros 100000 | tr '\0' '[' > "$2" ;;
    line) letters 100000000 > "$2" ;;
    list) { printf '{"a":[' && zeros 2000000 | sed 's/\x00/0,/g' && echo '0]}'; } > "$2" ;;
    keys) awk 'BEGIN { printf "{"; for (i = 0; i < 600000; i++) printf "\"%x\":0,", i; print "\"a\":0}" }' > "$2" ;;
    objects) { printf '{"a":[' && zeros 1000000 | sed 's/\x00/{},/g' && echo '0]}'; } > "$2" ;;
    sparse) truncate -s 3G "$2" ;;
    folder) mkdir "$2" ;;
    pipe) mkfifo "$2" ;;
    circle) ln -s "${2##*/}" "$2" ;;
    nowhere) ln -s nothing "$2" ;;
    device) ln -s /dev/zero "$2" ;;
    esac
}

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

@test "files of a Hugging Face folder that are none" {
    local file kind code words
    for file in config.json tokenizer.json tokenizer_config.json vocab.txt model.safetensors; do
        for kind in empty half nul utf8 deep line list keys objects sparse folder pipe circle nowhere device; do
            rm -rf bad && cp -r hf bad
            altered $kind bad/$file hf/$file
            code=65 words=bad
            case $kind in
            circle) code=66 words="bad/$file: links that lead in a circle" ;;
            nowhere) code=66 words="bad/$file: a link to a file that is not there" ;;
            half) if [ $file = vocab.txt ]; then code=0; fi ;; # tokenizer.json knows the rest
            nul) if [ $file = model.safetensors ]; then code="0 65"; fi ;;
            esac
            case $kind:$file in *:vocab.txt | *:model.safetensors) ;; list:* | keys:* | objects:*) words="bad/$file: so many keys and values" ;; esac
            # What may be read whole before it is refused: a vocabulary, 2 x 16 MiB, and the other file beside it.
            hostile "$code" "$words" bad/$file convert --from bad --to converted.h5
        done
    done
    all_right 75
}

@test "weights in shards: names that lead elsewhere, lists without end" {
    local name
    rm -rf bad && cp -r hf bad && rm bad/model.safetensors
    for name in ../hf/model.safetensors /etc/passwd .hidden.safetensors model.bin $'a\e[31m.safetensors' nothing.safetensors \
        "$(letters 5000).safetensors"; do
        name=${name//$'\e'/\\u001b}
        printf '{"weight_map": {"classifier.bias": "%s"}}' "$name" > bad/model.safetensors.index.json
        hostile "65 66" bad bad/model.safetensors.index.json convert --from bad --to converted.h5
    done
    printf '{"weight_map": {"classifier.bias": 7}}' > bad/model.safetensors.index.json
    hostile 65 "the file of tensor \"classifier.bias\" is no string" - convert --from bad --to converted.h5
    printf '{"weight_map": []}' > bad/model.safetensors.index.json
    hostile 65 "no weight_map" - convert --from bad --to converted.h5
    awk 'BEGIN { printf "{\"weight_map\": {"; for (i = 0; i < 20000; i++) printf "\"%d\": \"%d.safetensors\", ", i, i
                 print "\"x\": \"x.safetensors\"}}" }' > bad/model.safetensors.index.json
    hostile "65 66" bad bad/model.safetensors.index.json convert --from bad --to converted.h5
    all_right 10
}

@test "a Hugging Face folder with any bit turned: taken whole, or refused" {
    local file i at bit state=5
    for file in config.json tokenizer.json tokenizer_config.json vocab.txt model.safetensors; do
        rm -rf bad && cp -r hf bad
        read_bytes hf/$file
        for ((i = 0; i < 24; i++)); do
            # in the header of model.safetensors, for the numbers behind it have no wrong ones
            random $((${#bytes[@]} < 3000 ? ${#bytes[@]} : 3000)) && at=$drawn
            random 8 && bit=$drawn
            put_byte bad/$file "$at" $((bytes[at] ^ (1 << bit)))
            rm -f converted.h5
            hostile "0 65 66 78" "" bad/$file convert --from bad --to converted.h5
            put_byte bad/$file "$at" "${bytes[at]}"
        done
    done
    all_right 120
}

@test "vocabularies without end" {
    letters 16000000 > long.txt
    hostile 65 "different beginnings" long.txt tokenize --vocab long.txt
    awk 'BEGIN { s = 1; for (i = 0; i < 900000; i++) { s = (s * 69069 + 12345) % 4294967296; printf "%x%d\n", s, i } }' > random.txt
    hostile 65 "random.txt" random.txt tokenize --vocab random.txt
    zeros 16000000 | tr '\0' '\n' > lines.txt
    hostile 65 "lines.txt: more than" lines.txt tokenize --vocab lines.txt
    head -c 3000000 best.h5 > bytes.txt
    hostile 65 "bytes.txt:" bytes.txt tokenize --vocab bytes.txt
    local kind
    for kind in empty half deep line list keys sparse folder pipe circle nowhere device; do
        altered $kind bad.json hf/tokenizer.json
        hostile "65 66 78" bad.json bad.json tokenize --vocab bad.json
        altered $kind bad.txt hf/vocab.txt
        hostile "0 65 66" "" bad.txt tokenize --vocab bad.txt
    done
    all_right 28
}
