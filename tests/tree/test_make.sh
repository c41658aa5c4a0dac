#!/bin/bash
# The Makefile: help from its own comments, a changed flag or a removed source rebuilds, missing libraries are named.
. tests/support/tap.sh
unset BUILD # the small tree's own folder is meant below

for target in all quickstart test test-long asan tsan fuzz bench lint format install clean; do
    ok "make help lists $target" says "  $target " make help
done

# A small tree of its own: the real Makefile over one real module.
mkdir -p "$scratch/tree"
cp -r Makefile mk "$scratch/tree/"
mkdir -p "$scratch/tree/src/base" "$scratch/tree/include"
cp src/base/*.[ch] "$scratch/tree/src/base/"
in_tree() { make -C "$scratch/tree" --no-print-directory "$@"; }
current() { in_tree -q mod-base "$@"; }
members() { in_tree mod-base > /dev/null 2>&1 && ar t "$scratch/tree/build/mod/base.a"; }

ok "one module builds" in_tree mod-base
ok "and is then up to date" current
ok "a changed flag makes it stale" not current EXTRA_CFLAGS=-DRT_OTHER
ok "the flag again, and it is rebuilt" in_tree mod-base EXTRA_CFLAGS=-DRT_OTHER
ok "a touched header makes it stale" eval 'in_tree mod-base && current && touch "$scratch/tree/src/base/status.h" && ! current'
echo 'int rt_extra;' > "$scratch/tree/src/base/extra.c"
ok "a new source is found" says extra.o members
rm "$scratch/tree/src/base/extra.c"
ok "a removed source leaves the archive" not says extra.o members
ok "BUILD names another folder" eval 'in_tree mod-base BUILD=elsewhere && [ -e "$scratch/tree/elsewhere/mod/base.a" ]'

# The probes, with a compiler that does not know a library and with no pkg-config at all.
real=$(command -v gcc || command -v cc)
# shellcheck disable=SC2016
printf '#!/bin/sh\nfor a; do [ "$a" = -ljansson ] && exit 1; done\nexec %s "$@"\n' "$real" > "$scratch/cc"
chmod +x "$scratch/cc"
ok "a library that does not link is missing, by name" says "missing: jansson. Install what is missing with tools/install_deps.sh" \
    in_tree mod-base BUILD=probe CC="$scratch/cc"
ok "the failed probe is not remembered" in_tree mod-base BUILD=probe CC="$real"
ok "without pkg-config the libraries are found by linking" says "jansson     found by linking" \
    in_tree mod-base BUILD=plain PKG_CONFIG=false
ok "a compiler that does not work is named" says "the compiler does not work: /bin/false" in_tree mod-base BUILD=none CC=/bin/false
done_testing
