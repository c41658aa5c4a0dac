#!/usr/bin/env bats
# Hugging Face folders and vocabularies that are cut, altered, endless, or something else altogether.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # bats and the helpers set and read variables of one another
load common
load train_shop
load hostile

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
        for ((i = 0; i < 16; i++)); do
            # in the header of model.safetensors, for the numbers behind it have no wrong ones
            random $((${#bytes[@]} < 3000 ? ${#bytes[@]} : 3000)) && at=$drawn
            random 8 && bit=$drawn
            put_byte bad/$file "$at" $((bytes[at] ^ (1 << bit)))
            rm -f converted.h5
            hostile "0 65 66 78" "" bad/$file convert --from bad --to converted.h5
            put_byte bad/$file "$at" "${bytes[at]}"
        done
    done
    all_right 80
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
