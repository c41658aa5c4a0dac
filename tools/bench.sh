#!/bin/bash
# `make bench`: how fast the pieces and the whole are on this machine. Nothing is judged. `tools/bench.sh quick` takes
# under half a minute, all of it under four on a quiet machine with two cores.
# Usage: tools/bench.sh [quick|kernels|attention|tokenize|data|search|train]...   (none: all six)
# data takes 160,000 rows of the simulated shop; USERS=625000 makes 10^7 of them and wants 7 GB of room.
# Texts are made here, always the same: pairs of 48 tokens on average, titles of 11. Models have random weights, which
# cost what trained ones cost. The last lines are rows for PERFORMANCE.md.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
home=$build/bench/data
what=("$@")
[ $# -gt 0 ] || what=(kernels attention tokenize data search train)
quick=
for w in "${what[@]}"; do
    case $w in
    quick) quick=yes ;;
    kernels | attention | tokenize | data | search | train) ;;
    *)
        echo "usage: tools/bench.sh [quick|kernels|attention|tokenize|data|search|train]..." >&2
        exit 2
        ;;
    esac
done
[ "${what[*]}" = quick ] && what=(kernels attention tokenize data search train)
for program in rectrain bench/bench_kernels bench/bench_attention bench/bench_tokenize bench/bench_data bench/bench_search; do
    if [ ! -x "$build/$program" ]; then
        echo "bench: $build/$program is not there: make bench" >&2
        exit 66
    fi
done
mkdir -p "$home" || exit 74

today=$(date +%Y-%m-%d)
commit=$(git rev-parse --short HEAD 2> /dev/null || echo none)
[ -z "$(git status --porcelain --untracked-files=no 2> /dev/null)" ] || commit+=+
device=
rows=$home/rows.md
: > "$rows"
# row WHAT COMMAND RESULT
row() { echo "| $today | $commit | $device | $1 | \`$2\` | $3 | | |" >> "$rows"; }
read -r load _ < /proc/loadavg
if awk "BEGIN { exit !($load > 0.5) }"; then
    echo "bench: the load of this machine is $load: something else is running, and the figures will be too low" >&2
fi

# Words of two to four syllables; the rank of a word falls off as in running text. Words from rank 6000 on are not in
# the vocabulary and fall to pieces, as rare ones do. The generator (Park and Miller 1988) stays below 2^53, where every
# awk is exact.
if [ ! -s "$home/titles.tsv" ]; then
    awk -v home="$home" '
        function next_random() { state = state * 16807 % 2147483647; return state / 2147483647 }
        function text(words, w, t, u) {
            t = ""
            for (w = 0; w < words; w++) { u = next_random(); t = t (w ? " " : "") word[int(9000 * u * u * u)] }
            return t
        }
        BEGIN {
            state = 42
            n = split("ba be bi bo bu da de di do du fa fe ga go ka ke ki ko la le li lo lu ma me mi mo na ne ni no " \
                "pa pe po ra re ri ro sa se si so ta te ti to va ve vi za", syllable, " ")
            for (made = 0; made < 9000;) {
                w = ""
                for (s = 2 + int(3 * next_random()); s > 0; s--) w = w syllable[1 + int(n * next_random())]
                if (!(w in seen)) { seen[w] = 1; word[made++] = w }
            }
            vocab = home "/vocab.txt"
            printf "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n" > vocab
            for (i = 0; i < 6000; i++) print word[i] > vocab
            for (i = 1; i <= n; i++) if (!(syllable[i] in seen)) print syllable[i] > vocab
            for (i = 1; i <= n; i++) print "##" syllable[i] > vocab
            # As many rows as BERT-base has, so that the embedding and its gradient are as large.
            for (i = 6005 + 2 * n; i < 30522; i++) print "[unused" i "]" > vocab
            pairs = home "/pairs.tsv"
            titles = home "/titles.tsv"
            print "history\ttitle\tclick" > pairs
            print "title\tclick" > titles
            for (i = 0; i < 4096; i++)
                print text(8 + int(48 * next_random())) "\t" text(3 + int(10 * next_random())) "\t" (i % 3 == 0) > pairs
            for (i = 0; i < 4096; i++) print text(3 + int(10 * next_random())) "\t" (i % 3 == 0) > titles
        }' || exit 74
