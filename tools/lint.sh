#!/bin/bash
# Reads the whole tree with three other pairs of eyes: clang with -Werror, cppcheck, clang-format. A tool that is not
# installed is said aloud and left out. Exit 1 on any finding.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}/lint
mkdir -p "$build"
bad=0
mapfile -t sources < <(find src kernels tests tools examples -name '*.c' | sort)
flags=(-std=gnu11 -D_GNU_SOURCE -Iinclude -Isrc -I. -Ikernels/cuda)
for pkg in hdf5-serial hdf5; do
    if more=$(pkg-config --cflags "$pkg" 2> /dev/null); then
        read -ra more <<< "$more"
        flags+=("${more[@]}")
        break
    fi
done

# Plugins' sources whose headers are not on this machine are left out, aloud.
fakes='-Itests/support/cuemu -isystem tests/support/fakes/include' # of NVIDIA's headers: a toolkit is not needed
mpi=$(pkg-config --cflags ompi-c 2> /dev/null | sed 's/-I/-isystem /g')
toolkit=
for folder in "${CUDA_HOME:-/usr/local/cuda}/include" /usr/include; do
    [ -z "$toolkit" ] && [ -r "$folder/cuda_runtime_api.h" ] && toolkit=$folder
done
without=()
[ -n "$mpi" ] || without+=(src/comm/mpi.c)
[ -n "$toolkit" ] || without+=(tools/gpu_bench.c)
[ -r "$toolkit/nccl.h" ] || without+=(src/comm/nccl.c)
for source in "${without[@]}"; do echo "lint: clang: $source: the library's headers are not there: left out"; done
# For each source the flags that it alone needs.
with_flags() {
    local source
    for source in "${sources[@]}"; do
        case " ${without[*]-} " in *" $source "*) continue ;; esac
        # Ops are read in both types.
        case $source in
        kernels/cpu/ops/*) printf -- '-DRT_ISA_NAME=generic -DRT_BF16=%d %s\n' 0 "$source" 1 "$source" ;;
        src/comm/mpi.c) echo "$mpi $source" ;;
        src/comm/nccl.c | tools/gpu_bench.c) echo "-isystem $toolkit $source" ;;
        tests/gpu/*) echo "-DRT_ON_GPU $fakes $source" ;;
        *cuda/* | tests/support/fakes/*) echo "$fakes $source" ;;
        *) echo "$source" ;;
        esac
    done
}

if command -v clang > /dev/null; then
    echo "lint: clang -Wall -Wextra -Werror over ${#sources[@]} files"
    # -Wno-pass-failed: a loop that clang does not vectorise is a fact about clang.
    with_flags | xargs -P "$(nproc)" -L 1 clang -fsyntax-only -O2 -fopenmp -Wall -Wextra -Werror -Wshadow=compatible-local \
        -Wno-pass-failed -Wno-unknown-warning-option "${flags[@]}" || bad=1
else
    echo "lint: clang is not installed: left out"
fi

if command -v cppcheck > /dev/null; then
    echo "lint: cppcheck"
    # Left out: readdirCalled (readdir_r is the deprecated one), invalidPointerCast (mapped files are cast, that is their
    # use), uninitvar (cannot follow arrays filled through pointers; gcc and the sanitizers can), invalidFunctionArg
    # (does not see the guard before log()), unknownMacro, wrongPrintfScanfArgNum (gcc's -Wformat knows better), and in
    # one file nullPointer: a constant argument closes the branch that it sees.
    cppcheck --enable=warning,performance,portability --inline-suppr --error-exitcode=1 --quiet -j "$(nproc)" \
        --std=c11 --library=posix --library=gnu --suppress=missingIncludeSystem --suppress=unknownMacro \
        --suppress=readdirCalled --suppress=invalidPointerCast --suppress=uninitvar --suppress=legacyUninitvar \
        --suppress=invalidFunctionArg --suppress=wrongPrintfScanfArgNum \
        --suppress=nullPointer:kernels/cpu/ops/linear_epilogue.c \
        -D_GNU_SOURCE -Iinclude -Isrc -Ikernels/cuda src kernels tools examples tests/gpu 2> "$build/cppcheck.log" || bad=1
    cat "$build/cppcheck.log" >&2
else
    echo "lint: cppcheck is not installed: left out"
fi

if command -v clang-format > /dev/null; then
    echo "lint: clang-format"
    find src include kernels tests tools examples \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
        xargs -0 clang-format --dry-run -Werror || bad=1
else
    echo "lint: clang-format is not installed: left out"
fi
[ "$bad" -eq 0 ] && echo "lint: nothing found"
exit "$bad"
