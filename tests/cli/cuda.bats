#!/usr/bin/env bats
# run.device = cuda and auto, as a user meets them. A plugin over the emulator and the fakes lies beside a copy of the
# program: what it shows as a GPU comes from FAKE_CUDA_* in the environment, which the real one does not know. With
# FAKE_CUDA_STRICT it ends the process with status 86 where a rule of CUDA's was broken or memory is left.
load common
load train_shop

fake=$BUILD/test/fake/rectrain-cuda.so

setup_file() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    make_shop 96 40
    # The narrowest head that the GPU takes has 32 channels.
    sed -i -e 's/^heads = .*/heads = 1/' -e '/^device = /d' tiny.ini
    mkdir bare bin
    cp "$PROGRAM" bare/rectrain
    cp "$PROGRAM" "$fake" bin/
    export FAKE_CUDA_STRICT=1
    train cpu --set run.device=cpu || return 1
    train gpu --set run.device=cuda || return 1
}

setup() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    export FAKE_CUDA_STRICT=1
    PROGRAM=$PWD/bin/rectrain
}

# train NAME FLAGS...
train() {
    local name=$1
    shift
    bin/rectrain --config tiny.ini --set "run.name=$name" --set track.jsonl_every=1 "$@" > "$name.out" 2> "$name.err" || {
        echo "exit code $?"
        cat "$name.err"
        return 1
    }
}

# near NAME A B WITHIN: the numbers after "NAME": in two files of metrics are the same up to this share
near() {
    paste <(grep -o "\"$1\": [-0-9.e+]*" "$2") <(grep -o "\"$1\": [-0-9.e+]*" "$3") |
        awk -v within="$4" '{ d = $2 - $4; if (d < 0) d = -d; s = $4 < 0 ? -$4 : $4
            if (NF != 4 || d > within * s + 1e-12) { print "apart: " $0; bad = 1 } }
            END { if (NR < 5) { print NR " numbers"; bad = 1 } exit bad }'
}

# the lines of a run's training steps
steps() { grep '"event": "train"' "runs/$1/metrics.jsonl"; }

@test "a run on the GPU is the CPU's run" {
    has "$(cat gpu.err)" "GPU 0: Emulated GPU 0 (sm_90)"
    has "$(cat cpu.err)" "precision fp32"
    near loss runs/gpu/metrics.jsonl runs/cpu/metrics.jsonl 2e-5
    near grad_norm runs/gpu/metrics.jsonl runs/cpu/metrics.jsonl 2e-4
    for file in best.h5 last.h5; do expect 0 verify "runs/gpu/$file"; done
    # what either wrote, either scores: the same numbers
    expect 0 predict --checkpoint runs/gpu/best.h5 --data test.tsv --logits --set run.device=cpu
    printf '%s\n' "$output" > a
    expect 0 predict --checkpoint runs/gpu/best.h5 --data test.tsv --logits --set run.device=cuda
    printf '%s\n' "$output" > b
    paste a b | awk -F'\t' 'NR > 1 { n = NF / 2; for (i = 3; i <= n; i++) { d = $i - $(i + n)
        if (d < 0) d = -d; if (d > 1e-4) { print "apart: " $0; exit 1 } } } END { if (NR != 41) exit 1 }'
}

@test "bf16 trains, and is what auto takes on such a GPU" {
    train auto --set run.device=auto --set run.precision=auto --set train.epochs=1
    has "$(cat auto.err)" "precision bf16 (auto: the GPU computes bf16)"
    near loss <(steps auto) <(steps cpu | head -n "$(steps auto | wc -l)") 0.05
    FAKE_CUDA_SM=75 train old --set run.device=auto --set run.precision=auto --set train.max_steps=2
    has "$(cat old.err)" "(sm_75)"
    has "$(cat old.err)" "precision fp32 (auto: the GPU has no bf16 units)"
}

