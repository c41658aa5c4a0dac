#!/usr/bin/env bats
# Lists of items for users: parts, reasons, rules, users of whom nothing is known, and what --evaluate says of them.
load common
load train_shop

# A log small enough to compute by hand: e is clicked by nobody, u5 is not in it.
hand() {
    printf 'item_id\ttitle\tbrand\tkind\na\tTall lamp\tAcme\tlamps\nb\tLow lamp\tBolt\tlamps\nc\tBig chair\tAcme\tchairs\nd\tOld rug\t\trugs\ne\tNew rug\tBolt\trugs\n' > items.tsv
    {
        printf 'user_id\titem_id\ttime\tclick\n'
        i=0
        for pair in u1:a u1:b u2:a u2:b u2:c u3:b u3:c u4:a u4:d; do
            printf '%s\t%s\t%d\t1\n' "${pair%:*}" "${pair#*:}" $((++i))
        done
        printf 'u1\te\t99\t0\n'
    } > log.tsv
}

setup_file() {
    local word
    mkdir -p "$BATS_FILE_TMPDIR/shop"
    cd "$BATS_FILE_TMPDIR/shop" || return 1
    unset_variables
    "$PROGRAM" example --to . --users 40 > /dev/null 2>&1
    {
        printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' ';'
        cut -f 2 items.tsv | tr ' ' '\n' | tr '[:upper:]' '[:lower:]' | sort -u | grep .
    } > vocab.txt
    cat > tiny.ini << 'INI'
[run]
device = cpu
precision = fp32
threads = 1
seed = 7
[model]
init = random
vocab = vocab.txt
hidden = 32
layers = 2
heads = 2
ffn = 64
[data]
train = train.tsv
text_a = query
text_b = title
label = click
max_length = 32
[train]
max_steps = 4
batch_size = 8
[track]
tensorboard = no
INI
    "$PROGRAM" -q --config tiny.ini > said 2>&1 || cat said
    "$PROGRAM" -q --config tiny.ini --set run.seed=8 --set run.name=other > said 2>&1 || cat said
    printf 'user_id\tquery\tcategory\n1\tlamp\tkitchen\nnew one\tgift for kittens\tpets\nnobody\t\tpets\n' > users.tsv
}

shop() { cp -r "$BATS_FILE_TMPDIR/shop/." .; }

# column N FILE: without the header
column() { tail -n +2 "$2" | cut -f "$1"; }

@test "item-item cosine by hand: scores, reasons, nothing that was seen" {
    hand
    expect 0 recommend --items items.tsv --events log.tsv --weights popularity=0 -o lists.tsv
    [ "$output" = "" ]
    has "$stderr" "log.tsv: 9 clicks of 4 users on 5 items"
    printf 'user\trank\titem\tscore\ttext\tranker\tcollaborative\tpopularity\treason\n' > wanted
    # c(a,b) = 2/3, c(b,c) = 2/sqrt 6, c(a,c) = 1/sqrt 6, c(a,d) = 1/sqrt 3
    {
        printf 'u1\t1\tc\t1\t\t\t1.22474\t\tlike Low lamp\nu1\t2\td\t0\t\t\t0.57735\t\tlike Tall lamp\n'
        printf 'u2\t1\td\t1\t\t\t0.57735\t\tlike Tall lamp\n'
        printf 'u3\t1\ta\t1\t\t\t1.07491\t\tlike Low lamp\n'
        printf 'u4\t1\tb\t1\t\t\t0.66667\t\tlike Tall lamp\nu4\t2\tc\t0\t\t\t0.40825\t\tlike Tall lamp\n'
    } >> wanted
    awk -F '\t' -v OFS='\t' 'NR > 1 { $7 = sprintf("%.5f", $7); sub(/0*$/, "", $7) } 1' lists.tsv > got
    diff wanted got
    # the reason is the part that gave most; of equals the first
    expect 0 recommend --items items.tsv --events log.tsv -q
    has "$output" "$(printf '1.0749149\t3\tlike Low lamp')"
    expect 0 recommend --items items.tsv --events log.tsv --weights popularity=3 -q
    has "$output" "$(printf '1.0749149\t3\tpopular')"
}

