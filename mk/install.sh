#!/bin/sh
# Called by `make install` and `make uninstall`.  Usage: sh mk/install.sh [uninstall]   BUILD, PREFIX, DESTDIR from make.
# Installs the program (stripped), its plugins, libraries and how to link them, headers, an example, configs, documents,
# man pages and completions. share/rectrain/manifest remembers every file, and every folder that was not there before;
# uninstall removes those files, and those folders where they are empty.
set -eu
to=${DESTDIR:-}$PREFIX
manifest=share/rectrain/manifest
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ "${1:-install}" = uninstall ]; then
    if [ ! -r "$to/$manifest" ]; then
        echo "uninstall: $to/$manifest is not there: rectrain was not installed with this PREFIX" >&2
        exit 66
    fi
    # Lines are "f PATH" and "d PATH", below the prefix. What leads out of it was not written here.
    if grep -qvE '^[fd] [^/]' "$to/$manifest" || grep -qE '[ /]\.\.(/|$)' "$to/$manifest"; then
        echo "uninstall: $to/$manifest is not as make install writes it; nothing was removed" >&2
        exit 65
    fi
    sort -r "$to/$manifest" > "$work/list" # files, and a folder before the one that holds it
    sed -n 's/^f //p' "$work/list" | while IFS= read -r path; do rm -f "$to/$path"; done
    sed -n 's/^d //p' "$work/list" | while IFS= read -r path; do rmdir "$to/$path" 2> /dev/null || :; done
    echo "removed from $to"
    exit 0
fi

: "${BUILD:?}"
[ -x "$BUILD/rectrain" ] || {
    echo "install: $BUILD/rectrain is not there; run make first" >&2
    exit 66
}

# folder PATH: makes it below the prefix, remembering each level that is new
folder() {
    case $1 in */*) (folder "${1%/*}") ;; esac
    [ -d "$to/$1" ] || {
        install -d "$to/$1"
        echo "d $1" >> "$work/manifest"
    }
}
# put MODE FILE PATH: a file to PATH below the prefix
put() {
    folder "${3%/*}"
    install -m "$1" "$2" "$to/$3"
    echo "f $3" >> "$work/manifest"
}

put 755 "$BUILD/rectrain" bin/rectrain
strip "$to/bin/rectrain"
for plugin in "$BUILD"/rectrain-*.so; do
    if [ ! -e "$plugin" ]; then continue; fi
    put 755 "$plugin" "lib/rectrain/${plugin##*/}"
    strip --strip-unneeded "$to/lib/rectrain/${plugin##*/}"
done

# The library, static and shared, and what pkg-config says of it.
put 644 "$BUILD/librectrain.a" lib/librectrain.a
strip --strip-unneeded "$to/lib/librectrain.a"
for library in "$BUILD"/librectrain.so.*; do
    case ${library##*.so.} in *[!0-9]*) continue ;; esac
    put 755 "$library" "lib/${library##*/}"
    strip --strip-unneeded "$to/lib/${library##*/}"
    ln -sf "${library##*/}" "$to/lib/librectrain.so"
    shared=$to/lib/${library##*/}
done
echo "f lib/librectrain.so" >> "$work/manifest"
# Who links the archive links what the shared object needs; folders of libraries (-L) stay as they were found.
needed=$(readelf -d "$shared" | sed -n 's/.*(NEEDED).*\[lib\(.*\)\.so.*/\1/p')
private=
for word in $(sed -n 's/^RT_LIBS := *//p' "$BUILD/found.mk"); do
    case $word in
    -fopenmp) continue ;;
    -l*) echo "$needed" | grep -qx -- "${word#-l}" || continue ;;
    esac
    private="$private $word"
done
cat > "$work/rectrain.pc" << END
prefix=$PREFIX
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: rectrain
Description: Scores of fine-tuned BERT encoders for pairs of texts
Version: $("$to/bin/rectrain" --version | sed -n '1s/^rectrain \([^ ]*\).*/\1/p')
Cflags: -I\${includedir}
Libs: -L\${libdir} -lrectrain
Libs.private:$private -fopenmp -ldl -lm -lpthread
END
put 644 "$work/rectrain.pc" lib/pkgconfig/rectrain.pc

# kernels.h and types.h are for plugins. They name src/base/status.h by its place in the source tree; installed, it
# stands beside them.
for header in include/rectrain/*.h src/base/status.h; do
    sed 's|"\.\./\.\./src/base/status\.h"|"status.h"|' "$header" > "$work/header"
    put 644 "$work/header" "include/rectrain/${header##*/}"
done
for file in configs/*.ini; do put 644 "$file" "share/rectrain/$file"; done
for file in README.md ARCHITECTURE.md PERFORMANCE.md SECURITY.md LICENSE examples/*.c $(find docs -type f); do
    put 644 "$file" "share/doc/rectrain/$file"
done

# The program writes these itself, so that they say what it does.
page() {
    "$to/bin/rectrain" help man ${1:+"$1"} > "$work/page"
    put 644 "$work/page" "share/man/man1/rectrain${1:+-$1}.1"
}
page ''
for command in $("$to/bin/rectrain" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    if [ "$command" != help ]; then page "$command"; fi
done
for shell in bash:bash-completion/completions/rectrain zsh:zsh/site-functions/_rectrain \
    fish:fish/vendor_completions.d/rectrain.fish; do
    "$to/bin/rectrain" help "${shell%%:*}" > "$work/completions"
    put 644 "$work/completions" "share/${shell#*:}"
done

# Folders that an earlier install made are still ours.
if [ -r "$to/$manifest" ]; then sed -n '/^d [^/]/p' "$to/$manifest" >> "$work/manifest"; fi
echo "f $manifest" >> "$work/manifest"
sort -u "$work/manifest" > "$work/sorted"
install -m 644 "$work/sorted" "$to/$manifest"
# The loader's list of libraries, where this user may write it and the files are where they will be used.
if [ -z "${DESTDIR:-}" ] && [ -w /etc/ld.so.cache ] && command -v ldconfig > /dev/null; then ldconfig || :; fi
echo "installed in $to ($(du -skc "$to/bin/rectrain" "$to"/lib/librectrain.* "$to/share/rectrain" | awk '{s = $1} END {print s}') KB)"
