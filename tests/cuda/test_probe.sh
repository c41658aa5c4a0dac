#!/bin/bash
# CUDA=auto|0|1: what the build says where there is no toolkit, and what it then does.
. tests/support/tap.sh

# make with a build folder of its own; nothing is built
asks() { make -n BUILD="$scratch/b" "$@" plugin; }
plugins() { "$@" 2> /dev/null | grep -c rectrain-cuda.so; }
none() { [ "$(plugins "$@")" -eq 0 ]; }

ok "auto says what is missing and how to name it" says "/nowhere/bin/nvcc is not there (CUDA_HOME names the toolkit)" \
    asks CUDA_HOME=/nowhere
ok "auto goes on without the plugin" asks CUDA_HOME=/nowhere
ok "and does not build it" none asks CUDA_HOME=/nowhere
ok "CUDA=1 fails without a toolkit" exits 2 asks CUDA=1 CUDA_HOME=/nowhere
ok "and says why" says "CUDA=1, but the CUDA toolkit cannot be used" asks CUDA=1 CUDA_HOME=/nowhere
ok "CUDA=0 does not look" says "left out: CUDA=0" asks CUDA=0
ok "and builds none" none asks CUDA=0
ok "another value is refused" says "CUDA=yes: auto, 0 (leave the CUDA plugin out) or 1" asks CUDA=yes
# A toolkit whose compiler does not work: a header and a library that are none.
mkdir -p "$scratch/kit/bin" "$scratch/kit/include" "$scratch/kit/lib64"
printf '#!/bin/sh\necho "error: unsupported compiler"\nexit 1\n' > "$scratch/kit/bin/nvcc"
chmod +x "$scratch/kit/bin/nvcc"
ok "a missing header is named" says "kit/include/cuda_runtime_api.h is not there" asks CUDA_HOME="$scratch/kit"
: > "$scratch/kit/include/cuda_runtime_api.h"
# (the linker may know a real one of that name)
printf '#define cublasLtGetVersion no_such_function\nunsigned long no_such_function(void);\n' > "$scratch/kit/include/cublasLt.h"
ok "a library that does not link is told" says "cuBLASLt does not link" asks CUDA_HOME="$scratch/kit"
echo 'unsigned long no_such_function(void) { return 1; }' > "$scratch/l.c"
cc -fPIC -shared "$scratch/l.c" -o "$scratch/kit/lib64/libcublasLt.so"
ar rcs "$scratch/kit/lib64/libcudart_static.a"
ok "a compiler that does not compile is told" says "nvcc does not compile: error: unsupported compiler" \
    asks CUDA_HOME="$scratch/kit/."
done_testing
