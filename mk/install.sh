#!/bin/sh
# Called by `make install`: program (stripped), configs, library, headers, man page. BUILD, PREFIX, DESTDIR from make.
set -eu
to=${DESTDIR:-}$PREFIX
[ -x "$BUILD/rectrain" ] || {
    echo "install: $BUILD/rectrain is not there; run make first" >&2
    exit 66
}
install -d "$to/bin" "$to/lib" "$to/include/rectrain" "$to/share/rectrain/configs" "$to/share/doc/rectrain"
install -m 755 "$BUILD/rectrain" "$to/bin/rectrain"
strip "$to/bin/rectrain"
install -m 644 "$BUILD/librectrain.a" "$to/lib/librectrain.a"
strip --strip-debug "$to/lib/librectrain.a"
for plugin in "$BUILD"/rectrain-*.so; do
    if [ -e "$plugin" ]; then
        install -d "$to/lib/rectrain"
        install -m 755 "$plugin" "$to/lib/rectrain/"
    fi
done
# The public headers name src/base/status.h by its place in the source tree; installed, it stands beside them.
for header in include/rectrain/*.h src/base/status.h; do
    sed 's|"\.\./\.\./src/base/status\.h"|"status.h"|' "$header" > "$to/include/rectrain/${header##*/}"
    chmod 644 "$to/include/rectrain/${header##*/}"
done
for config in configs/*.ini; do
    if [ -e "$config" ]; then install -m 644 "$config" "$to/share/rectrain/configs/"; fi
done
for doc in README.md ARCHITECTURE.md PERFORMANCE.md LICENSE; do
    if [ -e "$doc" ]; then install -m 644 "$doc" "$to/share/doc/rectrain/"; fi
done
for man in "$BUILD/rectrain.1" docs/rectrain.1; do
    if [ -e "$man" ]; then install -D -m 644 "$man" "$to/share/man/man1/rectrain.1"; fi
done
echo "installed in $to ($(du -sk "$to/bin/rectrain" "$to/lib/librectrain.a" "$to/share/rectrain" | awk '{s += $1} END {print s}') KB)"
