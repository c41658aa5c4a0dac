#!/usr/bin/env bats
# No variable of the environment makes the program load code: each that a library knows is pointed at code that would
# leave a mark.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # bats and the helpers set and read variables of one another
load common
load train_shop
load hostile

setup_file() {
    begin_file
    cat > mark.c << 'C'
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void leave(void) { close(open(MARK, O_CREAT | O_WRONLY, 0666)); }
int OPENSSL_finish, bind_engine, gconv, gconv_init;
C
    "${CC:-cc}" -shared -fPIC -DMARK="\"$PWD/mark\"" -o mark.so mark.c
    # every way that names code by a file of settings
    printf 'openssl_conf = a\n[a]\nengines = b\n[b]\nc = d\n[d]\ndynamic_path = %s\nload = 1\ninit = 1\n' "$PWD/mark.so" > openssl.cnf
    mkdir -p code
    cp mark.so code/libmark.so
    printf 'module UTF-8// UTF-16// %s/mark 1\nmodule UTF-16// UTF-8// %s/mark 1\nmodule INTERNAL UTF-8// %s/mark 1\n' \
        "$PWD" "$PWD" "$PWD" > code/gconv-modules
    printf '%s/mark.so\n' "$PWD" > code/mark.icd
    printf '[plugins]\nkdcpreauth = { module = mark:%s/mark.so }\n' "$PWD" > krb5.conf
}

setup() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    rm -f mark
}

# What a person does, from text to scores and files: each library is at work at least once.
all_commands() {
    rm -rf runs/marked exported joined
    "$PROGRAM" --config tiny.ini --set run.name=marked --set train.max_steps=2 --set model.hidden=64 --set model.heads=2 &&
        "$PROGRAM" predict --checkpoint runs/marked/best.h5 --data dev.tsv --output marked.tsv &&
        "$PROGRAM" export --checkpoint runs/marked/best.h5 --to exported &&
        "$PROGRAM" convert --from exported --to marked.h5 &&
        "$PROGRAM" verify marked.h5 && "$PROGRAM" doctor && "$PROGRAM" config --config tiny.ini &&
        "$PROGRAM" tokenize --vocab vocab.txt < dev.tsv
} > got.out 2> got.err

@test "variables that name code load none" {
    local name
    if [ -z "${ASAN_OPTIONS:-}${TSAN_OPTIONS:-}" ]; then
        LD_PRELOAD=$PWD/mark.so "$PROGRAM" --version > got.out
        [ -e mark ] # loaded code is seen
        rm mark
    fi
    for name in ACC_PROFLIB OMP_TOOL_LIBRARIES INTEL_LIBITTNOTIFY32 INTEL_LIBITTNOTIFY64 INTEL_JIT_PROFILER32 \
        INTEL_JIT_PROFILER64 VS_PROFILER OCL_ICD_FILENAMES OPENCL_LAYERS RECTRAIN_CUDA_LIBRARY RECTRAIN_PLUGIN; do
        export "$name=$PWD/mark.so"
    done
    for name in HDF5_PLUGIN_PATH GCONV_PATH LOCPATH OPENSSL_ENGINES OPENSSL_MODULES SASL_PATH OCL_ICD_VENDORS OPENCL_VENDOR_PATH \
        HDF5_EXTFILE_PREFIX HDF5_VDS_PREFIX RECTRAIN_PLUGIN_PATH; do
        export "$name=$PWD/code"
    done
    export OPENSSL_CONF=$PWD/openssl.cnf KRB5_CONFIG=$PWD/krb5.conf HDF5_VOL_CONNECTOR=mark HDF5_DRIVER=mark \
        CURL_SSL_BACKEND=mark GNUTLS_SYSTEM_PRIORITY_FILE=$PWD/openssl.cnf LC_ALL=mark.UTF-16 LANG=mark.UTF-16
    all_commands || { cat got.err && return 1; }
    unset LC_ALL LANG
    [ ! -e mark ]
    lacks "$(cat got.err)" mark.so
}

@test "what is refused is gone, and all else is there" {
    export ACC_PROFLIB=x HDF5_PLUGIN_PATH=y FOLDER=runs OPENSSL_CONF=z ACC_PROFLIBX=kept
    run --separate-stderr "$PROGRAM" config --config tiny.ini --set 'run.output=/x/${FOLDER}/${ACC_PROFLIBX}'
    [ "$status" -eq 0 ]
    has "$output" "output = /x/runs/kept"
    run --separate-stderr "$PROGRAM" config --config tiny.ini --set 'run.output=/x/${ACC_PROFLIB}'
    [ "$status" -eq 78 ]
    has "$stderr" "the environment variable ACC_PROFLIB is not set"
}
