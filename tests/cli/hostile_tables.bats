#!/usr/bin/env bats
# Tables, logs and lines that were made to harm: cut, endless, packed ten thousand times, deep, wide, no text at all.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # bats and the helpers set and read variables of one another
load common
load train_shop
load hostile

# A table that is read: `data` needs no model, so that its memory is the table's alone.
columns=(--set data.text_a=query --set data.text_b=title --set data.label=click)
table() { hostile "$1" "$2" "$3" data "$3" "${columns[@]}" "${@:4}"; }

@test "no table: empty, a folder, a device, links in a circle or to nowhere, bytes of other kinds" {
    : > empty.tsv
    table 65 "empty.tsv: empty" empty.tsv
    printf '\n' > blank.tsv
    table 65 "blank.tsv:1" blank.tsv
    table 65 "hf: a folder" hf
    ln -sf loop.tsv loop.tsv
    table 66 "loop.tsv: links that lead in a circle" loop.tsv
    ln -sf nowhere dangling.tsv
    table 66 "dangling.tsv: a link to a file that is not there" dangling.tsv
    table 66 "train.tsv/x: no such file" train.tsv/x
    rm -f pipe.tsv
    mkfifo pipe.tsv
    table 65 "pipe.tsv: a named pipe" pipe.tsv
    local device
    for device in /dev/zero /dev/full /dev/null /dev/tty /dev/random; do table 65 "$device: a named pipe, socket or device" "$device"; done
    printf 'query\ttitle\tclick\nx\0y\tz\t1\n' > nul.tsv
    table 65 "nul.tsv:2: a NUL byte" nul.tsv
    printf 'que\0ry\ttitle\tclick\nx\tz\t1\n' > nul_head.tsv
    table 65 "nul_head.tsv:1" nul_head.tsv
    zeros 100000 > zeros.tsv
    table 65 "zeros.tsv:1" zeros.tsv
    printf '\xff\xfeq\0u\0' > utf16.tsv
    table 65 "utf16.tsv: UTF-16 text" utf16.tsv
    local magic
    for magic in 'PAR1xxxxxxxxxxxx' 'ARROW1xxxxxxxxxx' '\x89HDF\r\n\x1a\nxxxxxxxx' 'PK\003\004xxxxxxxxxxxx' 'BZh9xxxxxxxxxxxx'; do
        # shellcheck disable=SC2059
        printf "$magic" > binary.tsv
        table 65 "binary.tsv: a" binary.tsv
    done
    all_right 21
}

@test "lines without end, 10^6 columns, JSON a million deep" {
    { printf 'query\ttitle\tclick\n' && letters 200000000; } > line.tsv
    table 65 "line.tsv:2: over 8 MiB" line.tsv
    table 65 "line.tsv:2: over 8 MiB" line.tsv --set data.quoting=csv
    table 65 "line.tsv" line.tsv --set data.format=jsonl
    tail -c +19 line.tsv > head.tsv
    table 65 "head.tsv:1: over 8 MiB" head.tsv
    rm head.tsv
    # Skipped where bad rows are: what stands behind it is read.
    printf '\nq\tt\t1\nq\tt\t0\n' >> line.tsv
    table 0 "" line.tsv --set data.on_bad_row=skip
    rm line.tsv
    truncate -s 3G sparse.tsv
    table 65 "sparse.tsv:1: over 8 MiB" sparse.tsv
    { printf 'query,title,click\n"' && letters 30000000; } > quote.csv
    table 65 "quote.csv:2: a quote that is not closed within 8 MiB" quote.csv
    rm quote.csv
    seq -s $'\t' 1000000 > wide.tsv
    table 65 "wide.tsv:1: more than 65536 columns" wide.tsv
    seq -s , 1000000 > wide.csv
    table 65 "wide.csv:1: more than 65536 columns" wide.csv
    { printf 'query\ttitle\tclick\n' && zeros 1000000 | tr '\0' '\t'; } > wide_row.tsv
    table 65 "wide_row.tsv:2: 1000001" wide_row.tsv
    zeros 1000000 | tr '\0' '[' > deep.jsonl
    table 65 "deep.jsonl:1: so many keys and values" deep.jsonl
    { printf '{"query":' && zeros 100000 | tr '\0' '['; } > deep.jsonl
    table 65 "deep.jsonl:1: not a JSON object: maximum parsing depth" deep.jsonl
    { zeros 20000 | sed 's/\x00/{"a":/g'; } > deep.jsonl
    table 65 "deep.jsonl:1: not a JSON object: maximum parsing depth" deep.jsonl
    all_right 13
}

