#!/bin/bash
# Checks this build on a machine with an NVIDIA GPU, from the folder that the bundle was unpacked to, in under ten
# minutes: the ops' tests, the goldens, 200 training steps beside the CPU's, resume across devices, every kernel's rate
# beside the card's own, training speed beside transformers', compute-sanitizer. Parts that fail do not stop the others;
# each has its time, and the last lines are a table of them. Exit 0: all that could be checked passed; 1: something
# failed; 69: no GPU, nothing was checked.
# Usage: gpu_check.sh [--tiny]  (--tiny: the smallest models alone). Results: the folder $OUT, or ./results.
# GPU_CHECK_SECONDS (570) bounds the whole; PYTHON names a Python that has torch and transformers.
set -u -o pipefail
home=$(cd "$(dirname "$0")" && pwd) || exit 1
cd "$home" || exit 1
tiny=
case ${1:-} in
'') ;;
--tiny) tiny=yes ;;
*)
    echo "usage: gpu_check.sh [--tiny]" >&2
    exit 64
    ;;
esac
out=${OUT:-$home/results}
mkdir -p "$out" || exit 74
SECONDS=0
most=${GPU_CHECK_SECONDS:-570}
work=$(mktemp -d) || exit 74
trap 'rm -rf "$work"' EXIT
for file in bin/rectrain bin/rectrain-cuda.so about; do
    if ! [ -e "$file" ]; then
        echo "gpu_check: $home/$file is not there: this runs in a folder that unpack.sh of make bundle made" >&2
        exit 66
    fi
done
about() { sed -n "s/^$1 //p" about; }

# --- libraries -----------------------------------------------------------------------------------------------------
# Ours first; NVIDIA's where the toolkit, PyTorch or the system has them; a C++ runtime of ours where there is none.
system_has() { { ldconfig -p || /sbin/ldconfig -p; } 2> /dev/null | grep -qF "$1"; }
path=$home/lib
cublas=$(about cublas)
cublas=${cublas:-libcublasLt.so.13}
for python in "${PYTHON:-}" python3 python /opt/*/bin/python3 /opt/*/.venv/bin/python3; do
    if [ -z "$python" ] || ! command -v "$python" > /dev/null; then
        python=
        continue
    fi
    timeout 30 "$python" -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("torch"))' 2> /dev/null && break
    python=
