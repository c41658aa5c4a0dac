#!/bin/bash
# nvcc takes every kernel for every architecture of the build, without a warning, and ptxas spills no register. make has
# compiled them for the plugin and kept what ptxas said ($BUILD/nvcc/*.log); CUDA_ARCH chooses the architectures.
. tests/support/tap.sh

logs=${BUILD:-build}/nvcc
report=$logs/report.txt
nvcc=$(sed -n 's/^RT_NVCC := //p' "${BUILD:-build}/found.mk" 2> /dev/null)
if [ -z "$nvcc" ] || ! [ -r "$logs/adam.log" ]; then
    skip "kernels compile and spill nothing" "nvcc is not installed, or this build leaves CUDA out"
    done_testing
fi
architectures=$(grep -o 'sm_[0-9]*' "$logs/settings" | sort -u | sed 's/sm_//' | sort -n)

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
        [ -r "$log" ] || { echo "$f was not compiled" && return 1; }
        grep -i warning "$log" && return 1
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
    "$nvcc" -std=c++17 -O3 -arch=sm_90 -Xptxas -v -c "$scratch/spills.cu" -o "$scratch/spills.o" > "$scratch/logs/x.log" 2>&1 ||
        return 1
    lines spills.cu "$scratch/logs/x.log" > "$scratch/logs/line"
    cat "$scratch/logs/line"
    [ -s "$scratch/logs/line" ] && ! grep -qE 'stack +0 +spilled +0 ' "$scratch/logs/line"
}
ok "caught: a kernel that spills" caught
done_testing