@test "much in little: gzip and zstd that unpack to gigabytes, JSON of a million values" {
    # Four gigabytes in a thousand members.
    printf 'query\ttitle\tclick\n' | gzip > zeros.tsv.gz
    zeros 4000000 | gzip -1 > more.gz
    for _ in 1 2 3 4 5 6 7 8 9 10; do cat more.gz more.gz > twice.gz && mv twice.gz more.gz; done
    cat more.gz >> zeros.tsv.gz
    rm more.gz
    table 65 "zeros.tsv.gz:2: over 8 MiB" zeros.tsv.gz
    table 74 "zeros.tsv.gz:2: a line of over 256 MiB" zeros.tsv.gz --set data.on_bad_row=skip
    rm zeros.tsv.gz
    { printf 'query\ttitle\tclick\n' && zeros 20000000 | tr '\0' '\n'; } | gzip -1 > lines.tsv.gz
    table 65 "over 1048576 empty lines" lines.tsv.gz
    table 74 "nothing behind this line is read" lines.tsv.gz --set data.on_bad_row=skip
    if command -v zstd > /dev/null; then
        { printf 'query\ttitle\tclick\n' && zeros 400000000; } | zstd -q > zeros.tsv.zst
        table 65 "zeros.tsv.zst:2: over 8 MiB" zeros.tsv.zst
        { printf 'query\ttitle\tclick\n' && letters 40000000; } | zstd -q --long=31 > long.tsv.zst
        table "65 74" "long.tsv.zst" long.tsv.zst
    fi
    { printf '{"query":[' && zeros 4000000 | sed 's/\x00/0,/g' && echo '0]}'; } > list.jsonl
    table 65 "list.jsonl:1: so many keys and values" list.jsonl
    awk 'BEGIN { printf "{"; for (i = 0; i < 400000; i++) printf "\"%x\":0,", i; print "\"query\":0}" }' > keys.jsonl
    table 65 "keys.jsonl:1: so many keys and values" keys.jsonl
    { printf '{"query":[' && zeros 1000000 | sed 's/\x00/{},/g' && echo '0]}'; } > objects.jsonl
    table 65 "objects.jsonl:1: so many keys and values" objects.jsonl
    { printf '{"query":"' && letters 8000000 && printf '","title":"x","click":1}\n'; } | gzip -1 > text.jsonl.gz
    table "0 65" "" text.jsonl.gz
    all_right 9
}

@test "a good table cut anywhere, and with any bit turned" {
    local at bit size i state=1 form
    cut -f 2-4 dev.tsv > good.tsv
    tr '\t' , < good.tsv > good.csv
    awk -F '\t' 'NR > 1 { printf "{\"query\": \"%s\", \"title\": \"%s\", \"click\": %s}\n", $1, $2, $3 }' good.tsv > good.jsonl
    gzip -c good.tsv > good.tsv.gz
    for form in tsv csv jsonl tsv.gz; do
        table 0 "" "good.$form"
        read_bytes "good.$form"
        size=${#bytes[@]}
        for i in 1 2 3 4 5 6; do
            random "$size"
            head -c "$drawn" "good.$form" > "cut.$form"
            table "0 65 74" "cut.$form" "cut.$form"
        done
        cp "good.$form" "turned.$form"
        for ((i = 0; i < 24; i++)); do
            random "$size" && at=$drawn
            random 8 && bit=$drawn
            put_byte "turned.$form" "$at" $((bytes[at] ^ (1 << bit)))
            table "0 65 74" "turned.$form" "turned.$form"
            put_byte "turned.$form" "$at" "${bytes[at]}"
        done
    done
    all_right 124
}

@test "stdin that never ends a line, or is closed" {
    FEED=/dev/zero
    hostile 65 "stdin:1: a line of more than" - tokenize --vocab vocab.txt
    LIMIT_BASE=98304 # a model's activations and the memory to sort by groups
    hostile 65 "stdin:1: over 8 MiB" - predict --checkpoint best.h5 --data -
    FEED=/dev/null
    hostile 65 "stdin: empty" - predict --checkpoint best.h5 --data -
    hostile 0 "" - tokenize --vocab vocab.txt
    FEED=hf
    hostile "65 74" "stdin" - predict --checkpoint best.h5 --data -
    hostile 74 "stdin" - tokenize --vocab vocab.txt
    LIMIT_BASE=8192
    letters 4000000 > line.txt
    FEED=line.txt
    hostile 0 "" line.txt tokenize --vocab vocab.txt
    zeros 2000000 | sed 's/\x00/w1 /g' | head -c 4000000 > words.txt
    FEED=words.txt
    hostile "0 65" "stdin:1" words.txt tokenize --vocab vocab.txt
    hostile "0 65" "stdin:1" words.txt tokenize --vocab vocab.txt --json
    all_right 9
}

@test "logs and items of a join" {
    local what
    printf 'id\tname\n1\ta\n2\tb\n' > items.tsv
    printf 'user\titem\ttime\tclick\nu\t1\t1\t1\nu\t2\t2\t0\n' > events.tsv
    : > empty.tsv
    { printf 'id\tname\n1\t' && letters 20000000; } > long.tsv
    printf 'id\tname\n1\ta\0b\n' > nul.tsv
    { printf 'user\titem\ttime\tclick\n' && zeros 30000000 | tr '\0' '\n'; } > blank.tsv
    seq -s $'\t' 100000 > wide.tsv
    ln -sf loop.tsv loop.tsv
    rm -f pipe.tsv
    mkfifo pipe.tsv
    LIMIT_BASE=65536 # of them 32 MiB to sort in
    local join=(join --item item --item-key id --title name --user user --time time --click click --memory 32 --out joined)
    for what in empty.tsv long.tsv nul.tsv blank.tsv wide.tsv loop.tsv pipe.tsv hf /dev/zero none.tsv; do
        rm -rf joined
        hostile "65 66 2" "" "$what" "${join[@]}" --items "$what" --events events.tsv
        hostile "65 66 2" "" "$what" "${join[@]}" --items items.tsv --events "$what"
    done
    all_right 20
}
