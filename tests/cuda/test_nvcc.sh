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

# compile FILE LOG SM...: ptxas' words in LOG; one call for all architectures, whose host part is compiled once
compile() {
    local file=$1 log=$2 key sm codes=()
    shift 2
    for sm; do codes+=(-gencode "arch=compute_$sm,code=sm_$sm"); done
    key=$(cat "$file" kernels/cuda/*.cuh kernels/cuda/*.h include/rectrain/*.h src/base/status.h "$0" <("$nvcc" --version) \
        <(echo "$@") | cksum)
    [ "$(head -n 1 "$log" 2> /dev/null)" = "$key" ] && return 0
    "$nvcc" -std=c++17 -O3 -Ikernels/cuda -Iinclude -Xcompiler -Wall -Werror all-warnings "${codes[@]}" -Xptxas -v \
        -c "$file" -o "$log.o" > "$log.part" 2>&1 || { cat "$log.part" && return 1; }
    rm -f "$log.o"
    { echo "$key" && cat "$log.part"; } > "$log" && rm -f "$log.part"
}
# lines FILE LOG: one for each kernel: architecture, file, registers, shared memory, stack, spills, name
lines() {
    awk -v file="$(basename "$1")" '
        /Compiling entry function/ {
            name = sm = $0
            sub(/.*function .*_Z[A-Z]*[0-9]*/, "", name); sub(/. for .*/, "", name)
            sub(/.* for ./, "", sm); sub(/[^a-z0-9_].*/, "", sm)
        }
        /bytes stack frame/ { stack = $1; spill = $5 + $9 }
        /Used [0-9]+ registers/ { shared = 0; for (i = 2; i <= NF; i++) if ($i ~ /^smem/) shared = $(i - 2)
            printf "%-7s %-18s registers %3d  shared %6d  stack %4d  spilled %4d  %s\n", sm, file, $5, shared, stack, spill, name }' "$2"
}
all_compile() {
    local f log
    : > "$report"
    for f in kernels/cuda/*.cu; do
        log=$logs/$(basename "$f" .cu).log
        # shellcheck disable=SC2086 # architectures are words
        compile "$f" "$log" $architectures || return 1
        lines "$f" "$log" >> "$report"
    done
}
kernels=$(cat kernels/cuda/*.cu | grep -c '__global__ void')
# Every kernel is there, in one instance at least.
complete() {
    local n
    n=$(grep -c "^sm_$1 " "$report")
    [ "$n" -ge "$kernels" ] || { echo "$n kernels for sm_$1, of $kernels in the sources" && return 1; }
}
spilled() { grep "^sm_$1 " "$report" | grep -vE 'stack +0 +spilled +0 '; }

ok "nvcc takes every file without a warning" all_compile
for sm in $architectures; do
    ok "kernels compile for sm_$sm" complete "$sm"
    ok "no kernel spills or has a stack on sm_$sm" empty spilled "$sm"
done
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
    compile "$scratch/spills.cu" "$scratch/logs/x.log" 90 || return 1
    lines spills.cu "$scratch/logs/x.log" > "$scratch/logs/line"
    cat "$scratch/logs/line"
    [ -s "$scratch/logs/line" ] && ! grep -qE 'stack +0 +spilled +0 ' "$scratch/logs/line"
}
ok "caught: a kernel that spills" caught
done_testing
