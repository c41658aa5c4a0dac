#!/usr/bin/env bats
# The sentences that users are promised, to the letter, and every exit code by a cause that occurs.
# shellcheck disable=SC2154 # bats sets status, output, stderr
load common
load train_shop

setup_file() {
    unset_variables
    memory_folder
    make_shop 160 60
    "$PROGRAM" --config tiny.ini --set run.name=base --set train.epochs=1 --quiet > /dev/null
    printf '[model]\nbase = bert-base-uncased\n[data]\ntrain = train.tsv\ntext_a = query\ntext_b = title\nlabel = click\n' \
        > hub.ini
    printf 'history\ttitle\tclicked\nred shoes\tRunning shoe\t1\n' > history.tsv
    mkdir -p roberta empty
    echo '{"model_type": "xlm-roberta"}' > roberta/config.json
}

teardown_file() { leave_memory_folder; }

setup() {
    unset_variables
    cd "$(cat "$BATS_FILE_TMPDIR/work")" || return 1
    export OMP_WAIT_POLICY=passive HF_HOME=$PWD/empty HOME=$PWD/empty
    unset HF_HUB_CACHE HUGGINGFACE_HUB_CACHE TRANSFORMERS_CACHE XDG_CACHE_HOME
}

# says STATUS MESSAGE ARGS...: the last line on stderr is that error, to the letter
says() {
    local wanted=$1 message=$2
    shift 2
    expect "$wanted" "$@"
    [ "$(printf '%s\n' "$stderr" | tail -n 1)" = "error: $message" ] || { printf '%s\n' "$stderr" && return 1; }
    [ -z "$output" ]
}

# hint ARGS... -- WORDS: exit 2 or 78, and the error ends in WORDS
hint() {
    local args=() status=0 last
    while [ "$1" != -- ]; do args+=("$1") && shift; done
    run --separate-stderr "$PROGRAM" "${args[@]}"
    [ "$status" -eq 2 ] || [ "$status" -eq 78 ]
    last=$(printf '%s\n' "$stderr" | tail -n 1)
    case $last in
    "error: "*"$2") ;;
    *) printf 'found:    %s\nexpected: %s\n' "$last" "$2" && return 1 ;;
    esac
}

@test "a model that is nowhere: how to get it" {
    says 66 "model.base = bert-base-uncased: no such file or folder, nor in the hub's cache. Get it: tools/fetch_model.sh bert-base-uncased" \
        --config hub.ini
    says 66 "model.base = bert-base-cased: no such file or folder, nor in the hub's cache. Get it: tools/fetch_model.sh bert-base-cased" \
        --config hub.ini --set model.base=bert-base-cased
    says 66 "--from bert-base-uncased: no such file or folder, nor in the hub's cache. Get it: tools/fetch_model.sh bert-base-uncased" \
        convert --from bert-base-uncased --to b.h5
    [ ! -e b.h5 ]
    [ -x "$TREE/tools/fetch_model.sh" ]
}

@test "a column that is not there: what is, and the nearest" {
    cp history.tsv shown.tsv
    says 65 'shown.tsv:1: no column "click"; found history, title, clicked; did you mean "clicked"?' \
        --config tiny.ini --set run.name=columns --set data.train=shown.tsv --set data.text_a=history
    says 65 'shown.tsv:1: no column "histroy"; found history, title, clicked; did you mean "history"?' \
        --config tiny.ini --set run.name=columns --set data.train=shown.tsv --set data.text_a=histroy --set data.label=clicked
    says 65 'shown.tsv:1: no column "query"; found history, title, clicked' \
        predict --checkpoint runs/base/best.h5 --data shown.tsv
    says 65 'shown.tsv:1: no column "click"; found history, title, clicked; did you mean "clicked"?' \
        eval --checkpoint runs/base/best.h5 --data shown.tsv --set data.text_a=history
    says 65 'shown.tsv:1: no column "titel"; found history, title, clicked; did you mean "title"?' \
        predict --checkpoint runs/base/best.h5 --data shown.tsv --set 'data.text_a={history}' --set 'data.text_b={titel}'
}

