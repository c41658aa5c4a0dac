#!/usr/bin/env bats
# What a person at a terminal sees, and what is left for files and pipes: driven in a pseudo-terminal. Waits are for
# words, never for times.
# shellcheck disable=SC2154 # bats sets status, output, stderr
load common
load train_shop

PTY=$BUILD/test/pty_run
ESC=$'\x1b'

setup_file() {
    unset_variables
    [ -x "$PTY" ] || { echo "$PTY is not there: make test-programs builds it" && return 1; }
    memory_folder
    make_shop 160 60
    shop_rows 4 9000 > large.tsv
    "$PROGRAM" --config tiny.ini --set run.name=base --set train.epochs=1 --quiet > /dev/null
}

teardown_file() { leave_memory_folder; }

setup() {
    unset_variables
    cd "$(cat "$BATS_FILE_TMPDIR/work")" || return 1
    export TERM=xterm OMP_WAIT_POLICY=passive
    rm -f raw raw.* run.out run.err
}

# terminal STATUS [OPTION or STEP]... -- COMMAND...: runs it in a pseudo-terminal; the bytes it was sent lie in `raw`
terminal() {
    local wanted=$1 got=0
    shift
    "$PTY" --raw raw "$@" 2> raw.err || got=$?
    if [ "$got" -ne "$wanted" ]; then
        echo "exit code $got, expected $wanted"
        cat raw.err
        tr '\r' '\n' < raw | cat -v | tail -n 40
        return 1
    fi
}

# drawn: the texts of the live line, one a line; what ends its own line is no live one
drawn() { awk -v RS='\r' 'NR > 1 && !/\n/ { sub(/^\033\[K/, ""); if ($0 != "") print }' raw; }
longest() { drawn | awk '{ if (length($0) > n) n = length($0) } END { print n + 0 }'; }
raw_has() { grep -qF -- "$1" raw || { cat -v raw | tail -n 20 && return 1; }; }
raw_lacks() { ! grep -qF -- "$1" raw || { cat -v raw | tail -n 20 && return 1; }; }

# tidy: no escape but those of the live line and of colours, every return belongs to the live line, the cursor is never
# hidden, and what is left is a cleared line or a whole one
tidy() {
    local rest
    rest=$(sed -e "s/$ESC\[K//g" -e "s/$ESC\[\(0\|2\|31\|33\)m//g" raw)
    lacks "$rest" "$ESC" || return 1
    [ "$(grep -o $'\r' raw | wc -l)" -eq "$(grep -o $'\r'"$ESC\[K" raw | wc -l)" ] || return 1
    case $(tail -c 4 raw | od -An -c | tr -d ' ') in
    *'\n' | '\r033[K') ;;
    *) echo "the end: $(tail -c 60 raw | cat -v)" && return 1 ;;
    esac
}

# the first step alone takes far longer than any of these tests
ENDLESS=(--set data.train=large.tsv --set train.batch_size=9000 --set model.hidden=256 --set model.layers=8
    --set model.ffn=1024 --set data.dev= --set data.test=)

@test "colour on a terminal: errors red, warnings yellow, nothing else" {
    terminal 78 -- "$PROGRAM" config --set a.b=1
    raw_has "${ESC}[31merror: --set a.b"
    RECTRAIN_X=1 terminal 0 -- "$PROGRAM" config
    raw_has "${ESC}[33mwarning: RECTRAIN_X"
    for words in --help --version "help train" "config --defaults"; do
        # shellcheck disable=SC2086 # words
        terminal 0 -- "$PROGRAM" $words
        raw_lacks "$ESC"
    done
}

@test "NO_COLOR, TERM=dumb, no TERM, --no-color and a file: no colour; NO_COLOR empty: colour" {
    NO_COLOR=1 terminal 78 -- "$PROGRAM" config --set a.b=1
    raw_lacks "$ESC"
    TERM=dumb terminal 78 -- "$PROGRAM" config --set a.b=1
    raw_lacks "$ESC"
    terminal 78 -- env -u TERM "$PROGRAM" config --set a.b=1
    raw_lacks "$ESC"
    terminal 78 -- "$PROGRAM" config --set a.b=1 --no-color
    raw_lacks "$ESC"
    terminal 78 --stderr run.err -- "$PROGRAM" config --set a.b=1
    lacks "$(cat run.err)" "$ESC"
    has "$(cat run.err)" "error: --set a.b"
    NO_COLOR='' terminal 78 -- "$PROGRAM" config --set a.b=1
    raw_has "${ESC}[31merror:"
    # the colour is that of stderr, wherever stdout goes
    terminal 78 --stdout run.out -- "$PROGRAM" config --set a.b=1
    raw_has "${ESC}[31merror:"
}

