#!/usr/bin/env bats
# doctor --plan: the arithmetic of the step's model, what stands in for keys not given, and wrong keys.
# shellcheck disable=SC2154 # expect sets output and stderr
load common

gpu=tflops=989,use=0.4,hbm_gbps=3350,nvlink_gbps=450,gbps=400,latency_us=5,rows=28

# part NAME COLUMN: of the line of the table that begins with NAME
part() {
    printf '%s\n' "$output" | awk -v name="$1" -v column="$2" \
        'index($0, name) == 1 { split(substr($0, length(name) + 1), v, " "); print v[column] }'
}

# close_to A B: within 1e-3 of each other, relatively (the table has three decimals)
close_to() {
    awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; if (d < 0) d = -d; if (d > 1e-3 * b) { print a " is not " b; exit 1 } }'
}

# value NAME: of the JSON that came out
value() {
    printf '%s\n' "$output" | sed -n "s/^  \"$1\": {*\(\"seconds\": \)*\([-0-9.e+]*\).*/\2/p"
}

@test "one rank: compute and optimizer by hand, nothing to send" {
    expect 0 doctor --plan "$gpu,ranks=1,batch=256"
    has "$output" "model, not measured"
    has "$output" "12 layers x 768, 109.48 M trained parameters; optimizer on every rank"
    # 256 rows of 28 tokens: eleven whole layers of 2 (4 h h + 2 h f + 2 h 28) operations a token, and one that has K and
    # V on all tokens and the rest on first rows; backward twice that. 32 bytes a parameter.
    close_to "$(part compute 1)" "$(awk 'BEGIN { h = 768; f = 3072; own = 2 * h * h + 2 * h * f + 56 * h
        all = 2 * (2 * h * h + own) * 7168; last = 2 * (2 * h * h * 7168 + own * 256)
        print 1e3 * 3 * (11 * all + last) / (989e12 * 0.4) }')"
    close_to "$(part optimizer 1)" "$(awk 'BEGIN { print 1e3 * 32 * 109.48e6 / 3350e9 }')"
    [ "$(part 'adding up gradients' 1)" = 0.000 ]
    [ "$(part 'sending parameters' 1)" = 0.000 ]
    [ "$(part agreement 1)" = 0.000 ]
}

@test "eight ranks of one machine: the ring's bytes; the embeddings are never hidden" {
    # Without latency a sum is 2 x 7/8 of the bytes over the links. The embeddings, (30522 + 512 + 2 + 2) x 768 elements,
    # are done last, and at once after the lowest layer, 7,087,872; at this batch every other is hidden.
    expect 0 doctor --set distributed.shard_optimizer=no --plan "$gpu,ranks=8,batch=2048" --set train.micro_batch_tokens=16384
    local before
    before=$(part 'adding up gradients' 1)
    expect 0 doctor --set distributed.shard_optimizer=no --plan "${gpu/latency_us=5/latency_us=0},ranks=8,batch=2048"
    close_to "$(part 'adding up gradients' 1)" "$(awk 'BEGIN { print 1e3 * 2 * 7 / 8 * 4 * 109.48e6 / 450e9 }')"
    close_to "$(part 'adding up gradients' 2)" "$(awk 'BEGIN { print 1e3 * 2 * 7 / 8 * 4 * (31038 * 768 + 7087872) / 450e9 }')"
    awk -v a="$before" -v b="$(part 'adding up gradients' 1)" 'BEGIN { exit !(a > b) }'
    # In bf16 half as many bytes are added up.
    before=$(part 'adding up gradients' 1)
    expect 0 doctor --set distributed.shard_optimizer=no --set distributed.reduce_dtype=bf16 \
        --plan "${gpu/latency_us=5/latency_us=0},ranks=8,batch=2048"
    close_to "$(part 'adding up gradients' 1)" "$(awk -v all="$before" 'BEGIN { print all / 2 }')"
    # Sharded, each way is half: adding up hides, sending does not.
    expect 0 doctor --plan "${gpu/latency_us=5/latency_us=0},ranks=8,batch=2048"
    has "$output" "optimizer sharded"
    close_to "$(part 'sending parameters' 2)" "$(awk 'BEGIN { print 1e3 * 7 / 8 * 4 * 109.48e6 / 450e9 }')"
    close_to "$(part optimizer 1)" "$(awk 'BEGIN { print 1e3 * (32 / 8 + 8) * 109.48e6 / 3350e9 }')"
}

@test "frozen layers learn nothing, so send nothing and have no backward" {
    expect 0 doctor --set 'train.freeze=12 layers' --plan "$gpu,ranks=8,batch=2048" --json
    local frozen
    frozen=$(value compute)
    awk -v s="$(value 'adding up gradients')" 'BEGIN { exit !(s < 1e-4) }' # head and pooler alone
    expect 0 doctor --plan "$gpu,ranks=8,batch=2048" --json
    awk -v a="$frozen" -v b="$(value compute)" 'BEGIN { exit !(a > 0 && 3 * a > 0.999 * b && 3 * a < 1.001 * b) }'
    has "$output" '"note": "model, not measured"'
}

@test "on a processor sums hide behind nothing, and this machine is measured" {
    expect 0 doctor --set run.device=cpu --set model.hidden=64 --set model.layers=2 --set model.heads=2 \
        --set model.ffn=128 --set run.threads=1 --plan ranks=2
    has "$output" "(measured here)"
    has "$output" "(all here)"
    [ "$(part 'adding up gradients' 1)" = "$(part 'adding up gradients' 2)" ]
    [ "$(part launches 1)" = 0.000 ]
}

@test "keys that are wrong say what is accepted" {
    local line
    while IFS='|' read -r line words; do
        expect 2 doctor --plan "$line"
        has "$stderr" "$words"
    done << 'EOT'
rankss=2|no key rankss; did you mean ranks?
qqqqqqqq=2|no key qqqqqqqq; there are ranks, ranks_per_node, rows, batch
ranks=0|--plan ranks=0: expected a whole number from 1 to 65536
ranks=2.5|expected a whole number
tflops=nan|expected a number from
ranks=2,ranks=3|ranks given twice
ranks=2,|expected key=value,...
ranks|expected key=value,...
EOT
    expect 78 doctor --set 'train.freeze=13 layers' --plan "$gpu"
    has "$stderr" "train.freeze = 13 layers: the model has 12"
}
