#!/bin/bash
# The headers of tests/support/fakes/include say what NVIDIA's say: every constant has the real value, every function the
# real prototype. C takes a second declaration of a function only if it is the same.
. tests/support/tap.sh

home=${CUDA_HOME:-/usr/local/cuda}
fakes=tests/support/fakes/include

# check HEADER: a program of the real header and of the fake one's constants and prototypes compiles
check() {
    local header=$1 code=$scratch/check.c
    {
        echo "#include <$header>"
        sed 's|/\*.*\*/||' "$fakes/$header" | awk '
            function assert(name, value) {
                printf "_Static_assert((long long)(%s) == (long long)(%s), \"%s is not %s\");\n", name, value, name, value }
            /^ +[A-Za-z_0-9]+ = [-x0-9A-Fa-f]+,/ { sub(/,.*/, ""); assert($1, $3) }
            /^#define [A-Za-z_0-9]+ [-x0-9A-Fa-f]+$/ { assert($2, $3) }
            /^[A-Za-z].*\(/ && !/^(typedef|enum|struct|extern|static)/ { text = "" ; open = 1 }
            open { text = text " " $0 }
            open && /;/ { print text; open = 0 }'
    } > "$code"
    n_constants=$(grep -c _Static_assert "$code") n_functions=$(grep -vc -e _Static_assert -e '#include' "$code")
    echo "$header: $n_constants constants, $n_functions functions"
    cc -std=gnu11 -D_GNU_SOURCE -fsyntax-only -I"$home/include" "$code"
}
# A check of nothing would pass.
not_empty() { check "$1" && [ "$n_constants" -ge "$2" ] && [ "$n_functions" -ge "$3" ]; }
wrong_constant() {
    sed 's/cudaErrorNoDevice = 100/cudaErrorNoDevice = 102/' "$fakes/cuda_runtime_api.h" > "$scratch/cuda_runtime_api.h"
    fakes=$scratch check cuda_runtime_api.h
}
wrong_prototype() {
    sed 's/cudaMalloc(void \*\*to, size_t bytes)/cudaMalloc(void **to, int bytes)/' "$fakes/cuda_runtime_api.h" \
        > "$scratch/cuda_runtime_api.h"
    fakes=$scratch check cuda_runtime_api.h
}

for header in "$fakes"/*.h; do
    header=${header##*/}
    if ! [ -r "$home/include/$header" ]; then
        skip "$header is the real one's" "nvcc is not installed"
        continue
    fi
    case $header in
    cuda_runtime_api.h) ok "$header is the real one's" not_empty "$header" 30 25 ;;
    *) ok "$header is the real one's" check "$header" ;;
    esac
done
if [ -r "$home/include/cuda_runtime_api.h" ]; then
    ok "caught: a wrong constant" says "cudaErrorNoDevice is not 102" wrong_constant
    ok "caught: a wrong prototype" says "conflicting types" wrong_prototype
else
    skip "caught: a wrong constant" "nvcc is not installed"
    skip "caught: a wrong prototype" "nvcc is not installed"
fi
done_testing
