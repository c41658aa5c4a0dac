#!/bin/sh
# Installs the Debian packages that are needed and that this machine lacks.
# Usage: tools/install_deps.sh [build|test|fetch|fuzz]   build: the program; test: that and its tests; fetch: what
# fetch_model.sh needs; fuzz: test, and clang with its runtimes for make fuzz and make tsan
# What is there is left alone: when nothing is missing neither apt nor the network is touched. Asks for sudo only when
# not root. Without apt, or with neither root nor sudo, prints what to run instead and exits 69.
set -u
what=${1:-build}
case $what in
build | test | fetch | fuzz) ;;
*)
    echo "usage: tools/install_deps.sh [build|test|fetch|fuzz]" >&2
    exit 2
    ;;
esac
work=$(mktemp -d) || exit 74
trap 'rm -rf "$work"' EXIT
missing=

# installed PACKAGE: does dpkg have it? (Without dpkg: no.)
installed() {
    command -v dpkg-query > /dev/null 2>&1 &&
        dpkg-query -W -f '${Status}' "$1" 2> /dev/null | grep -q 'ok installed'
}
want() { missing="$missing $1"; }
# A command that is there, from whatever package, is enough.
want_command() {
    command -v "$1" > /dev/null 2>&1 || installed "$2" || want "$2"
}
# A library counts as there when dpkg says so, or when a three-line program with its header links: from another package
# system, from conda, from source.
want_library() {
    w_package=$1 w_header=$2 w_pkg=$3
    shift 3
    installed "$w_package" && return
    if [ -n "${cc:-}" ]; then
        printf '#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n#include <%s>\nint main(void) { return 0; }\n' \
            "$w_header" > "$work/p.c"
        w_found=$(pkg-config --cflags --libs "$w_pkg" 2> /dev/null) || w_found=
        # shellcheck disable=SC2086 # flags are words
        $cc "$work/p.c" -o "$work/p" $w_found "$@" > /dev/null 2>&1 && return
        # shellcheck disable=SC2086
        [ -n "$w_found" ] && $cc "$work/p.c" -o "$work/p" $w_found > /dev/null 2>&1 && return
    fi
    want "$w_package"
}

want_build() {
    cc=
    for candidate in ${CC:-} gcc cc clang; do
        if command -v "$candidate" > /dev/null 2>&1; then cc=$candidate && break; fi
    done
    [ -n "$cc" ] || want gcc
    installed libc6-dev || { [ -n "$cc" ] && printf '#include <stdio.h>\nint main(void) { return 0; }\n' > "$work/h.c" &&
        $cc "$work/h.c" -o "$work/h" > /dev/null 2>&1; } || want libc6-dev
    want_command make make
    want_command ar binutils
    want_command pkg-config pkg-config
    want_library libdnnl-dev dnnl.h dnnl -ldnnl
    want_library libhdf5-dev hdf5.h hdf5 -lhdf5
    want_library libini-config-dev ini_configobj.h ini_config -lini_config
    want_library libjansson-dev jansson.h jansson -ljansson
    want_library libutf8proc-dev utf8proc.h libutf8proc -lutf8proc
    want_library libxxhash-dev xxhash.h libxxhash -lxxhash
    want_library zlib1g-dev zlib.h zlib -lz
    want_library libzstd-dev zstd.h libzstd -lzstd
}
want_fetch() {
    command -v curl > /dev/null 2>&1 || command -v wget > /dev/null 2>&1 || want curl
    [ -s /etc/ssl/certs/ca-certificates.crt ] || installed ca-certificates || want ca-certificates
    for pip in "python3 -m pip" pip3 pip; do $pip --version > /dev/null 2>&1 && return; done
    want python3-pip
}

if [ "$what" = fetch ]; then want_fetch; else want_build; fi
if [ "$what" = fuzz ]; then
    want_command clang clang
    installed libclang-rt-dev || installed libclang-rt-14-dev || tests/support/fuzz.sh possible > /dev/null 2>&1 ||
        want libclang-rt-dev
    want_library libomp-dev omp.h openmp -fopenmp
    want_command llvm-symbolizer llvm
