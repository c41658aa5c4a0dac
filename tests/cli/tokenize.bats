#!/usr/bin/env bats
# Lines in, token ids out.
load common

# ids: [PAD] 0 [UNK] 1 [CLS] 2 [SEP] 3 [MASK] 4 red 5 shoe 6 ##s 7 for 8 kids 9 Red 10 é 11
vocab() {
    printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' red shoe '##s' for kids Red é > vocab.txt
}

@test "a line in, a line out; the first TAB separates a pair" {
    vocab
    run --separate-stderr bash -c "printf 'red shoes\nRed shoe\tfor kids\n\nred\tshoe\tfor\tkids' | '$PROGRAM' tokenize --vocab vocab.txt"
    [ "$status" -eq 0 ]
    [ "$output" = $'2 5 6 7 3\n2 5 6 3 8 9 3\n2 3\n2 5 3 6 8 9 3' ]
    [ -z "$stderr" ]
}

@test "--json: ids, types, tokens" {
    vocab
    run bash -c "printf 'red shoes\tkids\n' | '$PROGRAM' tokenize --vocab vocab.txt --json"
    [ "$output" = '{"ids": [2, 5, 6, 7, 3, 9, 3], "types": [0, 0, 0, 0, 0, 1, 1], "tokens": ["[CLS]", "red", "shoe", "##s", "[SEP]", "kids", "[SEP]"]}' ]
    run bash -c "printf 'red' | '$PROGRAM' tokenize --vocab vocab.txt --json"
    [ "$output" = '{"ids": [2, 5, 3], "types": [0, 0, 0], "tokens": ["[CLS]", "red", "[SEP]"]}' ]
    run bash -c "printf '\tred\n' | '$PROGRAM' tokenize --vocab vocab.txt --json"
    [ "$output" = '{"ids": [2, 3, 5, 3], "types": [0, 0, 1, 1], "tokens": ["[CLS]", "[SEP]", "red", "[SEP]"]}' ]
}

@test "--cased keeps upper case and accents" {
    vocab
    run bash -c "printf 'Red é\n' | '$PROGRAM' tokenize --vocab vocab.txt --cased"
    [ "$output" = "2 10 11 3" ]
    run bash -c "printf 'Red é\n' | '$PROGRAM' tokenize --vocab vocab.txt"
    [ "$output" = "2 5 1 3" ]
}

@test "--max-length cuts as the configuration says" {
    vocab
    run bash -c "printf 'red shoe for kids\n' | '$PROGRAM' tokenize --vocab vocab.txt --max-length 4"
    [ "$output" = "2 5 6 3" ]
    run bash -c "printf 'red shoe for kids\n' | '$PROGRAM' tokenize --vocab vocab.txt --max-length 4 --set data.truncation_side=left"
    [ "$output" = "2 8 9 3" ]
    # no cut without it: 600 words, 602 ids
    run bash -c "for i in \$(seq 600); do printf 'red '; done | '$PROGRAM' tokenize --vocab vocab.txt | wc -w"
    [ "$output" -eq 602 ]
}

@test "special tokens in a text: split, or matched where asked" {
    vocab
    run bash -c "printf 'red [SEP]\n' | '$PROGRAM' tokenize --vocab vocab.txt --json"
    lacks "$output" '"[SEP]", "[SEP]"'
    run bash -c "printf 'red [SEP]\n' | '$PROGRAM' tokenize --vocab vocab.txt --set data.special_tokens=match"
    [ "$output" = "2 5 3 3" ]
}

@test "lines longer than any buffer, NUL bytes and broken UTF-8 do no harm" {
    vocab
    run bash -c "head -c 300000 /dev/zero | tr '\0' 'a' | '$PROGRAM' tokenize --vocab vocab.txt"
    [ "$output" = "2 1 3" ]
    run bash -c "for i in \$(seq 20000); do printf 'red '; done | '$PROGRAM' tokenize --vocab vocab.txt | wc -w"
    [ "$output" -eq 20002 ]
    run bash -c "printf 'red\0 \xff\xfe shoe\n\nred\n' | '$PROGRAM' tokenize --vocab vocab.txt | wc -l"
    [ "$output" -eq 3 ]
}

@test "what is wrong with a vocabulary is said" {
    run --separate-stderr bash -c "echo red | '$PROGRAM' tokenize --vocab nothing.txt"
    [ "$status" -eq 66 ]
    has "$stderr" "nothing.txt"
    printf 'red\n' > few.txt
    run --separate-stderr bash -c "echo red | '$PROGRAM' tokenize --vocab few.txt"
    [ "$status" -eq 65 ]
    has "$stderr" "few.txt"
    echo '{' > broken.json
    run --separate-stderr bash -c "echo red | '$PROGRAM' tokenize --vocab broken.json"
    [ "$status" -eq 65 ]
    run --separate-stderr bash -c "echo red | '$PROGRAM' tokenize --vocab broken.json --cased"
    [ "$status" -eq 2 ]
}

@test "a full disk is an error: 74" {
    vocab
    run bash -c "printf 'red\n' | '$PROGRAM' tokenize --vocab vocab.txt > /dev/full"
    [ "$status" -eq 74 ]
}
