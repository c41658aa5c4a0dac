#!/bin/bash
# Rules that hold for every file: length, who may exit, no backend in an #ifdef, flags that never come in.
. tests/support/tap.sh

sources() { find src include kernels tests -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh'; }
scripts() { find tools tests mk .ci -name '*.sh' -o -name '*.bats' -o -path .ci/run -o -name '*.py'; }

# Tables that a generator wrote carry the word "generated" in their first lines and may be as long as they are.
too_long() {
    { sources && scripts && echo Makefile; } | while read -r f; do
        n=$(wc -l < "$f")
        [ "$n" -le "$1" ] || head -n 5 "$f" | grep -qi generated || echo "$f: $n lines; at most $1 are accepted: split it by idea"
    done
}
# Comments and strings apart (a rough cut is enough: whole words followed by a parenthesis)
code_of() { sed -e 's://.*$::' -e 's:/\*.*\*/::g' -e 's:^ *\*.*$::' -e 's:"[^"]*"::g' "$1"; }
calls() {
    local words=$1
    shift
    find "$@" -name '*.[ch]' | while read -r f; do
        code_of "$f" | grep -nE "(^|[^A-Za-z0-9_.>])($words) *\(" | sed "s|^|$f:|"
    done
}
# stdout carries results, which only the command line prints
prints() { calls 'printf|puts|putchar|vprintf' src kernels include | grep -v '^src/cli/'; }
exits_outside_cli() { calls 'exit|_exit|_Exit|quick_exit|abort|assert' src kernels include | grep -v '^src/cli/'; }
# Over a fake that is linked, a plugin's source has no library to load: what is tested cannot be the same file otherwise.
backend_ifdefs() {
    grep -rnE '^ *# *(if|ifdef|ifndef|elif).*(CUDA|CUDNN|MPI|NCCL)' src include kernels --include='*.[ch]' | grep -vE '#ifndef RT_[A-Z_]+_H$' |
        grep -vE '^(kernels/cuda/[a-z_]+|src/comm/(nccl|mpi))\.c:[0-9]+:#ifn?def RT_[A-Z]+_IS_LINKED( /\*.*\*/)?$'
}
fast_math() {
    grep -nE -- '-Ofast|-ffast-math|-march=native|--use_fast_math|-ffinite-math-only' Makefile mk/* tools/*.sh | grep -vE '^[^:]*:[0-9]+:\s*#'
    grep -rnE 'ffast-math|Ofast|finite-math' src include kernels | grep -vE '^[^:]*:[0-9]+: *(\*|/\*|//)'
}
unfinished() { grep -rnwE 'TODO|FIXME|XXX|HACK' src include kernels tests tools mk configs Makefile .ci 2> /dev/null | grep -v '^tests/tree/test_files.sh'; }
# An op's file is compiled once a level and type, under names of its own.
twice() { find src include kernels -name '*.c' -not -path 'kernels/cpu/ops/*' -printf '%f\n' | sort | uniq -d; }

ok "no file is longer than 600 lines" empty too_long 600
ok "only src/cli may end the process" empty exits_outside_cli
ok "only src/cli prints" empty prints
ok "no backend in a preprocessor condition" empty backend_ifdefs
ok "no flag that changes what NaN means, none for this processor alone" empty fast_math
ok "nothing is left for later" empty unfinished
ok "source files have names of their own" empty twice

# The checks themselves.
here=$PWD
mkdir -p "$scratch/tree"/{src/model,src/cli,include,kernels,tests,tools,mk,.ci} && cd "$scratch/tree" || exit 1
: > Makefile
printf '/* abort() here is prose */\nvoid f(void) { g("exit(1)"); rt_exit (2); a->exit(3); }\n' > src/model/fine.c
ok "prose, strings and other names are not calls" empty exits_outside_cli
echo 'void f(void) { if (x) abort(); }' > src/model/bad.c
ok "caught: abort in a module" says src/model/bad.c: exits_outside_cli
echo 'void f(void) { printf("x"); }' > src/model/bad.c
ok "caught: printf in a module" says src/model/bad.c: prints
mv src/model/bad.c src/cli/bad.c
ok "the command line prints" empty prints
echo '#ifdef RT_CUDA' > src/model/bad.c
ok "caught: #ifdef RT_CUDA" says src/model/bad.c: backend_ifdefs
mkdir -p kernels/cuda && echo '#ifdef RT_CUDNN_IS_LINKED' | tee kernels/cuda/x.c > src/model/bad.c
ok "caught: a fake's name outside of a plugin" says src/model/bad.c: backend_ifdefs
ok "and only there" not says kernels/cuda backend_ifdefs
seq 601 > src/model/long.c
ok "caught: 601 lines" says "601 lines" too_long 600
cd "$here" || exit 1
done_testing
