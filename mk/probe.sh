#!/bin/sh
# Finds the libraries and what the compiler can do, and writes the answers as make variables.
# Usage: mk/probe.sh OUTPUT.mk KEY CC [CFLAGS...].  Nothing is probed again while OUTPUT.mk starts with the same KEY.
# A library is looked for with pkg-config; where that knows nothing, by compiling and linking a three-line program.
set -u
out=$1 key=$2
shift 2
if [ -r "$out" ] && [ "$(head -n 1 "$out")" = "# $key" ]; then exit 0; fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir -p "$(dirname "$out")"
pkg_config=${PKG_CONFIG:-pkg-config}
cflags= libs= missing= summary=

say() { summary="$summary  $(printf '%-11s %s' "$1" "$2")
"; }

# links HEADER EXPRESSION FLAGS...: does a program that evaluates EXPRESSION compile and link?
links() {
    l_header=$1 l_expr=$2
    shift 2
    printf '#include <%s>\nint main(void) {\n    return (%s) == 0;\n}\n' "$l_header" "$l_expr" > "$work/p.c"
    # shellcheck disable=SC2086 # flags are words
    $cc -D_GNU_SOURCE "$work/p.c" -o "$work/p" "$@" > "$work/log" 2>&1
}

# find_library NAME HEADER EXPRESSION FALLBACK_LIBS PKG...: appends to cflags and libs, or to missing
find_library() {
    f_name=$1 f_header=$2 f_expr=$3 f_fallback=$4
    shift 4
    for pkg in "$@"; do
        f_cflags=$($pkg_config --cflags "$pkg" 2> /dev/null) || continue
        f_libs=$($pkg_config --libs "$pkg" 2> /dev/null) || continue
        # shellcheck disable=SC2086
        if links "$f_header" "$f_expr" $f_cflags $f_libs; then
            found_cflags=$f_cflags found_libs=$f_libs
            say "$f_name" "$($pkg_config --modversion "$pkg")  ($pkg.pc)"
            return 0
        fi
    done
    # shellcheck disable=SC2086
    if links "$f_header" "$f_expr" $f_fallback; then
        found_cflags=$(for w in $f_fallback; do case $w in -I*) printf '%s ' "$w" ;; esac; done)
        found_libs=$(for w in $f_fallback; do case $w in -I*) ;; *) printf '%s ' "$w" ;; esac; done)
        say "$f_name" "found by linking $found_libs"
        return 0
    fi
    found_cflags= found_libs=
    say "$f_name" "NOT FOUND"
    return 1
}
need() {
    if find_library "$@"; then
        cflags="$cflags $found_cflags" libs="$libs $found_libs"
    else
        missing="$missing $1"
    fi
}

cc="$*"
if ! links stdio.h 'printf("x")'; then
    echo "rectrain: the compiler does not work: $cc" >&2
    cat "$work/log" >&2
    echo "# failed" > "$out"
    echo "RT_MISSING := compiler" >> "$out"
    exit 0
fi
machine=$($cc -dumpmachine)
say compiler "$cc: $($cc --version | head -n 1)"

h5=
for folder in /usr/include/hdf5/serial /usr/include; do
    [ -r "$folder/hdf5.h" ] && h5="-I$folder" && break
done
for lib in hdf5_serial hdf5; do
    if links hdf5.h 'H5open()' $h5 "-l$lib"; then h5="$h5 -l$lib" && break; fi
done
need openmp omp.h 'omp_get_max_threads()' '-fopenmp'
need dnnl dnnl.h 'dnnl_version()->major' '-ldnnl' dnnl
need hdf5 hdf5.h 'H5open()' "$h5" hdf5-serial hdf5
need ini_config ini_configobj.h 'ini_config_create((struct ini_cfgobj **)0)' '-lini_config -lbasicobjects -lref_array -lcollection' ini_config
need jansson jansson.h 'json_true() != 0' '-ljansson' jansson
need utf8proc utf8proc.h 'utf8proc_version() != 0' '-lutf8proc' libutf8proc
need xxhash xxhash.h 'XXH_versionNumber()' '-lxxhash' libxxhash
need zlib zlib.h 'zlibVersion() != 0' '-lz' zlib
need zstd zstd.h 'ZSTD_versionNumber()' '-lzstd' libzstd