@test "another architecture: what is taken" {
    says 78 "roberta/config.json: model_type xlm-roberta; rectrain takes bert with WordPiece (bert-*, MiniLM, bge-*-v1.5, e5-*-v2)" \
        convert --from roberta --to r.h5
    says 78 "roberta/config.json: model_type xlm-roberta; rectrain takes bert with WordPiece (bert-*, MiniLM, bge-*-v1.5, e5-*-v2)" \
        --config hub.ini --set model.base=roberta --set run.name=roberta
}

@test "columns that could be spared are left out with a warning" {
    expect 0 eval --checkpoint runs/base/best.h5 --data dev.tsv --set data.group=nothing --json
    has "$stderr" 'warning: dev.tsv: no column "nothing" (data.group)'
    expect 0 predict --checkpoint runs/base/best.h5 --data dev.tsv --set data.keep=nothing
    has "$stderr" 'warning: dev.tsv: no column "nothing" (data.keep)'
    lacks "$stderr" "did you mean"
    [ "${#lines[@]}" -eq 61 ]
    expect 0 predict --checkpoint runs/base/best.h5 --data dev.tsv --set data.keep=sesion,weight
    has "$stderr" 'warning: dev.tsv: no column "sesion" (data.keep); it is left out; did you mean "session"?'
    has "${lines[0]}" $'\tweight'
}

@test "what the README's table of troubles promises" {
    expect 78 --config tiny.ini --set run.name=base --set run.seed=8
    has "$stderr" "runs/base holds a run with other settings: run.seed = 8 (stored: 7)"
    has "$stderr" "another run.name"
    has "$stderr" "run.if_exists = overwrite"
    # a folder whose head is another task's: converted, it cannot score
    "$PROGRAM" export --checkpoint runs/base/best.h5 --to served > /dev/null 2>&1
    LC_ALL=C sed -i 's/"classifier\./"qualifier_./g' served/model.safetensors
    expect 0 convert --from served --to bare.h5
    has "$stderr" "qualifier_.weight"
    says 78 "bare.h5 has no classification head: it was only converted. Train it first: rectrain --config FILE --set model.base=bare.h5" \
        predict --checkpoint bare.h5 --data dev.tsv
    cp runs/base/best.h5 damaged.h5
    printf 'XXXX' | dd of=damaged.h5 bs=1 seek=$(($(stat -c %s damaged.h5) / 2)) conv=notrunc 2> /dev/null
    for command in "verify damaged.h5" "predict --checkpoint damaged.h5 --data dev.tsv" "eval --checkpoint damaged.h5 --data dev.tsv"; do
        # shellcheck disable=SC2086 # words
        expect 65 $command
        has "$stderr" "error: damaged.h5: /model/bert."
        has "$stderr" " does not match its checksum: damaged on disk or altered."
    done
}

@test "Hugging Face's names in a file: our key, and the line to write" {
    while IFS='|' read -r line answer; do
        printf '[train]\n%s\n' "$line" > theirs.ini
        expect 78 config --config theirs.ini
        has "$stderr" "error: theirs.ini:2: no option train.${line%% *}; did you mean $answer"
    done << 'END'
per_device_train_batch_size = 32|train.batch_size (over all ranks)? Write in [train]: batch_size = 32
learning_rate = 3e-5|optimizer.learning_rate? Write in [optimizer]: learning_rate = 3e-5
num_train_epochs = 3|train.epochs? Write in [train]: epochs = 3
weight_decay = 0.01|optimizer.weight_decay? Write in [optimizer]: weight_decay = 0.01
warmup_ratio = 0.1|schedule.warmup (below 1 a share)? Write in [schedule]: warmup = 0.1
lr_scheduler_type = linear|schedule.type? Write in [schedule]: type = linear
bf16 = True|run.precision? Write in [run]: precision = bf16
fp16 = True|run.precision (fp16 is not there; bf16 takes its place)? Write in [run]: precision = bf16
save_total_limit = 2|checkpoint.keep? Write in [checkpoint]: keep = 2
metric_for_best_model = eval_f1|eval.metric? Write in [eval]: metric = macro_f1
load_best_model_at_end = True|eval.test_with? Write in [eval]: test_with = best
eval_strategy = epoch|eval.every? Write in [eval]: every = 1 epoch
logging_steps = 50|track.jsonl_every? Write in [track]: jsonl_every = 50 steps
seed = 1|run.seed? Write in [run]: seed = 1
output_dir = out|run.output? Write in [run]: output = out
max_seq_length = 256|data.max_length? Write in [data]: max_length = 256
model_name_or_path = bert-base-cased|model.base? Write in [model]: base = bert-base-cased
END
    printf '[train]\ngradient_accumulation_steps = 4\n' > theirs.ini
    expect 78 config --config theirs.ini
    has "$stderr" "no option train.gradient_accumulation_steps; it is not needed: train.batch_size is the whole step's"
    printf '[TrainingArguments]\nlearning_rate = 3e-5\n' > theirs.ini
    expect 78 config --config theirs.ini
    has "$stderr" "theirs.ini:2: no section [TrainingArguments]; there are [run] [model]"
    has "$stderr" "Write in [optimizer]: learning_rate = 3e-5"
}

