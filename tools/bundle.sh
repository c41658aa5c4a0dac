#!/bin/bash
# `make bundle`: packs what a machine with a GPU needs to check this build into parts of at most 16 MiB, 48 MiB in all:
# program, plugin, test programs, goldens, tools/gpu_check.sh, and the libraries that a bare system lacks. NVIDIA's own
# are not in it: the driver is the machine's, and so is cuBLASLt (half a gigabyte), as PyTorch or the toolkit has it.
# Usage: tools/bundle.sh, called by make with BUILD, BUNDLE, PLUGIN, CUDA_ARCH and COMPUTE_SANITIZER (a folder with
# NVIDIA's compute-sanitizer that is packed along, where the sizes allow it).
# On the other machine: sh unpack.sh FOLDER, then FOLDER/gpu_check.sh.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
to=${BUNDLE:-$build/bundle}
part_bytes=$((16 << 20)) most_bytes=$((48 << 20))

stop() {
    echo "bundle: $2" >&2
    exit "$1"
}
[ -n "${PLUGIN:-}" ] || stop 69 "this build has no CUDA plugin: nvcc and cuBLASLt are needed (CUDA_HOME names the toolkit)"
for file in rectrain rectrain-cuda.so gpu_bench test/gpu/test_goldens; do
    [ -e "$build/$file" ] || stop 66 "$build/$file is not there: make bundle"
done
for tool in tar xz split sha256sum ldd strip; do
    command -v "$tool" > /dev/null || stop 69 "$tool is not installed: apt install binutils coreutils tar xz-utils"
done

work=$(mktemp -d) || exit 74
trap 'rm -rf "$work"' EXIT
umask 022
tree=$work/rectrain-gpu
mkdir -p "$tree/bin" "$tree/lib" "$tree/fallback" "$tree/tests/integration" || exit 74

# --- what runs -----------------------------------------------------------------------------------------------------
programs=("$build/rectrain" "$build/gpu_bench" "$build"/test/gpu/test_*)
for file in "${programs[@]}" "$build/rectrain-cuda.so"; do
    case $file in *.so) flag=--strip-debug ;; *) flag=--strip-unneeded ;; esac
    # The plugin takes names from the programs: those stay, for they are dynamic.
    strip "$flag" -o "$tree/bin/$(basename "$file")" "$file" || stop 74 "$file cannot be stripped"
done
chmod 755 "$tree"/bin/*
cp -R tests/integration/data "$tree/tests/integration/" || exit 74
cp tools/gpu_check.sh "$tree/" && cp tools/gpu_peer.py "$tree/" && cp LICENSE "$tree/" || exit 74
chmod 755 "$tree/gpu_check.sh"

# --- libraries -----------------------------------------------------------------------------------------------------
# The C library is the machine's: a second one would not go with its loader. A C++ runtime is a fallback only, for
# NVIDIA's tools may want a newer one than this.
missing=$(ldd "${programs[@]}" | grep 'not found')
[ -z "$missing" ] || stop 69 "libraries are missing here: $missing"
ldd "${programs[@]}" | sed -n 's/^\t\([^ ]*\) => \(\/[^ ]*\) .*/\1 \2/p' | sort -u > "$work/libraries"
while read -r name path; do
    case $name in
    libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | libresolv.so.* | libutil.so.* | ld-linux*) continue ;;
    libcublas* | libcuda* | libnv*) continue ;;
    libstdc++.so.* | libgcc_s.so.*) cp -L "$path" "$tree/fallback/$name" ;;
    *) cp -L "$path" "$tree/lib/$name" ;;
    esac || exit 74
done < "$work/libraries"
chmod 755 "$tree"/lib/* "$tree"/fallback/*

if [ -n "${COMPUTE_SANITIZER:-}" ]; then
    [ -x "$COMPUTE_SANITIZER/compute-sanitizer" ] ||
        stop 66 "COMPUTE_SANITIZER=$COMPUTE_SANITIZER: no program compute-sanitizer is in this folder"
    cp -RL "$COMPUTE_SANITIZER" "$tree/compute-sanitizer" || exit 74
fi

# --- what it is ----------------------------------------------------------------------------------------------------
{
    echo "commit $(git rev-parse --short HEAD 2> /dev/null || echo none)$([ -z "$(git status --porcelain --untracked-files=no 2> /dev/null)" ] || echo +)"
    echo "date $(date -u +%Y-%m-%d)"
    echo "arch ${CUDA_ARCH:-}"
    echo "glibc $(ldd --version | sed -n '1s/.* //p')"
    echo "cublas $(readelf -d "$build/rectrain-cuda.so" | sed -n 's/.*NEEDED.*\[\(libcublasLt[^]]*\)\]/\1/p')"
} > "$tree/about"
(cd "$tree" && find . -type f -print0 | sort -z | xargs -0 sha256sum > "$work/sums") && mv "$work/sums" "$tree/SHA256SUMS" || exit 74

# --- parts ---------------------------------------------------------------------------------------------------------
rm -rf "$to"
mkdir -p "$to" || exit 74
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${SOURCE_DATE_EPOCH:-0}" -cf - rectrain-gpu |
    xz -T "${JOBS:-2}" -6 | split -b "$part_bytes" -d -a 2 - "$to/rectrain-gpu.tar.xz." || stop 74 "$to cannot be written"
cat > "$to/unpack.sh" << 'UNPACK'
#!/bin/sh
# Puts the parts that lie beside this file together: sh unpack.sh [FOLDER]; then FOLDER/gpu_check.sh. Wants sh, cat, tar,
# and xz or python3.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
to=${1:-./rectrain-gpu}
umask 022
if command -v sha256sum > /dev/null && ! (cd "$here" && sha256sum -c --quiet SHA256SUMS); then
    echo "unpack: a part is missing or was changed on its way: copy them again" >&2
    exit 65
fi
mkdir -p "$to" || exit 74
if command -v xz > /dev/null; then
    cat "$here"/rectrain-gpu.tar.xz.* | xz -dc | tar -xf - --no-same-owner --strip-components=1 -C "$to" || exit 74
elif command -v python3 > /dev/null; then
    cat "$here"/rectrain-gpu.tar.xz.* | python3 -c 'import lzma, shutil, sys
shutil.copyfileobj(lzma.open(sys.stdin.buffer), sys.stdout.buffer)' |
        tar -xf - --no-same-owner --strip-components=1 -C "$to" || exit 74
else
    echo "unpack: neither xz nor python3 is here: apt install xz-utils" >&2
    exit 69
fi
echo "unpacked: $to/gpu_check.sh"
UNPACK
chmod 755 "$to/unpack.sh"
(cd "$to" && sha256sum rectrain-gpu.tar.xz.* unpack.sh > SHA256SUMS) || exit 74

total=0
while read -r bytes; do
    [ "$bytes" -le "$part_bytes" ] || stop 74 "a part has $bytes bytes, more than $part_bytes"
    total=$((total + bytes))
done < <(find "$to" -type f -printf '%s\n')
[ "$total" -le "$most_bytes" ] ||
    stop 74 "the parts have $total bytes, more than $most_bytes: fewer architectures (CUDA_ARCH=90), or no COMPUTE_SANITIZER"
echo "bundle: $to: $(find "$to" -name 'rectrain-gpu.tar.xz.*' | wc -l) parts, $(awk "BEGIN { printf \"%.1f\", $total / 1048576 }") MiB, code for sm_${CUDA_ARCH// / sm_}"
echo "on a machine with a GPU: sh unpack.sh /tmp/rectrain-gpu && /tmp/rectrain-gpu/gpu_check.sh"
