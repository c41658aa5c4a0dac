#!/bin/bash
# What `make install` puts in place: complete, runnable wherever it is moved, small, enough for a stranger to compile
# against, and gone after `make uninstall`. The example program is built against it and must answer as `rectrain predict`.
. tests/support/tap.sh

export BUILD=${BUILD:-build} PREFIX=/usr DESTDIR=$scratch/staged
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
tree=$PWD
for name in $(compgen -e); do
    case $name in RECTRAIN_*) unset "$name" ;; esac
done
# The CUDA plugin, code for several generations of GPUs, is counted by itself.
small() {
    local kb plugin=0
    kb=$(du -sk "$to" | cut -f 1)
    [ ! -e "$to/lib/rectrain/rectrain-cuda.so" ] || plugin=$(du -k "$to/lib/rectrain/rectrain-cuda.so" | cut -f 1)
    [ $((kb - plugin)) -lt 20000 ] && [ "$plugin" -lt 40000 ] || { du -ak "$to" | sort -n | tail && return 1; }
}
# The headers one by one.
headers_compile() {
    local h
    for h in "$to"/include/rectrain/*.h; do
        printf '#include <rectrain/%s>\nint main(void) { return 0; }\n' "${h##*/}" > "$scratch/h.c"
        gcc -std=gnu11 -Wall -Wextra -Werror -I "$to/include" -c "$scratch/h.c" -o "$scratch/h.o" || return 1
    done
}
# The public header in the strictest C11 and in C++17.
public_header() { # LANGUAGE COMPILER FLAGS...
    local language=$1
    shift
    # shellcheck disable=SC2016 # C, not shell
    printf '#include <rectrain/rectrain.h>\nint main(void) {\n    rectrain_options o = RECTRAIN_OPTIONS_INIT;\n    return RECTRAIN_API_VERSION - 1 + o.threads;\n}\n' > "$scratch/p.$language"
    "$@" -Wall -Wextra -Wpedantic -pedantic-errors -Werror -I "$to/include" -x "$language" -c "$scratch/p.$language" -o "$scratch/p.o"
}
# debug_in FILE: sections of debug information, which a stripped file lacks
debug_in() { readelf -S --wide "$1" | grep -F .debug_info; }
# Files that speak of the folders they were made in.
places() { grep -rlF -e "$tree" -e "$BUILD" -e "$scratch" "$to"; }

ok "it installs" sh mk/install.sh
[ -d "$DESTDIR" ] || done_testing
# Away from where it was staged: nothing may hang on the place.
mv "$DESTDIR" "$scratch/moved"
to=$scratch/moved$PREFIX
ok "the program runs from there" "$to/bin/rectrain" --version
ok "it is stripped" empty debug_in "$to/bin/rectrain"
ok "the library is there, static and shared" [ -s "$to/lib/librectrain.a" -a -s "$to/lib/librectrain.so" ]
ok "the configs are there" eval 'ls "$to"/share/rectrain/configs/*.ini'
ok "no file speaks of the folders it was made in" empty places
ok "under 20 MB, the CUDA plugin under 40" small
ok "the headers compile alone" headers_compile
ok "the public one as C11, pedantic" public_header c gcc -std=c11 -Wstrict-prototypes
ok "and as C++17" public_header c++ g++ -std=c++17
if command -v clang > /dev/null; then
    ok "and by clang, as both" eval 'public_header c clang -std=c11 && public_header c++ clang -std=c++17'
fi