@test "Hugging Face's names as flags, and keys of ours: the --set that does it" {
    hint --config tiny.ini --per_device_train_batch_size 32 -- "did you mean train.batch_size (over all ranks)? Write: --set train.batch_size=32"
    hint --learning_rate=3e-5 --config tiny.ini -- "unknown flag --learning_rate; did you mean optimizer.learning_rate? Write: --set optimizer.learning_rate=3e-5"
    hint --num-train-epochs 3 -- "Write: --set train.epochs=3"
    hint --config tiny.ini --bf16 -- "Write: --set run.precision=bf16"
    hint --bf16 --config tiny.ini -- "Write: --set run.precision=bf16"
    hint --config tiny.ini --seed 7 -- "did you mean run.seed? Write: --set run.seed=7"
    hint --config tiny.ini --batch-size 8 -- "did you mean train.batch_size? Write: --set train.batch_size=8"
    hint --config tiny.ini --train.batchsize=8 -- "did you mean train.batch_size? Write: --set train.batch_size=8"
    hint --config tiny.ini --eval_strategy epoch -- "Write: --set 'eval.every=1 epoch'"
    hint --config tiny.ini --lr_scheduler_type polynomial -- "did you mean schedule.type? It takes constant, linear or cosine"
    hint --config tiny.ini --set per_device_train_batch_size=32 -- "did you mean train.batch_size (over all ranks)? Write: --set train.batch_size=32"
    hint config --set train.num_train_epochs=3 -- "did you mean train.epochs? Write: --set train.epochs=3"
    hint config --set hf.learning_rate=1e-5 -- "did you mean optimizer.learning_rate? Write: --set optimizer.learning_rate=1e-5"
    # where a flag of the command is near it is that one
    hint predict --output_dir scores -- "unknown flag --output_dir; did you mean --output?"
    hint eval --checkpont x -- "unknown flag --checkpont; did you mean --checkpoint?"
    # a proposal that is taken up works
    expect 0 config --set train.batch_size=32 --set 'eval.every=1 epoch' --set run.precision=bf16
}

@test "near misses: sections, keys, values, commands, variables" {
    hint config --set train.batch_siz=8 -- "did you mean train.batch_size? Write: --set train.batch_size=8"
    hint config --set trian.epochs=8 -- "did you mean [train]?; did you mean train.epochs? Write: --set train.epochs=8"
    hint config --set schedule.type=linaer -- "expected constant, linear or cosine; did you mean linear?"
    hint config --set run.device=gpu -- "expected auto, cpu or cuda; did you mean cuda?"
    hint config --set optimizer.type=adamw_torch -- "expected adam or adamw; did you mean adamw?"
    hint config --set eval.metric=f1 -- "did you mean macro_f1?"
    hint config --set data.truncation=longest -- "did you mean longest_first?"
    hint config --set data.format=xml -- "expected auto, tsv, csv or jsonl"
    hint trian --config tiny.ini -- "trian is no command of rectrain; did you mean train?"
    hint help evl -- "evl is no command of rectrain; did you mean eval?"
    hint tiny.ini -- "tiny.ini is no command; did you mean rectrain --config tiny.ini?"
    RECTRAIN_LEARNING_RATE=1 expect 0 config
    has "$stderr" "RECTRAIN_LEARNING_RATE is set and is no option of rectrain; it changes nothing; did you mean optimizer.learning_rate?"
    RECTRAIN_MAX_LEN=1 expect 0 config
    has "$stderr" "RECTRAIN_MAX_LEN is set and is no option of rectrain; it changes nothing; did you mean data.max_length?"
}

