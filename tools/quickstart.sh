#!/bin/bash
# `make quickstart`: from nothing to a trained click model in numbered phases, each with its seconds.
# Safe to run again: what is there already is used, the training run is made anew.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
make=${MAKE:-make}
home=$build/quickstart
shop=$home/shop
model=$home/minilm.h5
run=$home/runs/quickstart
config=configs/quickstart.ini
phases=6
began=${EPOCHREALTIME/[.,]/}

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then bold=$'\033[1m' plain=$'\033[0m'; else bold='' plain=''; fi
phase=0 started=$began
seconds_since() {
    local now=${EPOCHREALTIME/[.,]/}
    printf '%d.%d' $(((now - $1) / 1000000)) $(((now - $1) / 100000 % 10))
}
begin() {
    phase=$((phase + 1)) title=$1 started=${EPOCHREALTIME/[.,]/}
    printf '\n%s%d/%d  %s%s\n' "$bold" "$phase" "$phases" "$title" "$plain"
}
end() { printf '%s%d/%d  done in %s s%s\n' "$bold" "$phase" "$phases" "$(seconds_since "$started")" "$plain"; }
# stop CODE: the phase that failed has said why; this says where we are
stop() {
    printf '\nquickstart: stopped in phase %d (%s), exit status %d. Repair what the lines above name, then: make quickstart\n' \
        "$phase" "$title" "$1" >&2
    exit "$1"
}
attempt() { "$@" || stop $?; }

begin "install what is missing"
attempt tools/install_deps.sh build
if [ ! -s "$build/models/all-MiniLM-L6-v2/model.safetensors" ]; then
    tools/install_deps.sh fetch || echo "going on: without these tools a model can only come from the hub's local cache"
fi
end

begin "build $build/rectrain"
# The CUDA plugin takes minutes to compile and serves nobody without a GPU; `make` builds it.
[ -e /dev/nvidiactl ] || CUDA=${CUDA:-0}
attempt "$make" --no-print-directory BUILD="$build" ${CUDA:+CUDA="$CUDA"} all
end

begin "write the example shop (a simulator: nobody clicked)"
mkdir -p "$home" || stop 74
attempt "$build/rectrain" example --to "$shop" > "$home/shop.txt"
cat "$home/shop.txt"
end

begin "fetch a real pretrained checkpoint (all-MiniLM-L6-v2)"
pretrained=yes
overrides=()
if folder=$(BUILD=$build tools/fetch_model.sh minilm); then
    echo "Hugging Face folder: $folder"
else
    pretrained=no
    cat << EOF

  ************************************************************************************************
  *  NO PRETRAINED MODEL COULD BE FETCHED. Going on with a small model of RANDOM weights.        *
  *  It shows that everything runs; it will NOT learn the shop in so short a run (AUC near 0.5). *
  *  Later, with a network: tools/fetch_model.sh minilm && make quickstart                       *
  ************************************************************************************************

EOF
fi
end

begin "convert it to HDF5"
if [ $pretrained = yes ]; then
    if [ "$model" -nt "$folder/model.safetensors" ] && "$build/rectrain" verify "$model" > /dev/null 2>&1; then
        echo "$model is there already and sound"
    else
        attempt "$build/rectrain" convert --from "$folder" --to "$model"
    fi
    # The same shop again, now with what this model makes of it before it has seen a click.
    attempt "$build/rectrain" example --to "$shop" --checkpoint "$model" --quiet > "$home/shop.txt"
    printf 'AUC on test.tsv before any training:\n'
    grep cosine "$home/shop.txt"
else
    # A vocabulary of the shop's own words, with letters so that no word is unknown.
    {
        printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]'
        cat "$shop"/*.tsv | tr 'A-Z' 'a-z' | tr -cs 'a-z0-9' '\n' | awk '
            { for (i = 1; i <= length($0); i++) seen[substr($0, i, 1)] = 1 }
            /^[a-z]+$/ && length($0) > 1 && !($0 in word) { word[$0] = 1; order[++n] = $0 }
            END {
                letters = "abcdefghijklmnopqrstuvwxyz0123456789"
                for (i = 1; i <= length(letters); i++) print substr(letters, i, 1)
                for (i = 1; i <= length(letters); i++) print "##" substr(letters, i, 1)
                for (i = 1; i <= n; i++) print order[i]
            }'
        printf '%s\n' '.' ',' '-' "'" '"'
    } > "$home/vocab.txt" || stop 74
    echo "nothing to convert; a vocabulary of the shop's words is at $home/vocab.txt"
    overrides=(model.base= model.init=random "model.vocab=$home/vocab.txt" model.cased=no model.hidden=128 model.layers=2
        model.heads=4 model.ffn=512)
fi
end

begin "train on the shop, evaluate, test"
sets=(--set "run.output=$home/runs" --set run.name=quickstart --set run.if_exists=overwrite --set run.precision=fp32
    --set run.device=cpu --set "data.train=$shop/train.tsv" --set "data.dev=$shop/dev.tsv" --set "data.test=$shop/test.tsv")
if [ $pretrained = yes ]; then sets+=(--set "model.base=$model"); fi
for o in "${overrides[@]}"; do sets+=(--set "$o"); done
attempt "$build/rectrain" --config "$config" "${sets[@]}"
end

printf '\n%sBeside it, for comparison%s (AUC on the same rows)\n' "$bold" "$plain"
sed -n '/^AUC/,$p' "$home/shop.txt" | sed '1d'
if [ $pretrained = no ]; then echo "  The model above had RANDOM weights: no pretrained checkpoint could be fetched."; fi

printf '\n%sThe checkpoint is %s/best.h5%s  (everything took %s s)\n' "$bold" "$run" "$plain" "$(seconds_since "$began")"
next="$build/rectrain --config ecommerce.ini"
if [ $pretrained = no ]; then
    for o in "${overrides[@]}"; do next+=" --set $o"; done
fi
cat << EOF

Next, to try:
  $next
      the shop with the settings that a real run would have; put your own checkpoint and clicks in configs/ecommerce.ini
  $build/rectrain predict --checkpoint $run/best.h5 --data $shop/test.tsv | head
      scores for rows of a file
  $build/rectrain export --checkpoint $run/best.h5 --to $home/export --check $shop/test.tsv
      a Hugging Face folder that the usual servers load
EOF