fi

bench_kernels() {
    local precision out=$home/kernels.txt
    for precision in fp32 bf16; do
        echo
        echo "## ops in $precision, $cores threads"
        "$build/bench/bench_kernels" "$precision" 0 768 | tee "$out" || return
        # The first four shapes are those of BERT-base, one step is once each.
        row "linear layers of BERT-base, $precision, 768 tokens; GFLOP/s forward and whole backward, by shape" \
            "bench_kernels $precision 0 768" \
            "$(awk '$1 == 768 && (n += 1) <= 4 { printf("%s x %s %s / %s, ", $2, $3, $5, $9) }' "$out")$(
                sed -n 's/.*; fp32 \(peak .*\)/\1/p' "$out" | head -n 1)"
        [ -z "$quick" ] || return 0
    done
}
bench_attention() {
    local out=$home/attention.txt
    echo
    echo "## attention of one layer"
    "$build/bench/bench_attention" 16 48 12 64 | tee "$out" || return
    while IFS= read -r line; do row "attention of one BERT-base layer" "bench_attention 16 48 12 64" "$line"; done < "$out"
}
bench_tokenize() {
    local out=$home/tokenize.txt
    echo
    echo "## tokenizer, one thread"
    "$build/bench/bench_tokenize" "$home/vocab.txt" "$home/pairs.tsv" history title | tee "$out" || return
    row "WordPiece, one thread, processor time, best of 5" "bench_tokenize vocab.txt pairs.tsv history title" \
        "$(sort -t : -k 2 -n -r "$out" | head -n 1)"
}

bench_data() {
    local shop=$home/shop users=${USERS:-10000} out=$home/data.txt began ended
    echo
    echo "## rows from a table"
    rm -rf "$shop" "$home/tokens"
    "$build/rectrain" example --quiet --to "$shop" --users "$users" > /dev/null || return
    "$build/bench/bench_data" "$home/tokens" "$home/vocab.txt" "$shop/train.tsv" history title click | tee "$out" || return
    row "token cache, $cores threads to make it" "bench_data, USERS=$users" "$(cat "$out")"
    began=$(date +%s.%N)
    "$build/rectrain" data --quiet "$shop/train.tsv" --against "$shop/test.tsv" --set data.text_a=history --set data.text_b=title \
        --set data.label=click --set data.group=impression_id --set data.user=user_id --set data.item=item_id > /dev/null 2>&1 || return
    ended=$(date +%s.%N)
    out=$(awk -v began="$began" -v ended="$ended" 'BEGIN { printf "%.2f s", ended - began }')
    echo "rectrain data, train against test: $out"
    row "rectrain data, train against test" "rectrain data, USERS=$users" "$out"
    rm -rf "$shop" "$home/tokens"
}

bench_search() {
    local sizes queries k out=$home/search.txt
    echo
    echo "## exact search, $cores threads"
    for sizes in "1000 20" "1 20" "1000 1000"; do
        read -r queries k <<< "$sizes"
        "$build/bench/bench_search" 100000 384 "$queries" "$k" 5 | tee "$out" || return
        row "exact search in memory, fp32, $cores threads, best of 5" "bench_search 100000 384 $queries $k 5" "$(cat "$out")"
        [ -z "$quick" ] || return 0
    done
}