@test "flags win over RECTRAIN_SECTION_KEY, that over the file, that over the default" {
    printf '[train]\nepochs = 2\n' > order.ini
    expect 0 config
    has "$output" $'# from default\nepochs = 5'
    expect 0 config --config order.ini
    has "$output" $'# from order.ini:2\nepochs = 2'
    RECTRAIN_TRAIN_EPOCHS=3 expect 0 config --config order.ini
    has "$output" $'# from RECTRAIN_TRAIN_EPOCHS\nepochs = 3'
    RECTRAIN_TRAIN_EPOCHS=3 expect 0 config --config order.ini --set train.epochs=4
    has "$output" $'# from --set\nepochs = 4'
    expect 0 config --config order.ini --set train.epochs=4 --set train.epochs=6
    has "$output" $'# from --set\nepochs = 6'
    # a checkpoint's own configuration stands below all of them
    expect 0 eval --checkpoint runs/base/best.h5 --data dev.tsv --json
    RECTRAIN_DATA_LABEL=weight expect 65 eval --checkpoint runs/base/best.h5 --data dev.tsv
    RECTRAIN_DATA_LABEL=weight expect 0 eval --checkpoint runs/base/best.h5 --data dev.tsv --set data.label=click
}

@test "exit 0, 2, 65, 66, 69, 74, 75, 78" {
    expect 0 verify runs/base/best.h5
    expect 2 verify
    printf 'query\ttitle\tclick\tsession\nq1\tw1\tperhaps\t1\n' > bad.tsv
    expect 65 eval --checkpoint runs/base/best.h5 --data bad.tsv
    has "$stderr" "bad.tsv:2"
    has "$stderr" "perhaps"
    expect 66 eval --checkpoint runs/base/best.h5 --data nowhere.tsv
    has "$stderr" "nowhere.tsv"
    expect 69 --config tiny.ini --set run.name=device --set run.device=cuda
    has "$stderr" "cuda"
    touch file
    expect 74 --config tiny.ini --set run.output=file/below
    has "$stderr" "file"
    expect 78 --config tiny.ini --set train.batch_size=0
    has "$stderr" "--set train.batch_size = 0: expected a whole number from 1 to 65536"
    mkfifo rows
    "$PROGRAM" predict --checkpoint runs/base/best.h5 --data - < rows > run.out 2> run.err &
    pid=$!
    exec 4> rows
    until grep -q 'rectrain\|precision' run.err; do kill -0 "$pid"; done # the handlers stand
    kill -TERM "$pid"
    status=0
    wait "$pid" || status=$?
    exec 4>&-
    [ "$status" -eq 75 ]
    has "$(cat run.err)" "error: stopped by SIGTERM after 0 rows"
}

@test "exit 1: an export that does not say what the checkpoint says" {
    # the rows to check come when the folder has been written, and altered behind the program's back
    rm -f rows && mkfifo rows
    "$PROGRAM" export --checkpoint runs/base/best.h5 --to altered --check /dev/stdin --set data.format=tsv \
        < rows > run.out 2> run.err &
    pid=$!
    exec 4> rows
    for file in config.json model.safetensors tokenizer.json tokenizer_config.json special_tokens_map.json vocab.txt \
        sentence_bert_config.json; do
        until [ -e "altered/$file" ]; do kill -0 "$pid" || { cat run.err && return 1; }; done
    done
    sed 's/no_click/perhaps/' altered/config.json > config.new
    mv config.new altered/config.json
    cat dev.tsv >&4
    exec 4>&-
    status=0
    wait "$pid" || status=$?
    [ "$status" -eq 1 ]
    has "$(cat run.err)" "label 0 is perhaps, but the checkpoint's is no_click; the export is wrong"
}

@test "exit 78: a template that is none, before a folder is made for the run" {
    expect 78 train --config tiny.ini --set run.name=template --set 'data.text_a={'
    has "$stderr" 'data.text_a = {: character 1: "{" that is never closed'
    expect 78 train --config tiny.ini --set run.name=template --set 'data.text_b={query'
    has "$stderr" "data.text_b"
    [ ! -e runs/template ]
}