done
find_library() { # NAME: its folder
    local folder
    for folder in $(printf '%s' "${LD_LIBRARY_PATH:-}" | tr : ' ') /usr/local/cuda/lib64 /usr/local/cuda-*/lib64 \
        /usr/local/cuda/targets/x86_64-linux/lib /usr/lib/x86_64-linux-gnu \
        $([ -z "$python" ] || "$python" -c 'import sys, glob, os
for p in sys.path:
    for f in glob.glob(os.path.join(p, "nvidia", "*", "lib")): print(f)' 2> /dev/null); do
        [ -e "$folder/$1" ] && echo "$folder" && return 0
    done
    return 1
}
cublas_at=
for name in "$cublas" libcudnn.so.9; do
    system_has "$name" && continue
    folder=$(find_library "$name") || continue
    path=$path:$folder
    [ "$name" = "$cublas" ] && cublas_at=$folder
done
for folder in /usr/local/nvidia/lib64 /usr/local/nvidia/lib /usr/lib/wsl/lib; do
    [ -e "$folder/libcuda.so.1" ] && path=$path:$folder
done
system_has libstdc++.so.6 || path=$path:$home/fallback
ours() { LD_LIBRARY_PATH=$path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$@"; }

# --- is there a GPU? -----------------------------------------------------------------------------------------------
ours bin/gpu_bench bf16 --only-open > "$work/open" 2>&1
opened=$?
if [ $opened -ne 0 ]; then
    cat "$work/open" >&2
    if grep -qF "$cublas" "$work/open"; then
        echo "gpu_check: $cublas was not found: install cuBLAS of CUDA ${cublas##*.}, or name a folder that has it in LD_LIBRARY_PATH, or in PYTHON a Python whose PyTorch has it" >&2
    fi
    if [ -e /dev/nvidia0 ] || nvidia-smi -L > /dev/null 2>&1; then
        echo "there is a GPU, but it was not opened: nothing was checked"
    else
        echo "no GPU: nothing was checked"
    fi
    exit 69
fi
device=$(tail -n 1 "$work/open")
driver=$(cat /sys/module/nvidia/version 2> /dev/null || nvidia-smi --query-gpu=driver_version --format=csv,noheader 2> /dev/null | head -n 1)
{
    echo "$device"
    echo "driver ${driver:-unknown}; commit $(about commit), built $(about date), code for sm_$(about arch); $(date -u +%Y-%m-%d), $(nproc) processors${cublas_at:+; $cublas in $cublas_at}"
    nvidia-smi 2> /dev/null
} | tee "$out/machine.txt" | head -n 2

# --- parts ---------------------------------------------------------------------------------------------------------
failed=0
table=
# note PART RESULT REMARK
note() {
    table+="$(printf '%-34s %-10s %s' "$1" "$2" "$3")"$'\n'
    [ "$2" = FAILED ] && failed=1
    printf '[%3d s] %-34s %-10s %s\n' "$SECONDS" "$1" "$2" "$3"
}
# box SECONDS: how much of them is left
box() {
    local left=$((most - SECONDS))
    [ "$1" -lt "$left" ] && left=$1
    echo $((left > 1 ? left : 1))
}
spent() { [ $((most - SECONDS)) -lt "$1" ]; }

# counts LOG: "N passed, N failed" of cmocka's TAP
counts() {
    awk '/^ok / { if (/# [Ss][Kk][Ii][Pp]/) s++; else p++ } /^not ok / { f++ }
        END { printf "%d passed, %d failed%s", p, f, s ? ", " s " skipped" : "" }' "$1"
}
export CMOCKA_MESSAGE_OUTPUT=TAP RECTRAIN_GPU_REQUIRED=1
# program NAME SECONDS
program() {
    local log=$out/$1.log code
    ours timeout -k 5 "$(box "$2")" "bin/$1" > "$log" 2>&1
    code=$?
    case $code in
    0) note "$1" passed "$(counts "$log")" ;;
    124 | 137) note "$1" FAILED "not done in its time; $(counts "$log")" ;;
    *) note "$1" FAILED "exit $code; $(counts "$log"); $(grep -m 1 -E '^(not ok|# .*(error|Error|wrote|relative))' "$log")" ;;
    esac
}
for test in rows classify dropout adam embed residual_norm attention linear; do program "test_$test" 30; done
program test_goldens 40

# --- training beside the CPU ---------------------------------------------------------------------------------------
# Words, and tables of them: the same each time. `fixed` has rows of exactly so many words, for timing.
words() { # ROWS LEAST MOST SEED
    awk -v rows="$1" -v least="$2" -v most="$3" -v state="$4" '
        function draw(n) { state = state * 16807 % 2147483647; return int(n * (state / 2147483647)) }
        BEGIN { print "title\tclick"
            for (r = 0; r < rows; r++) {
                first = draw(4000); t = "w" first
                for (w = least + draw(most - least + 1); w > 1; w--) { u = draw(4000) / 4000; t = t " w" int(4000 * u * u) }
                print t "\t" (draw(10) < (first < 2000 ? 8 : 2)) } }'
}
{
    printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]'
    seq 0 30516 | sed 's/^/w/'
} > "$work/vocab.txt"
words 3200 3 24 42 > "$work/mixed.tsv"
if [ -n "$tiny" ]; then
    model=(--set model.hidden=64 --set model.layers=2 --set model.heads=2 --set model.ffn=128)
    steps=20
else
    model=(--set model.hidden=384 --set model.layers=6 --set model.heads=12 --set model.ffn=1536)
    steps=200