# train NAME PRECISION DATA BATCH STEPS SETTINGS...: a few steps, without the first two, which make primitives and touch
# memory for the first time. Then again from its checkpoint, caches on disk: how long until the first step.
train() {
    local name=$1 precision=$2 data=$3 batch=$4 steps=$5 run=$home/runs/$1-$3-$2 peak=0 now pid speed began first
    shift 5
    local sets=(--set "run.output=$home/runs" --set run.if_exists=overwrite --set "run.precision=$precision" --set run.device=cpu
        --set "data.train=$home/$data.tsv" --set data.label=click --set data.text_b= --set data.text_a=title
        --set "train.batch_size=$batch" --set track.tensorboard=no --set "track.jsonl_every=1 steps")
    [ "$data" = pairs ] && sets+=(--set data.text_a=history --set data.text_b=title)
    "$build/rectrain" --quiet "${sets[@]}" --set "run.name=${run##*/}" --set model.init=random --set "model.vocab=$home/vocab.txt" \
        --set "train.max_steps=$steps" "$@" > "$home/train.log" 2>&1 &
    pid=$!
    # The kernel keeps the high-water mark; it is read while the process lives.
    while kill -0 "$pid" 2> /dev/null; do
        now=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" 2> /dev/null)
        [ "${now:-0}" -gt "$peak" ] && peak=$now
        sleep 0.1
    done
    if ! wait "$pid"; then
        cat "$home/train.log" >&2
        return 1
    fi
    speed=$(sed -n 's/.*"event": "train", "step": \([0-9]*\),.*"seqs": \([0-9]*\), "tokens": \([0-9]*\), "seconds": \([0-9.e+-]*\).*/\1 \2 \3 \4/p' \
        "$run/metrics.jsonl" | awk '$1 > 2 { q += $2; t += $3; s += $4 }
            END { if (s > 0) printf "%.0f tokens/s, %.1f sequences/s (mean length %.1f)", t / s, q / s, t / q; else exit 1 }') || {
        echo "bench: $run/metrics.jsonl has no train lines beyond step 2" >&2
        return 1
    }
    began=$(date +%s.%N)
    first=
    if [ -s "$run/last.h5" ]; then
        "$build/rectrain" --quiet "${sets[@]}" --set run.name=again --set "model.base=$run/last.h5" --set train.max_steps=1 \
            > "$home/train.log" 2>&1 || { cat "$home/train.log" >&2 && return 1; }
        first=$(sed -n 's/^{"time": \([0-9.]*\), "event": "start".*/\1/p' "$home/runs/again/metrics.jsonl" |
            awk -v began="$began" '{ printf "; %.2f s from start to the first step", $1 - began }')
    fi
    rm -rf "$home/runs"
    row "training $name, $data, batch $batch, $precision, $cores threads; $((steps - 2)) steps" "tools/bench.sh train" \
        "$speed; peak memory $(awk "BEGIN { printf \"%.2f\", $peak / 1048576 }") GiB$first"
    echo "  $name, $data, batch $batch, $precision: $speed; peak $((peak / 1024)) MiB$first"
}
bench_train() {
    local base=(--set model.hidden=768 --set model.layers=12 --set model.heads=12 --set model.ffn=3072)
    local small=(--set model.hidden=384 --set model.layers=6 --set model.heads=12 --set model.ffn=1536)
    echo
    echo "## training, random weights"
    if [ -n "$quick" ]; then
        train MiniLM fp32 pairs 16 8 "${small[@]}"
        return
    fi
    train MiniLM fp32 pairs 16 22 "${small[@]}" || return
    train MiniLM fp32 titles 32 22 "${small[@]}" || return
    train BERT-base fp32 pairs 16 8 "${base[@]}" || return
    train BERT-base fp32 titles 32 10 "${base[@]}" || return
    train BERT-base bf16 pairs 16 5 "${base[@]}"
}

cores=$(nproc)
device="$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2> /dev/null | head -n 1), $cores cores"
status=0
for w in "${what[@]}"; do [ "$w" = quick ] || "bench_$w" || status=1; done
echo
echo "rows for PERFORMANCE.md:"
cat "$rows"
exit $status
