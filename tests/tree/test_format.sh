#!/bin/bash
# clang-format has nothing to change. Versions format differently, so only the one that the tree was formatted with counts.
. tests/support/tap.sh
if ! command -v clang-format > /dev/null; then
    skip "every C file is formatted" "clang-format is not installed"
elif ! clang-format --version | grep -q 'version 14\.'; then
    skip "every C file is formatted" "clang-format is not version 14"
else
    unformatted() {
        find src include kernels tests tools examples \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) -print0 | xargs -0 -n 1 -P 2 sh -c \
            'clang-format --dry-run -Werror "$0" > /dev/null 2>&1 || echo "$0: run make format"'
    }
    ok "every C and CUDA file is formatted" empty unformatted
fi
done_testing