fi
# prepare NAME SECONDS DEVICE PRECISION TABLE SETTINGS...: the command of a run
prepare() {
    local name=$1 seconds=$2 device=$3 precision=$4 rows=$5
    shift 5
    command=(env "LD_LIBRARY_PATH=$path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" timeout -k 5 "$(box "$seconds")" bin/rectrain --quiet
        --set "run.output=$work/runs" --set "run.name=$name" --set "run.device=$device" --set "run.precision=$precision"
        --set run.seed=7 --set model.init=random --set "model.vocab=$work/vocab.txt" --set "data.train=$work/$rows.tsv"
        --set data.text_a=title --set data.text_b= --set data.label=click --set track.tensorboard=no "$@")
}
# run: the same, done
run() {
    prepare "$@"
    "${command[@]}" > "$work/$1.log" 2>&1
    local code=$?
    [ $code -eq 0 ] || cp "$work/$1.log" "$out/run-$1.log"
    return $code
}
checked=(--set "track.jsonl_every=1 steps" --set train.batch_size=16 --set "train.max_steps=$steps" --set optimizer.learning_rate=5e-5)
# losses NAME: one a line
losses() { grep '"event": "train"' "$work/runs/$1/metrics.jsonl" | grep -o '"loss": [-0-9.e+]*' | sed 's/.* //'; }
# apart A B FIRST: largest relative difference of the first so many losses, or "none" where they are not all there
apart() {
    paste <(losses "$1") <(losses "$2") | head -n "$3" | awk -v want="$3" '
        { d = $1 - $2; if (d < 0) d = -d; d /= $2 < 0 ? -$2 : $2; if (d > worst || d != d) worst = d; if (NF == 2) n++ }
        END { if (n != want) print "none"; else printf "%.3g\n", worst }'
}
# away A B: root of the mean square of the relative differences of all losses
away() { paste <(losses "$1") <(losses "$2") | awk '{ d = $1 / $2 - 1; s += d * d } END { printf "%.3g\n", sqrt(s / NR) }'; }
at_most() { [ "$1" != none ] && awk "BEGIN { exit !($1 <= $2) }"; }

run cpu 100 cpu fp32 mixed "${model[@]}" "${checked[@]}"
cpu=$?
run gpu 60 cuda fp32 mixed "${model[@]}" "${checked[@]}"
gpu=$?
if [ $cpu -ne 0 ] || [ $gpu -ne 0 ]; then
    note "$steps steps, fp32" FAILED "exit $cpu (CPU), $gpu (GPU): run-*.log"
else
    # fp32 sums in other orders are 1e-7 of a loss apart at first; Adam's steps carry that on, by a few times in 200.
    first=$(apart gpu cpu 20) whole=$(apart gpu cpu "$steps")
    if at_most "$first" 2e-5 && at_most "$whole" 1e-4; then result=passed; else result=FAILED; fi
    note "$steps steps, fp32" $result "losses apart from the CPU's: $first in 20 steps (at most 2e-5), $whole in all (1e-4)"
    run again 60 cuda fp32 mixed "${model[@]}" "${checked[@]}"
    if cmp -s "$work/runs/gpu/last.h5" "$work/runs/again/last.h5"; then result=passed; else result=FAILED; fi
    note "the same run again, fp32" $result "last.h5 bit for bit"
fi
# bf16: at most twice as far from fp32 as the CPU's bf16, and four of its roundings (2^-9) on top. On the tiny model:
# processors without bf16 take long.
small=(--set model.hidden=64 --set model.layers=2 --set model.heads=2 --set model.ffn=128)
if run cpu-s 40 cpu fp32 mixed "${small[@]}" "${checked[@]}" && run cpu-s16 60 cpu bf16 mixed "${small[@]}" "${checked[@]}" &&
    run gpu-s16 40 cuda bf16 mixed "${small[@]}" "${checked[@]}" && run gpu-s16b 40 cuda bf16 mixed "${small[@]}" "${checked[@]}"; then
    mine=$(away gpu-s16 cpu-s) plain=$(away cpu-s16 cpu-s)
    if at_most "$mine" "(2 * $plain + 4 / 512)"; then result=passed; else result=FAILED; fi
    note "$steps steps, bf16" $result "from the CPU's fp32: $mine; the CPU's bf16: $plain"
    if cmp -s "$work/runs/gpu-s16/last.h5" "$work/runs/gpu-s16b/last.h5"; then result=passed; else result=FAILED; fi
    note "the same run again, bf16" $result "last.h5 bit for bit"