@test "a run that was stopped on one device goes on on the other" {
    local first second pid i
    for first in cuda cpu; do
        second=$([ $first = cuda ] && echo cpu || echo cuda)
        bin/rectrain --config tiny.ini --set run.name=$first-first --set track.jsonl_every=1 --set run.device=$first \
            --set train.epochs=2 > /dev/null 2> first.err 3>&- &
        pid=$!
        for i in $(seq 600); do
            [ "$(grep -c '"event": "train"' runs/$first-first/metrics.jsonl 2> /dev/null)" -ge 2 ] && break
            sleep 0.05
        done
        kill -TERM $pid 2> /dev/null || :
        wait $pid && status=0 || status=$?
        [ $status -eq 75 ] || [ $status -eq 0 ] # it may have been quicker
        expect 0 --config tiny.ini --set run.name=$first-first --set track.jsonl_every=1 --set run.device=$second
        near loss <(steps $first-first) <(steps cpu) 2e-5
    done
}

@test "several GPUs, small ones, other orders of their work: the same run" {
    export FAKE_CUDA_SEED=7 FAKE_CUDA_DEVICES=2 FAKE_CUDA_MEMORY=200
    train other --set run.device=cuda
    cmp runs/gpu/best.h5 runs/other/best.h5 # last.h5 holds the size of micro-batches, which hangs on the memory
}

@test "train.recompute on the GPU: the same bytes" {
    train again --set run.device=cuda --set train.recompute=yes
    cmp runs/gpu/best.h5 runs/again/best.h5
}

@test "out of memory names the knobs" {
    FAKE_CUDA_MEMORY=33 expect 69 --config tiny.ini --set run.name=small --set run.device=cuda
    has "$stderr" "the GPU has no room for"
    has "$stderr" "of 33.0 MiB free"
    has "$stderr" "train.micro_batch_tokens"
}

@test "what cannot be: exit code and sentence" {
    FAKE_CUDA_DRIVER=0 expect 69 --config tiny.ini --set run.device=cuda
    has "$stderr" "run.device = cuda: no NVIDIA driver on this machine"
    FAKE_CUDA_DRIVER=12040 expect 69 --config tiny.ini --set run.device=cuda
    has "$stderr" "knows CUDA up to 12.4, this build needs 13.0 or newer"
    FAKE_CUDA_DEVICES=0 expect 69 --config tiny.ini --set run.device=cuda
    has "$stderr" "no NVIDIA GPU"
    FAKE_CUDA_SM=70 expect 69 --config tiny.ini --set run.device=cuda
    has "$stderr" "is of sm_70; accepted are sm_75"
    FAKE_CUDA_SM=75 expect 78 --config tiny.ini --set run.device=cuda --set run.precision=bf16
    has "$stderr" "run.precision = bf16: GPU 0, Emulated GPU 0 (sm_75)"
    expect 78 --config tiny.ini --set run.device=cuda --set model.heads=2 --set run.name=narrow
    has "$stderr" "32 with 2 heads, 16 channels a head"
    has "$stderr" "run.device = cpu takes it"
}

@test "auto takes the CPU where there is no GPU, and says why when asked" {
    FAKE_CUDA_DRIVER=0 expect 0 --config tiny.ini --dry-run --set run.name=none
    lacks "$stderr" NVIDIA
    lacks "$stderr" "GPU 0"
    FAKE_CUDA_DRIVER=0 expect 0 --config tiny.ini --dry-run -v --set run.name=none
    has "$stderr" "run.device = auto takes the CPU: no NVIDIA driver"
    expect 0 --config tiny.ini --dry-run --set run.name=none
    has "$stderr" "GPU 0: Emulated GPU 0"
    PROGRAM=$PWD/bare/rectrain
    expect 0 --config tiny.ini --dry-run --set run.name=none
    lacks "$stderr" plugin
    lacks "$stderr" rectrain-cuda
}

