#!/bin/bash
# The bundle for a machine with a GPU, without one and without building it: what tools/bundle.sh refuses, what it makes of
# a build of stand-ins, what unpack.sh does with parts that are whole and with one that is not, how tools/gpu_check.sh ends
# where there is no GPU, and what it makes of programs that pass, fail or hang. A bundle that make bundle left is looked at.
. tests/support/tap.sh

root=$PWD build=$scratch/build parts=$scratch/parts
bundle() { BUILD=$build BUNDLE=$parts PLUGIN=${PLUGIN-x} CUDA_ARCH=90 JOBS=1 COMPUTE_SANITIZER=${COMPUTE_SANITIZER:-} tools/bundle.sh; }
mkdir -p "$build/test/gpu"
without_plugin() { PLUGIN='' exits 69 bundle; }
ok "no plugin in the build: refused" without_plugin
ok "nothing built: refused" exits 66 bundle

# Any program will do for what is packed; its libraries come along.
for file in rectrain gpu_bench rectrain-cuda.so test/gpu/test_goldens; do cp -L "$(type -P sort)" "$build/$file"; done
ok "no such compute-sanitizer: refused" env COMPUTE_SANITIZER="$scratch" bash -c "$(declare -f bundle exits); build=$build parts=$parts scratch=$scratch; exits 66 bundle"
ok "a build is packed" bundle
sizes() {
    local total=0 bytes
    while read -r bytes; do
        [ "$bytes" -le $((16 << 20)) ] || { echo "a part of $bytes bytes" && return 1; }
        total=$((total + bytes))
    done < <(find "$1" -type f -printf '%s\n')
    [ $total -gt 0 ] && [ $total -le $((48 << 20)) ] || { echo "$total bytes" && return 1; }
}
ok "parts are of at most 16 MiB, 48 MiB together" sizes "$parts"
unpacked=$scratch/unpacked
ok "unpack.sh puts them together" env -i PATH="$PATH" sh "$parts/unpack.sh" "$unpacked"
whole() { (cd "$unpacked" && sha256sum -c --quiet SHA256SUMS); }
ok "what comes out has the sums of what went in" whole
holds() {
    local file
    for file in bin/rectrain bin/rectrain-cuda.so bin/gpu_bench bin/test_goldens gpu_check.sh gpu_peer.py LICENSE about \
        tests/integration/data/pair-cls-2.golden; do
        [ -s "$unpacked/$file" ] || { echo "$file is not there" && return 1; }
    done
    find "$unpacked" -perm /022 -type f | grep . && echo "others may write these: the plugin would be refused" && return 1
    find "$unpacked/lib" \( -name 'libc.so*' -o -name 'ld-linux*' -o -name 'libcuda.so*' \) | grep . && return 1
    return 0
}
ok "program, plugin, tests, goldens and licence are in it; no C library, no driver" holds
damaged() {
    cp -R "$parts" "$scratch/damaged"
    printf x | dd of="$(find "$scratch/damaged" -name 'rectrain-gpu.tar.xz.*' | head -n 1)" bs=1 seek=9 conv=notrunc 2> /dev/null
    exits 65 sh "$scratch/damaged/unpack.sh" "$scratch/none" && [ ! -e "$scratch/none" ]
}
ok "a part that was changed: refused" damaged

# gpu_check.sh over stand-ins. stand_in FILE TEXT
stand_in() {
    printf '#!/bin/sh\n%s\n' "$2" > "$unpacked/bin/$1"
    chmod 755 "$unpacked/bin/$1"
}
check() { OUT=$scratch/out GPU_CHECK_SECONDS=${LIMIT:-60} "$unpacked/gpu_check.sh" --tiny; }
outside() { exits 66 tools/gpu_check.sh; }
ok "gpu_check.sh outside an unpacked bundle: refused" outside
ok "gpu_check.sh: an argument it does not know" exits 64 "$unpacked/gpu_check.sh" --all
stand_in gpu_bench 'echo "gpu_bench: no NVIDIA driver on this machine" >&2; exit 69'
if [ -e /dev/nvidia0 ]; then
    skip "no GPU: exit 69, and says that nothing was checked" "there is a GPU"
else
    no_gpu() { exits 69 check && says "nothing was checked" check; }
    ok "no GPU: exit 69, and says that nothing was checked" no_gpu
fi
stand_in gpu_bench 'echo "gpu_bench: libcublasLt.so.13: cannot open shared object file" >&2; exit 69'
sed -i 's/^cublas.*/cublas libcublasLt.so.13/' "$unpacked/about"
ok "no cuBLASLt: says where it is looked for" says "name a folder that has it in LD_LIBRARY_PATH" check

# A GPU, programs that do what a test asks, runs of which the one on the "GPU" may differ.
stand_in gpu_bench 'echo "GPU 0: a stand-in"'
for test in rows classify dropout adam embed residual_norm attention linear goldens; do
    stand_in "test_$test" 'echo 1..1; echo "ok 1 - it"'
done
cat > "$unpacked/bin/rectrain" << 'RUN'
#!/bin/bash
for a; do case $a in run.output=*) to=${a#*=} ;; run.name=*) name=${a#*=} ;; run.device=*) device=${a#*=} ;; esac; done
mkdir -p "$to/$name"
for i in $(seq 20); do echo "{\"event\": \"train\", \"step\": $i, \"loss\": 0.$((500 - i))$([ "$device" = cpu ] || echo "${OFF:-}")}"; done > "$to/$name/metrics.jsonl"
echo "${NOISE:+$name}" > "$to/$name/last.h5"
RUN
ok "everything passes: exit 0" exits 0 check
ok "everything passes: the table says so" grep -q 'all that was checked passed' "$scratch/out/summary.txt"
far() { OFF=9 exits 1 check && grep -q '^20 steps, fp32 .*FAILED' "$scratch/out/summary.txt"; }
ok "losses that are apart: exit 1, and the table names them" far
noisy() { NOISE=1 exits 1 check && grep -q '^the same run again, fp32 .*FAILED' "$scratch/out/summary.txt"; }
ok "a run that does not repeat its bytes: exit 1" noisy
stand_in test_attention 'echo 1..1; echo "not ok 1 - it"; exit 1'
fails() { exits 1 check && grep -q '^test_attention .*FAILED.*1 failed' "$scratch/out/summary.txt" && grep -q '^test_goldens .*passed' "$scratch/out/summary.txt"; }
ok "a test that fails: exit 1, and the others ran" fails
stand_in test_attention 'sleep 60'
hangs() { LIMIT=4 exits 1 check && grep -q '^test_attention .*FAILED.*not done in its time' "$scratch/out/summary.txt"; }
ok "a test that hangs is stopped at its time" hangs

made=$root/${BUILD:-build}/bundle
case ${BUILD:-} in /*) made=$BUILD/bundle ;; esac
if [ -d "$made" ]; then
    ok "the bundle that make bundle left: sizes" sizes "$made"
    sums() { (cd "$made" && sha256sum -c --quiet SHA256SUMS); }
    ok "the bundle that make bundle left: sums" sums
fi
done_testing
