#!/bin/bash
# What ptxas made of the kernels, read off their machine code: no kernel uses local memory, and those that claim tensor
# cores, ldmatrix, asynchronous copies or accesses of 16 bytes have these instructions. Needs cuobjdump (and nvdisasm) on
# the PATH, which not every toolkit has; then this is skipped.
. tests/support/tap.sh

nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
architectures="80 90"
store=${BUILD:-build}/sass
if ! [ -x "$nvcc" ] || ! command -v cuobjdump > /dev/null; then
    skip "machine code of the kernels" "nvcc or cuobjdump is not installed"
    done_testing
fi
mkdir -p "$store"

# Kernel, a blank, the instructions that each of its instances must have.
claims='
attention_forward_kernel HMMA.16816.F32.BF16 LDSM.16.M88.4 LDSM.16.MT88.4 LDGSTS.E.BYPASS.128 STG.E.128 MUFU.EX2
attention_backward_kernel HMMA.16816.F32.BF16 LDSM.16.M88.4 LDSM.16.MT88.4 LDGSTS.E.BYPASS.128 STG.E.128 MUFU.EX2
attention_backward_queries_kernel HMMA.16816.F32.BF16 LDSM.16.M88.4 LDSM.16.MT88.4 LDGSTS.E.BYPASS.128 LDG.E.128 STG.E.128
attention_backward_keys_kernel HMMA.16816.F32.BF16 LDSM.16.M88.4 LDSM.16.MT88.4 LDGSTS.E.BYPASS.128 LDG.E.128 STG.E.128
attention_forward_plain_kernel FFMA LDS.128 LDGSTS.E.BYPASS.128 STG.E.128
attention_backward_plain_queries_kernel FFMA LDS.128 LDGSTS.E.BYPASS.128 LDG.E.128 STG.E.128
attention_backward_plain_keys_kernel FFMA LDS.128 LDGSTS.E.BYPASS.128 LDG.E.128 STG.E.128
attention_forward_first_kernel LDG.E.128 STG.E.128
attention_backward_first_kernel LDG.E.128 STG.E.128
embed_forward_kernel LDG.E.128 STG.E.128
residual_norm_forward_kernel LDG.E.128 STG.E.128
residual_norm_backward_kernel LDG.E.128 STG.E.128
'

# machine_code FILE SM TO: what was made stays, under a sum of everything that it was made from
machine_code() {
    local file=$1 sm=$2 to=$3 key
    key=$(cat "$file" kernels/cuda/*.cuh kernels/cuda/*.h include/rectrain/*.h src/base/status.h "$0" <("$nvcc" --version) \
        <(echo "$sm") | cksum)
    [ "$(head -n 1 "$to" 2> /dev/null)" = "$key" ] && return 0
    "$nvcc" -std=c++17 -O3 -Ikernels/cuda -Iinclude -arch="sm_$sm" -cubin -o "$to.cubin" "$file" || return 1
    { echo "$key" && cuobjdump -sass "$to.cubin"; } > "$to.part" && mv -f "$to.part" "$to" || return 1
    rm -f "$to.cubin"
}
all_of() {
    local f
    for f in kernels/cuda/*.cu; do machine_code "$f" "$1" "$store/$(basename "$f" .cu).$1" || return 1; done
}
# instructions FILE...: a line for each kernel and instruction that it has: "kernel instruction"
instructions() {
    awk '/Function : / { name = $NF }
        /^ *\/\*[0-9a-f]+\*\// { op = $2; if (op ~ /^@/) op = $3; sub(/;$/, "", op); seen[name " " op] = 1 }
        END { for (line in seen) print line }' "$@"
}
local_memory() { grep -E ' (LDL|STL)(\.|$)' "$1"; }
# missing INSTRUCTIONS: claims that some instance does not keep
missing() {
    local kernel wanted names name op
    while read -r kernel wanted; do
        [ -n "$kernel" ] || continue
        names=$(sed 's/ .*//' "$1" | grep -E "[0-9]${kernel}(I|E|P|v|$)" | sort -u)
        [ -n "$names" ] || echo "no kernel is called $kernel"
        for name in $names; do
            for op in $wanted; do
                awk -v name="$name" -v op="$op" '$1 == name && index($2, op) == 1 { found = 1 } END { exit !found }' "$1" ||
                    echo "$name has no $op"
            done
        done
    done <<< "$claims"
}

for sm in $architectures; do
    ok "machine code for sm_$sm" all_of "$sm"
    instructions "$store"/*."$sm" > "$scratch/seen.$sm"
    ok "no kernel uses local memory on sm_$sm" empty local_memory "$scratch/seen.$sm"
    ok "tensor cores, ldmatrix, cp.async and 16-byte accesses where they are claimed, on sm_$sm" \
        empty missing "$scratch/seen.$sm"
done
# The checks themselves: a kernel with an array in local memory, and one without what is claimed of it.
cat > "$scratch/slow.cu" << 'CU'
__global__ void residual_norm_forward_kernel(float *data, int n) {
    float v[64];
    for (int i = 0; i < 64; i++) v[i] = data[i];
    data[threadIdx.x] = v[n % 64];
}
CU
"$nvcc" -arch=sm_80 -cubin -o "$scratch/slow.cubin" "$scratch/slow.cu" &&
    cuobjdump -sass "$scratch/slow.cubin" > "$scratch/slow" && instructions "$scratch/slow" > "$scratch/slow.seen"
ok "caught: a kernel in local memory" local_memory "$scratch/slow.seen"
ok "caught: a kernel without what is claimed of it" says "28residual_norm_forward_kernelPfi has no STG.E.128" \
    missing "$scratch/slow.seen"
done_testing