# --- man pages and completions ---
pages() {
    local c page
    for c in $("$to/bin/rectrain" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
        [ "$c" = help ] && continue
        page=$to/share/man/man1/rectrain-$c.1
        grep -q "^\.TH RECTRAIN\\\\-${c^^} 1" "$page" || echo "$c: no page"
        grep -q '^\.SH EXAMPLES' "$page" || echo "$c: no examples"
        ! command -v groff > /dev/null || groff -man -ww -z -Tutf8 "$page" 2>&1
    done
}
ok "the man page is roff and names the commands" says export grep -A200 '^\.TH RECTRAIN 1' "$to/share/man/man1/rectrain.1"
ok "every command has a page that roff takes" empty pages
# complete WORD...: what bash offers for the last word
complete_bash() {
    # shellcheck disable=SC1091 # made by the program
    (source "$to/share/bash-completion/completions/rectrain" && COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) &&
        compopt() { :; } && _rectrain && printf '%s\n' "${COMPREPLY[@]}")
}
ok "bash completes ver to verify" says verify complete_bash rectrain ver
ok "the flags of a command" says --logits complete_bash rectrain predict --l
ok "the words of a flag" says jsonl complete_bash rectrain predict --format ''
ok "which are others for join" says movielens complete_bash rectrain join --format ''
ok "and an option's key" says optimizer.learning_rate= complete_bash rectrain train --set optimizer.l
zsh=$to/share/zsh/site-functions/_rectrain fish=$to/share/fish/vendor_completions.d/rectrain.fish
ok "zsh has the words of --format and every key" eval "grep -q ':(tsv jsonl)' $zsh && grep -q 'optimizer.learning_rate=' $zsh"
ok "fish too" eval "grep -q -- \"-l format .*-a 'table mind movielens'\" $fish && grep -q 'optimizer.learning_rate=' $fish"
if command -v zsh > /dev/null; then ok "zsh takes its file" zsh -n "$zsh"; fi
if command -v fish > /dev/null; then ok "fish takes its file" fish -n "$fish"; fi