@test "help fills the window, loses no word, and leaves examples whole; a pipe gets it as it is" {
    for words in --help "" "train --help" "eval --help" "predict --help" "join --help" "tokenize --help" "help data"; do
        status=0
        # shellcheck disable=SC2086 # words
        run --separate-stderr "$PROGRAM" $words
        # without arguments the short help goes to stderr, with 2
        # shellcheck disable=SC2086
        terminal "$status" --size 64x20 -- "$PROGRAM" $words
        diff <(printf '%s\n' "$output$stderr" | tr -s ' \n' '\n') <(tr -s ' \n' '\n' < raw)
        awk '/^Example/ { example = 1 } /^$/ { example = 0 }
             length($0) > 64 && !example { print "too long: " $0; bad = 1 } END { exit bad }' raw
        raw_lacks ' $'
    done
    COLUMNS=50 terminal 0 --size 100x20 -- "$PROGRAM" verify --help
    [ "$(wc -L < raw)" -le 50 ]
    COLUMNS=nonsense terminal 0 --size 70x20 -- "$PROGRAM" verify --help
    [ "$(wc -L < raw)" -gt 50 ]
    terminal 0 --size 0x0 -- "$PROGRAM" verify --help
    "$PROGRAM" verify --help | cmp - raw
}

@test "progress redraws one line in place, and reports stand alone" {
    terminal 0 -- "$PROGRAM" --config tiny.ini --set run.name=live
    tidy
    drawn | grep -q '^tokenising data.train \['
    drawn | grep -q '^step 1/40 \['
    drawn | grep -q '^evaluating test \['
    # a report never stands in a live line, nor a log line behind one
    drawn | grep -v '^tokenising data\.\|^step [0-9]\|^evaluating [a-z]\|^first step\|^saving\|^loading\|^looking' && return 1
    grep -q '^              precision    recall  f1-score   support$' raw
    raw_has "best checkpoint: "
    # results on the same terminal come after the line is gone
    for command in "eval --checkpoint runs/base/best.h5 --data dev.tsv" "data dev.tsv --against test.tsv --config tiny.ini" \
        "predict --checkpoint runs/base/best.h5 --data dev.tsv" "verify runs/base/best.h5" "example --to shop --users 20"; do
        # shellcheck disable=SC2086 # words
        terminal 0 -- "$PROGRAM" $command
        tidy
        # shellcheck disable=SC2086
        "$PROGRAM" $command 2> run.err > run.out
        head -n 3 run.out | while read -r line; do grep -qF -- "$line" <(tr '\r' '\n' < raw | sed "s/^$ESC\[K//"); done
    done
    # long enough to be drawn: at most ten times a second
    terminal 0 --stdout run.out -- "$PROGRAM" eval --checkpoint runs/base/best.h5 --data large.tsv --set eval.batch_tokens=512
    drawn | grep -q '^evaluating large.tsv \['
}

@test "the live line is cut to the window, also when the window changes" {
    terminal 0 --size 24x5 -- "$PROGRAM" --config tiny.ini --set run.name=narrow
    tidy
    [ "$(longest)" -le 23 ]
    drawn | grep -q '^step 1/40 \['
    terminal 0 --size 1x1 -- "$PROGRAM" --config tiny.ini --set run.name=none
    [ "$(longest)" -eq 0 ]
    terminal 75 --size 80x24 'see:\r\x1b[Kstep' size:30x5 'see:\r\x1b[Kstep' 'see:\r\x1b[Kstep' 'see:\r\x1b[Kstep' \
        signal:TERM -- "$PROGRAM" --config tiny.ini --set run.name=resized --set train.epochs=6000 --set data.dev= --set data.test=
    tidy
    [ "$(longest)" -gt 29 ]
    [ "$(drawn | tail -n 1 | wc -m)" -le 30 ]
}

@test "a dumb terminal, a file and a pipe get whole lines, never a return" {
    export RECTRAIN_PROGRESS_SECONDS=0.02
    TERM=dumb terminal 0 -- "$PROGRAM" --config tiny.ini --set run.name=dumb
    raw_lacks $'\r'
    raw_lacks "$ESC"
    terminal 0 --stderr run.err --stdout run.out -- "$PROGRAM" --config tiny.ini --set run.name=file --set data.test=large.tsv \
        --set eval.batch_tokens=512
    [ ! -s raw ]
    lacks "$(cat run.err run.out)" $'\r'
    lacks "$(cat run.err run.out)" "$ESC"
    grep -q '^step [0-9]*/40 \[.*left$' run.err
    grep -q '^evaluating test \[.*\] [0-9]*/[0-9]* batches$' run.err
    # stdout has the reports alone
    grep -v -e '^dev, step' -e '^test, step' run.out | grep -q 'step\|evaluating\|configuration' && return 1
    unset RECTRAIN_PROGRESS_SECONDS
    "$PROGRAM" eval --checkpoint runs/base/best.h5 --data dev.tsv --json 2> run.err > run.out
    [ "$(wc -l < run.out)" -eq 1 ]
    lacks "$(cat run.err run.out)" $'\r'
}