@test "popularity alone, in slices, over a window; what was seen comes with --keep-seen" {
    hand
    printf 'user_id\tkind\nu5\trugs\nu1\tchairs\nu6\tnone such\n' > users.tsv
    expect 0 recommend --items items.tsv --events log.tsv --users users.tsv --weights collaborative=0 --slice kind -q
    # u5: rugs first, then a 3, b 3, c 2 clicks, each over 3 + 1
    [ "$(grep -c '^u5' <<< "$output")" -eq 4 ]
    has "$output" "$(printf 'u5\t1\td\t0.2\t\t\t\t1\tpopular in rugs')"
    has "$output" "$(printf '\ta\t0.')"
    [ "$(grep '^u5' <<< "$output" | cut -f 3,8,9 | tr '\t\n' ' /')" = "d 1 popular in rugs/a 0.75 popular/b 0.75 popular/c 0.5 popular/" ]
    [ "$(grep '^u1' <<< "$output" | cut -f 3,8,9 | tr '\t\n' ' /')" = "c 2 popular in chairs/d 0.25 popular/" ]
    [ "$(grep '^u6' <<< "$output" | cut -f 3,8,9 | tr '\t\n' ' /')" = "a 3 popular/b 3 popular/c 2 popular/d 1 popular/" ]
    expect 0 recommend --items items.tsv --events log.tsv --users users.tsv --weights collaborative=0 --keep-seen -q
    [ "$(grep '^u1' <<< "$output" | cut -f 3 | tr -d '\n')" = abcd ]
    # the last three clicks are c, a, d
    expect 0 recommend --items items.tsv --events log.tsv --users users.tsv --weights collaborative=0 --popularity-window 3 -q
    [ "$(grep '^u5' <<< "$output" | cut -f 3 | tr -d '\n')" = acd ]
    # a column of users alone: what users of their slice clicked
    printf 'user_id\tland\nu1\tX\nu2\tY\nu3\tY\nu4\tX\nu5\tY\n' > lands.tsv
    expect 0 recommend --items items.tsv --events log.tsv --users lands.tsv --weights collaborative=0 --slice land -q
    [ "$(grep '^u5' <<< "$output" | cut -f 3,8,9 | tr '\t\n' ' /')" = "b 2 popular in Y/c 2 popular in Y/a 1 popular in Y/d 0.25 popular/" ]
}

@test "JSON lines say the same; a list as long as --top; the same bytes with any number of threads" {
    shop
    printf 'user_id\n1\nnew "one"\n' > two.tsv
    expect 0 recommend --items items.tsv --events train.tsv --users two.tsv --top 3 --format jsonl -q
    has "$output" '"user": "new \"one\"", "rank": 1, "item": "'
    has "$output" '"text": null, "ranker": null, "collaborative": null, "popularity": '
    has "$output" '"reason": "popular"}'
    [ "$(grep -c '"rank": 3' <<< "$output")" -eq 2 ]
    [ "$(grep -c '"rank": 4' <<< "$output")" -eq 0 ]
    OMP_NUM_THREADS=1 "$PROGRAM" recommend -q --items items.tsv --events train.tsv -o one.tsv
    OMP_NUM_THREADS=3 "$PROGRAM" recommend -q --items items.tsv --events train.tsv -o three.tsv
    cmp one.tsv three.tsv
    [ "$(column 2 one.tsv | sort -n | tail -1)" = 10 ]
}