else
    note "$steps steps, bf16" FAILED "a run failed: run-*.log"
fi
# Stopped on one device, gone on with on the other.
for first in cuda cpu; do
    if [ $first = cuda ]; then second=cpu; else second=cuda; fi
    prepare "from-$first" 60 $first fp32 mixed "${model[@]}" "${checked[@]}"
    "${command[@]}" > "$work/from-$first.log" 2>&1 &
    pid=$!
    for _ in $(seq 600); do
        done_steps=$(grep -c '"event": "train"' "$work/runs/from-$first/metrics.jsonl" 2> /dev/null)
        [ "${done_steps:-0}" -ge $((steps / 4)) ] && break
        kill -0 $pid 2> /dev/null || break
        sleep 0.05
    done
    kill -TERM $pid 2> /dev/null # timeout hands it on
    wait $pid
    stopped=$?
    before=$(losses "from-$first" | wc -l)
    run "from-$first" 60 $second fp32 mixed "${model[@]}" "${checked[@]}"
    code=$? worst=$(apart "from-$first" cpu "$steps")
    if [ $code -eq 0 ] && at_most "$worst" 1e-4; then result=passed; else result=FAILED; fi
    [ $stopped -eq 0 ] && [ $result = passed ] && result=incomplete
    note "resume: $first, then $second" $result "stopped after $before steps (exit $stopped), then exit $code; losses apart from the CPU's: $worst"
done

# --- rates ---------------------------------------------------------------------------------------------------------
if [ -n "$tiny" ]; then
    note "rates of the kernels" "not run" "--tiny"
else
    ours timeout -k 5 "$(box 90)" bin/gpu_bench > "$out/kernels.md" 2> "$work/bench.err"
    code=$?
    if [ $code -eq 0 ]; then result=passed; else result=FAILED; fi
    note "rates of the kernels" $result "$(grep -c '^| [a-zQ]' "$out/kernels.md") rows in kernels.md $(head -n 1 "$work/bench.err")"
    base=(--set model.hidden=768 --set model.layers=12 --set model.heads=12 --set model.ffn=3072)
    : > "$out/training.md"
    for shape in "256 28" "32 128"; do
        read -r sequences length <<< "$shape"
        words $((sequences * 100)) $((length - 2)) $((length - 2)) 9 > "$work/fixed$length.tsv"
        for precision in bf16 fp32; do
            [ $precision = fp32 ] && count=30 || count=80
            if run "speed-$length-$precision" 60 cuda $precision "fixed$length" "${base[@]}" --set data.max_length=128 \
                --set "train.batch_size=$sequences" --set train.micro_batch_tokens=8192 --set "train.max_steps=$count" \
                --set "track.jsonl_every=5 steps" --set optimizer.learning_rate=1e-5; then
                speed=$(sed -n 's/.*"event": "train", "step": \([0-9]*\),.*"tokens": \([0-9]*\), "seconds": \([0-9.e+-]*\).*/\1 \2 \3/p' \
                    "$work/runs/speed-$length-$precision/metrics.jsonl" | awk '$1 > 10 { t += $2; s += $3; if ($2 / $3 > best) best = $2 / $3 }
                    END { if (s > 0) printf "%.0f (best five steps %.0f)", t / s, best; else print "none" }')
                echo "| rectrain $(about commit), $precision, whole steps of a run | $sequences x $length | $speed |" | tee -a "$out/training.md"
            else
                note "speed, $precision, $sequences x $length" FAILED "run-speed-$length-$precision.log"
            fi
        done
    done
    if [ -n "$python" ] && "$python" -c 'import torch, transformers' 2> /dev/null; then
        seconds=$(box 110)
        timeout -k 5 "$seconds" "$python" gpu_peer.py $((seconds - 30)) > "$out/peer.md" 2> "$work/peer.err"
        code=$?
        grep '^|' "$out/peer.md" | tee -a "$out/training.md"
        case $code in
        0) note "beside transformers" passed "$(grep -c '^|' "$out/peer.md") rows" ;;
        *) note "beside transformers" incomplete "exit $code; $(grep -c '^|' "$out/peer.md") rows; $(tail -n 1 "$work/peer.err")" ;;
        esac
    else
        note "beside transformers" "not run" "no Python here has torch and transformers (PYTHON names one)"
    fi