@test "a long step is never silent: the seconds are told, on a terminal and in a log" {
    terminal 137 'see:first step (' 'see: s)' 'see:first step (' signal:KILL -- \
        "$PROGRAM" --config tiny.ini --set run.name=silent "${ENDLESS[@]}"
    RECTRAIN_PROGRESS_SECONDS=1 terminal 137 'see:\nfirst step (' 'see:\nfirst step (' signal:KILL -- \
        env TERM=dumb "$PROGRAM" --config tiny.ini --set run.name=silent2 "${ENDLESS[@]}"
    raw_lacks $'\r'
}

@test "--quiet: warnings and errors alone, no live line" {
    terminal 0 --stdout run.out -- "$PROGRAM" --config tiny.ini --set run.name=quiet --quiet
    raw_lacks $'\r'
    [ "$(grep -vc 'warning: ' raw)" -eq 0 ]
    grep -q '^test, step 40' run.out
    for command in "config" "eval --checkpoint runs/base/best.h5 --data dev.tsv" "data dev.tsv --config tiny.ini" \
        "predict --checkpoint runs/base/best.h5 --data dev.tsv --output scores.tsv" "verify runs/base/best.h5" \
        "example --to shop --users 20" "doctor"; do
        # shellcheck disable=SC2086 # words
        terminal 0 --stdout run.out -- "$PROGRAM" $command -q
        [ ! -s raw ] || { echo "$command" && cat -v raw && return 1; }
    done
}

@test "-v says more, with every command" {
    for command in "config" "eval --checkpoint runs/base/best.h5 --data dev.tsv" "data dev.tsv --config tiny.ini" \
        "predict --checkpoint runs/base/best.h5 --data dev.tsv --output scores.tsv" "verify runs/base/best.h5" \
        "example --to shop --users 20" "doctor" "tokenize --vocab vocab.txt" "help"; do
        [ "$command" = help ] && continue
        # shellcheck disable=SC2086 # words
        expect 0 $command -v < /dev/null
        # shellcheck disable=SC2086
        expect 2 $command -v --no-such-flag < /dev/null
        has "$stderr" "error: at "
    done
}

@test "Ctrl-C twice: the first waits for the step, the second ends at once on a line of its own" {
    terminal 130 'see:first step (' 'send:\x03' 'see:first step (' 'see:first step (' 'send:\x03' -- \
        "$PROGRAM" --config tiny.ini --set run.name=twice "${ENDLESS[@]}"
    grep -q '^rectrain: second Ctrl-C: ended at once; what was last saved stays$' raw
    tidy
    [ ! -e runs/twice/last.h5 ]
    [ -z "$(find runs/twice -name '*.tmp.*')" ]
}

@test "one Ctrl-C in training: saved, 75, the cursor on a fresh line; the same command goes on" {
    terminal 75 'see:\r\x1b[Kstep' 'see:\r\x1b[Kstep' 'send:\x03' -- \
        "$PROGRAM" --config tiny.ini --set run.name=once --set train.epochs=6000 --set data.dev= --set data.test=
    tidy
    raw_has "error: stopped by a signal after step "
    "$PROGRAM" verify runs/once/last.h5
    terminal 75 'see:going on after step' 'see:\r\x1b[Kstep' 'send:\x03' -- \
        "$PROGRAM" --config tiny.ini --set run.name=once --set train.epochs=6000 --set data.dev= --set data.test=
}

@test "the terminal is closed: saved, 75; who ignores SIGHUP goes on to the end" {
    terminal 75 'see:\r\x1b[Kstep' hangup -- \
        "$PROGRAM" --config tiny.ini --set run.name=closed --set train.epochs=6000 --set data.dev= --set data.test=
    "$PROGRAM" verify runs/closed/last.h5
    # what belongs on the terminal could not be shown, which the exit code tells: 74
    terminal 74 'see:\r\x1b[Kstep' hangup -- \
        bash -c 'trap "" HUP; exec "$@"' - "$PROGRAM" --config tiny.ini --set run.name=ignored --set train.epochs=40
    grep -q '"event": "end"' runs/ignored/metrics.jsonl
    [ "$(grep -c '^dev, step' runs/ignored/report.txt)" -eq 40 ]
}

@test "Ctrl-Z and fg: stopped, shown again, done; in the background the terminal is left alone" {
    terminal 0 'see:\r\x1b[Kstep' 'send:\x1a' 'see:at the prompt' 'see:step ' -- bash -c \
        'set -m; "$@"; echo "at the prompt"; fg > /dev/null' - "$PROGRAM" --config tiny.ini --set run.name=stopped --set train.epochs=40
    grep -q '"event": "end"' runs/stopped/metrics.jsonl
    terminal 0 -- bash -c 'set -m; "$@" & wait $!' - "$PROGRAM" --config tiny.ini --set run.name=behind
    raw_lacks $'\r'
    raw_has "best checkpoint: "
}