@test "both models: candidates by text, ranked as pairs; each part may be missing; vectors from an index are the same" {
    shop
    expect 0 recommend --retriever runs/tiny/best.h5 --ranker runs/other/best.h5 --items items.tsv --users users.tsv --events train.tsv -o all.tsv
    has "$stderr" "3 users, 30 rows"
    [ "$(grep -c 'matches your query' all.tsv)" -gt 0 ]
    # every item of the list was ranked or left to the parts; whoever asks nothing gets what is popular
    awk -F '\t' '$1 == "new one" && $6 == "" { bad = 1 } END { exit bad }' all.tsv
    awk -F '\t' '$1 == "nobody" && ($5 $6 $7 != "" || $9 != "popular") { bad = 1 } END { exit bad }' all.tsv
    has "$stderr" "1 users of whom nothing is known got what is popular"
    # the score is the weighted sum that it says it is: here of one part, whose order it keeps
    expect 0 recommend --retriever runs/tiny/best.h5 --items items.tsv --users users.tsv --events train.tsv --weights collaborative=0,popularity=0 --item-text '{title}' -q -o text.tsv
    awk -F '\t' 'NR > 1 && $1 == "new one" { if ($5 == "" || $6 $7 $8 != "" || (last != "" && $5 > last + 1e-6)) bad = 1; last = $5 } END { exit bad }' text.tsv
    # the ranker's own figures are those of predict
    expect 0 recommend --ranker runs/other/best.h5 --items items.tsv --users users.tsv --events train.tsv --top 3 -q -o ranked.tsv
    [ "$(grep -c "^new one" ranked.tsv)" -eq 3 ]
    {
        printf 'query\ttitle\n'
        grep '^new one' ranked.tsv | cut -f 3 | while read -r item; do
            printf 'gift for kittens\t%s\n' "$(awk -F '\t' -v i="$item" '$1 == i { print $2 }' items.tsv)"
        done
    } > pairs.tsv
    "$PROGRAM" predict -q --checkpoint runs/other/best.h5 --data pairs.tsv > scored
    paste <(column 4 scored) <(grep '^new one' ranked.tsv | cut -f 6) |
        awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 1e-5 || NF != 2) { print; bad = 1 } } END { exit bad }'
    "$PROGRAM" embed -q --checkpoint runs/tiny/best.h5 --data items.tsv --text title --id item_id --output items.h5
    expect 0 recommend --retriever runs/tiny/best.h5 --index items.h5 --items items.tsv --users users.tsv --events train.tsv --weights collaborative=0,popularity=0 -q -o index.tsv
    cmp <(cut -f 1-3 text.tsv) <(cut -f 1-3 index.tsv)
    # of whom nothing is known gets what is popular, even where that has no weight
    [ "$(awk -F '\t' '$1 == "nobody" && $5 == "" && $8 > 0 && $9 == "popular"' text.tsv | wc -l)" -eq 10 ]
    # lengths of vectors are of no matter
    "$PROGRAM" embed -q --checkpoint runs/tiny/best.h5 --data items.tsv --text title --id item_id --no-normalize --output long.h5
    expect 0 recommend --retriever runs/tiny/best.h5 --index long.h5 --items items.tsv --users users.tsv --events train.tsv --weights collaborative=0,popularity=0 -q -o index.tsv
    cmp <(cut -f 1-3 text.tsv) <(cut -f 1-3 index.tsv)
    # nothing that was seen is found by text, unless it may be
    expect 0 recommend --retriever runs/tiny/best.h5 --items items.tsv --events train.tsv --weights collaborative=0,popularity=0 --top 1000 --candidates 1152 -q -o seen.tsv
    awk -F '\t' 'NR == FNR { if ($16 == 1) seen[$2, $3] = 1; next } FNR > 1 { n++; if (($1, $3) in seen) bad = 1 } END { exit bad || n < 10000 }' train.tsv seen.tsv
    for merge in rank rrf; do
        expect 0 recommend --retriever runs/tiny/best.h5 --ranker runs/other/best.h5 --items items.tsv --users users.tsv --events train.tsv --merge $merge --diversity 0.5 -q
        [ "$(wc -l <<< "$output")" -eq 31 ]
    done
}

