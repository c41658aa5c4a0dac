#!/usr/bin/env bats
# Configurations and what a run left behind: absurd values, no configuration at all, a folder whose files were cut,
# altered, or replaced by what is no file.
# shellcheck disable=SC2012,SC2016,SC2030,SC2031,SC2034,SC2154 # bats and the helpers set and read variables of one another
load common
load train_shop
load hostile

setup() {
    begin_case
    LIMIT_BASE=131072 # a model in training
}

run_it=(--config tiny.ini --set run.name=again --set train.max_steps=4 --set model.hidden=16 --set model.layers=1 --set model.ffn=16)

@test "absurd values, by --set, by the environment and in a file" {
    local value key word thirty
    thirty=$(printf '1%.0s' {1..30})
    local -a bad=(model.hidden=1000000000 model.hidden=1e308 model.hidden=-0 model.layers=2147483648 model.heads=0 model.heads=7
        model.ffn=9223372036854775807 model.dropout=nan model.dropout=1 model.dropout=-1e-300 data.max_length=1000000000
        data.max_length=0 train.batch_size=2147483648 train.batch_size=0x10 "train.batch_size=$thirty"
        "train.batch_size=$(letters 100000)" train.epochs=1e308 train.epochs=nan train.max_steps=-1
        train.micro_batch_tokens=99999999999 optimizer.learning_rate=inf optimizer.learning_rate=1e309 optimizer.beta1=1
        run.threads=1000000 run.seed=18446744073709551616 run.seed=-1 checkpoint.every=1e400
        "eval.every=99999999999999999999 steps" eval.threshold=nan 'train.class_weights=nan,1' schedule.warmup=-1
        schedule.warmup=1e300 data.negative_keep=0 data.negative_keep=inf 'model.labels=,,,' 'data.text_a={' run.name=.. run.name=a/b
        "run.name=$(letters 300)" $'run.name=a\nb' run.precision=int8 train.freeze=-1 distributed.timeout=-1
        optimizer.layer_decay=2 train.label_smoothing=1 train.patience=1e10 nothing.at=all train.nothing=1)
    for value in "${bad[@]}"; do
        key=${value%%=*} word=${value#*=}
        hostile 78 "${key%%.*}" - "${run_it[@]}" --set "$value"
        case $word in *$'\n'* | *'='*) continue ;; esac
        printf '[%s]\n%s = %s\n' "${key%%.*}" "${key#*.}" "$word" > absurd.ini
        hostile 78 absurd.ini - --config absurd.ini --set data.train=train.tsv
    done
    key=RECTRAIN_TRAIN_BATCH_SIZE
    export $key=2147483648
    hostile 78 $key - "${run_it[@]}"
    export $key=$'\e[31m'
    hostile 78 "$key = \\x1b[31m" - "${run_it[@]}"
    unset $key
    export RECTRAIN_NO_SUCH=1
    hostile 0 "" - config --config tiny.ini
    rm -rf runs/again
    all_right 92
}

@test "no configuration: cut, altered, endless, included in itself, no file" {
    local i at bit state=7 kind
    for kind in zeros line keys sections folder pipe circle nowhere device sparse; do
        rm -rf bad.ini
        case $kind in
        zeros) zeros 100000 > bad.ini ;;
        line) { printf '[run]\nname = ' && letters 200000000; } > bad.ini ;;
        keys) { echo '[run]' && seq -f 'k%.0f = 1' 50000; } > bad.ini ;;
        sections) seq -f '[k%.0f]' 60000 > bad.ini ;;
        folder) mkdir bad.ini ;;
        pipe) mkfifo bad.ini ;;
        circle) ln -s bad.ini bad.ini ;;
        nowhere) ln -s nothing bad.ini ;;
        device) ln -s /dev/zero bad.ini ;;
        sparse) truncate -s 3G bad.ini ;;
        esac
        hostile "66 78" bad.ini bad.ini config --config bad.ini
        hostile "66 78" bad.ini bad.ini --config bad.ini
    done
    rm -rf bad.ini
    printf '[run]\ninclude = bad.ini\n' > bad.ini
    hostile 78 "bad.ini:2: " bad.ini config --config bad.ini
    printf '#include bad.ini\n!include bad.ini\n' > bad.ini
    hostile 78 "bad.ini:2: " bad.ini config --config bad.ini
    read_bytes tiny.ini
    for ((i = 0; i < 60; i++)); do
        random ${#bytes[@]} && at=$drawn
        random 8 && bit=$drawn
        cp tiny.ini bad.ini
        put_byte bad.ini "$at" $((bytes[at] ^ (1 << bit)))
        hostile "0 66 78" "" bad.ini config --config bad.ini
        head -c "$at" tiny.ini > bad.ini
        hostile "0 66 78" "" bad.ini config --config bad.ini
    done
    all_right 142
}