# --- a model trained by the installed program, in a folder of its own, and the example program ---
mkdir "$scratch/away" && cd "$scratch/away" || exit 1
# train NAME FLAGS...
train() {
    local name=$1
    shift
    "$to/bin/rectrain" train --quiet --set run.name="$name" --set run.device=cpu --set run.threads=1 --set model.init=random \
        --set model.vocab=vocab.txt --set model.hidden=16 --set model.layers=2 --set model.heads=2 --set model.ffn=32 \
        --set data.train=shop/train.tsv --set data.text_a=query --set data.text_b=title --set data.label=click \
        --set data.max_length=24 --set train.max_steps=5 --set optimizer.learning_rate=0.01 --set track.tensorboard=no "$@"
}
shop() {
    "$to/bin/rectrain" example --to shop --users 120 > shop.out &&
        { printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' && printf '%s\n' {a..z} {0..9} && printf '##%s\n' {a..z} {0..9}; } > vocab.txt
}
ok "the program makes its example shop" shop
ok "it trains: two labels, on a third of the rows without a click" train two --set model.labels=no,yes --set data.negative_keep=0.3
ok "and one label" train one --set model.labels=click
ok "an installed configuration is found by its name" says '[model]' "$to/bin/rectrain" config --config ecommerce

# Numbers of two outputs, field by field, as the fp32 they read back to.
cat > same.c << 'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv) {
    char line[2][4096];
    FILE *f[2] = {argc > 2 ? fopen(argv[1], "r") : NULL, argc > 2 ? fopen(argv[2], "r") : NULL};
    long rows = 0, numbers = 0;
    if (!f[0] || !f[1]) return 2;
    for (;; rows++) {
        char *got[2] = {fgets(line[0], sizeof line[0], f[0]), fgets(line[1], sizeof line[1], f[1])};
        if (!got[0] && !got[1]) break;
        if (!got[0] || !got[1]) return printf("one ends after %ld rows\n", rows), 1;
        while (*got[0] != '\n' && *got[1] != '\n') {
            float x[2];
            for (int i = 0; i < 2; i++) x[i] = strtof(got[i], &got[i]);
            if (memcmp(&x[0], &x[1], sizeof x[0]) != 0) return printf("row %ld: %a and %a\n", rows, x[0], x[1]), 1;
            numbers++;
        }
        if (*got[0] != *got[1]) return printf("row %ld: one has more fields\n", rows), 1;
    }
    printf("%ld rows, %ld numbers\n", rows, numbers);
    return numbers < 3000;
}
END
gcc -O1 same.c -o same || exit 1
# Rows beyond one window of the program and of the library, with repeats in other company; empty sides too.
{
    printf 'query\ttitle\n'
    for _ in $(seq 1 12); do tail -n +2 shop/test.tsv | cut -f 4,6; done | head -n 8299
    printf '\tlast title\n'
} > rows.tsv
# as_predict PROGRAM CHECKPOINT: the example program's numbers are those of `rectrain predict`
as_predict() {
    "$to/bin/rectrain" predict --quiet --checkpoint "$2" --data rows.tsv --logits --set data.group= --set run.device=cpu > wanted.tsv || return 1
    tail -n +2 rows.tsv | "$1" "$2" > found.tsv || return 1
    # The predicted label is a word; a model of one label has none.
    tail -n +2 wanted.tsv | awk -F '\t' -v OFS='\t' 'NF % 2 == 0 { $2 = ""; sub(/\t\t/, "\t") } { print }' > wanted
    tail -n +2 found.tsv > found
    ./same wanted found
}
# build NAME SED_OF_LIBS: the installed example through the installed pkg-config file
build() {
    local flags
    flags=$(PKG_CONFIG_PATH=$to/lib/pkgconfig pkg-config --define-variable=prefix="$to" --static --cflags --libs rectrain | sed "$2")
    grep -qE '^Version: [0-9]+\.[0-9]+' "$to/lib/pkgconfig/rectrain.pc" || return 1
    # shellcheck disable=SC2086 # flags are words
    gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -O1 "$to/share/doc/rectrain/examples/score.c" -o "$1" $flags
}
linked() { readelf -d "$1" | grep -F NEEDED; }
ok "the example builds against the shared library" build shared s/x/x/
ok "which it names as librectrain.so.1" says '[librectrain.so.1]' linked ./shared
ok "and against the static one" build static s/-lrectrain/-l:librectrain.a/
ok "which it does not need at run time" not says librectrain linked ./static
ok "neither drags in the library that writes checkpoints" not says libhdf5 linked ./static
export LD_LIBRARY_PATH=$to/lib
ok "shared, two labels: as rectrain predict, to the bit" as_predict ./shared runs/two/best.h5
ok "static, one label, too" as_predict ./static runs/one/best.h5
ok "a checkpoint to go on from, whose bias lacks its correction" as_predict ./static runs/two/last.h5
ok "an altered number is noticed" eval 'sed -i "7s/[1-8]/9/3" found && not ./same wanted found'
ok "a checkpoint that is not there: a sentence and 1" eval 'exits 1 ./shared nothing.h5 && says "no such file" ./shared nothing.h5'
unset LD_LIBRARY_PATH
cd "$tree" || exit 1

# --- uninstall ---
mv "$scratch/moved" "$DESTDIR"
to=$DESTDIR$PREFIX
echo mine > "$to/share/rectrain/configs/mine.ini"
left() { find "$DESTDIR" -not -type d; }
ok "uninstall" make --no-print-directory uninstall
ok "takes all but what is a user's own" eval '[ "$(left)" = "$to/share/rectrain/configs/mine.ini" ]'
ok "folders that were made for rectrain alone are gone" eval '[ ! -e "$to/bin" ] && [ ! -e "$to/share/man" ]'
ok "again: nothing is installed there, 66" exits 66 sh mk/install.sh uninstall
mkdir -p "$to/share/rectrain" && printf 'f bin/rectrain\nf ../../outside\n' > "$to/share/rectrain/manifest"
echo stays > "$scratch/outside" && ok "a manifest that leads out of the prefix is refused: 65" exits 65 sh mk/install.sh uninstall
ok "an unbuilt program is an error that says so: 66" eval 'BUILD=$scratch/nowhere exits 66 sh mk/install.sh'
done_testing