@test "a history is written as join writes it: users of the log are found by their last titles" {
    shop
    cut -f 1-3 items.tsv > some.tsv
    printf 'user_id\titem_id\ttime\nu\t2\t5\nu\t1\t9\nu\t3\t7\n' > log.tsv
    title() { awk -F '\t' -v i="$1" '$1 == i { print $2 }' some.tsv; }
    printf 'user_id\tquery\nv\t%s ; %s\n' "$(title 3)" "$(title 1)" > users.tsv
    flags=(--retriever runs/tiny/best.h5 --items some.tsv --events log.tsv --weights collaborative=0,popularity=0 --keep-seen -q)
    expect 0 recommend "${flags[@]}" --history 2
    as_log=$(tail -n +2 <<< "$output" | cut -f 2-8)
    has "$output" "matches your history"
    expect 0 recommend "${flags[@]}" --users users.tsv
    [ "$as_log" = "$(tail -n +2 <<< "$output" | cut -f 2-8)" ]
    has "$output" "matches your query"
}

@test "prefixes stand before texts for the retriever" {
    shop
    flags=(--retriever runs/tiny/best.h5 --items items.tsv --events train.tsv --weights collaborative=0,popularity=0 -q)
    printf 'user_id\tquery\nv\tgift for kittens\n' > whole.tsv
    printf 'user_id\tquery\nv\tfor kittens\n' > rest.tsv
    expect 0 recommend "${flags[@]}" --users whole.tsv --item-text 'lamp {title}'
    whole=$output
    expect 0 recommend "${flags[@]}" --users rest.tsv --item-prefix 'lamp ' --user-prefix 'gift '
    [ "$output" = "$whole" ]
    expect 0 recommend "${flags[@]}" --users rest.tsv
    [ "$output" != "$whole" ]
}

@test "rules hold in every list, and what each did is told" {
    shop
    printf '# what we show\nmust not category = garden | pets\nat most 1 per brand\nat most 4 per category\n' > rules.txt
    expect 0 recommend --items items.tsv --events train.tsv --rules rules.txt -o lists.tsv
    awk -F '\t' 'NR == FNR { kind[$1] = $3; brand[$1] = $5; next }
        FNR > 1 { n++; if (kind[$3] == "garden" || kind[$3] == "pets" || ++brands[$1, brand[$3]] > 1 || ++kinds[$1, kind[$3]] > 4) { print; bad = 1 } }
        END { exit bad || n < 100 }' items.tsv lists.tsv
    has "$stderr" "rules.txt:2: must not category = garden | pets: 192 items left out"
    [[ $stderr =~ rules.txt:3:\ at\ most\ 1\ per\ brand:\ [1-9][0-9]*\ candidates\ passed\ over ]]
    printf 'must brand = Harbor\n' > rules.txt
    expect 0 recommend --items items.tsv --events train.tsv --rules rules.txt --diversity 0.3 -q -o lists.tsv
    awk -F '\t' 'NR == FNR { brand[$1] = $5; next } FNR > 1 && brand[$3] != "Harbor" { bad = 1 } END { exit bad || FNR < 10 }' items.tsv lists.tsv
    printf 'must brand = Harbour\n' > rules.txt
    expect 65 recommend --items items.tsv --events train.tsv --rules rules.txt
    has "$stderr" "rules.txt:1: must brand = Harbour: no item has such a value; did you mean Harbor?"
    has "$stderr" "rules.txt: the rules leave none of the 1152 items of items.tsv"
}