fi
if [ "$what" = test ] || [ "$what" = fuzz ]; then
    want_library libcmocka-dev cmocka.h cmocka -lcmocka
    want_command g++ g++
    # Fibers of the CUDA emulator. A header of C++, so the probe above does not fit.
    installed libboost-context-dev ||
        { printf '#include <boost/context/fiber.hpp>\nint main() { return 0; }\n' > "$work/b.cpp" &&
            g++ "$work/b.cpp" -o "$work/b" -lboost_context > /dev/null 2>&1; } || want libboost-context-dev
    want_command bats bats
    want_library libopenmpi-dev mpi.h ompi-c
    want_command mpirun openmpi-bin
    # The tests start a Slurm of their own, for which they have to be root. Where systemd runs, installing these packages
    # would start daemons: there it is left to the machine's owner.
    if [ "$(id -u)" -eq 0 ] && [ ! -d /run/systemd/system ]; then
        want_command slurmctld slurmctld
        want_command slurmd slurmd
        want_command srun slurm-client
        want_command munged munge
    fi
fi
missing=${missing# }

if [ -z "$missing" ]; then
    echo "packages: all there, nothing to install"
    exit 0
fi
echo "packages missing: $missing"

root=
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo > /dev/null 2>&1; then root=sudo; else root=none; fi
fi
by_hand() {
    echo "tools/install_deps.sh: $1. Install them by hand, then run this again:" >&2
    echo "  Debian, Ubuntu:  apt-get install $missing" >&2
    if [ "$what" = fuzz ]; then
        echo "  Fedora, RHEL:    besides what a build needs: dnf install clang compiler-rt libomp-devel llvm" >&2
        echo "  conda-forge:     besides what a build needs: conda install -c conda-forge clang compiler-rt llvm-openmp llvm-tools" >&2
    elif [ "$what" != fetch ]; then
        echo "  Fedora, RHEL:    dnf install gcc make binutils pkgconf onednn-devel hdf5-devel libini_config-devel" \
            "jansson-devel utf8proc-devel xxhash-devel zlib-devel libzstd-devel libcmocka-devel bats gcc-c++" \
            "boost-devel openmpi-devel" >&2
        echo "  conda-forge:     conda install -c conda-forge c-compiler make binutils pkg-config onednn hdf5" \
            "jansson libutf8proc xxhash zlib zstd cmocka bats-core cxx-compiler libboost-devel openmpi" >&2
        echo "                   and libini_config from source: https://github.com/SSSD/ding-libs" >&2
    else
        echo "  Fedora, RHEL:    dnf install curl ca-certificates python3-pip" >&2
        echo "  conda-forge:     conda install -c conda-forge curl ca-certificates pip" >&2
    fi
    exit 69
}
command -v apt-get > /dev/null 2>&1 || by_hand "there is no apt on this machine"
[ "$root" = none ] && by_hand "this user is not root and there is no sudo"
if [ "$root" = sudo ] && ! sudo -n true 2> /dev/null && ! [ -t 0 ]; then
    by_hand "sudo wants a password and there is no terminal to ask for it"
fi

# as_root COMMAND...: the environment's proxies survive sudo
as_root() {
    if [ -n "$root" ]; then
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    else
        env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}
apt() {
    as_root apt-get -q -y -o Acquire::Retries=3 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 \
        -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@" > "$work/apt.log" 2>&1
}
echo "installing them with apt${root:+ (through sudo)} ..."
# Lists may be absent (a bare container) or old (packages gone from the mirror): only then are they fetched.
# shellcheck disable=SC2086 # package names are words
if ! apt install --no-install-recommends $missing; then
    apt update || true
    # shellcheck disable=SC2086
    if ! apt install --no-install-recommends $missing; then
        tail -n 15 "$work/apt.log" | sed 's/^/  apt: /' >&2
        by_hand "apt could not install them"
    fi
fi
echo "installed: $missing"
