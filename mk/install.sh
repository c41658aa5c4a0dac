#!/bin/sh
# Called by `make install`: program (stripped), configs, library and how to link it, headers, man page, completions.
# BUILD, PREFIX, DESTDIR from make.
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
# The program writes these itself, so that they say what it does.
install -d "$to/share/man/man1" "$to/share/bash-completion/completions" "$to/lib/pkgconfig"
"$to/bin/rectrain" help man > "$to/share/man/man1/rectrain.1"
"$to/bin/rectrain" help bash > "$to/share/bash-completion/completions/rectrain"
cat > "$to/lib/pkgconfig/rectrain.pc" << EOF
prefix=$PREFIX
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: rectrain
Description: Fine-tunes BERT encoders on labelled click / no-click pairs
Version: $("$to/bin/rectrain" --version | sed -n '1s/^rectrain \([^ ]*\).*/\1/p')
Cflags: -I\${includedir}
Libs: -L\${libdir} -lrectrain $(sed -n 's/^RT_LIBS := *//p' "$BUILD/found.mk") -fopenmp -ldl -lm -lpthread
EOF
chmod 644 "$to/share/man/man1/rectrain.1" "$to/share/bash-completion/completions/rectrain" "$to/lib/pkgconfig/rectrain.pc"
echo "installed in $to ($(du -sk "$to/bin/rectrain" "$to/lib/librectrain.a" "$to/share/rectrain" | awk '{s += $1} END {print s}') KB)"