@test "a wrong rule, column or file is named, and an older output stays" {
    hand
    echo old > lists.tsv
    printf 'must brand = Acme\nat most two per brand\n' > rules.txt
    expect 65 recommend --items items.tsv --events log.tsv --rules rules.txt -o lists.tsv
    has "$stderr" 'rules.txt:2: "two per brand": at most takes a whole number from 1 to 1000000'
    printf 'must brnd = Acme\n' > rules.txt
    expect 65 recommend --items items.tsv --events log.tsv --rules rules.txt -o lists.tsv
    has "$stderr" 'rules.txt:1: items.tsv:1: no column "brnd"; found item_id, title, brand, kind; did you mean "brand"?'
    expect 66 recommend --items items.tsv --events log.tsv --rules none.txt -o lists.tsv
    expect 66 recommend --items none.tsv --events log.tsv -o lists.tsv
    expect 65 recommend --items items.tsv --events log.tsv --slice knd -o lists.tsv
    has "$stderr" "--slice knd: neither items.tsv has such a column"
    expect 65 recommend --items items.tsv --events items.tsv -o lists.tsv
    has "$stderr" 'items.tsv:1: no column "user_id"'
    printf 'u9\tzz\t1\t1\nu9\ta\tlate\t1\n' >> log.tsv
    expect 65 recommend --items items.tsv --events log.tsv -o lists.tsv
    has "$stderr" 'log.tsv:13: time "late"; accepted: a number, or a date as 2019-11-15 10:22:32'
    [ "$(cat lists.tsv)" = old ]
    expect 0 recommend --items items.tsv --events log.tsv --on-bad-row skip -o lists.tsv
    has "$stderr" "log.tsv: 1 bad rows were skipped"
    has "$stderr" "log.tsv: 1 clicks on items that items.tsv lacks were left out"
}

@test "wrong command lines" {
    hand
    files=(--items items.tsv --events log.tsv)
    expect 2 recommend --items items.tsv
    has "$stderr" "rectrain recommend needs --events FILE"
    expect 2 recommend "${files[@]}" --weights collaborativ=1
    has "$stderr" 'no part "collaborativ"; did you mean collaborative?'
    for wrong in text text= text=-1 text=1,,ranker=1 text=1,text=2 text=nan; do
        expect 2 recommend "${files[@]}" --weights "$wrong"
        has "$stderr" "--weights $wrong"
    done
    expect 2 recommend "${files[@]}" --weights collaborative=0,popularity=0
    has "$stderr" "nothing finds candidates"
    expect 2 recommend "${files[@]}" --merge best
    has "$stderr" "--merge best: expected minmax, rank or rrf"
    expect 2 recommend "${files[@]}" --diversity 2
    expect 2 recommend "${files[@]}" --top 20 --candidates 10
    has "$stderr" "--candidates 10 is less than --top 20"
    expect 2 recommend "${files[@]}" --index x.h5
    has "$stderr" "--index x.h5 spares --retriever"
    expect 2 recommend "${files[@]}" --item-prefix x
    has "$stderr" "are of --retriever: name one"
    expect 2 recommend "${files[@]}" --retriever x.h5 --index x.h5 --item-text title
    has "$stderr" "--index has the items' vectors already"
    expect 2 recommend "${files[@]}" --json
    expect 2 recommend "${files[@]}" --evaluate log.tsv -o x
    expect 2 recommend "${files[@]}" --user-text query
    expect 2 recommend --items - --events log.tsv
    has "$stderr" "--items -: expected a file"
    sed -i 's/\ttime//; s/\t[0-9]*\t/\t/' log.tsv
    expect 2 recommend "${files[@]}" --popularity-window 5
    has "$stderr" "--popularity-window: a window of 5 needs times, and the log has none"
}