@test "a reader that leaves ends predict as SIGPIPE does elsewhere: quietly, 141" {
    predict=("$PROGRAM" predict --checkpoint runs/base/best.h5 --data large.tsv --set data.group= --set run.threads=1)
    "${predict[@]}" 2> run.err | head -n 1 > run.out
    [ "${PIPESTATUS[0]}" -eq 141 ]
    has "$(cat run.out)" $'row\tprediction'
    lacks "$(cat run.err)" error
    lacks "$(cat run.err)" "reader"
    # where SIGPIPE is ignored from the outside nothing is quiet
    (trap '' PIPE && "${predict[@]}" 2> run.err | head -n 1 > run.out && exit "${PIPESTATUS[0]}") || status=$?
    [ "$status" -eq 74 ]
    has "$(cat run.err)" "error: stdout: the reader went away before all results were written"
}

@test "a reader that leaves does not end a training" {
    "$PROGRAM" --config tiny.ini --set run.name=unread 2> run.err | true
    [ "${PIPESTATUS[0]}" -eq 141 ]
    grep -q '"event": "end"' runs/unread/metrics.jsonl
    [ "$(grep -c '^warning: stdout: .*going on' run.err)" -eq 1 ]
    [ "$(grep -c ', step' runs/unread/report.txt)" -eq 3 ]
}

@test "closed descriptors never lead into a file" {
    cksum train.tsv dev.tsv test.tsv tiny.ini > before
    "$PROGRAM" --config tiny.ini --set run.name=no_in_err <&- 2>&- > run.out
    grep -q '^test, step 40' run.out
    status=0
    "$PROGRAM" --config tiny.ini --set run.name=none_open <&- >&- 2>&- || status=$?
    [ "$status" -eq 74 ] # reports could not be shown
    cksum train.tsv dev.tsv test.tsv tiny.ini | diff before -
    for run in no_in_err none_open; do
        cmp runs/live/best.h5 "runs/$run/best.h5"
        [ "$(grep -vc '^{.*}$' "runs/$run/metrics.jsonl")" -eq 0 ]
        grep -q '"event": "end"' "runs/$run/metrics.jsonl"
    done
    status=0
    "$PROGRAM" config >&- 2> run.err || status=$?
    [ "$status" -eq 74 ]
    has "$(cat run.err)" "error: stdout: cannot write"
    for command in "tokenize --vocab vocab.txt" "predict --checkpoint runs/base/best.h5 --data -"; do
        status=0
        # shellcheck disable=SC2086 # words
        "$PROGRAM" $command <&- > run.out 2> run.err || status=$?
        [ "$status" -eq 74 ] || [ "$status" -eq 66 ]
        has "$(cat run.err)" "stdin"
    done
}

@test "stdin is the terminal: what is waited for is said, Ctrl-D ends it" {
    terminal 0 'see:reading rows below a header line from the terminal; Ctrl-D ends them' \
        'send:query\ttitle\nq1\tw1\nq2\tw2\n\x04' -- \
        "$PROGRAM" predict --checkpoint runs/base/best.h5 --data -
    raw_has $'row\tprediction\tp_no_click\tp_click'
    raw_has $'1\tclick\t' || raw_has $'1\tno_click\t'
    raw_lacks $'\r' # the rows go to the terminal: no live line between them
    terminal 0 'see:reading lines from the terminal' 'send:w1\tv1\n\x04' -- "$PROGRAM" tokenize --vocab vocab.txt
    raw_has "2 8 3 9 3"
    terminal 0 'send:w1\n\x04' -- "$PROGRAM" tokenize --vocab vocab.txt --quiet
    raw_lacks "reading"
    # not said to a pipe
    expect 0 tokenize --vocab vocab.txt < /dev/null
    lacks "$stderr" reading
}

@test "a signal ends the wait for a line" {
    terminal 75 'see:reading rows' 'send:\x03' -- "$PROGRAM" predict --checkpoint runs/base/best.h5 --data -
    raw_has "error: stopped by SIGINT after 0 rows"
    terminal 75 'see:reading rows' 'send:query\ttitle\nq1\tw1\n' signal:TERM -- \
        "$PROGRAM" predict --checkpoint runs/base/best.h5 --data - --output never.tsv
    [ ! -e never.tsv ]
    [ -z "$(find . -name 'never.tsv*')" ]
    terminal 130 'see:reading lines' 'send:\x03' -- "$PROGRAM" tokenize --vocab vocab.txt
}
