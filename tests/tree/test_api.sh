#!/bin/bash
# librectrain from outside: the names it shows, those it may not use, and its threads under ThreadSanitizer. What it
# answers is tested in tests/api, and on the installed tree in test_install.sh.
. tests/support/tap.sh

build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
[ -e "$build/librectrain.a" ] || make --no-print-directory BUILD="$build" all > "$scratch/make.log" 2>&1 || cat "$scratch/make.log"

sed -n 's/^[a-z].*[ *]\(rectrain_[a-z_]*\)(.*/\1/p' include/rectrain/rectrain.h | sort > "$scratch/declared"
nm -g --defined-only "$build/librectrain.a" | sed -n 's/.* [TDBRVWu] //p' | sort > "$scratch/static"
nm -D --defined-only "$build"/librectrain.so.1 | sed -n 's/.* [TDBRVWu] \([^@]*\).*/\1/p' | sort > "$scratch/shared"
ok "the header declares functions" [ "$(wc -l < "$scratch/declared")" -ge 12 ]
ok "the archive defines these and no other name" diff "$scratch/declared" "$scratch/static"
ok "so does the shared object" diff "$scratch/declared" "$scratch/shared"
ok "which is named by the version of its API" says "[librectrain.so.$(sed -n 's/^#define RECTRAIN_API_VERSION //p' include/rectrain/rectrain.h)]" readelf -d "$build"/librectrain.so.1
# Calls that would end the process, speak for it, or change what belongs to it; and the library that writes checkpoints.
banned() {
    nm -D --undefined-only "$build"/librectrain.so.1 | sed 's/.* U //; s/@.*//' |
        grep -xE '_?exit|_Exit|quick_exit|abort|raise|kill|(f|v|vf)?printf|__(v?f?printf)_chk|puts|putchar|stdout|stderr|signal|sigaction|setlocale|setenv|putenv|unsetenv|atexit|fork|system|popen|exec[vlpe]*|dlopen|rand|srand|H5.*'
}
ok "it neither prints, nor ends, nor changes its process" empty banned

# A program with names of its own that are ours too: nothing meets.
printf '#include <rectrain/rectrain.h>\nint rt_fail(void) { return 7; }\nint rt_error_get = 3;\nint main(void) {\n    rectrain_model *m;\n    return rectrain_load("/nowhere.h5", 0, &m) == RECTRAIN_ENOINPUT && rt_fail() == 7 && rt_error_get == 3 ? 0 : 1;\n}\n' > "$scratch/m.c"
meets() { # HOW
    # shellcheck disable=SC2046,SC2086 # words of flags
    gcc -Iinclude "$scratch/m.c" $1 -fopenmp $(sed -n 's/^RT_LIBS := *//p' "$build/found.mk") -lm -o "$scratch/m" &&
        LD_LIBRARY_PATH=$build "$scratch/m"
}
ok "a program's own rt_fail stays its own, linked with the archive" meets "$build/librectrain.a"
ok "and with the shared object" meets "$build/librectrain.so.1"

# Threads that share a model or have one each, under ThreadSanitizer. What threads of callers touch is compiled for it
# here: the API, the predictor with its batches, the tokenizer, errors, and the reading of files and configurations that
# loads do side by side. The model's arithmetic comes from the build as it is: it runs on the worker's thread alone, here
# with one OpenMP thread, since GNU's libgomp and oneDNN tell ThreadSanitizer nothing. `make tsan` is the whole of it.
tsan() { # SOURCE...: builds test_threads from the tree at hand
    local flags libs o=0
    flags=$(sed -n 's/^RT_CFLAGS := *//p' "$build/found.mk")
    libs=$(sed -n -e 's/^RT_LIBS := *//p' -e 's/^RT_CMOCKA := *//p' "$build/found.mk" | tr '\n' ' ')
    rm -rf "$scratch/tsan" && mkdir "$scratch/tsan" || return 1
    for source in tests/api/test_threads.c "$@"; do
        echo "$source $scratch/tsan/$((o = o + 1)).o"
    done | xargs -P 2 -L 1 sh -c 'gcc -std=gnu11 -D_GNU_SOURCE -O1 -g -fPIE -fopenmp -fsanitize=thread -Iinclude -Isrc -I. '"$flags"' -c "$1" -o "$2"' sh || return 1
    # shellcheck disable=SC2086 # words
    gcc -fsanitize=thread -pie -fopenmp "$scratch"/tsan/*.o "$build/mod/all.a" $libs -ldl -lm -lpthread -o "$scratch/tsan/test"
}
run_tsan() {
    TSAN_OPTIONS=exitcode=99:suppressions=$PWD/tests/support/tsan.supp OMP_NUM_THREADS=1 "$scratch/tsan/test"
}
watched="src/api/api.c src/api/scorer.c src/api/worker.c src/eval/predictor.c src/eval/evaluate.c src/data/batch.c
    src/data/feed.c src/data/sampler.c src/base/status.c src/base/text.c src/base/string.c src/base/path.c
    src/base/file.c src/text/tokenizer.c src/text/wordpiece.c src/text/token_encode.c src/text/vocab.c
    src/checkpoint/source.c src/checkpoint/checkpoint.c src/config/config.c src/config/value.c src/config/options.c
    src/model/model.c src/model/encoder.c kernels/cpu/backend.c kernels/cpu/gemm.c"
# shellcheck disable=SC2086 # words
if printf 'int main(void) { return 0; }\n' > "$scratch/e.c" && gcc -fsanitize=thread "$scratch/e.c" -o "$scratch/e" 2> /dev/null && "$scratch/e"; then
    ok "ThreadSanitizer: it builds" tsan $watched
    ok "ThreadSanitizer has nothing to say of shared and separate models" run_tsan
    # Without the lock of the list of lanes it must have.
    mkdir -p "$scratch/tree/src" && cp -r src/api "$scratch/tree/src/"
    ln -s "$PWD/src"/*/ "$scratch/tree/src/" 2> /dev/null
    sed -i 's/pthread_mutex_lock(&m->lock)/(void)m/; s/pthread_mutex_unlock(&m->lock)/(void)m/' "$scratch/tree/src/api/api.c"
    ok "ThreadSanitizer: an API without its lock builds" tsan "$scratch/tree/src/api/api.c" ${watched#src/api/api.c}
    ok "and is caught" eval 'says "data race" run_tsan'
else
    skip "ThreadSanitizer" "gcc has no libtsan here"
fi
done_testing
