#!/bin/bash
# How the program, the library and the plugins are protected when something goes wrong inside them, read from the files
# themselves: what the Makefile asks for is not the question. Then the checks, on a program built without any of it.
. tests/support/tap.sh

build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
[ -x "$build/rectrain" ] || make --no-print-directory BUILD="$build" all > "$scratch/make.log" 2>&1 || cat "$scratch/make.log"

pie() { readelf -h "$1" | grep -q 'Type: *DYN' && readelf -d "$1" | grep -q 'FLAGS_1.*PIE' || echo "not position independent"; }
# The table of imported functions is filled at start and read-only from then on.
relro() {
    readelf -lW "$1" | grep -q GNU_RELRO || echo "no RELRO"
    readelf -d "$1" | grep -qE 'BIND_NOW|FLAGS_1.*NOW' || echo "bound lazily: its table of functions stays writable"
}
# Nothing in memory is writable and executable.
exec_stack() { readelf -lW "$1" | awk '/GNU_STACK/ { found = 1; if (/RWE/) print "an executable stack" } END { if (!found) print "no word on the stack" }'; }
writable_code() { readelf -lW "$1" | awk '/^ *LOAD/ && /RWE/ { print "a segment that is writable and executable" }'; }
text_relocations() { readelf -d "$1" | grep -F TEXTREL; }
# No folder is looked into for libraries but those of the system's loader.
own_paths() { readelf -d "$1" | grep -E 'R(UN)?PATH'; }
uses() { readelf -W --dyn-syms "$1" | grep -qE " UND $2" || echo "no call of $2"; }
canaries() { uses "$1" __stack_chk_fail; }
# Of the calls that a fortified build checks, one at least is checked; a plugin may be too small to make any.
fortified() {
    case $1 in */rectrain-*.so) readelf -W --dyn-syms "$1" | grep -qE ' UND (v?s?n?printf|v?sprintf|strcpy|strcat|read)(@|$)' || return 0 ;; esac
    uses "$1" '__(memcpy|snprintf|vsnprintf|read|memset|fprintf|strcpy|printf|sprintf)_chk'
}
set_ids() { find "$1" -perm /6000; }

found=0
for file in "$build"/rectrain "$build"/librectrain.so.* "$build"/rectrain-*.so; do
    case $file in *.list | *'*'*) continue ;; esac
    [ -f "$file" ] || continue
    name=${file##*/} found=$((found + 1))
    [ "$name" != rectrain ] || ok "$name: position independent" empty pie "$file"
    for check in relro exec_stack writable_code text_relocations own_paths canaries fortified set_ids; do
        ok "$name: $check" empty $check "$file"
    done
done
ok "the program and the library were looked at" [ "$found" -ge 2 ]

# _FORTIFY_SOURCE=3 leaves no name of its own in a file. That the build uses it: the flag it was built with, where the
# compiler knows the level; and that the flag does what it says: a size that only level 3 can know is checked.
compiler=$(sed 's/|.*//' "$build/settings")
hardening=$(grep -o -- '-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=[0-9]' "$build/settings" | head -n 1)
cat > "$scratch/f.c" << 'END'
#include <stdlib.h>
#include <string.h>
char *copy(const char *from, size_t room, size_t size) {
    char *to = malloc(room);
    if (to) memcpy(to, from, size);
    return to;
}
int main(int n, char **v) { return copy(v[0], (size_t)n, (size_t)n)[0]; }
END
level3() { # FLAGS: is the copy above checked against a size known at run time?
    # shellcheck disable=SC2086 # flags are words
    $compiler -O2 $1 "$scratch/f.c" -o "$scratch/f" 2> "$scratch/f.log" || return 1
    nm "$scratch/f" | grep -q __memcpy_chk
}
ok "the build's flags are known" [ -n "$hardening" ]
if level3 '-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3'; then
    ok "the build uses _FORTIFY_SOURCE=3" [ "${hardening##*=}" = 3 ]
    ok "which checks sizes that are known at run time alone" level3 "$hardening"
    ok "as level 2 does not" not level3 '-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2'
else
    ok "the compiler has no level 3; the build uses level 2" [ "${hardening##*=}" = 2 ]
fi

# The checks themselves.
printf '#include <stdio.h>\nint main(int n, char **v) { char b[64]; sprintf(b, "%%s", v[0]); return b[n]; }\n' > "$scratch/bad.c"
gcc -O2 -no-pie -U_FORTIFY_SOURCE -fno-stack-protector -z execstack -z norelro -z lazy -Wl,-rpath,/tmp "$scratch/bad.c" \
    -o "$scratch/bad" 2> /dev/null
chmod u+s "$scratch/bad"
for check in pie relro exec_stack own_paths canaries fortified set_ids; do
    ok "caught: $check" not empty $check "$scratch/bad"
done
printf 'void g(void);\nvoid f(void) { g(); }\n' > "$scratch/t.c"
if gcc -fno-pic -mcmodel=large -shared -Wl,-z,notext "$scratch/t.c" -o "$scratch/t.so" 2> /dev/null && readelf -d "$scratch/t.so" | grep -q TEXTREL; then
    ok "caught: text_relocations" not empty text_relocations "$scratch/t.so"
fi
gcc -O2 -nostdlib -no-pie -Wl,-N -Wl,-e,g "$scratch/t.c" -Wl,--unresolved-symbols=ignore-all -o "$scratch/n" 2> /dev/null
ok "caught: writable_code" not empty writable_code "$scratch/n"
done_testing
