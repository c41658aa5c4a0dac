# Sourced by the tests that train: a tiny shop written here (words, pairs, clicks that hang on single words of the
# title), a configuration of a tiny model, and what the tests ask of a run's folder.
# shellcheck shell=bash disable=SC2034,SC2154

# rows SEED N: a table of N pairs, the same for the same seed. A title's first word decides the click mostly.
shop_rows() {
    awk -v state="$1" -v n="$2" 'function draw(k) { state = (state * 69069 + 12345) % 4294967296
                                                   return int(state / 65536) % k }
        BEGIN { print "session\tquery\ttitle\tclick\tweight"
                for (i = 0; i < n; i++) {
                    w = draw(20); q = "q" draw(10) (draw(2) ? " q" draw(10) : "")
                    t = "w" w; for (j = draw(5); j > 0; j--) t = t " v" draw(20)
                    click = (w < 10) ? draw(10) < 8 : draw(10) < 2
                    print int(i / 6) "\t" q "\t" t "\t" click "\t" 1 + draw(3) } }'
}

# make_shop: vocab.txt, train.tsv, dev.tsv, test.tsv and tiny.ini in the current folder
make_shop() {
    local i
    {
        printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]'
        for i in $(seq 0 19); do printf 'w%d\nv%d\nq%d\n' "$i" "$i" "$i"; done
    } > vocab.txt
    shop_rows 1 "${1:-160}" > train.tsv
    shop_rows 2 "${2:-60}" > dev.tsv
    shop_rows 3 "${2:-60}" > test.tsv
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
labels = no_click, click
[data]
train = train.tsv
dev = dev.tsv
test = test.tsv
text_a = query
text_b = title
label = click
group = session
max_length = 16
[train]
epochs = 2
batch_size = 8
[optimizer]
learning_rate = 1e-3
[track]
tensorboard = no
INI
}

# A line of metrics.jsonl without what hangs on the clock, nor lines that tell of starts and saves.
steady_metrics() {
    grep -v -e '"event": "start"' -e '"event": "checkpoint"' "$1" |
        sed -e 's/"time": [0-9.e+-]*, //' -e 's/"seconds": [0-9.e+-]*/"seconds": _/'
}

# losses NAME: step and loss of every train line, loss of every evaluation
losses() {
    sed -n -e 's/.*"event": "train", "step": \([0-9]*\),.*"loss": \([0-9.e+-]*\),.*/\1 \2/p' \
        -e 's/.*"event": "eval", "step": \([0-9]*\),.*"log_loss": \([0-9.e+-]*\),.*/eval \2/p' "runs/$1/metrics.jsonl"
}

# close_to A B LEAST TOLERANCE: at least so many lines, the same steps, and losses within the tolerance, relatively
close_to() {
    paste -d ' ' <(losses "$1") <(losses "$2") | awk -v least="$3" -v tolerance="$4" '
        { d = $2 - $4; if (d < 0) d = -d; if ($1 != $3 || NF != 4 || d > tolerance * $4) { print "differs: " $0; bad = 1 } }
        END { if (NR < least) { print NR " lines"; bad = 1 }; exit bad }'
}

# same_run A B: two run folders hold the same result
same_run() {
    local file
    for file in best.h5 last.h5 report.txt; do
        cmp "$1/$file" "$2/$file" || return 1
    done
    diff <(steady_metrics "$1/metrics.jsonl") <(steady_metrics "$2/metrics.jsonl") || return 1
    diff <(cd "$1" && ls step-* 2> /dev/null) <(cd "$2" && ls step-* 2> /dev/null) || return 1
    for file in "$1"/step-*; do
        [ ! -e "$file" ] || cmp "$file" "$2/${file##*/}" || return 1
    done
}

# memory_folder: goes to a folder in memory where there is one, for fsync there costs nothing; its path is kept in
# $BATS_FILE_TMPDIR/work, and leave_memory_folder removes it.
memory_folder() {
    local work
    work=$(mktemp -d /dev/shm/rectrain-test.XXXXXX 2> /dev/null) || work=$BATS_FILE_TMPDIR
    echo "$work" > "$BATS_FILE_TMPDIR/work"
    cd "$work" || return 1
}
leave_memory_folder() {
    local work
    cd / || return 1
    work=$(cat "$BATS_FILE_TMPDIR/work")
    case $work in /dev/shm/rectrain-test.*) rm -rf "$work" ;; esac
}

# checksums FOLDER: every file with its bytes and time of change
checksums() {
    (cd "$1" && find . -type f -exec stat -c '%n %s %y' {} + | sort && find . -type f -exec cksum {} + | sort)
}