fi

# --- compute-sanitizer ---------------------------------------------------------------------------------------------
# The ops' tests fill all that they give to an op, so uninitialised memory is looked for in a training run.
sanitizer=
for file in compute-sanitizer/compute-sanitizer "$(command -v compute-sanitizer)" /usr/local/cuda/bin/compute-sanitizer; do
    [ -n "$file" ] && [ -x "$file" ] && sanitizer=$file && break
done
# sanitized TOOL NAME SECONDS COMMAND...
sanitized() {
    local tool=$1 name=$2 log=$out/$1-$2.log code
    local seconds=$3
    shift 3
    if spent 5; then
        note "$tool: $name" "not run" "no time was left"
        return
    fi
    ours timeout -k 5 "$(box "$seconds")" "$sanitizer" --tool "$tool" --error-exitcode 86 "$@" > "$log" 2>&1
    code=$?
    if grep -q 'Device not supported' "$log"; then
        note "$tool: $name" "not run" "compute-sanitizer does not support the device here"
    elif [ $code -eq 0 ]; then
        note "$tool: $name" passed "$(grep -o -m 1 -E '(ERROR|RACECHECK) SUMMARY.*' "$log")"
    elif grep -qE 'SUMMARY: [1-9]|SUMMARY.*[1-9][0-9]* (error|hazard)' "$log" || [ $code -eq 86 ]; then
        note "$tool: $name" FAILED "$(grep -o -m 1 -E '(ERROR|RACECHECK) SUMMARY.*' "$log"): $(grep -m 1 -E '^=+ +(Invalid|Error|Warning|Uninit)' "$log")"
    elif [ $code -eq 124 ] || [ $code -eq 137 ]; then
        note "$tool: $name" incomplete "stopped at its time"
    else
        note "$tool: $name" FAILED "exit $code; $(counts "$log")"
    fi
}
if [ -z "$sanitizer" ]; then
    note "compute-sanitizer" "not run" "it is neither installed nor in the bundle (COMPUTE_SANITIZER=folder make bundle)"
else
    trained=(bin/rectrain --quiet --set "run.output=$work/runs" --set run.device=cuda --set model.init=random
        --set "model.vocab=$work/vocab.txt" --set "data.train=$work/mixed.tsv" --set data.text_a=title --set data.text_b= --set data.label=click
        --set track.tensorboard=no --set run.if_exists=overwrite "${small[@]}" --set train.batch_size=16 --set train.max_steps=3)
    sanitized memcheck training 30 "${trained[@]}" --set run.name=m --set run.precision=bf16
    sanitized racecheck training 30 "${trained[@]}" --set run.name=r --set run.precision=bf16
    sanitized initcheck training 30 "${trained[@]}" --set run.name=i --set run.precision=bf16
    sanitized initcheck training-fp32 30 "${trained[@]}" --set run.name=j --set run.precision=fp32
    for test in attention embed residual_norm rows classify adam dropout linear; do
        for tool in memcheck racecheck; do sanitized $tool "test_$test" 25 "bin/test_$test"; done
    done
fi

# --- the end -------------------------------------------------------------------------------------------------------
if [ -s "$out/kernels.md" ]; then
    {
        echo "$device, driver ${driver:-unknown}, $(date -u +%Y-%m-%d), commit $(about commit), \`gpu_check.sh\`"
        echo
        tail -n +3 "$out/kernels.md"
        echo
        echo "| training BERT-base, dropout 0.1 | sequences x tokens | tokens/s |"
        echo "|---|---|---|"
        cat "$out/training.md"
    } > "$out/performance.md"
    echo "a table for PERFORMANCE.md: $out/performance.md"
fi
printf '\n%s' "$table" | tee "$out/summary.txt"
if [ $failed -eq 0 ]; then result="all that was checked passed"; else result="something failed"; fi
echo "$result, in $SECONDS s; results in $out" | tee -a "$out/summary.txt"
exit $failed
