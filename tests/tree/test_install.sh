#!/bin/bash
# What `make install` puts in place: complete, runnable, small, and enough for a stranger to compile against.
. tests/support/tap.sh

export BUILD=${BUILD:-build} PREFIX=/usr DESTDIR=$scratch/root
to=$DESTDIR$PREFIX
small() {
    local kb
    kb=$(du -sk "$DESTDIR" | cut -f 1)
    [ "$kb" -lt 20000 ] || { du -ak "$DESTDIR" | sort -n | tail && return 1; }
}
# The headers one by one, and one program that uses the library's base from outside the tree.
headers_compile() {
    local h
    for h in "$to"/include/rectrain/*.h; do
        printf '#include <rectrain/%s>\nint main(void) { return 0; }\n' "${h##*/}" > "$scratch/h.c"
        gcc -std=gnu11 -Wall -Wextra -Werror -I "$to/include" -c "$scratch/h.c" -o "$scratch/h.o" || return 1
    done
}
# debug_in FILE: sections of debug information, which a stripped file lacks
debug_in() { readelf -S --wide "$1" | grep -F .debug_info; }
unhardened() {
    readelf -h "$1" | grep -q 'Type: *DYN' || echo "not position independent"
    readelf -l "$1" | grep -q GNU_RELRO || echo "no RELRO"
    readelf -d "$1" | grep -qE 'BIND_NOW|NOW' || echo "bound lazily"
    readelf -l "$1" | grep GNU_STACK | grep -q E && echo "an executable stack"
}

ok "it installs" sh mk/install.sh
ok "the program runs from there" "$to/bin/rectrain" --version
ok "it is stripped" empty debug_in "$to/bin/rectrain"
ok "it is hardened" empty unhardened "$to/bin/rectrain"
ok "the library is there" [ -s "$to/lib/librectrain.a" ]
ok "the configs are there" eval 'ls "$to"/share/rectrain/configs/*.ini'
ok "the headers compile alone" headers_compile
ok "the man page is roff and names the commands" says export grep -A200 '^\.TH RECTRAIN 1' "$to/share/man/man1/rectrain.1"
completes() {
    # shellcheck disable=SC1091 # made by the program
    (source "$to/share/bash-completion/completions/rectrain" && COMP_WORDS=(rectrain ver) COMP_CWORD=1 && _rectrain &&
        printf '%s\n' "${COMPREPLY[@]}")
}
ok "bash completes ver to verify" says verify completes
# A program that uses the library, as a stranger would link it.
links() {
    local pc=$to/lib/pkgconfig/rectrain.pc
    printf '#include <rectrain/kernels.h>\nint main(void) { return rt_error_get()->text[0]; }\n' > "$scratch/l.c"
    grep -qE '^Version: [0-9]+\.[0-9]+' "$pc" || { cat "$pc" && return 1; }
    # shellcheck disable=SC2046 # words of flags
    gcc -std=gnu11 "$scratch/l.c" -o "$scratch/l" $(PKG_CONFIG_PATH=${pc%/*} pkg-config \
        --define-variable=prefix="$to" --cflags --libs rectrain) && "$scratch/l"
}
if command -v pkg-config > /dev/null; then ok "a program links through pkg-config" links; fi
ok "under 20 MB" small
ok "an unbuilt program is an error that says so: 66" eval 'BUILD=$scratch/nowhere exits 66 sh mk/install.sh'
done_testing