@test "--evaluate: the figures of a log computed by hand" {
    hand
    printf 'user_id\titem_id\tclick\nu1\tc\t1\nu1\te\t1\nu1\ta\t1\nu3\td\t1\nu5\ta\t1\nu5\tb\t1\nu4\tc\t1\nu4\te\t0\nu2\ta\t1\nu7\tzz\t1\n' > later.tsv
    expect 0 recommend --items items.tsv --events log.tsv --evaluate later.tsv --top 2
    has "$stderr" "later.tsv: 1 clicks on items that items.tsv lacks were left out"
    has "$output" "later.tsv: 4 users, 6 held-out items, 1 of them new; lists of 2 out of 5 items"
    has "$output" "left out: 2 items that their users had seen; 1 users have no other"
    # item-knn: u1 c d, u3 a, u4 b c, u5 nothing; popularity: u1 c d, u3 a d, u4 b c, u5 a b
    has "$output" "$(printf 'all users (4 users)\n                          recall@2                ndcg@2                  mrr@2\npopularity                0.8750 [')"
    [[ $output =~ $'\n'item-knn\ +0.3750\ \[0\.[0-9]{4}\ [01]\.[0-9]{4}\]\ +0.3110\ \[ ]]
    [[ $output =~ popularity\ +0.68\ \[0\.[0-9]{2}\ [01]\.[0-9]{2}\]\ +0.4849\ \[0\.[0-9]{4}\ [01]\.[0-9]{4}\]\ +0.8000 ]]
    has "$output" "cold users (1 users)"
    has "$output" "new items alone (1 users)"
    expect 0 recommend --items items.tsv --events log.tsv --evaluate later.tsv --top 2 --json -q
    # value SYSTEM MEASURE: the first of that name, which is of all users
    value() { local of=${output#*\""$1"\": \{\"all\": } && of=${of#*\""$2"\": } && echo "${of%%[,\}]*}"; }
    is() { awk -v a="$(value "$1" "$2")" -v b="$3" 'BEGIN { d = a - b; if (d < 0) d = -d; if (d > 1e-5 || a == "") { print "found " a ", not " b; exit 1 } }'; }
    is item-knn recall 0.375
    is item-knn ndcg 0.311019
    is item-knn mrr 0.375
    is item-knn coverage 0.8
    is popularity recall 0.875
    is popularity ndcg 0.718752
    is popularity mrr 0.75
    is popularity novelty 0.675688
    is popularity coverage 0.8
    # c(c,d) = 0, c(a,d) = 1/sqrt 3, c(b,c) = 2/sqrt 6, c(a,b) = 2/3
    is popularity diversity 0.484872
    has "$output" '"k": 2, "users": 4, "held_out": 6, "held_out_new": 1, "already_seen": 2, "users_without": 1, "items": 5, "resamples": 1000'
    again=$output
    expect 0 recommend --items items.tsv --events log.tsv --evaluate later.tsv --top 2 --json -q
    [ "$output" = "$again" ]
    expect 0 recommend --items items.tsv --events log.tsv --evaluate later.tsv --top 2 --json -q --seed 2
    [ "$output" != "$again" ]
    # b has no place beside a: the list of u5 is a c
    echo 'at most 1 per kind' > rules.txt
    expect 0 recommend --items items.tsv --events log.tsv --evaluate later.tsv --top 2 --rules rules.txt --json -q
    is popularity recall 0.75
    expect 65 recommend --items items.tsv --events log.tsv --evaluate log.tsv
    has "$stderr" "nothing to measure"
}

@test "--evaluate: the pipeline of both models beside its parts, on users of a table too" {
    shop
    expect 0 recommend --retriever runs/tiny/best.h5 --ranker runs/other/best.h5 --items items.tsv --events train.tsv --evaluate test.tsv --candidates 20 -q
    for name in popularity item-knn retriever "retriever + ranker" pipeline; do has "$output" "$name  "; done
    users=$(sed -n 's/^test.tsv: \([0-9]*\) users.*/\1/p' <<< "$output")
    [ "$users" -gt 10 ]
    expect 0 recommend --retriever runs/tiny/best.h5 --items items.tsv --users users.tsv --events train.tsv --evaluate test.tsv --candidates 20 -q
    has "$output" "test.tsv: $users users"
}
