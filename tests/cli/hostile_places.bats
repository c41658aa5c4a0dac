#!/usr/bin/env bats
# Names and places: what the program is told to write to, names that a terminal would obey or a file cannot have, what
# this user may not read, and a terminal that results are shown on.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # bats and the helpers set and read variables of one another
load common
load train_shop
load hostile

setup() {
    begin_case
    LIMIT_BASE=98304 # a model's activations and the memory to sort by groups
}

scores() { hostile "$1" "$2" - predict --checkpoint best.h5 --data dev.tsv --output "$3"; }

@test "devices, pipes and folders that results are sent to are never replaced" {
    # By a link of our own: were it replaced, no device would be lost.
    ln -sf /dev/full full
    scores 74 "full: cannot be written: No space left on device" full
    [ -c full ] && [ -L full ]
    ln -sf /dev/null null
    scores 0 "" null
    [ -c null ] && [ -L null ]
    rm -f pipe
    mkfifo pipe
    scores 74 "pipe: a pipe or device that nobody is at the other end of" pipe
    cat pipe > through.tsv &
    scores 0 "" pipe
    wait
    [ -p pipe ]
    "$PROGRAM" predict --checkpoint best.h5 --data dev.tsv > straight.tsv 2> got.err
    cmp straight.tsv through.tsv
    { echo before && "$PROGRAM" predict --checkpoint best.h5 --data dev.tsv --output /dev/fd/1 2> got.err; } > through.tsv
    { echo before && cat straight.tsv; } | cmp - through.tsv
    "$PROGRAM" predict --checkpoint best.h5 --data dev.tsv --output /dev/fd/7 7> through.tsv 2> got.err
    cmp straight.tsv through.tsv
    scores 74 "hf: is a folder; name a file to write" hf
    scores 74 "train.tsv/x: cannot be written" train.tsv/x
    scores 74 "none/x: cannot be written" none/x
    scores 74 "/proc/none: cannot be written" /proc/none
    ln -sf circle circle
    scores 0 "" circle # a link in the way is replaced by the file
    [ ! -L circle ]
    cmp straight.tsv circle
    local to
    for to in full pipe train.tsv /proc/none; do
        hostile 74 "$to" - export --checkpoint best.h5 --to "$to"
        hostile "2 74" "$to" - convert --from hf --to "$to"
        hostile 74 "$to" - convert --from hf --to "$to/x.h5"
        hostile 74 "$to" - example --to "$to" --users 8
        hostile 74 "$to" - join --items train.tsv --events dev.tsv --out "$to" --item-key query --item query \
            --title title --user session --time weight --click click --memory 32
        hostile 74 "$to" - --config tiny.ini --set run.output="$to"
    done
    [ -c full ] && [ -p pipe ]
    all_right 33
}

@test "names with newlines, escapes, dashes, without end" {
    local name long
    for name in $'a\nerror: b' $'\e]0;title\a\e[31mred' -x --help $'\xff\xfe' "a'b\"c\\d" ' ' $'\u202etsv'; do
        cp dev.tsv -- "./$name"
        hostile 0 "" - predict --checkpoint best.h5 --data "./$name" --output "./$name.out"
        cmp -- "./$name.out" <("$PROGRAM" predict --checkpoint best.h5 --data dev.tsv 2> /dev/null)
        hostile 65 "not an HDF5 file" - verify "./$name"
        hostile 65 "" - eval --checkpoint "./$name" --data dev.tsv
        hostile 66 "" - eval --checkpoint best.h5 --data "./$name.none"
        hostile 66 "" - convert --from "./$name.none" --to converted.h5
        hostile "78 66" "" - --config "./$name"
        hostile "0 74 78" "" - --config tiny.ini --set run.output="./$name" # 0: a blank at the end is no part of it
        rm -f -- "./$name" "./$name.out"
    done
    hostile 66 -x - verify -- -x
    hostile 2 "unknown flag -x" - verify -x
    for long in "$(letters 255)" "$(letters 4096)" "$(letters 20000)" "$(letters 4096 | sed 's/aa/a\//g')"; do
        hostile 66 "no " - verify "$long"
        hostile 66 "no " - eval --checkpoint best.h5 --data "$long"
        hostile 66 "no " - tokenize --vocab "$long"
        hostile 66 "no " - convert --from "$long" --to converted.h5
        hostile 66 "RECTRAIN_CONFIG_PATH" - config --config "$long"
        scores 74 "cannot be written" "$long"
    done
    # /dev/tty where there is none
    run setsid -w "$PROGRAM" predict --checkpoint best.h5 --data dev.tsv --output ./tty.out
    [ "$status" -eq 0 ]
    all_right 82
}