@test "a run's folder whose files were altered: gone on with, or refused" {
    local file kind i at state=9 code
    rm -rf runs/again
    "$PROGRAM" "${run_it[@]}" --set train.max_steps=3 > got.out 2> got.err
    rm -rf kept && mv runs/again kept
    for file in best.h5 last.h5 metrics.jsonl report.txt config.ini log.txt; do
        for kind in empty half turned zeros folder pipe circle device; do
            rm -rf runs/again && cp -r kept runs/again
            case $kind in
            empty) : > runs/again/$file ;;
            half) head -c $(($(stat -c %s kept/$file) / 2)) kept/$file > runs/again/$file ;;
            turned)
                read_bytes kept/$file
                random ${#bytes[@]} && at=$drawn
                put_byte runs/again/$file "$at" $((bytes[at] ^ 4))
                ;;
            zeros) zeros 20000 > runs/again/$file ;;
            folder) rm runs/again/$file && mkdir runs/again/$file ;;
            pipe) rm runs/again/$file && mkfifo runs/again/$file ;;
            circle) ln -sf $file runs/again/$file ;;
            device) ln -sf /dev/zero runs/again/$file ;;
            esac
            case $kind:$file in
            pipe:* | folder:* | device:*) hostile 74 "runs/again/$file: a" - "${run_it[@]}" --set train.max_steps=3 ;;
            *) hostile "0 65 66 74 78" "" - "${run_it[@]}" --set train.max_steps=3 ;;
            esac
        done
    done
    rm -rf runs/again
    all_right 48
}

@test "a token cache that is altered, cut while it is read, or no file: the same run" {
    local i at kind state=11 cache side status=0
    rm -rf runs/again cache
    "$PROGRAM" "${run_it[@]}" --set data.cache=cache > got.out 2> got.err
    cp runs/again/best.h5 right.h5
    cache=$(ls -S cache/* | head -n 1) side=$(ls -S cache/* | tail -n 1)
    read_bytes "$cache"
    cp "$cache" whole.cache && cp "$side" whole.side
    for ((i = 0; i < 24; i++)); do
        rm -rf runs/again
        random ${#bytes[@]} && at=$drawn
        cp whole.cache "$cache"
        if ((i % 3)); then put_byte "$cache" "$at" $((bytes[at] ^ 16)); else head -c "$at" whole.cache > "$cache"; fi
        hostile 0 "" - "${run_it[@]}" --set data.cache=cache
        cmp runs/again/best.h5 right.h5
        cmp "$cache" whole.cache
    done
    for kind in empty zeros folder pipe circle device; do
        for file in "$cache" "$side"; do
            rm -rf runs/again cache && mkdir cache
            case $kind in
            empty) : > "$file" ;;
            zeros) zeros 100000 > "$file" ;;
            folder) mkdir "$file" ;;
            pipe) mkfifo "$file" ;;
            circle) ln -s "${file##*/}" "$file" ;;
            device) ln -s /dev/zero "$file" ;;
            esac
            hostile 0 "" - "${run_it[@]}" --set data.cache=cache
            cmp runs/again/best.h5 right.h5
        done
    done
    # It shrinks while a run reads from it: an end with a sentence, or none, and never by a signal.
    rm -rf runs/again cache
    "$PROGRAM" "${run_it[@]}" --set data.cache=cache --set train.epochs=100000 --set checkpoint.every=1000000 \
        --set eval.every=50 > got.out 2> got.err 3>&- &
    for ((i = 0; i < 1000; i++)); do
        [ -s runs/again/report.txt ] && break
        sleep 0.01
    done
    for file in cache/*.tokens; do : > "$file"; done
    sleep 0.3
    kill -TERM $! 2> /dev/null || true
    wait $! || status=$?
    case $status in 65 | 74 | 75) ;; *) blame "a cache that shrank: exit code $status: $(cat got.err)" ;; esac
    rm -rf runs/again
    all_right 36
}
