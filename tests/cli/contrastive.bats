#!/usr/bin/env bats
# train.objective = contrastive from outside: what it says and leaves, that it learns, goes on after a stop, is the same
# on several ranks, and what is refused.
load common
load train_shop

usual=(--config pairs.ini --set track.jsonl_every=1)

setup_file() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    make_pairs
}

setup() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
}

# A title's words stand for a query's: q3 is answered by w3. Users and items come again.
pair_rows() {
    awk -v state="$1" -v n="$2" 'function draw(k) { state = (state * 69069 + 12345) % 4294967296
                                                   return int(state / 65536) % k }
        BEGIN { print "query\ttitle\tclick\tuser\titem\tother"
                for (i = 0; i < n; i++) {
                    k = draw(16); o = draw(16)
                    print "q" k " v" draw(20) "\tw" k "\t" (draw(4) > 0) "\tu" draw(n) "\ti" k "\t" (draw(3) ? "w" o : "") } }'
}

make_pairs() {
    local i
    make_shop 8 8
    pair_rows 1 300 > train.tsv
    pair_rows 2 60 > dev.tsv
    pair_rows 3 60 > test.tsv
    { printf 'item\ttitle\n'; for i in $(seq 0 19); do printf 'i%d\tw%d\n' "$i" "$i"; done; } > items.tsv
    sed -e '/^labels/d' -e '/^group/d' -e 's/^epochs.*/epochs = 3/' -e 's/^batch_size.*/batch_size = 16/' \
        -e 's/^\[train\]/user = user\nitem = item\n[train]\nobjective = contrastive/' \
        -e 's/^learning_rate.*/learning_rate = 3e-3/' tiny.ini > pairs.ini
    printf '[contrastive]\nitems = items.tsv\n' >> pairs.ini
}

# metric RUN SPLIT KEY: its last value
metric() {
    grep "\"split\": \"$2\"" "runs/$1/metrics.jsonl" | tail -1 | sed "s/.*\"$3\": \([0-9.e+-]*\).*/\1/"
}

@test "it learns which title answers a query, and says so" {
    "$PROGRAM" "${usual[@]}" --set run.name=one > one.out 2> one.err || { cat one.err && false; }
    has "$(cat one.err)" "clicked rows of 300"
    has "$(cat one.err)" "items 20 in the catalogue"
    has "$(cat one.err)" "mean pooling"
    has "$(cat one.out)" "recall@20"
    # 16 of 20 titles are answers: the first guess of who knows nothing is right once in 20.
    awk -v x="$(metric one test recall@1)" 'BEGIN { exit !(x > 0.7) }'
    awk -v x="$(metric one test recall@100)" 'BEGIN { exit !(x == 1) }'
    "$PROGRAM" verify runs/one/best.h5
}

@test "every option is taken: both directions, negatives, frequency, small micro-batches; cls" {
    "$PROGRAM" "${usual[@]}" --set run.name=all --set train.epochs=6 --set contrastive.symmetric=yes \
        --set 'contrastive.negatives=other, {other} v1' --set contrastive.log_frequency=yes --set contrastive.scale=10 \
        --set train.micro_batch_tokens=64 --set contrastive.items= 2> all.err || { cat all.err && false; }
    has "$(cat all.err)" "micro-batches of at most 64 tokens"
    awk -v x="$(metric all test recall@1)" 'BEGIN { exit !(x > 0.5) }'
    "$PROGRAM" "${usual[@]}" --set run.name=cls --set train.epochs=1 --set model.pooling=cls \
        --set contrastive.mask_clicked=no 2> cls.err || { cat cls.err && false; }
    has "$(cat cls.err)" "first pooling"
}

@test "stopped and gone on with it ends with the same bytes" {
    local args=("${usual[@]}" --set model.dropout=0.1 --set checkpoint.every=3)
    "$PROGRAM" "${args[@]}" --set run.name=whole > /dev/null 2> whole.err || { cat whole.err && false; }
    "$PROGRAM" "${args[@]}" --set run.name=cut > /dev/null 2> cut.err &
    local pid=$!
    for _ in $(seq 600); do
        grep -q '"step": 5,' runs/cut/metrics.jsonl 2> /dev/null && break
        sleep 0.05
    done
    kill -KILL $pid || true
    wait $pid || true
    "$PROGRAM" "${args[@]}" --set run.name=cut > /dev/null 2> cut.err || { cat cut.err && false; }
    cmp runs/whole/best.h5 runs/cut/best.h5
    cmp runs/whole/last.h5 runs/cut/last.h5
}

@test "on two ranks it is the same run" {
    [ -e "$BUILD/rectrain-mpi.so" ] || skip "the MPI plugin is not built"
    command -v mpirun > /dev/null || skip "mpirun is not installed"
    local args=("${usual[@]}" --set optimizer.learning_rate=3e-4) # losses that are more than rounding
    "$PROGRAM" "${args[@]}" --set run.name=alone > /dev/null 2>&1
    mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 "$PROGRAM" "${args[@]}" --set run.name=two \
        > /dev/null 2> two.err || { cat two.err && false; }
    close_to two alone 45 1e-5
    [ "$(metric two test recall@1)" = "$(metric alone test recall@1)" ]
}

@test "what has no meaning for vectors is refused" {
    expect 78 "${usual[@]}" --set eval.metric=auc
    has "$stderr" "recall@20"
    expect 78 "${usual[@]}" --set train.label_smoothing=0.1
    has "$stderr" "train.label_smoothing has no meaning with train.objective = contrastive"
    expect 78 "${usual[@]}" --set data.text_b=
    has "$stderr" "data.text_b"
    expect 78 "${usual[@]}" --set data.item=
    has "$stderr" "contrastive.items needs data.item"
    expect 78 "${usual[@]}" --set 'contrastive.negatives={other'
    has "$stderr" "contrastive.negatives"
    expect 65 "${usual[@]}" --set contrastive.negatives=nowhere
    has "$stderr" 'no column "nowhere"'
    expect 78 --config pairs.ini --set train.objective=classify --set eval.metric=recall@20 --set contrastive.items=
    has "$stderr" "eval.metric = recall@20: train.objective = classify has auc"
}

@test "a checkpoint of vectors predicts no labels" {
    [ -e runs/one/best.h5 ] || "$PROGRAM" "${usual[@]}" --set run.name=one > /dev/null 2>&1
    expect 78 predict --checkpoint runs/one/best.h5 --data test.tsv
    has "$stderr" "was trained for vectors"
    has "$stderr" "rectrain embed"
}
