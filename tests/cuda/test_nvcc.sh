#!/bin/bash
# nvcc takes every kernel for every architecture that is claimed, without a warning, and ptxas spills no register. What
# was compiled stays compiled: a result is kept in $BUILD/nvcc under a sum of everything that it was made from.
. tests/support/tap.sh

nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
architectures=${CUDA_ARCH:-75 80 90 120}
logs=${BUILD:-build}/nvcc
report=$logs/report.txt
if ! [ -x "$nvcc" ]; then
    for sm in $architectures; do skip "kernels compile for sm_$sm and spill nothing" "nvcc is not installed"; done
    done_testing
fi
mkdir -p "$logs"

# compile FILE SM LOG: ptxas' words in LOG
compile() {
    local key
    key=$(cat "$1" kernels/cuda/*.cuh kernels/cuda/*.h include/rectrain/*.h src/base/status.h "$0" <("$nvcc" --version) | cksum)
    [ "$(head -n 1 "$3" 2> /dev/null)" = "$key" ] && return 0
    "$nvcc" -std=c++17 -O3 -lineinfo -Ikernels/cuda -Iinclude -Xcompiler -Wall -Werror all-warnings \
        -gencode "arch=compute_$2,code=sm_$2" -Xptxas -v -c "$1" -o "$3.o" > "$3.part" 2>&1 || { cat "$3.part" && return 1; }
    rm -f "$3.o"
    { echo "$key" && cat "$3.part"; } > "$3" && rm -f "$3.part"
}
# A line for each kernel: architecture, file, registers, shared memory, stack, spills, name
lines() {
    awk -v sm="$2" -v file="$1" '
        /Compiling entry function/ { name = $0; sub(/.*function .*_Z[A-Z]*[0-9]*/, "", name); sub(/. for .*/, "", name) }
        /bytes stack frame/ { stack = $1; spill = $5 + $9 }
        /Used [0-9]+ registers/ { shared = 0; for (i = 2; i <= NF; i++) if ($i ~ /^smem/) shared = $(i - 2)
            printf "sm_%-4s %-18s registers %3d  shared %6d  stack %4d  spilled %4d  %s\n", sm, file, $5, shared, stack, spill, name }' "$3"
}
all_compile() {
    local f
    : > "$logs/report.$1"
    for f in kernels/cuda/*.cu; do
        compile "$f" "$1" "$logs/$(basename "$f" .cu).sm_$1.log" || return 1
        lines "$(basename "$f")" "$1" "$logs/$(basename "$f" .cu).sm_$1.log" >> "$logs/report.$1"
    done
    [ "$(wc -l < "$logs/report.$1")" -ge "$(cat kernels/cuda/*.cu | grep -c '^static __global__\|static __global__ void')" ]
}
spilled() { grep -vE 'stack +0 +spilled +0 ' "$logs/report.$1"; }

for sm in $architectures; do
    ok "kernels compile for sm_$sm" all_compile "$sm"
    ok "no kernel spills or has a stack on sm_$sm" empty spilled "$sm"
done
# shellcheck disable=SC2086 # names are words
(cd "$logs" && cat $(printf 'report.%s ' $architectures)) > "$report"

# The check itself: a kernel that must spill.
mkdir -p "$scratch/logs"
cat > "$scratch/spills.cu" << 'CU'
static __global__ void __launch_bounds__(1024, 2) spills(float *data) {
    float v[64];
    for (int i = 0; i < 64; i++) v[i] = data[i * 1024 + threadIdx.x];
    for (int n = 0; n < 64; n++)
        for (int i = 0; i < 64; i++) v[i] = v[i] * v[(i * 7 + 1) % 64] + v[(i + n) % 64];
    for (int i = 0; i < 64; i++) data[i * 1024 + threadIdx.x] = v[i];
}
void launch(float *data) { spills<<<1, 1024>>>(data); }
CU
caught() {
    compile "$scratch/spills.cu" 90 "$scratch/logs/x.log" || return 1
    lines spills.cu 90 "$scratch/logs/x.log" > "$scratch/logs/line"
    cat "$scratch/logs/line"
    [ -s "$scratch/logs/line" ] && ! grep -qE 'stack +0 +spilled +0 ' "$scratch/logs/line"
}
ok "caught: a kernel that spills" caught
done_testing