# cmocka.h wants other headers before it, so that it is included through a header of ours.
printf '#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n#include <cmocka.h>\n' > "$work/rt_cmocka.h"
save=$cc cc="$cc -I$work" cmocka_libs=
if find_library cmocka rt_cmocka.h '_cmocka_run_group_tests("", 0, 0, 0, 0)' -lcmocka cmocka; then cmocka_libs="$found_cflags $found_libs"; fi
cc=$save

# The CUDA toolkit: nvcc that compiles, headers, libraries that link. CUDA=0 does not look, CUDA=1 must find.
nvcc= cuda_home= cuda_libs= cuda_why=
probe_cuda() {
    cuda_home=${CUDA_HOME:-}
    if [ -z "$cuda_home" ]; then
        nvcc=$(command -v nvcc) && cuda_home=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
        [ -n "$cuda_home" ] || cuda_home=/usr/local/cuda
    fi
    nvcc=$cuda_home/bin/nvcc
    [ -x "$nvcc" ] || { cuda_why="$nvcc is not there (CUDA_HOME names the toolkit)" && return 1; }
    for c_header in cuda_runtime_api.h cublasLt.h; do
        [ -r "$cuda_home/include/$c_header" ] || { cuda_why="$cuda_home/include/$c_header is not there" && return 1; }
    done
    for c_folder in lib64 lib targets/x86_64-linux/lib; do
        cuda_libs="-L$cuda_home/$c_folder -lcublasLt -lcudart_static"
        # shellcheck disable=SC2086
        if links cublasLt.h 'cublasLtGetVersion()' "-I$cuda_home/include" $cuda_libs -lpthread -ldl -lrt; then
            printf 'static __global__ void k(int *p) { *p = 1; }\nvoid f(int *p) { k<<<1, 1>>>(p); }\n' > "$work/k.cu"
            "$nvcc" -std=c++17 -c "$work/k.cu" -o "$work/k.o" > "$work/log" 2>&1 && return 0
            cuda_why="$nvcc does not compile: $(grep -m 1 -i error "$work/log")"
            return 1
        fi
    done
    cuda_why="cuBLASLt does not link: $(grep -m 1 -E 'cannot find|undefined|rror' "$work/log")"
    return 1
}
if [ "${CUDA:-auto}" = 0 ]; then
    say CUDA "left out: CUDA=0"
elif probe_cuda; then
    say CUDA "$("$nvcc" --version | sed -n 's/.*release \(.*\), V\(.*\)/\2/p') in $cuda_home: rectrain-cuda.so"
else
    say CUDA "left out: $cuda_why"
    nvcc=
    if [ "${CUDA:-auto}" = 1 ]; then missing="$missing CUDA"; fi
fi

# The strictest _FORTIFY_SOURCE that this compiler and C library take without a warning.
fortify=2
printf '#include <string.h>\nint main(int n, char **v) { char b[9]; strcpy(b, v[0]); return b[n]; }\n' > "$work/f.c"
if $cc -O2 -Werror -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 "$work/f.c" -o "$work/f" > /dev/null 2>&1; then fortify=3; fi

isas=generic
case $machine in
x86_64*)
    for level in 2 3 4; do
        if $cc "-march=x86-64-v$level" -S -o /dev/null -x c /dev/null > /dev/null 2>&1; then isas="$isas v$level"; fi
    done
    ;;
esac
# clang reports a loop that it did not vectorise as an error of ours; it is a fact about clang.
kernel_warnings=
if $cc --version | grep -q clang; then kernel_warnings=-Wno-pass-failed; fi
say kernels "$isas, each in f32 and bf16"

{
    echo "# $key"
    echo "RT_CFLAGS := $cflags"
    echo "RT_LIBS := $libs"
    echo "RT_CMOCKA := $cmocka_libs"
    echo "RT_FORTIFY := $fortify"
    echo "RT_ISAS := $isas"
    echo "RT_KERNEL_WARNINGS := $kernel_warnings"
    echo "RT_NVCC := $nvcc"
    echo "RT_CUDA_HOME := $cuda_home"
    echo "RT_CUDA_LIBS := $cuda_libs"
    echo "RT_MISSING := $missing"
} > "$out.tmp"
# A failed probe is not remembered: installing the library must be enough.
if [ -n "$missing" ] || [ -z "$cmocka_libs" ]; then sed -i '1s/.*/# incomplete: probed anew each time/' "$out.tmp"; fi
mv "$out.tmp" "$out"
printf 'rectrain: what this build found\n%s' "$summary" >&2