# unprivileged COMMAND...: without root's right to pass by the permissions of files
unprivileged() {
    if [ "$(id -u)" -eq 0 ]; then
        setpriv --bounding-set=-dac_override,-dac_read_search -- "$@"
    else
        "$@"
    fi
}

@test "what this user may not read or write" {
    mkdir -p locked sealed/inner
    cp best.h5 dev.tsv vocab.txt tiny.ini locked
    cp -r hf locked/hf
    chmod 000 locked/best.h5 locked/dev.tsv locked/vocab.txt locked/tiny.ini locked/hf/model.safetensors
    chmod 555 sealed
    refused() {
        local code=$1 words=$2
        shift 2
        run --separate-stderr unprivileged "$PROGRAM" "$@"
        [ "$status" -eq "$code" ] || blame "rectrain $*: exit code $status, expected $code: $stderr"
        has "$stderr" "$words" > /dev/null || blame "rectrain $*: not \"$words\": $stderr"
        cases=$((cases + 1))
    }
    refused 66 "locked/best.h5: may not be read by this user" verify locked/best.h5
    refused 66 "locked/best.h5: may not be read by this user" eval --checkpoint locked/best.h5 --data dev.tsv
    refused 66 "locked/dev.tsv: may not be read by this user" eval --checkpoint best.h5 --data locked/dev.tsv
    refused 66 "locked/dev.tsv: may not be read by this user" --config tiny.ini --set data.train=locked/dev.tsv --set run.name=x
    refused 66 "locked/vocab.txt: may not be read by this user" tokenize --vocab locked/vocab.txt
    refused 66 "locked/hf/model.safetensors: may not be read by this user" convert --from locked/hf --to converted.h5
    refused "66" "locked/tiny.ini: may not be read by this user" config --config locked/tiny.ini
    refused 74 "sealed/x.tsv: cannot be written: Permission denied" predict --checkpoint best.h5 --data dev.tsv --output sealed/x.tsv
    refused 74 "sealed/x" --config tiny.ini --set run.output=sealed/x
    refused 74 "sealed/x" export --checkpoint best.h5 --to sealed/x
    refused 74 "sealed/x" convert --from hf --to sealed/x.h5
    chmod 755 sealed
    all_right 11
}

@test "what data hold is shown on a terminal, not obeyed; to a pipe it is bytes" {
    local escape=$'\e[31m\e]0;title\a' raw
    awk -F '\t' -v OFS='\t' -v e="$escape" 'NR > 1 { $3 = $3 e } 1' dev.tsv > coloured.tsv
    "$PROGRAM" predict --checkpoint best.h5 --data coloured.tsv --set data.keep=title > plain.tsv 2> got.err
    grep -qF "$escape" plain.tsv
    "$BUILD/test/pty_run" --raw raw --stderr got.err -- "$PROGRAM" predict --checkpoint best.h5 --data coloured.tsv --set data.keep=title
    lacks "$(cat raw)" $'\e'
    lacks "$(cat raw)" $'\a'
    has "$(cat raw)" '\x1b[31m\x1b]0;title\x07'
    # the rest as to a pipe: line ends, tabs, numbers
    diff <(tr -d '\r' < raw | sed 's/\\x1b\[31m\\x1b\]0;title\\x07//') <(sed 's/\x1b\[31m\x1b\]0;title\x07//' plain.tsv)
    # a file's name in a result, columns and keys in errors
    cp best.h5 "$escape.h5"
    "$BUILD/test/pty_run" --raw raw --stderr got.err -- "$PROGRAM" verify "$escape.h5"
    lacks "$(cat raw)" $'\e'
    has "$(cat raw)" '\x1b[31m'
    printf '%s\ttitle\nx\ty\n' "$escape" > columns.tsv
    hostile 65 'found \x1b[31m\x1b]0;title\x07, title' - predict --checkpoint best.h5 --data columns.tsv
    printf '{"%s": 1}\n' '\u001b[31m' > keys.jsonl
    hostile 65 'found \x1b[31m' - predict --checkpoint best.h5 --data keys.jsonl
    hostile 78 '\x1b[31m' - config --set "train.$escape=1"
    hostile 78 '\x1b[31m' - config --set "run.name=$escape"
    hostile 78 '\x1b[31m' - --config tiny.ini --set model.init=base --set "model.base=./$escape"
    printf '[run]\nname = %s\n' "$escape" > escape.ini
    hostile 78 'escape.ini:2: name = \x1b[31m' - config --config escape.ini
    sed 's/"bert"/"\\u001b[31m"/' hf/config.json > config.json
    rm -rf bad && cp -r hf bad && cp config.json bad/config.json
    hostile 78 'model_type \x1b[31m' - convert --from bad --to converted.h5
    all_right 7
}
