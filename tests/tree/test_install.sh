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
ok "under 20 MB" small
ok "an unbuilt program is an error that says so: 66" eval 'BUILD=$scratch/nowhere exits 66 sh mk/install.sh'
done_testing
