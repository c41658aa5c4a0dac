#!/bin/bash
# `make bench-ranks`: what of adding up gradients a step waits for when a network lies between its ranks. Two MPI ranks
# of one thread train a model of random weights, at first as fast as memory carries, then over links that
# tests/support/link/slow_link.c simulates: so slow that one gradient takes a quarter, a half and all of backward, which
# is taken to be 0.6 of a step. Nothing is judged.
# Usage: tools/bench_ranks.sh [mini|base] [STEPS]   (mini: 6 layers x 384, seconds; base: BERT-base size, minutes)
# A link of the same share beside GPUs whose step takes 30 ms is named too: what counts is bytes over time.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
build=$(cd "${BUILD:-build}" && pwd) || exit 66
size=${1:-mini} steps=${2:-12}
case $size in
mini) layers=6 hidden=384 ;;
base) layers=12 hidden=768 ;;
*)
    echo "usage: tools/bench_ranks.sh [mini|base] [STEPS]" >&2
    exit 2
    ;;
esac
for file in rectrain rectrain-mpi.so test/slow_link.so; do
    if [ ! -e "$build/$file" ]; then
        echo "bench_ranks: $build/$file is not there: make bench-ranks, with MPI's headers installed" >&2
        exit 66
    fi
done
home=$build/bench/ranks
rm -rf "$home" && mkdir -p "$home" && cd "$home" || exit 74

batch=64
awk 'BEGIN { print "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]"; for (i = 0; i < 30517; i++) print "w" i }' > vocab.txt
# Pairs of 21 tokens on average; words as frequent as words are, the n-th 1 / n of the first.
awk -v n=$((batch * steps)) 'BEGIN { srand(1); print "a\tb\ty"
    for (i = 0; i < n; i++) { t = ""
        for (j = 0; j < 2; j++) { for (k = 5 + int(rand() * 9); k > 0; k--) t = t "w" int(exp(rand() * log(30517))) - 1 " "; t = t "\t" }
        print t int(rand() * 2) } }' > train.tsv
cat > ranks.ini << INI
[run]
device = cpu
precision = fp32
threads = 1
if_exists = overwrite
[model]
init = random
vocab = vocab.txt
layers = $layers
hidden = $hidden
heads = 12
ffn = $((4 * hidden))
labels = no_click, click
[data]
train = train.tsv
text_a = a
text_b = b
label = y
max_length = 32
[train]
epochs = 1
batch_size = $batch
[track]
jsonl_every = 1
tensorboard = no
INI

# measure GBPS US DTYPE: sets step, link, waited (ms a step, over all but the first two steps for step), bytes (a step)
measure() {
    local name=link$1
    mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 -x LD_PRELOAD="$build/test/slow_link.so" \
        -x SLOW_LINK_GBPS="$1" -x SLOW_LINK_US="$2" -x SLOW_LINK_LOG="$home/log" "$build/rectrain" --config ranks.ini \
        --set run.name="$name" --set distributed.reduce_dtype="$3" > out 2> err || {
        cat err >&2
        exit 1
    }
    step=$(sed -n 's/.*"event": "train".*"seconds": \([0-9.e+-]*\)}/\1/p' "runs/$name/metrics.jsonl" | tail -n +3 | sort -g |
        awk '{ t[NR] = $1 } END { print 1e3 * t[int((NR + 1) / 2)] }')
    read -r bytes link waited < <(awk -v n="$steps" '$1 == "all" { print $3 / n, 1e3 * $4 / n, 1e3 * $5 / n }' log.0)
    rm -rf "runs/$name" # checkpoints
}

# Bytes of a whole gradient: tables, layers, pooler; what is not sent because it is zero counts.
elements=$(((30522 + 514 + 2) * hidden + layers * (12 * hidden * hidden + 13 * hidden) + hidden * hidden + 3 * hidden + 2))

line='%-6s %10s %8s %10s %12s %12s %12s %14s %14s\n'
# shellcheck disable=SC2059 # one format for the head and the rows
printf "$line" sums 'of backw.' Gbit/s 'step ms' 'MB a step' 'link ms' 'waited ms' 'more waited' 'longer step'
for dtype in fp32 bf16; do
    measure 0 0 $dtype
    free_step=$step free_waited=$waited
    # shellcheck disable=SC2059
    printf "$line" $dtype none - "$step" "$(awk -v b="$bytes" 'BEGIN { printf "%.1f", b / 1e6 }')" 0 "$waited" - -
    for share in 0.25 0.5 1; do
        gbps=$(awk -v e=$elements -v d=$dtype -v s="$free_step" -v share=$share \
            'BEGIN { print 8e-9 * e * (d == "bf16" ? 2 : 4) / (share * 0.6e-3 * s) }')
        measure "$gbps" 20 $dtype
        # shellcheck disable=SC2059
        printf "$line" $dtype $share "$gbps" "$step" "$(awk -v b="$bytes" 'BEGIN { printf "%.1f", b / 1e6 }')" "$link" "$waited" \
            "$(awk -v w="$waited" -v f="$free_waited" -v s="$free_step" 'BEGIN { printf "%.1f %%", 100 * (w - f) / s }')" \
            "$(awk -v t="$step" -v s="$free_step" 'BEGIN { printf "%.1f %%", 100 * (t / s - 1) }')"
        awk -v g="$gbps" -v s="$free_step" 'BEGIN { printf "       as %.0f Gbit/s beside steps of 30 ms\n", g * s / 30 }'
    done
done