@test "without the plugin, or with one that does not load: the loader's words" {
    PROGRAM=$PWD/bare/rectrain
    expect 69 --config tiny.ini --set run.device=cuda
    has "$stderr" "run.device = cuda: rectrain-cuda.so is not there: looked for in $PWD/bare"
    mkdir -p broken
    cp "$BATS_FILE_TMPDIR/bare/rectrain" broken/
    echo "no shared object" > broken/rectrain-cuda.so
    PROGRAM=$PWD/broken/rectrain
    expect 69 --config tiny.ini --set run.device=cuda
    has "$stderr" "broken/rectrain-cuda.so does not load: "
    has "$stderr" "broken/rectrain-cuda.so: " # as dlopen says it
    cp "$fake" broken/
    chmod 777 broken/rectrain-cuda.so
    expect 69 --config tiny.ini --set run.device=cuda
    has "$stderr" "others could write this file (mode 0777)"
    # an installed program finds it in lib/rectrain
    mkdir -p prefix/bin prefix/lib/rectrain
    cp bare/rectrain prefix/bin/
    strip prefix/bin/rectrain
    cp "$fake" prefix/lib/rectrain/
    PROGRAM=$PWD/prefix/bin/rectrain
    expect 0 --config tiny.ini --dry-run --set run.device=cuda --set run.name=none
    has "$stderr" "GPU 0: Emulated GPU 0"
}

@test "the plugin of this build loads, or says what this machine lacks" {
    [ -e "$BUILD/rectrain-cuda.so" ] || skip "this build has no CUDA plugin"
    PROGRAM=$BUILD/rectrain
    # It exports these names and no others, and what it takes from the program is there.
    nm -D --defined-only "$BUILD/rectrain-cuda.so" | awk '{ print $3 }' | grep -v '^rt_nccl_attach$' | sort > exported
    [ "$(tr '\n' ' ' < exported)" = "rt_cuda_abi rt_cuda_backend_open rt_cuda_memory " ]
    nm -D --undefined-only "$BUILD/rectrain-cuda.so" | awk '{ print $2 }' | grep '^rt_' | sort > wanted
    nm -D --defined-only "$BUILD/rectrain" | awk '{ print $3 }' | sort > given
    [ -s wanted ]
    [ -z "$(comm -23 wanted given)" ]
    # Nothing but the C library, the compiler's and cuBLASLt is needed, and no folder is written into it.
    [ -z "$(readelf -d "$BUILD/rectrain-cuda.so" | grep -E 'RPATH|RUNPATH')" ]
    [ -z "$(readelf -d "$BUILD/rectrain-cuda.so" | grep NEEDED | grep -vE 'libcublasLt|libstdc\+\+|libgcc_s|libm\.|libc\.|ld-linux')" ]
    run --separate-stderr "$PROGRAM" --config tiny.ini --dry-run --set run.device=cuda --set run.name=real
    [ "$status" -eq 0 ] || { [ "$status" -eq 69 ] && has "$stderr" "run.device = cuda: "; }
}

@test "doctor lists the GPUs, or what is missing" {
    FAKE_CUDA_DEVICES=2 expect 0 doctor
    has "$output" "bin/rectrain-cuda.so loads; run.device = auto takes the GPU"
    has "$output" "GPU 1                Emulated GPU 1 (sm_90), 1.0 GiB"
    has "$output" "fp32, tf32, bf16"
    expect 0 doctor --config tiny.ini
    has "$output" "the run's device     GPU 0: Emulated GPU 0"
    has "$output" "of 1.0 GiB, so micro-batches of up to"
    FAKE_CUDA_SM=75 expect 0 doctor
    has "$output" "fp32 alone"
    FAKE_CUDA_DRIVER=0 expect 0 doctor
    has "$output" "rectrain-cuda.so loads, but: no NVIDIA driver"
    PROGRAM=$PWD/bare/rectrain
    expect 0 doctor
    has "$output" "rectrain-cuda.so is not there"
}
